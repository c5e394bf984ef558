#!/usr/bin/env bash
# Real Kafka clients against a broker: each client's own program, the same questions, one line for every answer.
#   run.sh --highwater PATH [CLIENT...]          starts `PATH dev --kafka 127.0.0.1:0` itself
#   run.sh --bootstrap HOST:PORT [CLIENT...]     whatever serves there, Apache Kafka for one
#   run.sh differential --highwater PATH         the same requests to Apache Kafka and to Highwater, compared field by field
#   run.sh hostile --highwater PATH              bytes that no client sends, and what the broker's memory does meanwhile
#   run.sh --write-docs                          docs/kafka-clients.md from the last results, nothing is run
#   run.sh cluster --highwater PATH              three brokers: clients through fail-overs, Kafka's tools on a cluster
# Installs every client from its package registry, at pinned versions, into $KAFKA_CLIENTS_CACHE (default
# target/kafka-clients); a client whose runtime is missing is skipped by name. Exits non-zero on any failure.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export KAFKA_CLIENTS_CACHE=${KAFKA_CLIENTS_CACHE:-${CARGO_TARGET_DIR:-$here/../../target}/kafka-clients}
mkdir -p "$KAFKA_CLIENTS_CACHE"
KAFKA_CLIENTS_CACHE=$(cd "$KAFKA_CLIENTS_CACHE" && pwd)
venv=$KAFKA_CLIENTS_CACHE/venv
if ! { [ -x "$venv/bin/pip" ] || python3 -m venv "$venv"; }; then
    echo "!!! SKIPPED: every Kafka client: no python3 with venv" >&2
    exit 0
fi
if ! cmp -s "$here/requirements.txt" "$venv/requirements.txt"; then
    "$venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/requirements.txt"
fi
case ${1:-} in
differential | hostile | cluster) program=$here/$1.py; shift ;;
*) program=$here/harness/run.py ;;
esac
exec "$venv/bin/python" "$program" "$@"
