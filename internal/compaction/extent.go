package compaction

import "github.com/seerdb-go/seerdb/internal/manifest"

// extent is the size of tables, and of their values in value files.
type extent struct{ tables, values float64 }

func (e *extent) add(f *manifest.FileMeta) {
	e.tables += float64(f.Size)
	e.values += float64(f.ValueBytes())
}

// addAll adds the tables of a level.
func (e *extent) addAll(s *manifest.Sum) {
	e.tables += float64(s.Bytes)
	e.values += float64(s.Values)
}

func (e extent) sum() float64 { return e.tables + e.values }

func totalSize(files []*manifest.FileMeta) uint64 {
	var n uint64
	for _, f := range files {
		n += f.Size
	}
	return n
}
