"""Tables: pages, filter, index with its learned models, properties, footer."""

import math

from basics import APART, EXPIRING, MASK64, RANGE, TABLE, Cursor, Identity, need, xxh3
from rows import split_expiry
from unpack import Undecodable, unpack
from values import Pointer

FOOTER = 88
SLOTS = 32  # pages from one anchor to the next

_DIGITS, _LOWER, _UPPER = b"0123456789", b"abcdefghijklmnopqrstuvwxyz", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# The byte classes of learned codes, by number less one: the bytes that a digit counts, ascending.
CLASSES = [bytes(sorted(c)) for c in (
    _DIGITS, _DIGITS + b"abcdef", _DIGITS + b"ABCDEF", _LOWER, _UPPER, _DIGITS + _LOWER,
    b"-./_" + _DIGITS + _LOWER, _DIGITS + _UPPER + _LOWER, b"-_" + _DIGITS + _UPPER + _LOWER,
    b"+/" + _DIGITS + _UPPER + _LOWER, range(0x20, 0x7F), range(256))]


def order(key, trailer):
    """Returns what sorts entries: by key, the newest version first."""
    return key, -trailer


def page_entries(data):
    """Yields user key and trailer and value of each entry of a page, decompressed."""
    c = Cursor(data)
    flags, w, trailers, len_width, row_width = (c.u8() for _ in range(5))
    need(c.take(3) == bytes(3) and flags < 2, "unknown flags in a page")
    n, prefix_len, one_len, rows_len, least = c.u32(), c.u32(), c.u32(), c.u32(), c.u64()
    unit, trailer_width = (256 if trailers & 0x80 else 1), trailers & 15
    need(w in (0, 2, 4, 8) and trailer_width in (0, 1, 2, 4, 8), "a page of impossible widths")
    need(len_width in (0, 1, 2, 4) and row_width in (0, 2, 4), "a page of impossible widths")
    need(n > 0 and not trailers & 0x70, "a page without entries, or of unknown trailers")
    prefix = c.take(prefix_len)
    c.take(-prefix_len % 8)
    heads = c.array(n, w)
    offsets = c.array(n + 1, row_width) if row_width else [i * rows_len for i in range(n + 1)]
    rows = c.take(offsets[-1])
    need(c.done(), "bytes behind the last row of a page")
    need(not row_width or rows_len == offsets[-1], "a page whose rows are not as long as it says")
    before = None
    for i, head in enumerate(heads):
        need(offsets[i] <= offsets[i + 1], "row offsets that go back")
        row = Cursor(rows[offsets[i]:offsets[i + 1]])
        trailer = least + int.from_bytes(row.take(trailer_width), "little") * unit
        klen = int.from_bytes(row.take(len_width), "little") if len_width else one_len
        key = prefix + head.to_bytes(w, "big")[:klen] + row.take(max(klen - w, 0))
        need(head.to_bytes(w, "big")[klen:].strip(b"\0") == b"", "a head that is longer than its key")
        need(not flags or key != before, "two versions of a key on a page that promises one")
        before = key
        yield key, trailer, row.take(len(row.data) - row.at)


def fragments(data):
    """Returns a list of range tombstones: lo, hi or None, sequences."""
    c, out, hi = Cursor(data), [], b""
    while not c.done():
        need(hi is not None, "a fragment behind one that has no end")
        form = c.uvarint()
        need(form < 4 and (out or not form & 1), "a fragment of unknown form")
        lo = hi if form & 1 else c.string()
        need(not out or hi <= lo, "fragments that overlap")
        hi = None if form & 2 else c.string()
        need(hi is None or lo < hi, "a fragment that holds no key")
        seqs = []
        for _ in range(c.uvarint()):
            seqs.append(seqs[-1] - c.uvarint() if seqs else c.uvarint())
        need(seqs and seqs[-1] > 0, "a fragment without sequences, or with sequence 0")
        out.append((lo, hi, seqs))
    return out


