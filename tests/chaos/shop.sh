#!/usr/bin/env bash
# shop.sh [--bin DIR | --check-usage] [OPTION...] [GROUP...]: the failure matrix of the shop, with real processes:
# PostgreSQL, name server, broker and all services. Prints one line a case and a summary; exit status 0 only if
# every case held. shop.sh --groups lists the groups.
#   DIR      folder of the programs, built with failpoints [build/release/bin]
#   GROUP    of the cases in tests/chaos/shop/, or a single defect of the naive design: D1 to D14; none: all groups
#   --seed N     of the storms R16 and random; without it one is drawn, and printed
#   --release    R16 with 500 kills instead of 50
#   --seconds S  of random [60]
#   --check-usage      only says what is wrong with the arguments
#   HALFPENNY_KEEP=1   keeps the directory with logs and data
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tools/lib.sh"

# The storms come when all else is at rest; the last ones leave something behind on purpose.
ALL_GROUPS="refusals refusals_by_tries order_errors order_crashes order_crashes_during_tries check_back_fails
    frozen_orders stopped_order stopped_participants two_instances participants payments payment_crashes_unpaid
    provider_fails refunds user_cancels timers sweeper duplicates reorders delays poison layers_off layers_needed
    commits_cut commits_lost postgres_crashes postgres_crashes_while_paying postgres_locks long_locks
    deadlocks statement_timeouts pools_exhausted postgres_is_read_only
    name_server_is_away name_server_away_for_long broker_kills broker_is_away disk_full ends_dropped checks_late_and_twice
    halves_lost answers_lost rewound"
AT_REST="R16 random refund_refused naive"
DEFECTS=$(sed -nE 's/^DEFECT\((D[0-9]+)_.*/\1/p' "$ROOT/apps/common/defects.def" | tr '\n' ' ')
every="$(tr -s ' \n' ' ' <<<"$ALL_GROUPS")$AT_REST"

bin=$ROOT/build/release/bin
check_only=
case ${1:-} in
--groups)
    say "$every"
    exit
    ;;
--bin)
    [ $# -ge 2 ] || die "--bin needs a folder"
    bin=$2
    shift 2
    ;;
--check-usage)
    check_only=1
    shift
    ;;
esac
SEED=$(od -An -N4 -tu4 /dev/urandom | tr -d ' ') KILLS=50 STORM_S=60
groups=()
while [ $# -gt 0 ]; do
    case $1 in
    --seed)
        [[ $# -ge 2 && $2 =~ ^[0-9]{1,18}$ ]] || die "--seed needs a number of up to 18 digits"
        SEED=$((10#$2))
        shift
        ;;
    --seconds)
        [[ $# -ge 2 && $2 =~ ^[0-9]{1,6}$ && $2 -ge 10 ]] || die "--seconds needs a number, at least 10"
        STORM_S=$((10#$2))
        shift
        ;;
    --release) KILLS=500 ;;
    -*) die "there is no option $1" ;;
    *)
        [[ " $every $DEFECTS" == *" $1 "* ]] || die "no group is called $1; there are: $every"
        groups+=("$1")
        ;;
    esac
    shift
done
[ ${#groups[@]} -gt 0 ] || read -r -a groups <<<"$every"
[ -z "$check_only" ] || exit 0

RPC_MS=600 SAGA_MS=5600 IMMUNITY_S=6
# Orders that nobody pays wait longer than a run takes: their end is looked at when all groups are through. The longest
# level is as long as that: timers that are armed anew every two minutes would keep the broker busy for ever, and no
# consumer group would be seen at rest.
PAY_DEADLINE_MS=3600000
DELAY_LEVELS='1s 1s 1s 1s 2s 2s 3s 3s 5s 5s 10s 10s 20s 20s 30s 30s 1m 1h'
. "$ROOT/tools/stack.sh"
for file in lib cases_order cases_frozen cases_payment cases_cancel cases_layers cases_delivery cases_database cases_broker cases_mq \
    cases_naive storm; do
    . "$ROOT/tests/chaos/shop/$file.sh"
done

S_DIR=
cleanup() {
    local status=$?
    trap - EXIT INT TERM
    [ -z "$S_DIR" ] || stack_down || status=1
    if [ "$status" -eq 0 ] && [ -z "${HALFPENNY_KEEP:-}" ]; then
        rm -rf "$S_DIR"
    else
        say "kept: $S_DIR"
    fi
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

run_group() {
    local begun=$SECONDS
    "$1"
    say "# $1: $((SECONDS - begun)) s"
}

base=$((20000 + RANDOM % 8000))
stack_new "$(mktemp -d "${TMPDIR:-/tmp}/halfpenny-saga.XXXXXX")" "$bin" "$base" $((base + 100)) $((base + 200))
stack_postgres --while $$
seed
stack_start mqnamesrv
stack_start mqbroker
stack_services

at_rest=()
for group in "${groups[@]}"; do
    if [[ " $AT_REST $DEFECTS" == *" $group "* ]]; then at_rest+=("$group"); else run_group "$group"; fi
done
if [ ${#names[@]} -gt 0 ]; then
    begun=$SECONDS
    finish_cases 90
    say "# coming to rest: $((SECONDS - begun)) s"
fi
for group in "${at_rest[@]}"; do run_group "$group"; done
judge no_sanitizer_reports "$(cat "$S_DIR"/log/*.log | grep -cE 'Sanitizer|runtime error')" 0
say "$judged cases held, $failed failed"
[ "$failed" -eq 0 ]
