package keyspace

import (
	"fmt"
	"time"

	"github.com/seerdb-go/seerdb/internal/base"
	"github.com/seerdb-go/seerdb/internal/compaction"
	"github.com/seerdb-go/seerdb/internal/compress"
)

// This file holds the options of keyspaces, and which call sets them.

// Options are the options that may differ between keyspaces.
type Options struct {
	ValueThreshold int // 0 = never
	Codec          compress.Codec
	TTL            time.Duration     // of values put without one; 0 = for ever
	Merger         base.Merger       // nil: operands are neither accepted nor combined
	mergerName     string            // name of Merger, obtained without locks; set with Merger, by Named or over
	Filter         compaction.Filter // nil: none
}

// Choice is the options of one call that opens a keyspace. A field that is nil or zero asks
// for nothing.
type Choice struct {
	ValueThreshold *int
	Codec          *compress.Codec
	TTL            time.Duration
	Merger         base.Merger
	Filter         compaction.Filter
}

// over returns o changed by the fields that are set.
func (c *Choice) over(o *Options, mergerName string) Options {
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
		r.Filter = c.Filter // functions cannot be compared: the first stays
	}
	return r
}

// agrees returns an error if a keyspace that is open with old cannot be opened again with
// o. A merge operator may be added if there is none, as when the database is opened anew;
// checkMerger decides which.
func (k *Keyspace) agrees(old, o *Options) error {
	differs := func(option string, asked, is any) error {
		return base.BadOption("%s is %v, and %s is open with %v; give the same, or leave it out", option, asked, k.Describe(), is)
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

// validate returns an error if an option is invalid.
func (o *Options) validate() error {
	switch {
	case !o.Codec.Valid():
		return BadCodec(o.Codec)
	case o.TTL < 0:
		return base.BadOption("TTL is %v; expected 0 or more", o.TTL)
	}
	return nil
}

// withoutMerger returns the defaults of other keyspaces, given the options of the default
// one: they do not inherit the merge operator, filter and TTL, which belong to its data.
func (o *Options) withoutMerger() *Options {
	c := *o
	c.Merger, c.mergerName, c.Filter, c.TTL = nil, "", nil, 0
	return &c
}

// checkMerger returns an error if the keyspace was written with another merge operator than
// that of o. The versions are locked, or the caller is alone.
func (k *Keyspace) checkMerger(o *Options) error {
	if merger := o.mergerName; k.merger != "" && k.merger != merger {
		return fmt.Errorf("%w: %s was written with the merge operator %q, and is opened with %s", base.ErrInvalidOptions,
			k.Describe(), k.merger, describeMerger(merger))
	}
	return nil
}

// Named returns the options with the name of their merge operator filled in.
func (o Options) Named() Options {
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

// BadCodec returns the error for a codec that this build does not have.
func BadCodec(c compress.Codec) error {
	return base.BadOption("Compression is %d; expected DefaultCompression, NoCompression, LZ4, S2 or Zstd", uint8(c))
}
