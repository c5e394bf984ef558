"""Kafka's wire protocol, enough to speak it from the outside: messages by their JSON definitions, requests over a socket,
and record batches. Not a client: nothing is retried, cached or chosen here.

The definitions are the protocol's own JSON files, as packed in the kafka-python distribution that the set-up installs.
A message is a dict by the names of its definition; a field that is left out has its default.
"""
import importlib.util
import json
import pathlib
import re
import socket
import struct
import uuid

NULL_UUID = uuid.UUID(int=0)


class WireError(Exception):
    """Bytes that are not what the definition says, or a connection that ended."""


# ---- definitions

def definitions_dir():
    spec = importlib.util.find_spec("kafka")
    if spec is None or not spec.submodule_search_locations:
        raise WireError("kafka-python is not installed: its message definitions are needed")
    return pathlib.Path(list(spec.submodule_search_locations)[0]) / "protocol" / "schemas" / "resources"


def in_versions(spec, version):
    """Whether `version` is in "3", "3-7", "3+" or "none"."""
    if spec is None or spec == "none":
        return False
    low, dash, high = spec.rstrip("+").partition("-")
    return version >= int(low) and (spec.endswith("+") or version <= int(high if dash else low))


class Api:
    """One API: its key, its versions, and the definitions of both messages."""

    def __init__(self, name, request, response):
        self.name, self.key = name, request["apiKey"]
        self.request, self.response = request, response
        low, dash, high = request["validVersions"].partition("-")
        self.versions = range(int(low), int(high if dash else low) + 1)

    def flexible(self, version):
        return in_versions(self.request["flexibleVersions"], version)


_apis = {}


def api(name):
    if name not in _apis:
        folder = definitions_dir()
        loaded = []
        for kind in ("Request", "Response"):
            text = (folder / f"{name}{kind}.json").read_text(encoding="utf-8")
            loaded.append(json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M)))
        _apis[name] = Api(name, *loaded)
    return _apis[name]


def api_names():
    """Names of all APIs that have definitions, by key."""
    names = {path.name[:-len("Request.json")] for path in definitions_dir().glob("*Request.json")}
    return {api(name).key: name for name in names}


# ---- primitive values

class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        if count < 0 or self.at + count > len(self.data):
            raise WireError(f"{count} bytes wanted at {self.at} of {len(self.data)}")
        piece = self.data[self.at:self.at + count]
        self.at += count
        return piece

    def unpack(self, form):
        return struct.unpack(">" + form, self.take(struct.calcsize(form)))[0]

    def uvarint(self):
        value, shift = 0, 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise WireError("a varint that does not end")

    def varint(self):
        value = self.uvarint()
        return (value >> 1) ^ -(value & 1)


def uvarint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def varint(value):
    return uvarint((value << 1) ^ (value >> 63) if value >= 0 else ((-value - 1) << 1) | 1)


FORMS = {"bool": "?", "int8": "b", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q",
         "float64": "d"}


def encode_length(length, flexible, form):
    if flexible:
        return uvarint(0 if length is None else length + 1)
    return struct.pack(">" + form, -1 if length is None else length)


def decode_length(reader, flexible, form):
    if flexible:
        length = reader.uvarint() - 1
    else:
        length = reader.unpack(form)
    return None if length < 0 else length


# ---- messages

