#!/usr/bin/env bash
# demo.sh [--keep] [--namesrv ADDRESS [--cluster NAME] [--delay-levels LIST]] [--dsn DSN [--clean]]: starts the
# whole system in a directory of its own, plays the shop's scenario and prints the invariants. Called by
# ./run demo, which builds first. Exit status 0 only if everything held.
#   --keep      leaves it running
#   --namesrv   uses a RocketMQ cluster that exists: host:port;host:port of its name servers. The steps that
#               kill the broker are left out
#   --cluster   its name [DefaultCluster]
#   --delay-levels  messageDelayLevel of brokers that do not tell it [RocketMQ's default]
#   --dsn       uses a PostgreSQL that exists: an empty database, a login that may create schemas and roles;
#               what was made there is removed at the end, unless --keep or something failed
#   --clean     only removes what such a run left in the database
#   HALFPENNY_BIN   folder of the programs [build/bin]
#   TMPDIR          where the directory is made [/tmp]; PostgreSQL's user must be able to enter it
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/tools/lib.sh"
PAY_DEADLINE_MS=25000 DRIVE_MS=15000
. "$ROOT/tools/stack.sh"
. "$ROOT/tools/existing.sh"
. "$ROOT/tools/scenario.sh"

usage='usage: ./run demo [--keep] [--namesrv HOST:PORT[;HOST:PORT] [--cluster NAME] [--delay-levels LIST]] [--dsn DSN [--clean]]'
keep='' namesrv='' cluster=DefaultCluster delay_levels='' dsn='' clean=''
while [ $# -gt 0 ]; do
    case $1 in
    --keep) keep=1 ;;
    --clean) clean=1 ;;
    --namesrv | --cluster | --delay-levels | --dsn)
        [ -n "${2:-}" ] || die "$1 needs a value; $usage"
        option=${1#--}
        printf -v "${option//-/_}" '%s' "$2"
        shift
        ;;
    *) die "$usage" ;;
    esac
    shift
done
[ -z "$delay_levels" ] || is_delay_levels "$delay_levels" ||
    die "--delay-levels needs a list like \"1s 5s 10s 30s 1m\", not \"$delay_levels\""
[ -n "$namesrv" ] || [ "$cluster$delay_levels" = DefaultCluster ] ||
    die "--cluster and --delay-levels need --namesrv; $usage"
[ -z "$clean" ] || [ -n "$dsn" ] || die "--clean needs --dsn; $usage"

# --- stopping ---

finish() {
    local status=$?
    trap - EXIT INT TERM
    stack_down || status=1
    exit "$status"
}

# --- starting ---

start_postgres() {
    if [ -n "$dsn" ]; then
        existing_postgres "$dsn"
        tell "PostgreSQL $(sql "SELECT current_setting('server_version')"), database $DATABASE: made the shop's schemas and roles there"
        return
    fi
    stack_postgres
    tell "PostgreSQL in $S_DIR/postgres, on a socket of its own: no port"
    port_taken 5432 && tell "note: something else listens on 5432; it is not touched"
}

start_rocketmq() {
    if [ -n "$namesrv" ]; then
        existing_rocketmq "$namesrv" "$cluster" "$delay_levels"
        tell "RocketMQ cluster $cluster at $namesrv: topics and consumer groups are there; they stay"
        sed '/^KIND/d; /^$/d' "$S_DIR/log/cluster.out" | grep -E '^(topic|setting)' | indent
        tell "its delay levels: $DELAY_LEVELS; every wait below is $PATIENCE_S s longer"
        return
    fi
    stack_start mqnamesrv
    tell "mqnamesrv on $NAMESRV"
    stack_start mqbroker
    tell "mqbroker  on 127.0.0.1:${PORT[mqbroker]}, flushDiskType=SYNC_FLUSH"
}

start_everything() {
    if [ -n "$dsn$namesrv" ]; then
        step "Starting the shop beside what exists"
    else
        step "Starting PostgreSQL, name server, broker and seven services"
    fi
    local name
    start_rocketmq
    start_postgres
    for name in "${NOTES[@]}"; do # ports of servers that are not started need no note
        [[ -n $namesrv && $name == *'; mq'* ]] || tell "note: $name"
    done
    stack_services
    for name in $STACK_SERVICES; do
        tell "$(printf 'shop-%-8s %s' "$name" "${URL[$name]}")"
    done
}

