"""Value files, and pointers into them."""

from basics import VALUES, Cursor, Identity, crc32c, need
from unpack import Undecodable, unpack


class Pointer:
    """What stands in a table in the place of a value."""

    def __init__(self, data):
        c = Cursor(data)
        self.file, self.offset, self.length, self.raw = c.uvarint(), c.uvarint(), c.uvarint(), c.uvarint()
        self.checksum = c.u32()
        sum_ = crc32c(data[:c.at])
        need(c.u16() == (sum_ ^ sum_ >> 16) & 0xFFFF and c.done(), "a pointer's check fails")


class ValueFile:
    """A value file, wholly read: every record by its offset."""

    def __init__(self, data, database, entry):
        self.number, self.records, self.undecoded = entry.number, {}, 0
        need(len(data) == entry.size, f"{len(data)} bytes, of {entry.size}")
        need(data[:8] == b"SEDB-VAL", "the file does not begin as a value file")
        c = Cursor(data, 8)
        crc, fmt = c.u32(), c.u32()
        need(fmt in (1, 2), f"format {fmt}, which this reader does not know")
        need(c.u64() == database and c.u64() == entry.number, "the header is of another file")
        incarnation = c.u64() if fmt >= 2 else 0
        need(incarnation == entry.incarnation, "the incarnation is not that in the manifest")
        identity = Identity(database, VALUES, entry.number, incarnation)
        need(identity.checksum(0, data[12:c.at]) == crc, "the header's checksum fails")
        start, end, raw_sum = c.at, len(data) - 36, 0
        while c.at < end:
            at = c.at
            crc, codec, klen = c.u32(), c.u8(), int.from_bytes(c.take(3), "little")
            stored, raw = c.u32(), c.u32()
            key, value = c.take(klen), c.take(stored)
            need(identity.checksum(at, data[at + 4:c.at]) == crc, f"the checksum of the record at {at} fails")
            try:
                value = unpack(codec, value, raw)
            except Undecodable:
                value = None
                self.undecoded += 1
            self.records[at] = (c.at - at, raw, crc, key, value)
            raw_sum += raw
        need(c.at == end, "the last record reaches into the footer")
        count, size, raw = c.u64(), c.u64(), c.u64()
        need(c.take(8) == b"SEDB-END", "the file does not end as a value file")
        need(identity.checksum(end, data[end:c.at]) == c.u32(), "the footer's checksum fails")
        need((count, size, raw) == (len(self.records), end - start, raw_sum), "the footer miscounts the records")
        need((entry.count, entry.bytes) == (count, size), "the manifest miscounts the records")

    def resolve(self, p, key):
        """Returns the value that p of key points to, or None if this machine cannot decode it."""
        need(p.offset in self.records, f"a pointer to {self.number:06d}.val at {p.offset}, where no record begins")
        length, raw, crc, owner, value = self.records[p.offset]
        need((p.length, p.raw, p.checksum) == (length, raw, crc), f"a pointer to {p.offset} of {self.number:06d}.val describes another record")
        need(owner == key, f"a pointer to {p.offset} of {self.number:06d}.val, a record of another key")
        return value