def _bloom(data):
    """Returns what says of a hash whether a blocked Bloom filter has it."""
    bits, probes = data[:-1], data[-1]
    need(bits and len(bits) % 64 == 0 and 1 <= probes <= 14, "a filter of impossible size")

    def has(h):
        block = (h * (len(bits) // 64) >> 64) * 64
        for i in range(probes):
            if i % 7 == 0:
                h = h * 0x9E3779B97F4A7C15 & MASK64
            bit = h >> 9 * (i % 7) & 511
            if not bits[block + (bit >> 3)] >> (bit & 7) & 1:
                return False
        return True

    return has


def _fuse(data):
    """Returns what says of a hash whether a binary fuse filter has it."""
    c = Cursor(data, len(data) - 13)
    seed, segments, shift = c.u64(), c.u32(), c.u8()
    need(segments > 0 and 2 <= shift <= 18 and len(data) - 13 == segments + 2 << shift, "a filter of impossible size")
    mask = (1 << shift) - 1

    def has(h):
        x = h + seed & MASK64
        x = (x ^ x >> 33) * 0xFF51AFD7ED558CCD & MASK64
        x = (x ^ x >> 33) * 0xC4CEB9FE1A85EC53 & MASK64
        x ^= x >> 33
        a = x * (segments << shift) >> 64
        b, d = a + mask + 1 ^ x >> 18 & mask, a + 2 * (mask + 1) ^ x & mask
        return (x ^ x >> 32) & 255 == data[a] ^ data[b] ^ data[d]

    return has


def key_filter(data):
    """Returns what says of a key whether the filter of these bytes has it."""
    if not data:
        return lambda key: True
    need(data[-1] in (1, 2), f"a filter of kind {data[-1]}")
    has = (_bloom if data[-1] == 1 else _fuse)(data[:-1])
    return lambda key: has(xxh3(key))


class Model:
    """What finds the page of a key by arithmetic."""

    def __init__(self, c, heap, codes):
        self.x0, self.slope, self.beyond = c.u64(), c.u64(), c.u32()
        offset, length = c.u32(), c.u32()
        self.shared = (offset, length)
        code, self.shift = c.u8(), c.u8()
        need(c.u16() == 0, "a model's last bytes are not zero")
        need(offset + length <= len(heap) and code <= len(codes), "a model refers beyond the index")
        self.shared = heap[offset:offset + length]
        self.code = codes[code - 1] if code else None

    def page(self, rest):
        """Returns the page within the segment for what of a key is behind the shared bytes."""
        number = int.from_bytes(rest[:8].ljust(8, b"\0"), "big") if self.code is None else _coded(self.code, rest)
        if number < self.x0:
            return 0
        return ((number - self.x0 << self.shift) * self.slope >> 64) >> 32


def _codes(data):
    c, out = Cursor(data), []
    while not c.done():
        d, digits = Cursor(c.take(c.u8())), []
        while not d.done():
            kind = d.u8()
            need(kind <= len(CLASSES), f"a code with byte class {kind}, which this reader does not know")
            digits.append(d.take(1) if kind == 0 else CLASSES[kind - 1])
        out.append(digits)
    return out


def _coded(digits, rest):
    """Returns the mixed-radix number of rest; a byte outside its class makes the digits after it moot."""
    number, exact = 0, True
    for i, cls in enumerate(digits):
        number *= len(cls)
        if not exact or i >= len(rest):
            exact = False
            continue
        below = sum(c < rest[i] for c in cls)
        number += below
        exact = rest[i] in cls
        if below == len(cls):  # beyond all of them: the last number that begins like this
            return number * math.prod(len(c) for c in digits[i + 1:]) - 1
    return number


class Index:
    """Segments of pages, each behind a separator."""

    def __init__(self, data):
        c = Cursor(data)
        self.pages, segments, models, extensions = c.u32(), c.u32(), c.u32(), c.u32()
        prefix_len, heap_len, codes_len = c.u32(), c.u32(), c.u32()
        residual_width, raw_width = c.u8(), c.u8()
        need(c.u16() == 0 and residual_width in (2, 4, 8) and raw_width in (0, 2, 4), "an index of impossible widths")
        heads = c.array(segments, 8)
        modelled = _marks(c, segments, models)
        raw_models = c.take(32 * models)
        extended = _marks(c, segments, extensions)
        starts = c.array(extensions + 1 if extensions else 0, 4)
        anchors = c.array(self.pages // SLOTS + 2, 8)
        residuals = c.array(self.pages + 1, residual_width)
        self.raw = c.array(self.pages, raw_width)
        codes = _codes(c.take(codes_len))
        prefix, heap = c.take(prefix_len), c.take(heap_len)
        need(c.done(), "bytes behind the index")
        self.offsets = []
        for i, r in enumerate(residuals):
            if r >> 8 * residual_width - 1:
                r -= 1 << 8 * residual_width  # two's complement
            a, b = anchors[i // SLOTS], anchors[i // SLOTS + 1]
            self.offsets.append(a + ((b - a) * (i % SLOTS) >> 5) + r)
        self.separators = []
        for i, head in enumerate(heads):
            ext = extended[i]
            self.separators.append(_separator(prefix, head, heap[starts[ext]:starts[ext + 1]] if ext is not None else None))
        self.separators[0] = (b"", float("-inf"))
        mc = Cursor(raw_models)
        self.prefix, self.models = prefix, [Model(mc, heap, codes) for _ in range(models)]
        self.model = [self.models[m] if m is not None else None for m in modelled]
        self.first, at = [], 0
        for i in range(segments):
            self.first.append(at)
            m = modelled[i]
            beyond = self.models[m + 1].beyond if m is not None and m + 1 < models else None
            at += 1 if m is None else 1 + (beyond if beyond is not None else self.pages - segments) - self.models[m].beyond
        self.first.append(at)
        need(at == self.pages, "segments that have not the index's pages")

    def find(self, key, trailer):
        """Returns the page that a lookup would read."""
        lo, hi, probe = 0, len(self.separators), order(key, trailer)
        while hi - lo > 1:
            mid = (lo + hi) // 2
            if self.separators[mid] <= probe:
                lo = mid
            else:
                hi = mid
        first, last, model = self.first[lo], self.first[lo + 1] - 1, self.model[lo]
        if model is None:
            return first
        shared = self.prefix + model.shared
        if not key.startswith(shared):
            return first if key < shared else last
        return min(first + model.page(key[len(shared):]), last)


def _marks(c, n, marked):
    """Returns for each of n the rank of its mark, or None."""
    words = (n + 63) // 64 if marked else 0
    bits, ranks, out, count = c.array(words, 8), c.array(words, 4), [], 0
    for i in range(n):
        if words and i % 64 == 0:
            need(ranks[i // 64] == count, "marks of an index that are miscounted")
        if words and bits[i // 64] >> i % 64 & 1:
            out.append(count)
            count += 1
        else:
            out.append(None)
    need(count == marked, "marks of an index that are miscounted")
    return out


def _separator(prefix, head, ext):
    raw = head.to_bytes(8, "big")
    if ext is None:
        return prefix + raw.rstrip(b"\0"), float("-inf")
    c = Cursor(ext)
    form = c.u8()
    need(form & 15 <= 8 and form < 32, "a separator of unknown form")
    trailer = -c.u64() if form & 16 else float("-inf")
    return prefix + raw[:form & 15] + ext[c.at:], trailer


class Table:
    """A table, wholly read and checked."""

    def __init__(self, data, database, entry):
        self.data, self.entry = data, entry
        self.entries, self.undecoded, self.pointers = [], 0, []
        need(len(data) == entry.size, f"{len(data)} bytes, of {entry.size}")
        need(len(data) > FOOTER, "too short for a table")
        self._footer(database)
        filter_, index, props = (self._block(b, name) for b, name in zip(self.blocks, ("filter", "index", "properties")))
        self.filter = key_filter(filter_)
        self._properties(props)
        self.deleted = fragments(self.props.get(36, b""))
        self.index = Index(index) if index else None
        self._pages()
        if not self.undecoded:
            self._counts()

    def _footer(self, database):
        at = len(self.data) - FOOTER
        c = Cursor(self.data, at)
        self.blocks = [(c.u64(), c.u64()) for _ in range(3)]
        db, number, self.format, low = c.u64(), c.u64(), c.u32(), c.u32()
        covered = self.data[at:c.at]
        crc, high_bytes = c.u32(), c.take(4)
        need(c.take(8) == b"seertbl\1", "the file does not end as a table")
        need(self.format in (1, 2) and self.format == self.entry.format, f"format {self.format} is not the manifest's")
        incarnation = low | int.from_bytes(high_bytes, "little") << 32
        need((db, number) == (database, self.entry.number), "the footer is of another file")
        need(incarnation == self.entry.incarnation, "the incarnation is not that in the manifest")
        self.identity = Identity(database, TABLE, number, incarnation)
        covered += self.data[c.at - 12:]
        need(self.identity.checksum(at, covered) == crc, "the footer's checksum fails")

    def _block(self, block, name):
        offset, length = block
        c = Cursor(self.data, offset)
        data = c.take(length)
        need(self.identity.checksum(offset, data) == c.u32(), f"the checksum of the {name} fails")
        return data

    def _properties(self, data):
        self.props, c = {}, Cursor(data)
        while not c.done():
            tag = c.uvarint()
            self.props[tag] = c.string()
        self.number = {t: Cursor(p).uvarint() for t, p in self.props.items() if t <= 31 or t >= 48 or t == 35}

    def _pages(self):
        if self.index is None:
            need(self.blocks[0][0] == 0, "pages that no index leads to")
            return
        offsets, before = self.index.offsets, None
        need(offsets[0] == 0 and offsets[-1] == self.blocks[0][0], "pages that do not fill the file up to the filter")
        for i in range(self.index.pages):
            stored = self._page(i, offsets[i], offsets[i + 1])
            if stored is None:
                self.undecoded += 1
                before = None
                continue
            for key, trailer, value in page_entries(stored):
                need(before is None or before < order(key, trailer), f"the entries of page {i} are out of order")
                before = order(key, trailer)
                need(self.filter(key), f"the filter denies the key {key.hex()} of page {i}")
                found = self.index.find(key, trailer)
                need(found == i, f"the index leads the key {key.hex()} of page {i} to page {found}")
                self._entry(key, trailer, value)

    def _page(self, i, start, end):
        need(0 <= start < end - 5, f"page {i} has no bytes")
        c = Cursor(self.data, end - 4)
        need(self.identity.checksum(start, self.data[start:end - 4]) == c.u32(), f"the checksum of page {i} fails")
        # The codec stands before the length, which only a compressed page has: the index says which.
        raw = self.index.raw[i]
        at = end - 9 if raw else end - 5
        codec = self.data[at]
        need((codec != 0) == (raw != 0), f"page {i} is compressed, or not, unlike the index says")
        if raw:
            need(Cursor(self.data, at + 1).u32() == raw, f"page {i} has not the length that the index says")
        try:
            return unpack(codec, self.data[start:at], raw or at - start)
        except Undecodable:
            return None

    def _entry(self, key, trailer, value):
        seq, kind = trailer >> 8, trailer & 255
        need(kind < 8 and kind != RANGE, f"an entry of kind {kind}")
        one = self.entry.one_sequence
        need(not one or seq == 0, "an entry with a sequence in a table of one sequence")
        expiry, rest = split_expiry(kind, value)
        if kind in APART:
            rest = Pointer(rest)
            self.pointers.append((key, rest))
        self.entries.append((key, one or seq, kind, expiry, rest, len(value)))

    def _raw_values(self):
        """Returns what the manifest counts: the values themselves, wherever they are, without expiry."""
        return sum(len(rest) if isinstance(rest, bytes) else rest.raw for _, _, _, _, rest, _ in self.entries)

    def _counts(self):
        """Compares what is there with the properties and the manifest."""
        e, number = self.entries, self.number
        m = self.entry
        kinds = [0] * 8
        for entry in e:
            kinds[entry[2]] += 1
        raw_keys, raw_values = sum(len(x[0]) for x in e), sum(x[5] for x in e)
        seqs = [x[1] for x in e]
        have = {1: len(e), 2: len({x[0] for x in e}), 3: raw_keys, 4: raw_values,
                7: self.index.pages if self.index else 0, 10: len(self.index.model) if self.index else 0}
        if not m.one_sequence:
            have.update({5: min(seqs, default=0), 6: max(seqs, default=0)})
        have.update({48 + k: n for k, n in enumerate(kinds)})
        for tag, n in have.items():
            need(number.get(tag, 0) == n, f"property {tag} is {number.get(tag, 0)}; the entries make it {n}")
        need(self.props.get(32, b"") == (e[0][0] if e else b""), "the smallest key is not that in the properties")
        need(self.props.get(33, b"") == (e[-1][0] if e else b""), "the largest key is not that in the properties")
        seqs += [s for _, _, list_ in self.deleted for s in list_]
        keys = [x[0] for x in e[:1]] + [f[0] for f in self.deleted[:1]]
        expiries = [x[3] for x in e if x[3] is not None]
        pairs = (
            ("entries", m.entries, len(e)), ("raw bytes of keys", m.raw_keys, raw_keys),
            ("raw bytes of values", m.raw_values, self._raw_values()), ("smallest sequence", m.min_seq, min(seqs)),
            ("largest sequence", m.max_seq, max(seqs)), ("range tombstones", m.fragments, len(self.deleted)),
            ("deletes", m.deletes, kinds[0] + kinds[4]), ("smallest key", m.smallest, min(keys)),
            ("expiries", (m.expiries, m.first_expiry, m.last_expiry),
             (len(expiries), min(expiries, default=0), max(expiries, default=0))),
        )
        for name, said, there in pairs:
            need(said == there, f"{name}: the manifest says {said}, the table has {there}")
        refs = {}
        for _, p in self.pointers:
            size, count = refs.get(p.file, (0, 0))
            refs[p.file] = (size + p.length, count + 1)
        need(refs == m.refs, f"references: the manifest says {m.refs}, the table has {refs}")
        for key, seq, kind, expiry, rest, _ in e:
            need(m.smallest <= key and (key <= m.largest), "a key beyond the manifest's")
