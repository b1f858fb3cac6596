package main

import (
	"encoding/binary"
	"fmt"
)

// The stage txn moves money between accounts. A transaction reads four and
// writes four, and moves money from one to the others, so the sum over all
// accounts never changes. An account also counts how often it was written,
// which reveals a transaction that was acked and lost.
//
// An account's value is the balance, that count, and words derived from both
// and the key; half of them repeat the others, as in all values of the
// benchmark.

const (
	accounts     = 100_000
	firstBalance = 1_000_000
	txnKeys      = 4
)

func (w *worker) accounts() int { return min(accounts, w.cfg.Keys) }

// account writes the value of an account.
func (w *worker) account(dst []byte, hash uint64, balance int64, writes uint64) []byte {
	binary.LittleEndian.PutUint64(dst, uint64(balance))
	binary.LittleEndian.PutUint64(dst[8:], writes)
	for j := 2; j*8 < len(dst); j++ {
		binary.LittleEndian.PutUint64(dst[j*8:], w.accountWord(hash, balance, writes, j))
	}
	return dst[:w.cfg.ValueSize]
}

func (w *worker) accountWord(hash uint64, balance int64, writes uint64, j int) uint64 {
	return word(hash^uint64(balance)*golden^writes*keySalt, 1+j%w.data.words)
}

// parseAccount is the inverse of account.
func (w *worker) parseAccount(hash uint64, v []byte) (balance int64, writes uint64, err error) {
	if len(v) != w.cfg.ValueSize {
		return 0, 0, fmt.Errorf("%w: account %016x: value of %d bytes, want %d", errWrong, hash, len(v), w.cfg.ValueSize)
	}
	balance, writes = int64(binary.LittleEndian.Uint64(v)), binary.LittleEndian.Uint64(v[8:])
	// The last 8 bytes may be parts of two words.
	var want [16]byte
	for j, n := len(v)/8-1, 0; n < len(want) && j >= 2; j, n = j+1, n+8 {
		binary.LittleEndian.PutUint64(want[n:], w.accountWord(hash, balance, writes, j))
	}
	if last := len(v)&^7 - 8; last >= 16 && string(v[last:]) != string(want[:len(v)-last]) {
		return 0, 0, fmt.Errorf("%w: account %016x: balance, count and the rest do not go together", errWrong, hash)
	}
	return balance, writes, nil
}

func txnLoad(w *worker) (Sample, error) {
	b := w.store.NewBatch()
	value := w.data.valueBuffer()
	var key [keySize]byte
	for i := range w.accounts() {
		h := w.data.hash(uint64(i))
		if err := b.Put(writeKey(&key, h), w.account(value, h, firstBalance, 0)); err != nil {
			return Sample{}, err
		}
		if i%batchRows == batchRows-1 || i == w.accounts()-1 {
			if err := b.Commit(); err != nil {
				return Sample{}, err
			}
		}
	}
	return Sample{}, w.store.Settle()
}

// teller is one goroutine of the stage. Its keys and values do not change until
// the transaction ends, as Tx requires.
type teller struct {
	w         *worker
	hashes    [txnKeys]uint64
	keys      [txnKeys][keySize]byte
	values    [txnKeys][]byte
	dst       []byte
	amounts   [txnKeys]int64
	conflicts int
	fn        func(Tx) error
}

func (w *worker) teller() *teller {
	t := &teller{w: w, dst: make([]byte, 0, w.cfg.ValueSize+64)}
	for i := range t.values {
		t.values[i] = w.data.valueBuffer()
	}
	t.fn = t.move
	return t
}

// draw chooses four accounts and the amounts from the first to each of the
// others.
func (t *teller) draw(r *rng) {
	t.amounts[0] = 0
	for i := range txnKeys {
	again:
		h := t.w.data.hash(r.below(uint64(t.w.accounts())))
		for _, other := range t.hashes[:i] {
			if h == other {
				goto again
			}
		}
		t.hashes[i] = h
		writeKey(&t.keys[i], h)
		if i > 0 {
			t.amounts[i] = int64(r.below(100))
			t.amounts[0] -= t.amounts[i]
		}
	}
}

