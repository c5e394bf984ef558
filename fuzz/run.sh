#!/usr/bin/env bash
# Runs one fuzz target for some seconds, seeded with the golden files: fuzz/run.sh batch_decode 60
# Needs a nightly toolchain with the address sanitizer; cargo-fuzz works as well (`cargo +nightly fuzz run batch_decode`).
# MAX_LEN bounds the inputs (8192 bytes). A finding is left in fuzz/artifacts, and the exit code is not 0.
set -euo pipefail
target=${1:?usage: fuzz/run.sh TARGET SECONDS}
seconds=${2:-60}
here=$(cd "$(dirname "$0")" && pwd)
build=${CARGO_TARGET_DIR:-$here/target}/fuzz
triple=$(rustc +nightly -vV | sed -n 's/^host: //p')
corpus=$here/corpus/$target
artifacts=$here/artifacts/$target
mkdir -p "$corpus" "$artifacts"

# The codecs written in C are watched by the sanitizer too, where clang is there to build them.
if command -v clang > /dev/null; then
    export CC=clang CFLAGS="-fsanitize=address -fno-omit-frame-pointer"
fi
RUSTFLAGS="--cfg fuzzing -Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1" \
    CARGO_TARGET_DIR=$build cargo +nightly build -q --release --manifest-path "$here/Cargo.toml" --bin "$target" --target "$triple"

case $target in
batch_decode)
    # A leading byte of 0 means "as it is", 1 "with length and checksum made right".
    for golden in "$here"/../proto/tests/golden/*.bin; do
        name=$(basename "$golden")
        for mode in 0 1; do
            { printf "\\x0$mode"; cat "$golden"; } > "$corpus/$name.$mode"
        done
    done
    ;;
kafka_request)
    # The first byte picks the API and its version, by its place in the guard's list; the second, 0, says "as it is".
    sed -n 's/^ *Request::new(\([0-9]*\), (\([0-9]*\), \([0-9]*\)).*/\1 \2 \3/p' \
        "$here/../broker/server/src/listener/kafka/guard/requests.rs" \
        | while read -r key low high; do for version in $(seq "$low" "$high"); do echo "$key-v$version"; done; done \
        | { place=0; while read -r which; do
            for seed in "$here/seeds/kafka_request/$which"-*.bin; do
                [ -e "$seed" ] || continue
                { printf "\\x$(printf %02x "$place")\\x00"; cat "$seed"; } > "$corpus/$(basename "$seed")"
            done
            place=$((place + 1))
        done; }
    ;;
kafka_connection)
    # Two leading bytes: the seed of the cuts, and 0 for the frames as they came, 1 for another order.
    for seed in "$here"/seeds/kafka_connection/*; do
        name=$(basename "$seed")
        for mode in 0 1; do
            { printf "\\x07\\x0$mode"; cat "$seed"; } > "$corpus/$name.$mode"
        done
    done
    ;;
esac

exec "$build/$triple/release/$target" "$corpus" -max_total_time="$seconds" -rss_limit_mb=512 -malloc_limit_mb=64 \
    -max_len="${MAX_LEN:-8192}" -timeout=10 -artifact_prefix="$artifacts/" -print_final_stats=1
