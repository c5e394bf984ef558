#!/usr/bin/env bash
# Record batches against other implementations, both ways: kafka-python, and Kafka's Java client where there is a JDK.
#   tests/interop/record.sh            fresh foreign batches are read by our tests, ours are read by them
#   tests/interop/record.sh --golden   also replaces the committed golden files with the fresh ones
# Needs python3 with venv, and for Java: javac, mvn. NO_JAVA=1 leaves Java out (then the committed Java files are used).
# Exits non-zero on any difference.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
golden=$root/proto/tests/golden
cases=$golden/cases.txt
work=${CARGO_TARGET_DIR:-$root/target}/interop
fresh=$work/batches
mkdir -p "$work"
rm -rf "$fresh"
mkdir "$fresh"

if [ ! -x "$work/venv/bin/python" ]; then
    python3 -m venv "$work/venv"
fi
"$work/venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt"
python() { "$work/venv/bin/python" "$here/record.py" "$@"; }
python write "$cases" "$fresh"

if [ -z "${NO_JAVA:-}" ] && command -v javac > /dev/null && command -v mvn > /dev/null; then
    [ -d "$work/jars" ] || mvn -q -B -f "$here/java/pom.xml" dependency:copy-dependencies -DoutputDirectory="$work/jars"
    mkdir -p "$work/classes"
    javac -d "$work/classes" -cp "$work/jars/*" "$here/java/RecordInterop.java"
    # What the logging facade says about itself would drown the one line that matters, unless something failed.
    java() {
        command java -cp "$work/classes:$work/jars/*" RecordInterop "$@" 2> "$work/java.err" \
            || { cat "$work/java.err" >&2; return 1; }
    }
    java write "$cases" "$fresh"
else
    echo "record.sh: no JDK and Maven, so Kafka's Java client takes no part" >&2
    java() { :; }
    cp "$golden"/*.java.bin "$fresh"
fi

cd "$root"
HIGHWATER_GOLDEN_DIR=$fresh cargo test -q -p highwater-proto --test record_golden
cargo run -q -p highwater-proto --example write_batches -- "$fresh"
python check "$cases" "$fresh"
java check "$cases" "$fresh"

if [ "${1:-}" = --golden ]; then
    rm -f "$golden"/*.bin
    cp "$fresh"/*.python.bin "$fresh"/*.java.bin "$golden"
    echo "golden files replaced"
fi