// move runs in a transaction, perhaps several times.
func (t *teller) move(tx Tx) error {
	var balance [txnKeys]int64
	var writes [txnKeys]uint64
	for i := range txnKeys {
		v, found, err := tx.Get(t.dst, t.keys[i][:])
		if err == nil && !found {
			err = fmt.Errorf("%w: account %s not found", errWrong, t.keys[i])
		}
		if err != nil {
			return err
		}
		if balance[i], writes[i], err = t.w.parseAccount(t.hashes[i], v); err != nil {
			return err
		}
	}
	for i := range txnKeys {
		v := t.w.account(t.values[i], t.hashes[i], balance[i]+t.amounts[i], writes[i]+1)
		if err := tx.Put(t.keys[i][:], v); err != nil {
			return err
		}
	}
	return nil
}

// transfer runs transactions of g goroutines. Operations are keys here too, so
// that --ops has the same meaning.
func transfer(g int) func(*worker) (Sample, error) {
	return func(w *worker) (Sample, error) {
		store := w.store.(Transactor)
		w.tune(g)
		actors := w.actors(g)
		tellers := make([]*teller, g)
		for i, a := range actors {
			tellers[i] = w.teller()
			a.rng = rng(mix(w.cfg.Seed+uint64(g)) + uint64(i)*keySalt)
		}
		n := max(w.cfg.Ops/(txnKeys*g), 1)
		s, err := drive(actors, n, w.cfg.MaxTime, nil, func(a *actor, _ int) (int, error) {
			t := tellers[a.id]
			t.draw(&a.rng)
			conflicts, err := store.Transact(t.fn)
			t.conflicts += conflicts
			return 1, err
		})
		conflicts := 0
		for _, t := range tellers {
			conflicts += t.conflicts
		}
		w.commits += s.Ops
		s.Conflicts = float64(conflicts) / float64(max(s.Ops, 1))
		return s, err
	}
}

// checkAccounts checks that no money appeared or vanished, and that every
// commit exists.
func checkAccounts(w *worker) (Sample, error) {
	var sum int64
	var writes uint64
	n := 0
	err := w.each(func(key, value []byte) error {
		h, ok := parseKey(key)
		if !ok || w.data.record(h) >= uint64(w.accounts()) {
			return fmt.Errorf("%w: key %x is no account", errWrong, key)
		}
		balance, count, err := w.parseAccount(h, value)
		n, sum, writes = n+1, sum+balance, writes+count
		return err
	})
	if err != nil {
		return Sample{}, err
	}
	if want := int64(w.accounts()) * firstBalance; n != w.accounts() || sum != want {
		return Sample{}, fmt.Errorf("%w: %d accounts hold %d, want %d and %d", errWrong, n, sum, w.accounts(), want)
	}
	if want := uint64(w.commits) * txnKeys; writes != want {
		return Sample{}, fmt.Errorf("%w: %d writes of accounts, want %d", errWrong, writes, want)
	}
	return Sample{}, nil
}

// each reads all rows, which must be in order.
func (w *worker) each(fn func(key, value []byte) error) (err error) {
	it, err := w.store.NewIter(IterOptions{})
	if err != nil {
		return err
	}
	defer func() {
		if cerr := it.Close(); err == nil {
			err = cerr
		}
	}()
	var prev []byte
	for ok := it.First(); ok; ok = it.Next() {
		if prev != nil && string(it.Key()) <= string(prev) {
			return fmt.Errorf("%w: key %s out of order", errWrong, it.Key())
		}
		prev = append(prev[:0], it.Key()...)
		if err := fn(it.Key(), it.Value()); err != nil {
			return err
		}
	}
	return it.Err()
}