how_to_go_on() {
    {
        printf '#!/usr/bin/env bash\nkill %s 2>/dev/null\n' "${PID[*]}"
        [ -n "$dsn" ] || printf '%q stop %q\n' "$ROOT/tools/pg.sh" "$S_DIR/postgres"
        printf 'rm -f %q\n' "$S_DIR/stop"
    } >"$S_DIR/stop"
    chmod +x "$S_DIR/stop"
    order_json 1 1004:3:990 0
    printf '\n%s\n' "${bold}Everything goes on running.${plain}"
    local name
    for name in $STACK_SERVICES; do printf '  %-9s %s   internal %s\n' "$name" "${URL[$name]}" "${URL[$name-internal]}"; done
    cat <<TEXT
Place an order (three notebooks):
  curl -i ${URL[order]}/v1/orders -H "Content-Type: application/json" \\
    -H "Idempotency-Key: \$(cat /proc/sys/kernel/random/uuid)" -d '$REQUEST'
Pay it (order_id from the answer), then open provider_url in a browser or POST to it:
  curl -i ${URL[payment]}/v1/payments -H "Content-Type: application/json" \\
    -H "Idempotency-Key: \$(cat /proc/sys/kernel/random/uuid)" -d '{"order_id":"...","channel":"thirdpay"}'
Cancel it (user_id is its creator):
  curl -i ${URL[order]}/v1/orders/ID/cancel -H "Content-Type: application/json" \\
    -H "Idempotency-Key: \$(cat /proc/sys/kernel/random/uuid)" -d '{"user_id":"1"}'
Look at it; at the dead letters:
  SHOP_DSN='$AUDIT_DSN' $S_BIN/shopctl order ID
  SHOP_DSN='$AUDIT_DSN' $S_BIN/shopctl dlq list
Stop everything:
  $S_DIR/stop
TEXT
    [ -z "$dsn" ] || printf 'and remove what was made in database %s:\n  ./run demo --dsn DSN --clean\n' "$DATABASE"
}

# The directory of the last run is removed, unless that run still goes on or was kept up.
last=$(log_file demo-directory)
old=$(cat "$last" 2>/dev/null)
if [ -s "$old/runs" ] && [ ! -x "$old/stop" ] && ! kill -0 "$(cat "$old/runs")" 2>/dev/null; then rm -rf "$old"; fi
directory=$(mktemp -d "${TMPDIR:-/tmp}/halfpenny-demo.XXXXXX") || die "cannot make a directory in ${TMPDIR:-/tmp}"
printf '%s\n' "$directory" >"$last"
trap finish EXIT
trap 'exit 130' INT TERM
stack_new "$directory" "${HALFPENNY_BIN:-$ROOT/build/bin}"
printf '%s\n' $$ >"$S_DIR/runs"
if [ -n "$clean" ]; then
    existing_clean "$dsn"
    say "removed the schemas and roles of a demonstration from database $DATABASE"
    exit 0
fi

# A mistake in this script ends `play` early; then `outcome` is not "held" and neither is the demonstration.
outcome=
play() {
    start_everything
    scenario
    invariants
    summary
    say "logs  $S_DIR/log"
    if [ -n "$dsn" ]; then say "data  database $DATABASE"; else say "data  $S_DIR/postgres (PostgreSQL)"; fi
    if [ -n "$namesrv" ]; then say "      cluster $cluster at $namesrv"; else say "      $S_DIR/store (broker)"; fi
    [ "$failures" -gt 0 ] || outcome=held
}
play
if [ "$outcome" != held ]; then
    say "${red}$failures expectations FAILED${plain}; the data stays for inspection"
    [ -z "$dsn" ] || say "./run demo --dsn DSN --clean removes what was made in database $DATABASE"
    exit 1
fi
trap - EXIT INT TERM
if [ -n "$keep" ]; then
    how_to_go_on
else
    stack_down || exit 1
    if [ -n "$dsn" ]; then
        existing_clean "$dsn"
        say "removed the shop's schemas and roles from database $DATABASE"
    fi
    say "${green}Everything held.${plain} Nothing is left running."
fi
