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
	"github.com/seerdb-go/seerdb/internal/sstable"
	"github.com/seerdb-go/seerdb/internal/valuelog"
	"github.com/seerdb-go/seerdb/internal/vfs"
	"github.com/seerdb-go/seerdb/internal/wal"
)

// dumper prints one type of file. It must not need a healthy database: only
// CURRENT and the manifest, for the identity that checksums are salted with.
type dumper struct {
	t     base.FileType
	short string
	dump  func(w io.Writer, path string, id base.Identity, o dumpOptions) error
}

type dumpOptions struct{ entries, pages, index bool }

func dumpCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "dump", Short: "Print what a file of a database holds"}
	var o dumpOptions
	for name, d := range map[string]dumper{
		"wal":      {base.FileTypeLog, "Print the commits of a log segment", dumpLog},
		"sst":      {base.FileTypeTable, "Print properties, index, pages or entries of a table", dumpTable},
		"manifest": {base.FileTypeManifest, "Print the edits of a manifest and the version they make", dumpManifest},
		"values":   {base.FileTypeValues, "Print the values of a value file", dumpValues},
	} {
		sub := &cobra.Command{
			Use: name + " FILE", Short: d.short, Args: exactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				id, err := identify(args[0], d.t)
				if err != nil {
					return err
				}
				return d.dump(cmd.OutOrStdout(), args[0], id, o)
			},
		}
		if name == "sst" {
			sub.Flags().BoolVar(&o.entries, "entries", false, "print every entry")
			sub.Flags().BoolVar(&o.pages, "pages", false, "print every page")
			sub.Flags().BoolVar(&o.index, "index", false, "print every window of the index")
		}
		cmd.AddCommand(sub)
	}
	return cmd
}

// identify finds out which file this is from its name and its directory.
func identify(path string, want base.FileType) (base.Identity, error) {
	name := filepath.Base(path)
	t, num, ok := base.ParseFileName(name)
	if !ok || t != want {
		return base.Identity{}, usagef("%s is not the name of a %v file, such as %s", name, want, base.FileName(want, 7))
	}
	if _, err := os.Stat(path); err != nil {
		return base.Identity{}, err
	}
	id := base.Identity{Type: t, Num: num}
	if t == base.FileTypeManifest {
		return id, nil // it says itself whose it is
	}
	s, err := manifest.Recover(vfs.OS, filepath.Dir(path))
	if err != nil {
		return id, fmt.Errorf("cannot tell which database %s belongs to: %w", name, err)
	}
	id.DB = s.DBID
	return id, nil
}

func dumpManifest(w io.Writer, path string, _ base.Identity, _ dumpOptions) error {
	return manifest.Dump(vfs.OS, path, w)
}

func dumpLog(w io.Writer, path string, id base.Identity, _ dumpOptions) error {
	info, err := wal.Replay(vfs.OS, path, id, func(payload []byte, off int64) error {
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
			fmt.Fprintf(w, "  %d %v %s", seq, op.Kind, escape(op.Key))
			if batch.HasValue(op.Kind) {
				fmt.Fprintf(w, " = %s", escape(op.Value))
			}
			fmt.Fprintln(w)
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

func dumpTable(w io.Writer, path string, id base.Identity, o dumpOptions) error {
	f, size, err := openFile(path)
	if err != nil {
		return err
	}
	r, err := sstable.Open(f, size, sstable.ReaderOptions{ID: id})
	if err != nil {
		_ = f.Close()
		return err
	}
	defer func() { _ = r.Close() }()
	return r.Dump(w, sstable.DumpOptions{Index: o.index, Pages: o.pages, Entries: o.entries})
}

func dumpValues(w io.Writer, path string, id base.Identity, _ dumpOptions) error {
	f, size, err := openFile(path)
	if err != nil {
		return err
	}
	r, err := valuelog.Open(f, size, valuelog.ReaderOptions{ID: id})
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

func openFile(path string) (vfs.File, int64, error) {
	f, err := vfs.OS.Open(path)
	if err != nil {
		return nil, 0, err
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close()
		return nil, 0, err
	}
	return f, size, nil
}
