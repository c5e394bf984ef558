"""Answers of two brokers made comparable, and where they differ.

What can never be equal is replaced by what it means: a topic's id by the topic's name, an address by a word, an error's
wording by its presence, record bytes by the batches in them.
"""
import hashlib
import uuid

import wire

KEYS = ("Name", "ApiKey", "Topic", "TopicName", "ResourceName", "TopicId", "PartitionIndex", "Partition", "Index", "NodeId",
        "BrokerId", "LogDir")


def normalised(value, side, name=None):
    if isinstance(value, dict):
        return {key: normalised(part, side, key) for key, part in value.items()}
    if isinstance(value, list):
        return listed([normalised(part, side, name) for part in value])
    if isinstance(value, uuid.UUID):
        if value.int == 0:
            return "no id"
        return next((f"id of {side.plain(topic)}" for topic, known in side.ids.items() if known == value),
                    str(value) if value.int == 7 else "an id")
    return scalar(value, side, name)


def scalar(value, side, name):
    if isinstance(value, str):
        value = side.plain(value)
    if name in ("ErrorMessage", "BatchIndexErrorMessage"):
        return "text" if value else None
    if name == "Records":
        return None if value is None else batches(value)
    if name == "ProducerId" and isinstance(value, int):
        return "own" if value == side.producer_id else "another" if value >= 0 else value
    if name == "SessionId":
        return "a session" if value else 0
    if name in ("Host", "Port", "ClusterId", "LogDir", "Documentation", "LastTimestamp"):
        return value if value in (None, -1) else f"a {name}"
    if name in ("TotalBytes", "UsableBytes", "PartitionSize", "Size"):
        return value if value <= 0 else "positive"
    return value


def batches(data):
    """The whole batches of a fetch; Kafka may cut the one after them."""
    found, at = [], 0
    for header in wire.batches(data):
        end = at + 12 + header["length"]
        told = {key: part for key, part in header.items() if key != "leader_epoch"}
        found.append(dict(told, body=hashlib.sha256(data[at + 61:end]).hexdigest()[:12]))
        at = end
    return found


def listed(items):
    """A list by its keys where its items have some, so that their order does not matter."""
    if not items or not all(isinstance(item, dict) for item in items):
        return items
    for key in KEYS:
        names = [item.get(key) for item in items]
        if key in items[0] and len(set(map(str, names))) == len(items):
            return {f"{key} {item[key]}": {part: what for part, what in item.items() if part != key} for item in items}
    return items


def differences(left, right, path=""):
    """`(path, left, right)` of everything that is not the same."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in list(left) + [key for key in right if key not in left]:
            yield from differences(left.get(key, "absent"), right.get(key, "absent"), f"{path}.{key}" if path else key)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, pair in enumerate(zip(left, right)):
            yield from differences(*pair, f"{path}[{index}]")
    elif left != right:
        yield path, left, right
