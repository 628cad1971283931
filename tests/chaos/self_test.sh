#!/usr/bin/env bash
# self_test.sh BIN: the chaos programs must find what is wrong with a broker that is broken on purpose:
# by a disk that lies (shim.c) or by a failpoint. Each must end with exit code 1 and say what it found.
set -uo pipefail
bin=$1
dir=$(mktemp -d "${TMPDIR:-/tmp}/halfpenny-chaos-self.XXXXXX")
trap 'rm -rf "$dir"' EXIT
passed=0
failed=0
shim=(LD_PRELOAD="$bin/libchaos_shim.so" ASAN_OPTIONS="${ASAN_OPTIONS:+$ASAN_OPTIONS:}verify_asan_link_order=0")

# must_find WHAT NAME PATTERN COMMAND...: exit code 1, and output that matches PATTERN
must_find() {
    local what=$1 name=$2 pattern=$3 status
    shift 3
    mkdir "$dir/$name"
    "$@" --dir "$dir/$name" --seed 1 >"$dir/$name.txt" 2>&1
    status=$?
    if [ "$status" -eq 1 ] && grep -qE "$pattern" "$dir/$name.txt"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'not found: %s (exit code %d, expected 1 and "%s")\n' "$what" "$status" "$pattern"
        tail -20 "$dir/$name.txt"
    fi
}

must_find "a write that was reported and not made, after kill -9" R1-lose "lost [1-9]|gaps [1-9]|a request was refused" \
    env "${shim[@]}" CHAOS_DISK=lose:5 "$bin/mqcrash" --broker "$bin/mqbroker" --cycles 5
must_find "a record with a wrong byte" R1-flip "lost [1-9]|gaps [1-9]|invented [1-9]|does not start|a request was refused" \
    env "${shim[@]}" CHAOS_DISK=flip:5 "$bin/mqcrash" --broker "$bin/mqbroker" --cycles 5
must_find "commits that are refused" R1-refused "a request was refused" \
    env HALFPENNY_FAILPOINTS="tx.commit.put=error" "$bin/mqcrash" --broker "$bin/mqbroker" --cycles 2
must_find "a write that was reported and not made, on a disk that fills up" R7-lose "lost [1-9]|gaps [1-9]" \
    env "${shim[@]}" CHAOS_DISK=lose:5 "$bin/mqdisk" --broker "$bin/mqbroker" --rounds 1
must_find "sends refused for another reason than the disk" R7-failed "refused: code" \
    env HALFPENNY_FAILPOINTS="store.append.write=error,after(10)" "$bin/mqdisk" --broker "$bin/mqbroker" --rounds 1
# must_pass WHAT NAME COMMAND...: exit code 0
must_pass() {
    local what=$1 name=$2 status
    shift 2
    mkdir "$dir/$name"
    "$@" --dir "$dir/$name" >"$dir/$name.txt" 2>&1
    status=$?
    if [ "$status" -eq 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'found where nothing is: %s (exit code %d)\n' "$what" "$status"
        tail -20 "$dir/$name.txt"
    fi
}

must_pass "a disk that a fast broker fills by itself in a moment" R7-small \
    "$bin/mqdisk" --broker "$bin/mqbroker" --rounds 2 --disk 32
must_find "a time that jumps with the clock" R9-jump "came early" \
    env HALFPENNY_FAILPOINTS="clock.steady=error" "$bin/mqclock" --broker "$bin/mqbroker" \
    --shim "$bin/libchaos_shim.so" --jump 3600000
must_find "a delay that never ends" R9-stuck "have not come|came late" \
    env HALFPENNY_FAILPOINTS="delay.deliver=error" "$bin/mqclock" --broker "$bin/mqbroker" \
    --shim "$bin/libchaos_shim.so" --jump -10000
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
