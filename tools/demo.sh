#!/usr/bin/env bash
# demo.sh [--keep]: starts the whole system in a directory of its own, plays the shop's scenario and
# prints the invariants. Called by ./run demo, which builds first. Exit status 0 only if everything held.
#   HALFPENNY_BIN   folder of the programs [build/bin]
#   TMPDIR          where the directory is made [/tmp]; PostgreSQL's user must be able to enter it
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/tools/lib.sh"
PAY_DEADLINE_MS=25000 DRIVE_MS=15000
. "$ROOT/tools/stack.sh"
. "$ROOT/tools/scenario.sh"

keep=
case ${1:-} in
'') ;;
--keep) keep=1 ;;
*) die "usage: ./run demo [--keep]" ;;
esac

# --- stopping ---

finish() {
    local status=$?
    trap - EXIT INT TERM
    stack_down || status=1
    exit "$status"
}

# --- starting ---

start_everything() {
    step "Starting PostgreSQL, name server, broker and seven services"
    local name
    for name in "${NOTES[@]}"; do tell "note: $name"; done
    stack_postgres
    tell "PostgreSQL in $S_DIR/postgres, on a socket of its own: no port"
    port_taken 5432 && tell "note: something else listens on 5432; it is not touched"
    stack_start mqnamesrv
    tell "mqnamesrv on 127.0.0.1:${PORT[mqnamesrv]}"
    stack_start mqbroker
    tell "mqbroker  on 127.0.0.1:${PORT[mqbroker]}, flushDiskType=SYNC_FLUSH"
    stack_services
    for name in $STACK_SERVICES; do
        tell "$(printf 'shop-%-8s %s' "$name" "${URL[$name]}")"
    done
}

how_to_go_on() {
    {
        printf '#!/usr/bin/env bash\nkill %s 2>/dev/null\n' "${PID[*]}"
        printf '%q stop %q\n' "$ROOT/tools/pg.sh" "$S_DIR/postgres"
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

# A mistake in this script ends `play` early; then `outcome` is not "held" and neither is the demonstration.
outcome=
play() {
    start_everything
    scenario
    invariants
    summary
    say "logs  $S_DIR/log"
    say "data  $S_DIR/postgres (PostgreSQL), $S_DIR/store (broker)"
    [ "$failures" -gt 0 ] || outcome=held
}
play
if [ "$outcome" != held ]; then
    say "${red}$failures expectations FAILED${plain}; the data stays for inspection"
    exit 1
fi
trap - EXIT INT TERM
if [ -n "$keep" ]; then
    how_to_go_on
else
    stack_down || exit 1
    say "${green}Everything held.${plain} Nothing is left running."
fi
