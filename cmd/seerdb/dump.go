package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/pack"
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/wal"
)

// dumper prints one type of file. It must work without a healthy database: it
// may need only CURRENT and the manifest, for the identity in checksums.
type dumper struct {
	t     base.FileType
	short string
	dump  func(w io.Writer, f *subject, o dumpOptions) error
}

// subject is the file that is dumped.
type subject struct {
	path  string
	id    base.Identity
	state *manifest.State // of its database; nil for a manifest, which is one itself
}

type dumpOptions struct{ entries, pages, index bool }

func dumpCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "dump", Short: "Print the content of a file of a database"}
	var o dumpOptions
	for name, d := range map[string]dumper{
		"wal":      {base.FileTypeLog, "Print the commits of a log segment", dumpLog},
		"sst":      {base.FileTypeTable, "Print properties, index, pages or entries of a table", dumpTable},
		"manifest": {base.FileTypeManifest, "Print the edits of a manifest and the version they make", dumpManifest},
		"pack":     {base.FileTypePack, "Print the tables of a pack, and their content", dumpPack},
		"values":   {base.FileTypeValues, "Print the values of a value file", dumpValues},
	} {
		sub := &cobra.Command{
			Use: name + " FILE", Short: d.short, Args: exactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				f, err := identify(args[0], d.t)
				if err != nil {
					return err
				}
				return d.dump(cmd.OutOrStdout(), f, o)
			},
		}
		if name == "sst" || name == "pack" {
			sub.Flags().BoolVar(&o.entries, "entries", false, "print every entry, and when it expires")
			sub.Flags().BoolVar(&o.pages, "pages", false, "print every page")
			sub.Flags().BoolVar(&o.index, "index", false, "print every window of the index")
		}
		cmd.AddCommand(sub)
	}
	return cmd
}

// identify determines the identity of a file from its name and its directory.
func identify(path string, want base.FileType) (*subject, error) {
	name := filepath.Base(path)
	t, num, ok := base.ParseFileName(name)
	if !ok || t != want {
		return nil, usagef("%s is not the name of a %v file, such as %s", name, want, base.FileName(want, 7))
	}
	if _, err := os.Stat(path); err != nil {
		return nil, err
	}
	f := &subject{path: path, id: base.Identity{Type: t, Num: num}}
	if t == base.FileTypeManifest {
		return f, nil // a manifest contains its identity
	}
	var err error
	if f.state, err = manifest.Recover(vfs.OS, filepath.Dir(path)); err != nil {
		return nil, fmt.Errorf("cannot tell which database %s belongs to: %w", name, err)
	}
	f.id.DB = f.state.DBID
	f.id.Incarnation = incarnationOf(f.state, f.id)
	return f, nil
}

// incarnationOf returns the incarnation in the identity of a file: that in the
// manifest, or that of the logs for files it does not name.
func incarnationOf(st *manifest.State, id base.Identity) uint64 {
	if v := st.Version.Values[id.Num]; id.Type == base.FileTypeValues && v != nil {
		return v.Incarnation
	}
	incarnation := st.LogIncarnation
	st.Version.All(func(_ int, m *manifest.FileMeta) bool {
		if id.Type == base.FileTypeTable && m.Num == id.Num || id.Type == base.FileTypePack && m.Pack == id.Num {
			incarnation = m.Incarnation
		}
		return true
	})
	return incarnation
}

func dumpManifest(w io.Writer, f *subject, _ dumpOptions) error {
	if err := manifest.Dump(vfs.OS, f.path, w); err != nil {
		return err
	}
	return dumpKeyspaces(w, f.path)
}

func dumpLog(w io.Writer, f *subject, _ dumpOptions) error {
	info, err := wal.Replay(vfs.OS, f.path, f.id, 0, func(payload []byte, off int64) error {
		r, err := batch.Decode(payload)
		if err != nil {
			return err
		}
		seq := r.Seq()
		fmt.Fprintf(w, "%d: commit of %d operations, %d bytes, sequence %d\n", off, r.Count(), len(payload), seq)
		for ; ; seq++ {
			op, ok, err := r.Next()
			if err != nil || !ok {
				return err
			}
			fmt.Fprintf(w, "  %d %s\n", seq, opText(&op, f.state))
		}
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d commits, %d of %d bytes, synced at least to %d", info.Records, info.Bytes, info.Size, info.Synced)
	if info.Torn {
		fmt.Fprintf(w, "; torn at %d", info.TornAt)
	}
	fmt.Fprintln(w)
	return nil
}

func dumpTable(w io.Writer, s *subject, o dumpOptions) error {
	f, size, err := openFile(s.path)
	if err != nil {
		return err
	}
	return dumpTableOf(w, s, f, size, o, sstable.ReaderOptions{ID: s.id})
}

// dumpPack prints the tables of a pack, including those that the manifest does
// not name.
func dumpPack(w io.Writer, s *subject, o dumpOptions) error {
	f, size, err := openFile(s.path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	tables, err := pack.Read(f, size, s.id)
	if err != nil {
		return err
	}
	live := map[base.FileNum]bool{}
	s.state.Version.All(func(_ int, m *manifest.FileMeta) bool {
		live[m.Num] = live[m.Num] || m.Pack == s.id.Num
		return true
	})
	for _, t := range tables {
		fmt.Fprintf(w, "@%d table %d, %d bytes", t.Offset, t.Num, t.Size)
		if !live[t.Num] {
			fmt.Fprintln(w, ": garbage, the manifest does not name it")
			continue
		}
		fmt.Fprintln(w)
		one := *s
		one.id.Type, one.id.Num = base.FileTypeTable, t.Num
		section := pack.NewSection(pack.Shared{ReaderAt: f}, t.Offset, t.Size)
		ro := sstable.ReaderOptions{ID: one.id, Pack: s.id.Name(), Offset: int64(t.Offset)}
		if err := dumpTableOf(w, &one, section, int64(t.Size), o, ro); err != nil {
			return err
		}
	}
	return nil
}

// dumpTableOf prints a table, and closes it.
func dumpTableOf(w io.Writer, s *subject, f sstable.File, size int64, o dumpOptions, ro sstable.ReaderOptions) error {
	r, err := sstable.Open(f, size, ro)
	if err != nil {
		_ = f.Close()
		return err
	}
	defer func() { _ = r.Close() }()
	dumpOwner(w, s.state, s.id.Num)
	err = r.Dump(w, sstable.DumpOptions{Index: o.index, Pages: o.pages, Entries: o.entries})
	if err == nil && o.entries {
		err = dumpExpiries(w, r)
	}
	return err
}

func dumpValues(w io.Writer, s *subject, _ dumpOptions) error {
	f, size, err := openFile(s.path)
	if err != nil {
		return err
	}
	r, err := valuelog.Open(f, size, valuelog.ReaderOptions{ID: s.id})
	if err != nil {
		_ = f.Close()
		return err
	}
	defer func() { _ = r.Close() }()
	err = r.Scan(context.Background(), func(rec valuelog.Record) error {
		_, err := fmt.Fprintf(w, "%d: %s, %d bytes (%d stored)\n", rec.Pointer.Offset, escape(rec.Key), len(rec.Value), rec.Pointer.Length)
		return err
	})
	if err != nil {
		return err
	}
	info := r.Info()
	fmt.Fprintf(w, "%d values, %d bytes\n", info.Count, info.Bytes)
	return nil
}
