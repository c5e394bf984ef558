"""What may differ between Kafka's answers and Highwater's, each with the reason why it may."""
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Allowed:
    """Regular expressions of where it may differ; `values` of "kafka -> highwater"."""

    reason: str
    api: str = ".*"
    case: str = ".*"
    path: str = ".*"
    values: str = ".*"


ALLOWED = [
    Allowed("the versions that each serves are named apart", "ApiVersions", path=r"ApiKeys.*"),
    Allowed("features belong to what is not served yet: groups, transactions, share groups", "ApiVersions",
            path=r"(SupportedFeatures|FinalizedFeatures|FinalizedFeaturesEpoch).*"),
    Allowed("error messages are for people, and Highwater writes one where Kafka has none", path=r".*ErrorMessage",
            values="None -> text"),
    Allowed("a codec that there is not, or bytes that do not decompress: Kafka calls it an unknown error", "Produce",
            "produce_bad_batches/(codec .|gzip .*|zstd .*)", values="-1 -> (2|76)"),
    Allowed("attribute bits that mean nothing yet are refused, Kafka keeps them", "Produce",
            "produce_bad_batches/unknown attributes"),
    Allowed("only a broker may say that it appended at a time, Kafka keeps the bit", "Produce",
            "produce_bad_batches/log append time"),
    Allowed("offsets after batches that only Kafka kept", "Produce", "produce_bad_batches/(no time|afterwards)",
            path=".*BaseOffset"),
    Allowed("transactions are not served yet", "Produce", "produce_bad_batches/transactional|produce_transactional/.*"),
    Allowed("where the log starts is told with every answer of a partition that there is; Kafka tells it with some refusals",
            "Produce", path=".*LogStartOffset", values="-1 -> 0|0 -> -1"),
    Allowed("a length that no batch can have is refused as an invalid record, as other bytes that are no batch are",
            "Produce", "produce_bad_batches/length (too small|negative)", values="2 -> 87"),
    Allowed("no aborted transactions, told as an empty list or as none", "Fetch", path=".*AbortedTransactions",
            values=r"None -> \[\]"),
    Allowed("the time of a batch that was there already is told only where the broker sets times", "Produce",
            "produce_idempotent/.* again", path=".*LogAppendTimeMs"),
    Allowed("a batch with a producer id and no epoch is no valid batch, before it is one of an old epoch", "Produce",
            "produce_idempotent/no epoch", values="47 -> 87"),
    Allowed("a setting that only Highwater has", ".*Configs|CreateTopics",
            path=r".*Name (durability|replication\.throttle\.rate)", values="absent -> .*"),
    Allowed("Kafka keeps this default as a setting of its cluster, Highwater in the broker", ".*Configs|CreateTopics",
            path=r".*Name min.insync.replicas.ConfigSource", values="3 -> 5"),
    Allowed("a topic that was only validated has no id, Kafka tells one that never will be", "CreateTopics",
            "create_topics/validate", path=".*TopicId"),
    Allowed("an operation that there is not is an invalid request, Kafka calls it an unknown error",
            "IncrementalAlterConfigs", ".*/operation 9", values="-1 -> 42"),
    Allowed("nothing is allowed on a topic that there is not; Kafka lists what would be", "DescribeTopicPartitions",
            ".*/(unknown|bad name)", path=".*TopicAuthorizedOperations"),
    Allowed("a negative size counts as none, Kafka fails with an unknown error", "Fetch", "fetch_sizes/negative"),
    Allowed("an isolation level that there is not counts as uncommitted, Kafka fails with an unknown error", "Fetch",
            "fetch_bad/isolation 7"),
]


def allowed(name, version, case, label, path, left, right):
    """The first entry that covers a difference, or None."""
    for entry in ALLOWED:
        if re.fullmatch(entry.api, name) and re.fullmatch(entry.case, f"{case}/{label}") and re.fullmatch(entry.path, path) \
                and re.fullmatch(entry.values, f"{left} -> {right}", re.S):
            return entry
    return None