class Codec:
    """Encodes and decodes one definition at one version."""

    def __init__(self, definition, version):
        self.version = version
        self.flexible = in_versions(definition["flexibleVersions"], version)
        self.structs = {common["name"]: common["fields"] for common in definition.get("commonStructs", [])}
        self.fields = definition["fields"]

    def encode(self, message):
        return self.encode_struct(self.fields, message)

    def decode(self, data):
        reader = Reader(data)
        message = self.decode_struct(self.fields, reader)
        if reader.at != len(data):
            raise WireError(f"{len(data) - reader.at} bytes after the end of the message")
        return message

    def split(self, fields):
        there = [field for field in fields if in_versions(field["versions"], self.version)]
        tagged = [field for field in there if in_versions(field.get("taggedVersions"), self.version)]
        return [field for field in there if field not in tagged], tagged

    def nested(self, field, kind):
        return field["fields"] if "fields" in field else self.structs[kind]

    def default(self, field):
        kind, text = field["type"], field.get("default")
        if text == "null":
            return None
        if kind.startswith("[]"):
            return []
        if kind == "string":
            return text or ""
        if kind in ("bytes", "records"):
            return b""
        if kind == "uuid":
            return NULL_UUID
        if kind == "bool":
            return str(text).lower() == "true"
        if kind == "float64":
            return float(text or 0)
        if kind in FORMS:
            return int(str(text or 0), 0)
        return {}

    def encode_struct(self, fields, message):
        plain, tagged = self.split(fields)
        known = {field["name"] for field in fields}
        for name in message:
            if name not in known and not name.startswith("_"):
                raise WireError(f"there is no field {name}")
        out = b"".join(self.encode_field(field, message) for field in plain)
        if self.flexible:
            parts = [(field["tag"], self.encode_field(field, message)) for field in tagged if field["name"] in message]
            out += uvarint(len(parts))
            for tag, body in sorted(parts):
                out += uvarint(tag) + uvarint(len(body)) + body
        return out

    def encode_field(self, field, message):
        value = message.get(field["name"], self.default(field))
        kind = field["type"]
        if kind.startswith("[]"):
            length = None if value is None else len(value)
            out = encode_length(length, self.flexible, "i")
            return out + b"".join(self.encode_value(field, kind[2:], item) for item in value or [])
        return self.encode_value(field, kind, value)

    def encode_value(self, field, kind, value):
        if kind in FORMS:
            return struct.pack(">" + FORMS[kind], value)
        if kind == "uuid":
            return value.bytes
        if kind == "string":
            data = None if value is None else value.encode()
            return encode_length(None if data is None else len(data), self.flexible, "h") + (data or b"")
        if kind in ("bytes", "records"):
            return encode_length(None if value is None else len(value), self.flexible, "i") + (value or b"")
        if in_versions(field.get("nullableVersions"), self.version) and not field["type"].startswith("[]"):
            return b"\xff" if value is None else b"\x01" + self.encode_struct(self.nested(field, kind), value)
        return self.encode_struct(self.nested(field, kind), value)

    def decode_struct(self, fields, reader):
        plain, tagged = self.split(fields)
        message = {field["name"]: self.decode_field(field, reader) for field in plain}
        if self.flexible:
            by_tag = {field["tag"]: field for field in tagged}
            for field in tagged:
                message[field["name"]] = self.default(field)
            for _ in range(reader.uvarint()):
                tag, body = reader.uvarint(), Reader(reader.take(reader.uvarint()))
                if tag in by_tag:
                    message[by_tag[tag]["name"]] = self.decode_field(by_tag[tag], body)
                else:
                    message.setdefault("_tags", {})[tag] = body.data
        return message

    def decode_field(self, field, reader):
        kind = field["type"]
        if kind.startswith("[]"):
            length = decode_length(reader, self.flexible, "i")
            return None if length is None else [self.decode_value(field, kind[2:], reader) for _ in range(length)]
        return self.decode_value(field, kind, reader)

    def decode_value(self, field, kind, reader):
        if kind in FORMS:
            return reader.unpack(FORMS[kind])
        if kind == "uuid":
            return uuid.UUID(bytes=bytes(reader.take(16)))
        if kind == "string":
            length = decode_length(reader, self.flexible, "h")
            return None if length is None else reader.take(length).decode()
        if kind in ("bytes", "records"):
            length = decode_length(reader, self.flexible, "i")
            return None if length is None else bytes(reader.take(length))
        if in_versions(field.get("nullableVersions"), self.version) and not field["type"].startswith("[]"):
            return None if reader.unpack("b") < 0 else self.decode_struct(self.nested(field, kind), reader)
        return self.decode_struct(self.nested(field, kind), reader)


def request_header(key, version, correlation, flexible, client_id="wire"):
    name = client_id.encode()
    return struct.pack(">hhih", key, version, correlation, len(name)) + name + (b"\x00" if flexible else b"")


