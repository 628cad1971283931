#!/usr/bin/env bash
# run_tests.sh BUILD_DIR [ctest arguments]: runs ctest, counts cmocka cases (a program without cmocka
# output counts as one), names what failed and ends with "N passed, N failed".
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/tools/lib.sh"
build=$1
shift
log=$(log_file "$(basename "$build")-ctest")

export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0:strict_string_checks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1:halt_on_error=1}
ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$(jobs_n)" -V "$@" >"$log" 2>&1 &
pid=$!
# One line per finished test program while they run.
tail -n +1 --pid="$pid" -F "$log" 2>/dev/null | grep --line-buffered -E '^ *[0-9]+/[0-9]+ Test' || true
wait "$pid"
status=$?

# Sum the cmocka cases; list each failed case and each failed program that printed none.
gawk '
    match($0, /^([0-9]+): (.*)$/, m) {
        t = m[1]; line = m[2]
        if (match(line, /\[ *OK *\] ([^ ]+)/, c)) { ok[t]++ }
        else if (match(line, /^\[  FAILED  \] ([^ :]+)$/, c)) { seen[t, c[1]]++; if (seen[t, c[1]] == 1) { bad[t]++; list[++n] = "  failed: " c[1] " (test " t ")" } }
    }
    /^ *[0-9]+\/[0-9]+ Test +#/ {
        match($0, /Test +#([0-9]+): +([^ ]+)/, m); t = m[1]; name = m[2]
        passed_program = ($0 ~ /   Passed/)
        p += ok[t]; f += bad[t]
        if (!passed_program && bad[t] == 0) { f++; list[++n] = "  failed: " name }
        if (passed_program && ok[t] == 0) { p++ }
    }
    END {
        for (i = 1; i <= n; i++) print list[i]
        printf "%d passed, %d failed\n", p, f
        exit f > 0
    }' "$log"
counted=$?
[ "$status" -eq 0 ] && [ "$counted" -eq 0 ] && exit 0
say "details: $log" >&2
exit 1
