#!/usr/bin/env bash
# Instructions per operation of every hot path, counted by callgrind and compared with benches/instructions.json.
#   benches/callgrind.sh                 all paths; fails when one grew by more than 5 %
#   benches/callgrind.sh batch_encode    only these
#   benches/callgrind.sh --update        writes the counts found into the file
# Each path runs with two iteration counts; the difference leaves start-up and input out. Needs valgrind.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/.." && pwd)
file=$here/instructions.json
few=20 many=120 allowed_percent=5

update=no
if [ "${1:-}" = --update ]; then
    update=yes
    shift
fi
cd "$root"
cargo build -q --release -p highwater-benches --bin hot_path
binary=${CARGO_TARGET_DIR:-$root/target}/release/hot_path
if [ $# -eq 0 ]; then
    mapfile -t paths < <("$binary" list)
else
    paths=("$@")
fi

instructions() { # PATH COUNT
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$binary" "$1" "$2" 2>&1 |
        sed -n 's/.*Collected *: *\([0-9]*\).*/\1/p'
}
known() { [ -f "$file" ] && sed -n "s/^ *\"$1\": *\([0-9]*\).*/\1/p" "$file"; }

declare -A counted
failed=0
printf '%-24s %12s %12s %8s\n' path instructions before change
for path in "${paths[@]}"; do
    now=$((($(instructions "$path" $many) - $(instructions "$path" $few)) / (many - few)))
    counted[$path]=$now
    before=$(known "$path" || true)
    if [ -z "$before" ]; then
        printf '%-24s %12d %12s %8s\n' "$path" "$now" - new
        continue
    fi
    change=$(awk -v now="$now" -v before="$before" 'BEGIN { printf "%+.1f%%", (now - before) * 100 / before }')
    verdict=
    if [ $((now * 100)) -gt $((before * (100 + allowed_percent))) ]; then
        verdict="  grew by more than $allowed_percent %"
        failed=1
    fi
    printf '%-24s %12d %12d %8s%s\n' "$path" "$now" "$before" "$change" "$verdict"
done

if [ $update = yes ]; then
    # Paths that were not counted this time keep their numbers.
    if [ -f "$file" ]; then
        while read -r path number; do
            : "${counted[$path]:=$number}"
        done < <(sed -n 's/^ *"\([a-z0-9_]*\)": *\([0-9]*\).*/\1 \2/p' "$file")
    fi
    {
        echo '{'
        for path in "${!counted[@]}"; do echo "$path ${counted[$path]}"; done | LC_ALL=C sort |
            awk '{ printf "%s  \"%s\": %s", (NR > 1 ? ",\n" : ""), $1, $2 } END { print "" }'
        echo '}'
    } > "$file.new"
    mv "$file.new" "$file"
    echo "wrote $file"
    exit 0
fi
exit $failed
