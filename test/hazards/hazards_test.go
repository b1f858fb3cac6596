// Package hazards holds the flaws of the original engine, one test each: S1 to S22 are
// those of its flush, H1 to H34 those elsewhere, and the rest the bugs that its authors
// found and wrote down. Each test is the shortest story in which the flaw showed, told
// to this engine; docs/TESTING.md says which change of the code makes each one fail.
//
//	S1  a flush clears the one log, with what was written while it ran
//	S2  the retry of a failed flush clears the log of the memtable after it
//	S3  a writer slower than the switch writes to a memtable that was already read
//	S4  memtables are switched one by one, and batches fall apart
//	S5  what is being flushed is invisible until its table is there
//	S6  what was flushed is visible twice, and operands count twice
//	S7  the one place for an immutable memtable is overwritten
//	S8  the second failure of a flush loses its memtable
//	S9  a flush with nothing new to write passes over one that failed
//	S10 a file with a table's name is a table, complete or not
//	S11 a table is durable before the values it points to
//	S12 sequences are compared with numbers of files
//	S13 a failed compaction is reported as a failed flush
//	S14 a flush copies the memtable and sorts the copy
//	S15 a flush makes one table, however large
//	S16 the log of values is locked while a table is built
//	S17 a worker that died is not reported
//	S18 an error after the table is installed leaves it half forgotten
//	S19 a failed flush leaves half a file under a valid name
//	S20 a failure after the table is complete makes a second table of the same rows
//	S21 bytes are counted where they are thought to be written
//	S22 two ways to write tables, and two kinds of tables
//	H1  tables of the worker cannot be read
//	H2  the log of commits ahead of their memtable is cleared
//	H3  recovery destroys what it recovers from, and passes over damage
//	H4  sequences and numbers begin anew with each open
//	H5  a snapshot overwrites the immutable memtable
//	H6  reads at snapshots fall through tombstones, empty values and errors
//	H7  scans of snapshots ignore their sequence
//	H8  commits appear below the sequence that is visible
//	H9  validation misses deletes, operands, blind writes and plain writers
//	H10 compactions drop versions that snapshots need, and bases of operands
//	H11 two snapshots at one sequence are one
//	H12 newer tables are pushed below older ones
//	H13 the inputs of a compaction come back, and outputs of the last level are lost
//	H14 keys that are prefixes of others sort wrongly
//	H15 bounds and ends of prefixes are wrong
//	H16 each kind of scan shows something else
//	H17 a handle that cannot read values, or a failed open, is cached for all
//	H18 commits are acknowledged out of memory
//	H19 errors of the log are forgotten, and its lengths believed
//	H20 bytes that were not compressed are tagged as if they were
//	H21 a commit can be left waiting for the next
//	H22 loads are put below what they replace
//	H23 files are deleted while they are read
//	H24 caches are counted in blocks, not in bytes
//	H25 a compaction filter is shown what users never see
//	H26 two processes open one directory
//	H27 opening reads every byte
//	H28 files are sorted by name, and names have six digits
//	H29 tiered storage: names are paths, and nothing is synced
//	H30 a merge that fails is passed over
//	H31 waits end after a while, and go on as if all were well
//	H32 versions of a key are looked for in one block
//	H33 the kind of a table is guessed from a number
//	H34 operands of a table are found in part
package hazards

import (
	"testing"

	"github.com/seerdb-go/seerdb/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
