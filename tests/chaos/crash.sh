#!/usr/bin/env bash
# crash.sh [CYCLES]: kill -9 of build/bin/mqbroker under load, CYCLES times in each flush mode. Prints
# the counts and ends with "N passed, N failed".
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tools/lib.sh"
cycles=${1:-50}
passed=0
failed=0
for mode in ASYNC_FLUSH SYNC_FLUSH; do
    dir=$(mktemp -d "${TMPDIR:-/tmp}/halfpenny-crash.XXXXXX")
    if "$ROOT/build/bin/mqcrash" --broker "$ROOT/build/bin/mqbroker" --dir "$dir" --cycles "$cycles" \
        --flush "$mode" ${HALFPENNY_SEED:+--seed "$HALFPENNY_SEED"}; then
        passed=$((passed + 1))
        rm -rf "$dir"
    else
        failed=$((failed + 1))
        say "kept for inspection: $dir" >&2
    fi
done
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
