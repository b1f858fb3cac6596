package engine

import (
	"fmt"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/compress"
)

// What may differ between keyspaces, and which call decides it.

// KeyspaceOptions are what may differ between keyspaces.
type KeyspaceOptions struct {
	ValueThreshold int // 0 = never
	Codec          compress.Codec
	TTL            time.Duration     // of what is put without one; 0 = for ever
	Merger         base.Merger       // nil: operands are neither accepted nor combined
	mergerName     string            // its name, which is asked for without locks; set by named
	Filter         compaction.Filter // nil: none
}

// KeyspaceChoice is what one call that opens a keyspace asks for. What is nil
// or zero asks for nothing.
type KeyspaceChoice struct {
	ValueThreshold *int
	Codec          *compress.Codec
	TTL            time.Duration
	Merger         base.Merger
	Filter         compaction.Filter
}

// over returns o with what is chosen in its place.
func (c *KeyspaceChoice) over(o *KeyspaceOptions, mergerName string) KeyspaceOptions {
	r := *o
	if c.ValueThreshold != nil {
		r.ValueThreshold = *c.ValueThreshold
	}
	if c.Codec != nil {
		r.Codec = *c.Codec
	}
	if c.TTL != 0 {
		r.TTL = c.TTL
	}
	if c.Merger != nil && (r.Merger == nil || r.mergerName != mergerName) {
		r.Merger, r.mergerName = c.Merger, mergerName
	}
	if c.Filter != nil && r.Filter == nil {
		r.Filter = c.Filter // functions cannot be compared: one that is there stays
	}
	return r
}

// agrees says whether a keyspace that is open with old may be opened again with
// o. A merge operator may be given where there is none, as it may when the
// database is opened anew; checkMerger says of which.
func (k *Keyspace) agrees(old, o *KeyspaceOptions) error {
	differs := func(option string, asked, is any) error {
		return badOption("%s is %v, and %s is open with %v; give the same, or leave it out", option, asked, k.Describe(), is)
	}
	switch {
	case o.ValueThreshold != old.ValueThreshold:
		return differs("ValueThreshold", o.ValueThreshold, old.ValueThreshold)
	case o.Codec != old.Codec:
		return differs("Compression", o.Codec, old.Codec)
	case o.TTL != old.TTL:
		return differs("TTL", o.TTL, old.TTL)
	case (o.Filter != nil) != (old.Filter != nil):
		return differs("CompactionFilter", "set", "none")
	}
	return nil
}

func (o *KeyspaceOptions) withoutMerger() *KeyspaceOptions {
	c := *o
	c.Merger, c.mergerName, c.Filter, c.TTL = nil, "", nil, 0
	return &c
}

// checkMerger says whether a keyspace may be opened with a merge operator. The
// caller holds installMu, or is alone.
func (k *Keyspace) checkMerger(o *KeyspaceOptions) error {
	if merger := o.mergerName; k.merger != "" && k.merger != merger {
		return fmt.Errorf("%w: %s was written with the merge operator %q, and is opened with %s", base.ErrInvalidOptions,
			k.Describe(), k.merger, describeMerger(merger))
	}
	return nil
}

// named returns the options with the name of their merge operator.
func (o KeyspaceOptions) named() KeyspaceOptions {
	o.mergerName = nameOf(o.Merger)
	return o
}

func nameOf(m base.Merger) string {
	if m == nil {
		return ""
	}
	return m.Name()
}

func describeMerger(name string) string {
	if name == "" {
		return "none"
	}
	return fmt.Sprintf("%q", name)
}
