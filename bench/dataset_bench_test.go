package main

import "testing"

// BenchmarkHarnessRead measures a checked read without the engine's part.
func BenchmarkHarnessRead(b *testing.B) {
	d := newDataset(1, 100, 1<<16)
	for i := range d.versions {
		d.versions[i].Store(1)
	}
	var key [keySize]byte
	buf := d.valueBuffer()
	i := 0
	for b.Loop() {
		record := uint64(i & (1<<16 - 1))
		h := d.hash(record)
		writeKey(&key, h)
		d.value(buf, h, 1) // in the place of the engine
		n := d.versions[record].Load()
		if err := d.checkValue(h, buf[:100], n, n, i&15 == 0); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkHarnessValue measures making a value, a part of BenchmarkHarnessRead that a run
// has in every write and in no read.
func BenchmarkHarnessValue(b *testing.B) {
	d := newDataset(1, 100, 1)
	buf := d.valueBuffer()
	var h uint64
	for b.Loop() {
		h++
		d.value(buf, h, 1)
	}
}
