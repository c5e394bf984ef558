"""Record batches by kafka-python, a decoder and encoder that is not ours.

    record.py write CASES DIR    encode every case of the file:  DIR/{case}.{codec}.python.bin
    record.py check CASES DIR    decode DIR/{case}.{codec}.rust.bin and compare each record with the case
"""

import gzip
import pathlib
import sys
import types

from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

# The time in a gzip header would make every run write other bytes.
gzip.time = types.SimpleNamespace(time=lambda: 0)


def field(word, i):
    kind, _, rest = word.partition(":")
    if kind == "null":
        return None
    if kind == "text":
        return rest.replace("{i}", str(i)).encode()
    if kind == "hex":
        return bytes.fromhex(rest)
    if kind == "fill":
        byte, count = rest.split(":")
        return bytes.fromhex(byte) * int(count)
    raise ValueError(word)


def read_cases(path):
    cases = []
    for line in pathlib.Path(path).read_text(encoding="utf-8").splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "case":
            case = {"name": words[1], "codecs": words[2].split(","), "producer": (-1, -1, -1),
                    "transactional": "transactional" in words[3:], "records": []}
            for word in words[3:]:
                if word.startswith("producer="):
                    case["producer"] = tuple(int(n) for n in word[len("producer="):].split(","))
            cases.append(case)
            continue
        assert words[0] == "record", line
        count = 1
        if words[-1].startswith("*"):
            count = int(words.pop()[1:])
        for i in range(count):
            headers = [(name, field(value, i)) for name, _, value in (word.partition("=") for word in words[4:])]
            cases[-1]["records"].append((int(words[1]) + i, field(words[2], i), field(words[3], i), headers))
    return cases


def write(cases, folder):
    for case in cases:
        for codec in case["codecs"]:
            builder = DefaultRecordBatchBuilder(2, CODECS[codec], case["transactional"], *case["producer"], 1 << 24)
            for offset, (timestamp, key, value, headers) in enumerate(case["records"]):
                assert builder.append(offset, timestamp, key, value, headers) is not None
            (folder / f"{case['name']}.{codec}.python.bin").write_bytes(builder.build())


def check(cases, folder):
    checked = 0
    for case in cases:
        for codec in case["codecs"]:
            if case["transactional"]:
                continue
            what = f"{case['name']}.{codec}"
            batch = DefaultRecordBatch((folder / f"{what}.rust.bin").read_bytes())
            assert batch.validate_crc(), f"{what}: checksum"
            assert batch.compression_type == CODECS[codec], f"{what}: codec {batch.compression_type}"
            assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == case["producer"], what
            assert batch.max_timestamp == max(record[0] for record in case["records"]), what
            records = [(r.timestamp, r.key, r.value, r.headers) for r in batch]
            assert len(records) == len(case["records"]), f"{what}: {len(records)} records"
            for offset, (ours, expected) in enumerate(zip(records, case["records"])):
                assert ours == expected, f"{what}: record {offset}: {ours} instead of {expected}"
            checked += 1
    print(f"kafka-python read {checked} of our batches")


if __name__ == "__main__":
    verb, cases, folder = sys.argv[1:]
    {"write": write, "check": check}[verb](read_cases(cases), pathlib.Path(folder))
