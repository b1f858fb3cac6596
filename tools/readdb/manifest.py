"""What the manifest says makes up the database."""

from basics import Cursor, Damage, need


class TableEntry:
    """A table, as the manifest describes it."""

    def __init__(self, c):
        self.level, self.number, self.size, self.keyspace = c.uvarint(), c.uvarint(), c.uvarint(), c.uvarint()
        self.location, self.format, self.run = c.uvarint(), c.uvarint(), c.uvarint()
        self.smallest, self.largest = c.string(), c.string()
        self.min_seq, self.max_seq = c.uvarint(), c.uvarint()
        self.entries, self.deletes = c.uvarint(), c.uvarint()
        self.raw_keys, self.raw_values = c.uvarint(), c.uvarint()
        self.refs = {}
        for _ in range(c.uvarint()):
            file, size, count = c.uvarint(), c.uvarint(), c.uvarint()
            self.refs[file] = (size, count)
        self.fragments = self.bound = self.expiries = self.first_expiry = self.last_expiry = 0
        self.one_sequence = self.incarnation = self.pack = self.pack_size = self.offset = 0
        for tag, body in fields(c, (2, 4, 6, 8, 10)):
            if tag == 2:
                self.fragments, self.bound = body.uvarint(), body.uvarint()
            elif tag == 4:
                self.expiries, self.first_expiry, self.last_expiry = body.uvarint(), body.uvarint(), body.uvarint()
            elif tag == 6:
                self.one_sequence = body.uvarint()
            elif tag == 8:
                self.incarnation = body.uvarint()
            elif tag == 10:
                self.pack, self.pack_size, self.offset = body.uvarint(), body.uvarint(), body.uvarint()

    @property
    def file(self):
        """The name of the file in which the table is."""
        return f"{self.pack:06d}.pack" if self.pack else f"{self.number:06d}.sst"


class ValueEntry:
    """A value file, as the manifest describes it."""

    def __init__(self, c):
        self.number, self.size, self.bytes, self.count = c.uvarint(), c.uvarint(), c.uvarint(), c.uvarint()
        self.incarnation = 0
        for tag, body in fields(c, (2,)):
            self.incarnation = body.uvarint()


def fields(c, known):
    """Yields tag and body of each field; refuses an unknown even tag, passes over an odd one."""
    while not c.done():
        tag, body = c.uvarint(), Cursor(c.string())
        if tag in known:
            yield tag, body
            need(body.done(), f"bytes after the body of field {tag}")
        elif tag % 2 == 0:
            raise Damage(f"field {tag}, which this reader does not know")


class State:
    """The database after all edits."""

    def __init__(self, payloads):
        self.oldest_log = self.next_file = self.last_seq = self.time = 0
        self.log_incarnation = self.first_used = 0
        self.next_keyspace = 1
        self.tables, self.values, self.keyspaces = {}, {}, {0: (b"", b"")}
        need(payloads, "there is not one edit")
        for payload in payloads:
            self._edit(payload)
        for t in self.tables.values():
            need(t.number < self.next_file, f"table {t.number} is not below the next file number {self.next_file}")
            need(t.keyspace in self.keyspaces, f"table {t.number} is of keyspace {t.keyspace}, which there is not")
            need(t.location == 0, f"table {t.number} is in location {t.location}")
        self.values = {n: v for n, v in self.values.items() if any(n in t.refs for t in self.tables.values())}
        for t in self.tables.values():
            for n in t.refs:
                need(n in self.values, f"table {t.number} refers to value file {n}, which there is not")
        self._runs()

    def _edit(self, payload):
        added, gone, drops, kept = [], [], [], []
        for tag, body in fields(Cursor(payload), range(2, 26, 2)):
            if tag == 8:
                added.append(TableEntry(body))
            elif tag == 10:
                gone.append((body.uvarint(), body.uvarint()))
            elif tag == 12:
                v = ValueEntry(body)
                self.values[v.number] = v
            elif tag == 14:
                kept.append((body.uvarint(), body.string(), body.string()))
            elif tag == 16:
                drops.append(body.uvarint())
            else:
                name = {2: "oldest_log", 4: "next_file", 6: "last_seq", 18: "next_keyspace", 20: "time",
                        22: "log_incarnation", 24: "first_used"}[tag]
                n = body.uvarint()
                setattr(self, name, n if tag in (22, 24) else max(getattr(self, name), n))
        for level, number in gone:
            t = self.tables.pop(number, None)
            need(t is not None and t.level == level, f"an edit removes table {number} of level {level}, which is not there")
        for number in drops:
            need(self.keyspaces.pop(number, None), f"an edit drops keyspace {number}, which is not there")
        for number, name, merger in kept:
            self.keyspaces[number] = (name, merger)
            self.next_keyspace = max(self.next_keyspace, number + 1)
        for t in added:
            need(t.number not in self.tables, f"an edit adds table {t.number} twice")
            self.tables[t.number] = t

    def _runs(self):
        """The tables of a run do not overlap."""
        runs = {}
        for t in self.tables.values():
            runs.setdefault((t.keyspace, t.level, t.run), []).append(t)
        for tables in runs.values():
            tables.sort(key=lambda t: (t.smallest, t.largest))
            for a, b in zip(tables, tables[1:]):
                before = a.largest < b.smallest or a.bound == 1 and a.largest == b.smallest
                need(a.bound != 2 and before, f"tables {a.number} and {b.number} of one run overlap")
