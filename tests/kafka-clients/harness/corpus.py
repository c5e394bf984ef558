"""The records that every client writes and reads back, and how two lists of them are compared.

A record is `{"key", "value", "headers", "timestamp"}`: bytes as base64 or None, headers as a list of pairs, the time in
milliseconds or None where the client cannot set it.
"""
import base64
import random
import time

# Within every topic's bounds on timestamps, and the same for a whole run.
BASE_MS = int(time.time()) * 1000 - 3_600_000


def b64(data):
    return None if data is None else base64.b64encode(data).decode()


def record(key, value, headers=(), timestamp=None):
    return {"key": b64(key), "value": b64(value), "headers": [[name, b64(data)] for name, data in headers],
            "timestamp": timestamp}


def corpus():
    """Every kind of record, in one order, with times that are not sorted."""
    words = b"the high water mark is the first offset that is not yet on the disks of all "
    made = [
        record(b"key", b"value", [], BASE_MS),
        record(None, b"no key", [], BASE_MS + 10),
        record(b"no value", None, [], BASE_MS + 20),
        record(None, None, [], BASE_MS + 30),
        record(b"", b"", [], BASE_MS + 40),
        record(b"one header", b"v", [("name", b"value")], BASE_MS + 5),
        record(b"headers", b"v", [("a", b"1"), ("a", b"2"), ("", b"nameless"), ("empty", b"")], BASE_MS + 60),
        record(b"null header", b"v", [("null", None)], BASE_MS + 70),
        record("schlüssel ключ 鍵".encode(), "wert значение 値".encode(), [("kopf-ключ", "値".encode())], BASE_MS + 80),
        record(bytes(range(256)), bytes(reversed(range(256))), [("bytes", bytes(range(256)))], BASE_MS + 90),
        record(b"large", words * 400, [], BASE_MS + 100),
        record(b"many headers", b"v", [(f"h{i}", str(i).encode()) for i in range(40)], BASE_MS + 110),
    ]
    made += [record(f"k{i}".encode(), words + str(i).encode(), [], BASE_MS + 200 + i) for i in range(60)]
    return made


def numbered(count, size=40):
    """`count` records that tell their own place, a millisecond apart."""
    return [record(f"k{i}".encode(), f"{i:08d}".encode().ljust(size, b"."), [], BASE_MS + i) for i in range(count)]


def incompressible(size):
    return record(b"large", random.Random(size).randbytes(size), [], BASE_MS)


def fit(records, cannot):
    """The records that a client can write; what it cannot express is named by `cannot`."""
    kept = []
    for one in records:
        if "headers" in cannot and one["headers"]:
            continue
        if "null-header" in cannot and any(value is None for _, value in one["headers"]):
            continue
        if "empty-header-name" in cannot and any(not name for name, _ in one["headers"]):
            continue
        if "repeated-header" in cannot and len({name for name, _ in one["headers"]}) < len(one["headers"]):
            continue
        if "null-key" in cannot and one["key"] is None:
            continue
        if "null-value" in cannot and one["value"] is None:
            continue
        if "null-record" in cannot and one["key"] is None and one["value"] is None:
            continue
        if "empty" in cannot and "" in (one["key"], one["value"]):
            continue
        if "binary" in cannot and not is_plain_text(one):
            continue
        kept.append(dict(one, timestamp=None) if "timestamp" in cannot else one)
    return kept


def is_plain_text(one):
    """Whether line-oriented programs can carry the record: printable, one line."""
    pieces = [one["key"], one["value"], *(part for _, value in one["headers"] for part in (value,))]
    data = b"".join(base64.b64decode(piece) for piece in pieces if piece is not None)
    try:
        return data.decode().isprintable()
    except UnicodeDecodeError:
        return False


def difference(expected, found, cannot=()):
    """None, or in words where two lists first differ. `cannot` names what the reader does not tell."""
    for index, (one, other) in enumerate(zip(expected, found)):
        for name in ("key", "value", "headers", "timestamp"):
            left, right = one.get(name), other.get(name)
            if name == "timestamp" and (left is None or "timestamp" in cannot):
                continue
            if name == "headers" and "headers" in cannot:
                continue
            if "null-or-empty" in cannot and name in ("key", "value"):
                left, right = left or None, right or None
            if name == "headers" and "null-or-empty" in cannot:
                left, right = ([[key, value or None] for key, value in side] for side in (left, right))
            if left != right:
                return f"record {index}: {name} is {short(right)} instead of {short(left)}"
        if "offset" in one and one["offset"] != other.get("offset"):
            return f"record {index}: offset {other.get('offset')} instead of {one['offset']}"
    if len(expected) != len(found):
        return f"{len(found)} records instead of {len(expected)}"
    return None


def short(value):
    text = repr(value)
    return text if len(text) <= 90 else f"{text[:80]}… ({len(text)} characters)"
