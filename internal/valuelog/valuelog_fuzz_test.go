package valuelog

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compress"
)

// FuzzFile opens and reads what may be a value file. All checksums are made
// right first, so that the decoders behind them see what a crafted file holds.
func FuzzFile(f *testing.F) {
	for _, codec := range []compress.Codec{compress.None, compress.S2, compress.Zstd} {
		pairs := []pair{{key: []byte("a"), value: make([]byte, 100)}, {key: []byte("key"), value: []byte("value")}, {}}
		f.Add(build(f, codec, pairs), uint64(headerV1), uint32(100), uint32(80))
	}
	f.Fuzz(func(t *testing.T, data []byte, off uint64, length, raw uint32) {
		if len(data) >= headerV1+footerSize {
			mend(data)
		}
		r, err := Open(&memFile{data: data}, int64(len(data)), ReaderOptions{ID: testID})
		if err != nil {
			if !errors.Is(err, base.ErrCorruption) && !errors.Is(err, base.ErrFormatTooNew) {
				t.Fatal(err)
			}
			return
		}
		err = r.Scan(context.Background(), func(rec Record) error {
			got, err := r.AppendValue(nil, rec.Pointer)
			if err != nil || string(got) != string(rec.Value) {
				t.Fatalf("scan and read disagree at %v: %v", rec.Pointer, err)
			}
			return nil
		})
		if err != nil && !errors.Is(err, base.ErrCorruption) {
			t.Fatal(err)
		}
		p := Pointer{File: testID.Num, Offset: off, Length: length, RawLength: raw % (1 << 20)}
		if off+4 <= uint64(len(data)) && off+4 > off {
			p.Checksum = binary.LittleEndian.Uint32(data[off:])
		}
		for _, read := range readers(r) {
			if _, err := read(nil, p); err != nil && !errors.Is(err, base.ErrCorruption) {
				t.Fatal(err)
			}
		}
	})
}

// mend puts right all the checksums of a file that can be found.
func mend(data []byte) {
	le := binary.LittleEndian
	le.PutUint64(data, headerMagic)
	le.PutUint32(data[8:], testID.Checksum(0, data[12:headerV1]))
	end := len(data) - footerSize
	f := data[end:]
	le.PutUint64(f[24:], footerMagic)
	le.PutUint64(f[8:], uint64(end-headerV1))
	for off := headerV1; off+recordHeaderSize <= end; {
		n := recordHeaderSize + int(le.Uint32(data[off+4:])>>8) + int(le.Uint32(data[off+8:])&0xffffff)
		if off+n > end {
			break
		}
		le.PutUint32(data[off:], testID.Checksum(int64(off), data[off+4:off+n]))
		off += n
	}
	le.PutUint32(f[32:], testID.Checksum(int64(end), f[:32]))
}
