#!/usr/bin/env bash
# chaos.sh [--check-usage] store|shop|help [options]: the reliability tests against the programs in build/bin. Of
# the store, R1 to R7 and R9: one line per test with its counts as it ends, a table at the end, and
# "N passed, N failed". Of the shop: shop.sh. A test whose program is missing has failed. --check-usage: only says what is
# wrong with the options, so that ./run can do that before it builds.
# Programs: mqcrash (R1), mqchaos (R2 to R6), mqdisk (R7), mqclock (R9).
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tools/lib.sh"
BIN=${CHAOS_BIN:-$ROOT/build/bin}
JUMPS="3600000 -3600000 757382400000 -10000" # an hour, 24 years, 10 seconds
ALL=(R1 R2 R3 R4 R5 R6 R7 R9)

usage() {
    cat <<TEXT
usage: ./run chaos store [--quick | --release] [--only R1,R4] [--seed N]
       ./run chaos shop [--seed N] [--release] [--seconds S] [GROUP...]

  R1  kill -9 of a broker under load, while it starts and while it stops, in both flush modes
  R2  power loss: what was not synced is forgotten
  R3  the log is cut at every byte of its last records
  R4  bits flip in each kind of file
  R5  the N-th system call fails
  R6  the N-th allocation fails
  R7  a disk that fills up and gets free again, in both flush modes
  R9  the wall clock jumps by an hour, 24 years, 10 seconds back

  --quick     a few of each: seconds. Without it: minutes
  --release   the volume of a release: hours
  --only      these tests alone
  --seed N    for all random choices; without it each test draws one and prints it
  --seconds S how long the group random of the shop lasts [60]

Environment: TMPDIR (where stores are made; R1 needs up to 8 GB there), CHAOS_BIN (programs to test).

Groups of the shop's failure matrix; without one, all of them. R16 kills a random process or PostgreSQL 50 times
(--release: 500) under load, random does so every 5 s while messages are lost and doubled. naive breaks one rule
of the shop at a time and expects an invariant to notice; D1 to D14 are its defects, one by one:
$("$ROOT/tests/chaos/shop.sh" --groups | fold -s -w 96 | sed 's/^/  /')
TEXT
}

bad_usage() {
    printf 'chaos: %s\n\n' "$1" >&2
    usage >&2
    exit 2
}

is_known() {
    local id
    for id in "${ALL[@]}"; do [ "$id" = "$1" ] && return 0; done
    return 1
}

parse_store() {
    level=ci
    seed=
    wanted=("${ALL[@]}")
    while [ $# -gt 0 ]; do
        case $1 in
        --release | --quick)
            [ "$level" = ci ] || bad_usage "--quick and --release exclude each other"
            level=${1#--}
            ;;
        --only)
            [ $# -ge 2 ] || bad_usage "--only needs a list such as R1,R4"
            IFS=, read -ra wanted <<<"$2"
            [ ${#wanted[@]} -gt 0 ] || bad_usage "--only needs a list such as R1,R4"
            local id
            for id in "${wanted[@]}"; do is_known "$id" || bad_usage "--only: there is no \"$id\""; done
            shift
            ;;
        --seed)
            [[ $# -ge 2 && $2 =~ ^[0-9]{1,18}$ ]] || bad_usage "--seed needs a number of up to 18 digits"
            seed=$2
            shift
            ;;
        -h | --help) usage && exit 0 ;;
        *) bad_usage "\"$1\" is not an option of chaos store" ;;
        esac
        shift
    done
}

volume() { # QUICK CI RELEASE
    case $level in
    quick) printf '%s' "$1" ;;
    ci) printf '%s' "$2" ;;
    release) printf '%s' "$3" ;;
    esac
}

# program NAME ARGUMENT...: runs one of ours; a missing one is an error like any other.
program() {
    local name=$1
    shift
    if [ ! -x "$BIN/$name" ]; then
        printf '%s is not there\n' "$BIN/$name"
        return 2
    fi
    "$BIN/$name" "$@" ${seed:+--seed "$seed"}
}

