package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/batch"
	"github.com/seerdb-go/seerdb/internal/manifest"
	"github.com/seerdb-go/seerdb/internal/record"
	"github.com/seerdb-go/seerdb/internal/sstable"
)

// This file prints keyspaces, range deletes and expiries for dumps.

// opText describes an operation of a commit.
func opText(op *batch.Op, s *manifest.State) string {
	text := op.Kind.String()
	if op.Keyspace != 0 {
		name := fmt.Sprintf("number %d", op.Keyspace) // dropped later
		if k := s.FindKeyspace(op.Keyspace); k != nil {
			name = spaceName(k)
		}
		text += " [" + name + "]"
	}
	switch op.Kind {
	case base.KindRangeDelete:
		if len(op.Value) == 0 {
			return fmt.Sprintf("%s from %s on", text, escape(op.Key))
		}
		return fmt.Sprintf("%s from %s to before %s", text, escape(op.Key), escape(op.Value))
	case base.KindPutTTL:
		expiry, value := op.Expiry()
		return fmt.Sprintf("%s %s = %s until %s", text, escape(op.Key), escape(value), expiryText(expiry))
	}
	text += " " + escape(op.Key)
	if batch.HasValue(op.Kind) {
		text += " = " + escape(op.Value)
	}
	return text
}

// dumpOwner prints the keyspace of a table, which is not in its file, and the
// range of its expiries, from the manifest.
func dumpOwner(w io.Writer, s *manifest.State, num base.FileNum) {
	s.Version.All(func(level int, f *manifest.FileMeta) bool {
		if f.Num != num {
			return true
		}
		if k := s.FindKeyspace(f.Keyspace); k != nil && k.ID != 0 {
			fmt.Fprintf(w, "keyspace   %s\n", spaceName(k))
		}
		if f.Expiring > 0 {
			fmt.Fprintf(w, "expiring   %d entries, from %s to %s\n", f.Expiring, expiryText(f.MinExpiry), expiryText(f.MaxExpiry))
		}
		return false
	})
}

// dumpExpiries prints the entries that have an expiry.
func dumpExpiries(w io.Writer, r *sstable.Reader) error {
	p := r.Properties()
	if p.ByKind[base.KindPutTTL]+p.ByKind[base.KindPutTTLPointer] == 0 {
		return nil
	}
	fmt.Fprintln(w, "expiries")
	it := r.NewIter(sstable.IterOptions{Bypass: true})
	for kv := it.First(); kv != nil; kv = it.Next() {
		if kv.Trailer.Kind().Expires() {
			if len(kv.Value) < base.ExpirySize {
				fmt.Fprintf(w, "  %q %v has no expiry\n", kv.Key, kv.Trailer)
				continue
			}
			fmt.Fprintf(w, "  %q %v until %s\n", kv.Key, kv.Trailer, expiryText(binary.LittleEndian.Uint64(kv.Value)))
		}
	}
	return it.Close()
}

// dumpKeyspaces prints the keyspaces and times in the edits of a manifest, and
// the keyspaces at the end.
func dumpKeyspaces(w io.Writer, path string) error {
	f, size, err := openFile(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	head, ok := record.Identify(f, size)
	if !ok {
		return base.Corruptf(path, 0, "the file is not a manifest: its header is missing or damaged")
	}
	r := record.NewReader(f, size, head.ID)
	if _, err := r.ReadFileHeader(); err != nil {
		return err
	}
	spaces, clock := map[uint32]manifest.Keyspace{}, uint64(0)
	for {
		p, off, err := r.Next()
		if err == io.EOF || err == record.ErrTorn {
			break
		}
		if err != nil {
			return err
		}
		if r.Kind() != record.KindData {
			continue
		}
		e, err := manifest.DecodeEdit(p)
		if err != nil {
			return err
		}
		for _, id := range e.DropKeyspaces {
			fmt.Fprintf(w, "@%d keyspace %d dropped, %s\n", off, id, escape([]byte(spaces[id].Name)))
			delete(spaces, id)
		}
		for _, k := range e.SetKeyspaces {
			fmt.Fprintf(w, "@%d %s\n", off, describeSpace(&k))
			spaces[k.ID] = k
		}
		clock = max(clock, e.Clock)
	}
	for _, id := range slices.Sorted(maps.Keys(spaces)) {
		k := spaces[id]
		fmt.Fprintln(w, describeSpace(&k))
	}
	if clock != 0 {
		fmt.Fprintf(w, "clock %s\n", expiryText(clock))
	}
	return nil
}
