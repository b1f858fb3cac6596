package commit

import (
	"fmt"

	"github.com/seerdb-go/seerdb/internal/base"
)

// Durability says when a commit is acknowledged. Larger is stronger, except for
// the zero value, which means "as the database is configured".
type Durability uint8

// The durability modes; the root package documents them for users.
const (
	DefaultDurability Durability = iota
	NoWAL
	Relaxed
	Buffered
	Sync
)

func (d Durability) String() string {
	return [...]string{"default", "NoWAL", "Relaxed", "Buffered", "Sync"}[min(int(d), 4)]
}

// over returns the durability of a commit that asks for d in a database with own:
// a commit may ask for more, never for less.
func (d Durability) over(own Durability) (Durability, error) {
	switch {
	case d == DefaultDurability || d == own:
		return own, nil
	case d > Sync:
		return 0, fmt.Errorf("%w: unknown durability %d", base.ErrInvalidOptions, d)
	case own == NoWAL:
		return 0, fmt.Errorf("%w: the database was opened with NoWAL; a commit cannot ask for %v", base.ErrInvalidOptions, d)
	case d < own:
		return 0, fmt.Errorf("%w: a commit may ask for more durability than the database's %v, not for less (%v)", base.ErrInvalidOptions, own, d)
	}
	return d, nil
}
