"""Packs: files in which several tables lie."""

from basics import PACK, Cursor, Identity, need

FOOTER, ENTRY = 48, 24


def tables(data, database, entries):
    """Yields the manifest's entry and the bytes of each table in a pack, of which entries are those that count."""
    first = entries[0]
    need(all((e.pack_size, e.incarnation) == (first.pack_size, first.incarnation) for e in entries),
         "the manifest says different things of the file")
    need(len(data) == first.pack_size, f"{len(data)} bytes, of {first.pack_size}")
    at = len(data) - FOOTER
    need(at > 0, "too short for a pack")
    c = Cursor(data, at)
    count, db, number, incarnation, version = c.u64(), c.u64(), c.u64(), c.u64(), c.u32()
    covered = data[at:c.at]
    identity = Identity(database, PACK, first.pack, first.incarnation)
    need((db, number, incarnation) == (database, first.pack, first.incarnation), "the footer is of another file")
    need(version == 2, f"format {version}")
    need(identity.checksum(at, covered) == c.u32(), "the footer's checksum fails")
    need(c.take(8) == b"seerpak\1", "the file does not end as a pack")
    begin = at - 4 - count * ENTRY
    need(count > 0 and begin > 0, f"a directory of {count} tables")
    c = Cursor(data, begin)
    places, end = {}, 0
    for _ in range(count):
        number, offset, size = c.u64(), c.u64(), c.u64()
        need(offset == end and number not in places, "tables that do not lie one behind the other")
        places[number], end = (offset, size), offset + size
    need(end == begin, "tables that do not fill the file up to the directory")
    need(identity.checksum(begin, data[begin:at - 4]) == c.u32(), "the checksum of the directory fails")
    for e in entries:
        need(places.get(e.number) == (e.offset, e.size), f"table {e.number} is not where the manifest says")
        yield e, data[e.offset:e.offset + e.size]
