// Package base holds the vocabulary that every other package of the engine
// speaks: sequence numbers and kinds, the internal key and its order, the
// iterator contract, file names and the identity under which bytes are
// checksummed, and the errors a caller can meet. It does no I/O.
//
// # Terms
//
//   - user key: the bytes the application chose. Ordered bytewise, always.
//   - sequence: a number of 56 bits given to every operation of every commit,
//     in log order. It never repeats in the life of a database.
//   - trailer: sequence<<8 | kind. Two entries of one user key are ordered by
//     descending trailer, so the newest comes first.
//   - entry (KV): user key, trailer, value.
package base
