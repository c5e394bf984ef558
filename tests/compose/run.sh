#!/usr/bin/env bash
# Starts deploy/compose.yaml for real: three containers, a topic, records in and out, `docker kill` of a leader, records in and
# out again, the killed one back in sync.
#
#   tests/compose/run.sh BINARY      BINARY is a static `highwater`; the image is made of it, as deploy/Dockerfile would
#
# With HIGHWATER_IMAGE in the environment that image is taken instead, one that `docker build -f deploy/Dockerfile .` made, say.
# Uses the Docker engine that DOCKER_HOST or the default socket leads to, else starts one of its own in a scratch folder
# (as root). Exit code 3: there is no engine to be had here, and why.
set -euo pipefail
binary=$(realpath "$1")
here=$(cd "$(dirname "$0")/../.." && pwd)
scratch=$(mktemp -d)
project=highwater-test-$$
engine=
no_engine() { echo "no Docker engine: $*" >&2; exit 3; }

compose() {
  if docker compose version >/dev/null 2>&1; then docker compose "$@"; else docker-compose "$@"; fi
}
project() { compose -p "$project" -f "$scratch/deploy/compose.yaml" "$@"; }

clean_up() {
  status=$?
  [ $status = 0 ] || project logs --tail=30 2>/dev/null || true
  project down -v >/dev/null 2>&1 || true
  if [ -n "$engine" ]; then kill "$engine" 2>/dev/null || true; wait "$engine" 2>/dev/null || true; fi
  rm -rf "$scratch" 2>/dev/null || true
  exit $status
}
trap clean_up EXIT

command -v docker >/dev/null || no_engine "there is no docker command"
if ! docker info >/dev/null 2>&1; then
  [ "$(id -u)" = 0 ] || no_engine "none answers, and only root can start one"
  command -v dockerd >/dev/null || no_engine "none answers, and there is no dockerd"
  dockerd --data-root "$scratch/var" --exec-root "$scratch/exec" --pidfile "$scratch/pid" -H "unix://$scratch/sock" \
    --bip 10.213.0.1/24 --default-address-pool base=10.214.0.0/16,size=24 >"$scratch/log" 2>&1 &
  engine=$!
  export DOCKER_HOST=unix://$scratch/sock
  for _ in $(seq 100); do docker info >/dev/null 2>&1 && break; sleep 0.1; done
  docker info >/dev/null 2>&1 || no_engine "dockerd does not start: $(tail -1 "$scratch/log")"
fi
compose version >/dev/null 2>&1 || no_engine "there is no docker compose"

if [ -z "${HIGHWATER_IMAGE:-}" ]; then
  mkdir "$scratch/image" "$scratch/image/data"
  cp "$binary" "$scratch/image/highwater"
  # The last stage of deploy/Dockerfile, over the binary that was given.
  sed -n '/^FROM scratch/,$p' "$here/deploy/Dockerfile" |
    sed 's|--from=build /highwater|highwater|; s|--from=build --chown=65532:65532 /empty|--chown=65532:65532 data|' >"$scratch/image/Dockerfile"
  docker build -q -t "$project" "$scratch/image" >/dev/null
  export HIGHWATER_IMAGE=$project
fi
cp -r "$here/deploy" "$scratch/deploy"

project up -d --no-build >/dev/null 2>&1
wait_for() { # seconds, what, command...
  local seconds=$1 what=$2; shift 2
  for _ in $(seq $((seconds * 5))); do "$@" >/dev/null 2>&1 && return 0; sleep 0.2; done
  echo "waited $seconds s for: $what" >&2; return 1
}
healthy() { [ "$(docker inspect -f '{{.State.Health.Status}}' "$(project ps -q "$1")")" = healthy ]; }
for node in n1 n2 n3; do wait_for 60 "$node to be healthy" healthy "$node"; done
echo "three containers are healthy"

export HIGHWATER_BOOTSTRAP=127.0.0.1:9094,127.0.0.1:9194,127.0.0.1:9294
"$binary" topic create events --partitions 3 --replication-factor 3
seq 1 5000 | "$binary" produce events >/dev/null
read_all() { "$binary" consume events --from-beginning --until-end 2>/dev/null | sort -n | uniq -c | awk '$1 == 1' | wc -l; }
[ "$(read_all)" = 5000 ] || { echo "not every record came back" >&2; exit 1; }
leader=$("$binary" topic describe events --output json | grep -o '"leader": *[0-9]*' | head -1 | grep -o '[0-9]*$')
docker kill "$(project ps -q "n$leader")" >/dev/null
began=$(date +%s%N)
seq 5001 10000 | "$binary" produce events >/dev/null
echo "after docker kill of n$leader, 5,000 records were acknowledged within $((($(date +%s%N) - began) / 1000000)) ms"
[ "$(read_all)" = 10000 ] || { echo "records were lost, or came twice, after docker kill of a leader" >&2; exit 1; }
docker start "$(project ps -aq "n$leader" 2>/dev/null || project ps -q "n$leader")" >/dev/null
whole() { [ "$("$binary" cluster status --output json | grep -o '"under_replicated": *[0-9]*' | grep -o '[0-9]*$')" = 0 ]; }
wait_for 60 "n$leader to be in sync again" whole
project stop >/dev/null 2>&1
echo "compose: passed"
