#!/usr/bin/env bash
# run.sh [send|start]: benchmarks of build/bin/mqbroker on this machine, over loopback, in a private
# directory. send: the closed-loop table, every acknowledged message read back. start: time to ready
# and memory of a broker with an empty store.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/tools/lib.sh"
BIN=$ROOT/build/bin
MESSAGES=${BENCH_MESSAGES:-300000}
ROUNDS=${BENCH_ROUNDS:-5}
dir=$(mktemp -d "${TMPDIR:-/tmp}/halfpenny-bench.XXXXXX")
broker_pid=

stop_broker() {
    [ -n "$broker_pid" ] || return 0
    kill "$broker_pid" 2>/dev/null || true
    wait "$broker_pid" 2>/dev/null || true
    broker_pid=
}
trap 'stop_broker; rm -rf "$dir"' EXIT

# start_broker FLUSH_MODE: sets broker_pid, address, ready_ms
start_broker() {
    rm -rf "$dir/store"
    cat >"$dir/broker.conf" <<CONF
brokerName=bench
brokerIP1=127.0.0.1
listenPort=0
storePathRootDir=$dir/store
flushDiskType=$1
CONF
    : >"$dir/out"
    local begin end
    begin=$(date +%s%N)
    "$BIN/mqbroker" -c "$dir/broker.conf" >"$dir/out" 2>"$dir/err" &
    broker_pid=$!
    until grep -q 'boot success' "$dir/out"; do
        kill -0 "$broker_pid" 2>/dev/null || die "the broker did not start: $(cat "$dir/err")"
        read -rt 0.001 <> <(:) || true
    done
    end=$(date +%s%N)
    ready_ms=$(((end - begin) / 1000000))
    address=$(sed -n 's/.*The broker\[[^,]*, \([^]]*\)\] boot success.*/\1/p' "$dir/out" | head -1)
}

bench_send() {
    local mode load header=
    say "send, 1 KiB bodies, closed loop, $(nproc) cores, $(uname -r); every acknowledged message is read back"
    for mode in ASYNC_FLUSH SYNC_FLUSH; do
        start_broker "$mode"
        say "$mode"
        header=
        for load in "1 1" "1 64" "8 64"; do
            set -- $load
            local n=$MESSAGES
            [ "$2" -gt 1 ] || n=$((MESSAGES / 10))
            # shellcheck disable=SC2086
            "$BIN/mqload" --addr "$address" --connections "$1" --inflight "$2" --messages "$n" \
                --pid "$broker_pid" --topic "Bench$1x$2" $header
            header=--no-header
        done
        stop_broker
    done
}

bench_start() {
    local i
    say "start with an empty store, $ROUNDS rounds (limits: 100 ms, 30 MB)"
    for ((i = 1; i <= ROUNDS; i++)); do
        start_broker ASYNC_FLUSH
        printf 'round %d: ready in %d ms, %s kB resident\n' "$i" "$ready_ms" \
            "$(awk '/VmRSS/ { print $2 }' "/proc/$broker_pid/status")"
        stop_broker
    done
}

case ${1:-all} in
send) bench_send ;;
start) bench_start ;;
all) bench_start && bench_send ;;
-h | --help) sed -n '2,4s/^# //p' "$0" ;;
*) die "unknown benchmark: $1 (send, start)" ;;
esac
