"""Which rows live, of all that was ever written and is still there."""

from basics import DELETE, EXPIRING, MERGE, RANGE, SINGLE, Cursor, Damage, need


class Keyspace:
    """Everything that the files hold of one keyspace."""

    def __init__(self, name, merger):
        self.name, self.merger = name, merger.decode()
        self.entries = {}   # key: {(sequence, kind): value}
        self.deleted = []   # lo, hi or None, sequence

    def add(self, seq, kind, key, value):
        if kind == RANGE:
            self.deleted.append((key, value or None, seq))
            return
        self.entries.setdefault(key, {})[seq, kind] = value

    def rows(self, now):
        """Yields key and value, a string of bytes, or a list: the base or None, then operands, oldest first."""
        for key in sorted(self.entries):
            value = self._row(key, now)
            if value is not None:
                yield key, value

    def _row(self, key, now):
        cover = max((s for lo, hi, s in self.deleted if lo <= key and (hi is None or key < hi)), default=-1)
        base, operands = None, []
        for (seq, kind), value in sorted(self.entries[key].items(), reverse=True):
            if seq < cover or kind in (DELETE, SINGLE):
                break
            if kind == MERGE:
                operands.insert(0, value)
                continue
            if kind in EXPIRING:
                expiry, value = value
                if expiry <= now:
                    break
            base = value
            break
        if not operands:
            return base
        merge = operator(self.merger)
        merged = merge(base, operands) if merge else None
        return [base] + operands if merged is None else merged


def split_expiry(kind, value):
    """Returns the expiry, or None, and what follows it."""
    if kind not in EXPIRING:
        return None, value
    need(len(value) >= 8, "a put with expiry without one")
    return int.from_bytes(value[:8], "little"), value[8:]


def operator(name):
    """Returns the function of a merge operator of package merger, or None for one of the user's.

    The function returns None where the operator returns an error.
    """
    if name == "seerdb.counter":
        return _counter
    if name == "seerdb.max":
        return lambda base, ops: max(_all(base, ops))
    if name == "seerdb.min":
        return lambda base, ops: min(_all(base, ops))
    if name == "seerdb.union":
        return _union
    if name.startswith("seerdb.append/"):
        separator = _unquote(name.removeprefix("seerdb.append/"))
        return lambda base, ops: separator.join(_all(base, ops))
    return None


def _all(base, ops):
    return ops if base is None else [base] + ops


def _counter(base, ops):
    values = _all(base, ops)
    if any(len(v) != 8 for v in values):
        return None
    total = sum(int.from_bytes(v, "little", signed=True) for v in values)
    return total.to_bytes(8, "little", signed=True) if -1 << 63 <= total < 1 << 63 else None


def _union(base, ops):
    elements = set()
    try:
        for v in _all(base, ops):
            c = Cursor(v)
            while not c.done():
                elements.add(c.string())
    except Damage:
        return None
    return b"".join(_uvarint(len(e)) + e for e in sorted(elements))


def _uvarint(n):
    out = bytearray()
    while n >= 128:
        out.append(n & 127 | 128)
        n >>= 7
    return bytes(out + bytes([n]))


def _unquote(literal):
    """Reads a Go string literal in ASCII."""
    simple = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34}
    out, i = bytearray(), 1
    need(len(literal) >= 2 and literal[0] == literal[-1] == '"', f"{literal} is no literal of Go")
    while i < len(literal) - 1:
        ch = literal[i]
        i += 1
        if ch != "\\":
            out += ch.encode()
            continue
        ch = literal[i]
        i += 1
        digits = {"x": 2, "u": 4, "U": 8}.get(ch, 0)
        if digits:
            code = int(literal[i:i + digits], 16)
            out += bytes([code]) if ch == "x" else chr(code).encode()
            i += digits
        else:
            out.append(simple[ch])
    return bytes(out)