# in_directory NAME PROGRAM ARGUMENT...: with a --dir of its own, which stays when the program fails.
in_directory() {
    local dir name=$1 status
    shift
    dir=$(mktemp -d "${TMPDIR:-/tmp}/halfpenny-chaos-$name.XXXXXX") || return 2
    program "$@" --dir "$dir"
    status=$?
    if [ "$status" -eq 0 ] && [ -z "${HALFPENNY_KEEP:-}" ]; then rm -rf "$dir"; else say "kept: $dir" >&2; fi
    return "$status"
}

run_R1() {
    local mode status=0
    for mode in ASYNC_FLUSH SYNC_FLUSH; do
        in_directory R1 mqcrash --broker "$BIN/mqbroker" --flush "$mode" --cycles "$(volume 3 50 1000)" || status=1
    done
    return "$status"
}
sweep() { # ID QUICK CI: at release level every position
    if [ "$level" = release ]; then program mqchaos "$1" --all; else program mqchaos "$1" --count "$(volume "$2" "$3" 0)"; fi
}
run_R2() { program mqchaos R2 --count "$(volume 3 30 500)"; }
run_R3() { program mqchaos R3 --count "$(volume 1 1 20)"; } # sets of files; of each every byte
run_R4() { program mqchaos R4 --count "$(volume 10 200 10000)"; }
run_R5() { sweep R5 10 300; }
run_R6() { sweep R6 20 2000; }
run_R7() { # 5 and 50 rounds, over both modes
    local status=0
    in_directory R7 mqdisk --broker "$BIN/mqbroker" --flush ASYNC_FLUSH --rounds "$(volume 1 3 25)" || status=1
    in_directory R7 mqdisk --broker "$BIN/mqbroker" --flush SYNC_FLUSH --rounds "$(volume 1 2 25)" || status=1
    return "$status"
}

jump() { # MILLISECONDS: cmocka's own lines are left out when all is well
    local text status
    text=$(in_directory R9 mqclock --broker "$BIN/mqbroker" --shim "$BIN/libchaos_shim.so" --jump "$1" 2>&1)
    status=$?
    if [ "$status" -eq 0 ]; then grep '^jump ' <<<"$text"; else printf 'jump %s ms:\n%s\n' "$1" "$text"; fi
    return "$status"
}
run_R9() { # 4 and 40 jumps; they mostly wait, so four at a time
    local i ms pid pids status=0
    for ((i = 0; i < $(volume 1 1 10); i++)); do
        pids=()
        for ms in $(volume "757382400000 -10000" "$JUMPS" "$JUMPS"); do
            jump "$ms" &
            pids+=($!)
        done
        for pid in "${pids[@]}"; do wait "$pid" || status=1; done
    done
    return "$status"
}

run_one() { # ID: its lines, prefixed; adds a row to the table
    local id=$1 begin=$SECONDS status=0 verdict=passed
    "run_$id" | sed -u -e "s/^# $id: //" -e "s/^$id //" -e "s/^/$id  /"
    status=${PIPESTATUS[0]}
    [ "$status" -eq 0 ] || verdict=FAILED
    [ "$status" -eq 0 ] && passed=$((passed + 1)) || failed=$((failed + 1))
    rows+=("$(printf '%-4s %-8s %5d s' "$id" "$verdict" "$((SECONDS - begin))")")
}

store() {
    parse_store "$@"
    [ -z "$check_only" ] || return 0
    passed=0
    failed=0
    rows=()
    local id
    trap 'say "interrupted" >&2; exit 130' INT TERM
    for id in "${wanted[@]}"; do run_one "$id"; done
    say ""
    printf '%s\n' "${rows[@]}"
    printf '%d passed, %d failed\n' "$passed" "$failed"
    [ "$failed" -eq 0 ]
}

check_only=
if [ "${1:-}" = --check-usage ]; then
    check_only=1
    shift
fi
case ${1:-help} in
store)
    shift
    store "$@"
    ;;
shop)
    shift
    [ -z "$check_only" ] || exec "$ROOT/tests/chaos/shop.sh" --check-usage "$@"
    exec "$ROOT/tests/chaos/shop.sh" --bin "$BIN" "$@"
    ;;
help | -h | --help) usage ;;
*) bad_usage "there is no \"$1\"" ;;
esac
