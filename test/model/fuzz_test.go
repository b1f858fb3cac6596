package model

import (
	"math/rand/v2"
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
	"github.com/seerdb-go/seerdb/internal/testkit"
	"github.com/seerdb-go/seerdb/internal/vfs/memfs"
)

// tape draws numbers from the bytes of a fuzzer, two for each, so that a small
// change of the bytes is a small change of what happens.
type tape struct {
	bytes []byte
	after *rand.Rand // when they are used up
}

// Uint64 implements rand.Source.
func (t *tape) Uint64() uint64 {
	if len(t.bytes) < 2 {
		t.bytes = nil
		return t.after.Uint64()
	}
	b := t.bytes
	t.bytes = b[2:]
	return uint64(b[0])<<56 | uint64(b[1])<<48 | 0x5555<<32
}

// FuzzOperations turns bytes into operations on the engine, crashes and
// reopenings included, and compares every answer with the model. The first
// byte chooses the options, those of TestModel or of TestWideModel.
func FuzzOperations(f *testing.F) {
	narrow, wide := configs(), wideConfigs()
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range 2*len(narrow) + len(wide) {
		seed := make([]byte, 1500)
		for j := range seed {
			seed[j] = byte(rng.Uint32())
		}
		seed[0] = byte(i % (len(narrow) + len(wide)))
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		if len(input) == 0 || len(input) > 4<<10 {
			return
		}
		source := &tape{input[1:], rand.New(rand.NewPCG(1, 2))}
		g := testkit.NewGen(0, 60, 120)
		g.Rand = rand.New(source)
		if i := int(input[0]) % (len(narrow) + len(wide)); i < len(narrow) {
			fuzzNarrow(t, narrow[i], g, source)
		} else {
			fuzzWide(t, wide[i-len(narrow)], g, source)
		}
	})
}

// fuzzNarrow is TestModel by tape.
func fuzzNarrow(t *testing.T, c config, g *testkit.Gen, source *tape) {
	r := &modelRun{t: t, config: c, g: g, m: testkit.NewModel(), fs: memfs.New()}
	r.openDB()
	for len(source.bytes) > 0 {
		r.step++
		r.once()
	}
	r.checkAll("at the end")
	r.closeSnapshots()
	dbtest.Must(t, r.db.Close())
}

// fuzzWide is TestWideModel by tape.
func fuzzWide(t *testing.T, c wideConfig, g *testkit.Gen, source *tape) {
	r := newWideRun(t, c, g)
	for len(source.bytes) > 0 {
		r.step++
		r.once()
	}
	r.end()
}
