"""Records, as logs and manifests are made of them, and what logs and CURRENT say."""

from basics import CURRENT, LOG, RANGE, DELETE, SINGLE, PUT, MERGE, PUT_EXPIRY, Cursor, Damage, Identity, need

MAGIC = b"seerdb\0"
HEAD = 16
FILE_HEADER, DATA, MARK = 1, 2, 3


class Header:
    """The first record of a file."""

    def __init__(self, payload, kind):
        c = Cursor(payload)
        need(c.take(7) == MAGIC, "the file does not begin as one of seerdb's")
        need(c.u8() == kind, f"the file is not of type {kind}")
        self.format = c.u32()
        need(self.format in (1, 2), f"format {self.format}, which this reader does not know")
        need(c.u32() == 0, "flags in the file header")
        self.database, self.number = c.u64(), c.u64()
        self.incarnation = c.u64() if self.format >= 2 else 0
        self.extra = payload[c.at:]


def _record(data, at, identity):
    """Returns kind, synced, payload of the record at `at`, or None if there is no good one."""
    if at + HEAD > len(data):
        return None
    length, kind = int.from_bytes(data[at + 4:at + 8], "little"), data[at + 8]
    end = at + HEAD + length
    if end > len(data) or not 1 <= kind <= 3:
        return None
    if identity.checksum(at, data[at + 4:end]) != int.from_bytes(data[at:at + 4], "little"):
        return None
    return kind, int.from_bytes(data[at + 9:at + 16], "little"), data[at + HEAD:end]


def read(data, database, kind, number, durable=0):
    """Returns the header, the payloads of the data records, and where the good records end.

    Everything below `durable` must be good; so must be what a later record says was synced.
    """
    need(len(data) >= HEAD + 32, f"only {len(data)} bytes, fewer than a file header")
    first = Cursor(data, 4)
    header = Header(data[HEAD:HEAD + first.u32()], kind)
    need(header.database == database, f"the file is of database {header.database:016x}")
    need(header.number == number, f"the file says that its number is {header.number}")
    identity = Identity(database, kind, number, header.incarnation)
    at, payloads, last = 0, [], None
    while at < len(data):
        record = _record(data, at, identity)
        if record is None:
            break
        last, synced, payload = record
        need((last == FILE_HEADER) == (at == 0), f"a file header at {at}")
        need(synced <= at, f"the record at {at} says that {synced} bytes are synced")
        need(last != MARK or not payload, f"the mark at {at} has a payload")
        if last == DATA:
            payloads.append(payload)
        at += HEAD + len(payload)
    need(at > 0, "the file header is damaged")
    need(at >= durable, f"the record at {at} is damaged; the file is known to be good up to {durable}")
    for q in range(at + 1, len(data) - HEAD + 1):
        if data[q + 8] in (2, 3) and at < int.from_bytes(data[q + 9:q + 16], "little") <= q:
            need(_record(data, q, identity) is None, f"the record at {at} is damaged; that at {q} knows it synced")
    return header, payloads, at


def batch(payload):
    """Yields keyspace, sequence, kind, key, value of each operation."""
    c = Cursor(payload)
    seq, count = c.u64(), c.u32()
    need(c.u32() == 0, "flags in a batch")
    for i in range(count):
        kind, keyspace = c.u8(), c.uvarint()
        need(kind in (DELETE, PUT, MERGE, SINGLE, RANGE, PUT_EXPIRY), f"an operation of kind {kind}")
        key = c.string()
        value = b"" if kind in (DELETE, SINGLE) else c.string()
        need(kind != PUT_EXPIRY or len(value) >= 8, "a put with expiry without one")
        yield keyspace, seq + i, kind, key, value
    need(c.done(), "bytes after the last operation of a batch")


def previous(header):
    """Returns number and length of the segment before this one."""
    c = Cursor(header.extra)
    pair = c.u64(), c.u64()
    need(c.done(), "bytes after the file header's last field")
    return pair


class Current:
    """The file CURRENT."""

    def __init__(self, data):
        text = data.decode("ascii", errors="replace")
        lines = text.split("\n")
        need(lines[0] == "seerdb" and lines.pop() == "" and len(lines) >= 5, "it does not begin or end as it should")
        pairs = [line.split(" ") for line in lines[1:]]
        names = [p[0] for p in pairs]
        one = {p[0]: p[1] for p in pairs if len(p) == 2}
        try:
            self.format = int(one["format"])
            need(self.format in (1, 2), f"format {self.format}, which this reader does not know")
            first = ["format", "database"] + ["incarnation"] * (self.format >= 2) + ["manifest", "synced"]
            middle = names[len(first):-1]
            need(names[:len(first)] == first and names[-1] == "checksum", "its lines are not those of its format")
            need(set(middle) <= ({"closed"} if self.format >= 2 else set()), "its lines are not those of its format")
            self.database = int(one["database"], 16)
            self.incarnation = int(one.get("incarnation", "0"), 16)
            self.manifest = one["manifest"]
            self.number = int(self.manifest.removeprefix("MANIFEST-"))
            self.synced = int(one["synced"])
            self.closed = {p[1]: int(p[2]) for p in pairs if p[0] == "closed"}
            checksum = int(one["checksum"], 16)
        except (KeyError, ValueError, IndexError) as e:
            raise Damage(f"a line is missing or not of its form ({e})") from e
        covered = data[:data.rindex(b"checksum ")]
        sum_ = Identity(self.database, CURRENT, self.number, self.incarnation).checksum(0, covered)
        need(sum_ == checksum, f"its checksum is {checksum:08x}, its text has {sum_:08x}")