def request_frame(name, version, body, correlation=1):
    """A whole request: length, header, body."""
    definition = api(name)
    payload = request_header(definition.key, version, correlation, definition.flexible(version)) \
        + Codec(definition.request, version).encode(body)
    return struct.pack(">i", len(payload)) + payload


def decode_response(name, version, payload):
    """`(correlation id, message)` of a response frame without its length."""
    definition, reader = api(name), Reader(payload)
    correlation = reader.unpack("i")
    if definition.flexible(version) and name != "ApiVersions":
        for _ in range(reader.uvarint()):
            reader.uvarint()
            reader.take(reader.uvarint())
    return correlation, Codec(definition.response, version).decode(payload[reader.at:])


class Connection:
    """One connection; requests are answered one at a time."""

    def __init__(self, address, timeout=15):
        host, _, port = address.rpartition(":")
        self.socket = socket.create_connection((host.strip("[]"), int(port)), timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.correlation = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def receive_exactly(self, count):
        parts = []
        while count:
            part = self.socket.recv(min(count, 1 << 20))
            if not part:
                raise WireError("the connection was closed")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def receive_frame(self):
        return self.receive_exactly(struct.unpack(">i", self.receive_exactly(4))[0])

    def call(self, name, version, body=None):
        self.correlation += 1
        self.send(request_frame(name, version, body or {}, self.correlation))
        correlation, message = decode_response(name, version, self.receive_frame())
        if correlation != self.correlation:
            raise WireError(f"answer {correlation} to request {self.correlation}")
        return message


# ---- record batches

def _crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def record_bytes(offset_delta, timestamp_delta, key, value, headers=()):
    def sized(data):
        return varint(-1) if data is None else varint(len(data)) + data

    body = b"\x00" + varint(timestamp_delta) + varint(offset_delta) + sized(key) + sized(value) + varint(len(headers))
    for name, header in headers:
        body += sized(name.encode()) + sized(header)
    return varint(len(body)) + body


def batch(records, timestamp, **wrong):
    """An uncompressed batch of `(key, value)` pairs; `wrong` replaces fields: crc, magic, count, attributes, producer."""
    body = b"".join(record_bytes(i, i, key, value) for i, (key, value) in enumerate(records))
    producer_id, epoch, sequence = wrong.get("producer", (-1, -1, -1))
    checked = struct.pack(">hiqqqhii", wrong.get("attributes", 0), wrong.get("last_delta", len(records) - 1), timestamp,
                          timestamp + len(records) - 1, producer_id, epoch, sequence, wrong.get("count", len(records)))
    checked += body
    crc = wrong.get("crc", crc32c(checked))
    inner = struct.pack(">ibI", 0, wrong.get("magic", 2), crc) + checked
    return struct.pack(">qi", wrong.get("base_offset", 0), wrong.get("length", len(inner))) + inner


BATCH_FIELDS = ("base_offset", "length", "leader_epoch", "magic", "crc", "attributes", "last_delta", "base_timestamp",
                "max_timestamp", "producer_id", "producer_epoch", "base_sequence", "count")


def batches(data):
    """Headers of the whole batches in the bytes of a fetch."""
    found, at = [], 0
    while at + 61 <= len(data):
        header = dict(zip(BATCH_FIELDS, struct.unpack_from(">qiibIhiqqqhii", data, at)))
        if at + 12 + header["length"] > len(data):
            break
        found.append(header)
        at += 12 + header["length"]
    return found


def fetch_batches(address, topic, partition, offset=0):
    """Headers of the batches of a partition, from an offset on, as one fetch returns them."""
    with Connection(address) as connection:
        answer = connection.call("Fetch", 11, {
            "MaxWaitMs": 500, "MinBytes": 1, "MaxBytes": 1 << 26, "SessionEpoch": -1, "Topics": [
                {"Topic": topic, "Partitions": [
                    {"Partition": partition, "FetchOffset": offset, "PartitionMaxBytes": 1 << 26}]}]})
    answer = answer["Responses"][0]["Partitions"][0]
    if answer["ErrorCode"]:
        raise WireError(f"fetch of {topic}-{partition}: error {answer['ErrorCode']}")
    return batches(answer["Records"] or b"")
