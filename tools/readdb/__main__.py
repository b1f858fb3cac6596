"""Reads a database directory of seerdb as docs/FORMAT.md describes it, checks it, and prints its rows.

    python3 tools/readdb [--keyspace NAME] [--now MS] DIR...

prints one row a line: the keyspace's name as JSON, the key and the value in hex, with tabs between. Where the
merge operator is none of package merger, "merge", the base or -, and the operands stand for the value, with
colons between. Of several directories each row begins with its own. Damage goes to standard error, one line
for each file that has it, after the file's name; then no rows of that directory are printed.

Exit codes: 0 sound; 1 damage; 2 wrong arguments; 3 sound as far as this machine can decompress it: the
checksums are right, and the rows are not printed.
"""

import sys

sys.dont_write_bytecode = True  # it would lie beside the source
if sys.version_info < (3, 9):
    print("tools/readdb needs Python 3.9", file=sys.stderr)
    sys.exit(3)

import argparse
import json
import os
import time

import pack
from basics import APART, EXPIRING, LOG, MANIFEST, Damage, need
from manifest import State
from records import Current, batch, previous, read
from rows import Keyspace, split_expiry
from table import Table
from values import ValueFile


class Database:
    """All files of a directory; each fault is kept with the name of the file that has it."""

    def __init__(self, directory):
        self.directory, self.faults, self.undecoded = directory, [], []
        self.current = self.state = None
        self.tables, self.values = {}, {}
        self.guarded("CURRENT", self._current)
        if self.current and self.guarded(self.current.manifest, self._manifest):
            for number, entry in sorted(self.state.values.items()):
                self.guarded(f"{number:06d}.val", self._values, entry)
            packs = {}
            for _, entry in sorted(self.state.tables.items()):
                if entry.pack:
                    packs.setdefault(entry.file, []).append(entry)
                else:
                    self.guarded(entry.file, self._table, entry)
            for name, entries in sorted(packs.items()):
                self.guarded(name, self._pack, entries)
            self.keyspaces = {n: Keyspace(name.decode(errors="replace"), merger)
                              for n, (name, merger) in self.state.keyspaces.items()}
            self._collect()
            self._logs()

    def guarded(self, name, check, *args):
        """Runs check on the file's bytes; returns whether it found no fault."""
        try:
            with open(os.path.join(self.directory, name), "rb") as f:
                check(f.read(), *args)
            return True
        except FileNotFoundError:
            self.faults.append((name, "the file is missing"))
        except Damage as e:
            self.faults.append((name, str(e)))
        return False

    def _current(self, data):
        self.current = Current(data)

    def _manifest(self, data):
        cur = self.current
        header, payloads, _ = read(data, cur.database, MANIFEST, cur.number, cur.synced)
        need(header.incarnation == cur.incarnation, "the incarnation is not that in CURRENT")
        self.state = State(payloads)

    def _values(self, data, entry):
        f = ValueFile(data, self.current.database, entry)
        self.values[entry.number] = f
        if f.undecoded:
            self.undecoded.append(f"{entry.number:06d}.val")

    def _pack(self, data, entries):
        for entry, table in pack.tables(data, self.current.database, entries):
            self._table(table, entry)

    def _table(self, data, entry):
        t = Table(data, self.current.database, entry)
        self.tables[entry.number] = t
        if t.undecoded:
            self.undecoded.append(entry.file)
        for key, p in t.pointers:
            if p.file in self.values:
                self.values[p.file].resolve(p, key)

    def _collect(self):
        for t in self.tables.values():
            ks = self.keyspaces[t.entry.keyspace]
            for lo, hi, seqs in t.deleted:
                ks.deleted.append((lo, hi, seqs[0]))
            for key, seq, kind, expiry, value, _ in t.entries:
                if kind in APART:
                    value = self.values[value.file].records.get(value.offset, [None])[-1] if value.file in self.values else None
                ks.add(seq, kind, key, (expiry, value) if kind in EXPIRING else value)

    def _logs(self):
        """Replays the segments that are needed, oldest first."""
        state, self.before = self.state, None
        numbers = sorted(int(n[:-4]) for n in os.listdir(self.directory) if n.endswith(".wal") and n[:-4].isdigit())
        numbers = [n for n in numbers if n >= state.oldest_log and (n < state.next_file or self.current.format == 1)]
        need_oldest = state.oldest_log and state.oldest_log not in numbers
        if need_oldest:
            self.faults.append((f"{state.oldest_log:06d}.wal", "the file is missing"))
            return
        for name in self.current.closed:
            if int(name[:-4]) not in numbers:
                self.faults.append((name, "the file is missing"))
        for n in numbers:
            if not self.guarded(f"{n:06d}.wal", self._log, n) or self.before is None:
                return

    def _log(self, data, number):
        durable = self.current.closed.get(f"{number:06d}.wal", 0)
        header, payloads, end = read(data, self.current.database, LOG, number, durable)
        need(header.incarnation == self.state.log_incarnation, "the incarnation is not that in the manifest")
        if self.before is not None and previous(header) != self.before:
            prev, length = previous(header)
            if prev != self.before[0] or length > self.before[1]:
                self.before = None  # what this one continues was lost: recovery ended there
                return
        for payload in payloads:
            for keyspace, seq, kind, key, value in batch(payload):
                need(keyspace < self.state.next_keyspace, f"an operation on keyspace {keyspace}, which there never was")
                if keyspace in self.keyspaces:
                    split = split_expiry(kind, value)
                    self.keyspaces[keyspace].add(seq, kind, key, split if kind in EXPIRING else value)
        self.before = (number, end)


def show(directory, args, first):
    """Prints what is in a directory, or what is wrong with it; returns the exit code."""
    db = Database(directory)
    for name, what in db.faults:
        print(f"{os.path.join(directory, name)}: {what}", file=sys.stderr)
    if db.faults:
        return 1
    for name in db.undecoded:
        print(f"{os.path.join(directory, name)}: checked but not decoded: this machine has no Zstandard", file=sys.stderr)
    if db.undecoded:
        return 3
    now = max(args.now, db.state.time)
    for _, ks in sorted(db.keyspaces.items()):
        if args.keyspace not in (None, ks.name):
            continue
        for key, value in ks.rows(now):
            text = value.hex() if isinstance(value, bytes) else "merge:" + ":".join("-" if v is None else v.hex() for v in value)
            print(*first, json.dumps(ks.name), key.hex(), text, sep="\t")
    return 0


def main():
    parser = argparse.ArgumentParser(prog="readdb", description="reads and checks database directories of seerdb")
    parser.add_argument("dir", nargs="+")
    parser.add_argument("--keyspace", help="print the rows of this keyspace only")
    parser.add_argument("--now", type=int, default=time.time_ns() // 10**6, help="Unix milliseconds by which rows expire")
    args = parser.parse_args()
    codes = [show(d, args, [d] if len(args.dir) > 1 else []) for d in args.dir]
    return 1 if 1 in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main())
