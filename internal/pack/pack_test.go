package pack

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
)

var testID = base.Identity{DB: 7, Type: base.FileTypePack, Num: 12, Incarnation: 99}

// build returns a pack with n tables of different sizes, and what is in them.
func build(t testing.TB, n int) (file []byte, tables []Table, data [][]byte) {
	var buf bytes.Buffer
	w := NewWriter(&buf, testID)
	for i := range n {
		b := bytes.Repeat(fmt.Appendf(nil, "table %d.", i), 1+i%5)
		at, err := w.Add(base.FileNum(20+i), b)
		if err != nil {
			t.Fatal(err)
		}
		tables = append(tables, Table{base.FileNum(20 + i), at, uint64(len(b))})
		data = append(data, b)
	}
	size, err := w.Finish()
	if err != nil || size != uint64(buf.Len()) {
		t.Fatalf("Finish: %d, %v; %d bytes were written", size, err, buf.Len())
	}
	return buf.Bytes(), tables, data
}

func TestPack(t *testing.T) {
	for _, n := range []int{1, 2, 1000} {
		file, want, data := build(t, n)
		r := bytes.NewReader(file)
		got, err := Read(r, r.Size(), testID)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("%d tables: %v, %v", n, got, err)
		}
		if id, ok := Identify(r, r.Size()); !ok || id != testID {
			t.Fatalf("it says that it is %v, %v", id, ok)
		}
		for i, tab := range got {
			b, err := io.ReadAll(NewSection(Shared{r}, tab.Offset, tab.Size))
			if err != nil || !bytes.Equal(b, data[i]) {
				t.Fatalf("table %d: %q, %v; expected %q", i, b, err, data[i])
			}
		}
	}
}

// Every byte of the directory and of the footer counts, and so do the file's
// number, its opening and its length.
func TestPackDamage(t *testing.T) {
	file, tables, _ := build(t, 3)
	body := int(tables[2].Offset + tables[2].Size)
	refused := func(what string, b []byte, id base.Identity) {
		t.Helper()
		_, err := Read(bytes.NewReader(b), int64(len(b)), id)
		var c *base.CorruptionError
		if !errors.As(err, &c) || c.File != testID.Name() && id == testID {
			t.Errorf("%s: %v", what, err)
		}
	}
	for i := body; i < len(file); i++ {
		b := bytes.Clone(file)
		b[i] ^= 0x40
		if i >= len(file)-footerSize+32 && i < len(file)-footerSize+36 {
			b[i] = file[i] ^ 1 // of the format version
		}
		refused(fmt.Sprintf("byte %d of %d", i, len(file)), b, testID)
	}
	for n := range len(file) {
		refused(fmt.Sprintf("cut to %d bytes", n), file[:n], testID)
	}
	refused("with a byte before it", append([]byte{0}, file...), testID)
	for _, change := range []func(id *base.Identity){
		func(id *base.Identity) { id.DB++ },
		func(id *base.Identity) { id.Num++ },
		func(id *base.Identity) { id.Incarnation++ },
	} {
		id := testID
		change(&id)
		refused(fmt.Sprint(id), file, id)
	}
}

// No bytes make a reader panic or ask for much memory.
func FuzzPack(f *testing.F) {
	file, _, _ := build(f, 2)
	f.Add(file)
	f.Add(file[:footerSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		Identify(bytes.NewReader(b), int64(len(b)))
		if tables, err := Read(bytes.NewReader(b), int64(len(b)), testID); err == nil && len(tables) == 0 {
			t.Error("a pack without a table")
		}
	})
}
