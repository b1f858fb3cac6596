//go:build invariants

// Package invariant says whether costly self-checks are compiled in. Build with
// -tags invariants to enable them; otherwise the compiler removes every block
// under `if invariant.Enabled`.
package invariant

// Enabled is a constant, so that the checks it guards cost nothing when off.
const Enabled = true
