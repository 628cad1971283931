# shellcheck shell=bash
# The naive design: each mistake of apps/common/defects.def is played twice in a fresh shop, first with the
# switch off, when every invariant must hold, then with it on, when the invariant it names must have rows. A
# mistake that no invariant notices is a failed case: the suite would be blind there.
#
# A play_D* brings about what the mistake needs to do harm and returns once nothing more will happen: by a
# condition that comes true with the mistake and without it. What would heal the harm all the same, a second
# line of defence, is off during both (LAYER_OFF), or is no part of the play at all:
#   D1 D2      the late try comes before its deadline; past it, the deadline alone refuses it
#   D4         the guard trigger of the order row is disabled, which refuses what the compare-and-set lets by
#   D5 D6 D7   no sweeper; the timer would come at the payment deadline, long after
#   D8         no reconciler
#   D11 D12    the payment deadline would close what was left open, long after
# The blind cancel of the textbook, an undo without a look at what was done, cannot be switched on: undo reads
# its own ledger and has nothing else to go by. D3 is the same mistake where money goes back.

declare -A DEFECT_IN=([D1]=stock [D2]=user [D3]=payment [D4]=order [D5]=order [D6]=order [D7]=order [D8]=payment
    [D9]=stock [D10]=order [D11]=payment [D12]=payment [D13]=user [D14]=payment)
declare -A LAYER_OFF=([D5]="order --sweep-ms 0" [D6]="order --sweep-ms 0" [D7]="order --sweep-ms 0"
    [D8]="payment --reconcile-ms 0")
# Second lines come quickly, so that what they heal is healed when the audit comes.
NAIVE_ORDER="--drive-ms 500 --drive-max-ms 2000"
NAIVE_PAYMENT="--query-ms 500 --confirm-ms 1000 --drive-ms 1000 --drive-max-ms 2000"

naive() {
    local -a all
    read -r -a all <<<"$DEFECTS"
    play_defects "${all[@]}"
    ctl audit --wait 60 --namesrv "127.0.0.1:${PORT[mqnamesrv]}" >"$S_DIR/audit"
    judge nothing_is_left_of_the_naive_design "$?" 0
}
for defect in $DEFECTS; do eval "$defect() { play_defects $defect; }"; done # a group each

play_defects() { # D...
    local d
    # The broker asks soon: a second after the half message, unless the message says otherwise.
    sed -i -e 's/^transactionCheckInterval=.*/transactionCheckInterval=500/' -e '/^transactionTimeOut=/d' "$S_DIR/conf/mqbroker.conf"
    printf 'transactionTimeOut=1000\n' >>"$S_DIR/conf/mqbroker.conf"
    for d in "$@"; do play_defect "$d"; done
    EXTRA["order"]='' EXTRA["payment"]=''
    fresh_stack
}

# defect_row D: sets NAME, SHOWN_BY, MISTAKE
defect_row() {
    local row
    row=$(sed -nE "s/^DEFECT\($1_[A-Z_0-9]*, \"([^\"]*)\", \"([^\"]*)\", \"([^\"]*)\"\)\$/\1\t\2\t\3/p" \
        "$ROOT/apps/common/defects.def") && [ -n "$row" ] || die "defects.def has no row $1"
    IFS=$'\t' read -r NAME SHOWN_BY MISTAKE <<<"$row"
}

play_defect() { # D
    local layer=${LAYER_OFF[$1]:-}
    defect_row "$1"
    EXTRA["order"]=$NAIVE_ORDER EXTRA["payment"]=$NAIVE_PAYMENT
    [ -z "$layer" ] || EXTRA[${layer%% *}]+=" ${layer#* }"
    fresh_stack
    ARMED='' REACHED=''
    if "play_$1" && ctl audit --wait 30 >"$S_DIR/audit"; then
        ok "$1 is off: every invariant holds"
    else
        bad "$1 is off: every invariant holds" "played until ${REACHED:-its begin}; red: $(violations)"
        fresh_stack
    fi
    ARMED="${DEFECT_IN[$1]} $NAME" REACHED=''
    arm
    if "play_$1" && at_rest; then judge_defect "$1" ""; else judge_defect "$1" "played until ${REACHED:-its begin}"; fi
}

judge_defect() { # D WHAT_WENT_WRONG
    local red others
    red=$(violations)
    others=$(tr ' ' '\n' <<<"$red" | grep -vx "$SHOWN_BY" | tr '\n' ' ')
    if [ -z "$2" ] && [[ " $red " == *" $SHOWN_BY "* ]]; then
        ok "$1 is on: red as named: $SHOWN_BY ($MISTAKE)${others:+; also ${others% }}"
    else
        bad "$1 is on: $SHOWN_BY must be red ($MISTAKE)" \
            "${2:-everything was played}; red: ${red:-nothing}; $NAME was passed: $(hits_of "$NAME" "${ARMED% *}")"
    fi
}
violations() { sql "SELECT string_agg(name, ' ' ORDER BY name) FROM audit.run() WHERE violations > 0"; }

# The switch is the process's: after a crash it has to be set again.
arm() { [ -z "$ARMED" ] || failpoint "${ARMED% *}" "${ARMED#* }=error"; }
crashed() { # SERVICE
    restart "$1" ""
    arm
}

# Nothing of what the services do to their rows has changed for two seconds: longer than the first
# redeliveries are delayed.
at_rest() {
    local end=$((SECONDS + 30)) since=0 now before=
    REACHED="two seconds without a change"
    until [ "$(($(date +%s%3N) - since))" -ge 2000 ]; do
        [ "$SECONDS" -lt "$end" ] || return 1
        now=$(sql "SELECT (SELECT count(*) FROM ord.order_state_log), (SELECT string_agg(comp_mask::text, ' ') FROM ord.trade_order),
            (SELECT string_agg(is_paid || '/' || acks, ' ') FROM pay.trade_pay), (SELECT count(*) FROM plog.pay_log),
            $(printf '(SELECT count(*) FROM %s), ' {ord,stk,cpn,usr,pay,plog}.{mq_consumer_log,mq_dead_letter,tx_barrier})
            (SELECT string_agg(name, ' ' ORDER BY name) FROM audit.run() WHERE violations > 0)")
        [ "$now" = "$before" ] && [ "$since" -gt 0 ] || since=$(date +%s%3N)
        before=$now
        sleep 0.1
    done
}
no_half_is_undecided() { ctl audit --namesrv "127.0.0.1:${PORT[mqnamesrv]}" | grep -qE '^i14 +no half message .* 0 +ok'; }

# No row, no message and no switch of what was played before.
fresh_stack() {
    local name
    for name in $STACK_SERVICES mqbroker; do stack_kill "$name"; done
    rm -rf "$S_DIR/store"
    psql "$OWNER_DSN" -Xq -v ON_ERROR_STOP=1 <<'SQL' || die "cannot empty the database"
SET session_replication_role = replica; -- ledgers refuse it otherwise
DO $$ BEGIN
  EXECUTE (SELECT 'TRUNCATE ' || string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables
           WHERE schemaname IN ('ord', 'stk', 'cpn', 'usr', 'pay', 'plog', 'tp') AND tablename <> 'order_edge');
END $$;
SQL
    coupon=10000
    seed
    stack_start mqbroker
    stack_services
}

# --- waiting ---

# until_is SECONDS QUERY WHAT: like until_sql, and remembers what was waited for
until_is() {
    REACHED=$3
    until_sql "$1" "$2"
}
order_is() { until_is 30 "SELECT order_status = $1 FROM ord.trade_order WHERE order_id = ${ORDER:-0}" "order $1"; } # STATUS
payment_is() {                                                                                                     # PAYMENT CONDITION
    until_is 30 "SELECT $2 FROM pay.trade_pay WHERE pay_id = ${1:-0}" "payment: $2"
}
order_of_key() { ORDER=$(sql "SELECT order_id FROM ord.trade_order WHERE client_req_id = '$KEY'"); }

# hold SERVICE FAILPOINT COMMAND...: runs it in the background, returns when SERVICE waits there;
# let_go SERVICE FAILPOINT: sets STATUS
hold() {
    local service=$1 at=$2 before
    shift 2
    before=$(hits_of "$at" "$service")
    failpoint "$service" "$at=pause*1"
    (
        "$@"
        printf '%s' "$STATUS" >"$S_DIR/answer.$at"
    ) &
    CUSTOMER[$at]=$!
    REACHED="somebody at $at"
    until_hit "$at" "$service" "${before:-0}" 10
}
let_go() {
    failpoint "$1" "$2=off"
    wait "${CUSTOMER[$2]}"
    STATUS=$(cat "$S_DIR/answer.$2")
}

# --- the plays ---

soon() { printf '%s' $(($(date +%s%3N) + 10000)); } # Unix ms

# An order that fails before it has tried a participant; the try comes all the same, late.
play_D1() {
    failpoint order 'order.stock.before=error*1'
    new_order
    order_of_key
    order_is 2 || return 1
    http POST "${URL[stock-internal]}/internal/stock/try" \
        "{\"order_id\":\"$ORDER\",\"expires_at\":$(soon),\"items\":[{\"goods_id\":\"$GOODS\",\"qty\":1}]}"
}
play_D2() {
    failpoint order 'order.wallet.before=error*1'
    new_order
    order_of_key
    order_is 2 || return 1
    http POST "${URL[user-internal]}/internal/wallet/try" \
        "{\"order_id\":\"$ORDER\",\"user_id\":\"$BUYER\",\"amount\":500,\"expires_at\":$(soon)}"
}

cancelled_order_with_charge() { # ORDER is cancelled, PAYMENT can still be captured at PAY_URL
    new_order
    open_payment "$ORDER"
    cancel_now "$ORDER"
    order_is 2 && provider capture_late 1
}

# Late money goes back. The order's request for it waits, somebody else's with half the amount comes first.
play_D3() {
    local letter reached
    cancelled_order_with_charge || return 1
    failpoint order 'inbox.before_tx=pause*1'
    http POST "$PAY_URL"
    payment_is "$PAYMENT" "is_paid = 2" || return 1
    letter=$(psql "$OWNER_DSN" -XAtqc "INSERT INTO pay.mq_dead_letter(group_name, tag, msg_key, msg_id, body)
        VALUES ('pay_payTopic_refund_group', 'refund_request', '$PAYMENT', '$PAYMENT', convert_to('{\"v\":1,\"event\":\"refund_request\",
        \"event_id\":\"stale\",\"order_id\":\"$ORDER\",\"attempt\":1,\"at\":\"2026-01-01T00:00:00Z\",\"pay_id\":\"$PAYMENT\",
        \"amount\":1600}', 'UTF8')) RETURNING letter_id")
    ctl dlq replay "${URL[payment-internal]}" "pay:$letter" >/dev/null
    payment_is "$PAYMENT" "is_paid > 4" # 6: a provider does not take part of a charge for the whole
    reached=$?
    failpoint order 'inbox.before_tx=off'
    [ "$reached" = 0 ] && payment_is "$PAYMENT" "is_paid = 6 OR acks & 24 = 24"
}

# A request freezes before it confirms; meanwhile the check-back gives the order up and all is undone.
play_D4() {
    local reached
    psql "$OWNER_DSN" -Xqc 'ALTER TABLE ord.trade_order DISABLE TRIGGER guard'
    hold_order order.confirm.before
    order_of_key
    order_is 2
    reached=$?
    release_order order.confirm.before
    psql "$OWNER_DSN" -Xqc 'ALTER TABLE ord.trade_order ENABLE TRIGGER guard'
    return "$reached"
}

# A request freezes after its half message; the check-back comes; then it goes on, and fails.
play_D5() {
    local end=$((SECONDS + 30)) before reached=0
    before=$(checks_answered)
    hold_order order.half.after
    REACHED="a check-back"
    until [ "$(checks_answered)" != "$before" ] && no_half_is_undecided; do
        [ "$SECONDS" -lt "$end" ] || { reached=1 && break; }
        sleep 0.1
    done
    failpoint order 'order.stock.after=error*1'
    release_order order.half.after
    failpoint order 'order.stock.after=off'
    return "$reached"
}
checks_answered() { curl -s --noproxy '*' "${URL[order-internal]}/metrics" | awk '$1 == "shop_mq_checks_total" { print $2 }'; }

# The order service crashes with something taken, and nobody comes while somebody could be expected.
play_D6() { crash_and_wait coupon; }
play_D7() { crash_and_wait stock; }
crash_and_wait() { # STEP
    failpoint order "order.$1.after=crash"
    new_order
    crashed order
    order_of_key
    until_is 30 "SELECT order_status = 2 OR now() > saga_deadline + interval '4 s' FROM ord.trade_order WHERE order_id = ${ORDER:-0}" "time for a check-back"
}

# Nothing is left to pay, so creating the payment settles it: slower than the check-back. Who is told 503
# asks again.
play_D8() {
    coupon=$((coupon + 1)) KEY=$(new_key)
    order_json "$BUYER" "$GOODS:1:$PRICE" 3700 "$coupon"
    http POST "${URL[order]}/v1/orders" "$REQUEST" "$KEY"
    order_of_key
    hold payment pay.half.after open_payment "$ORDER" || return 1
    until_is 30 "SELECT EXISTS (SELECT FROM pay.mq_producer_log l JOIN pay.trade_pay p ON l.msg_key = p.pay_id::text
        WHERE p.order_id = ${ORDER:-0} AND decision = 'R')" "a check-back"
    let_go payment pay.half.after
    [[ $STATUS == 20? ]] || open_payment "$ORDER"
    until_is 30 "SELECT is_paid = 2 FROM pay.trade_pay WHERE order_id = ${ORDER:-0}" "paid"
}

# The stock service undoes its part and fails before it says so. The sweeper has asked again when it ends.
play_D9() {
    new_order
    failpoint stock 'inbox.after_tx=error*1'
    cancel_now "$ORDER"
    until_is 30 "SELECT order_status = 2 OR drive_count >= 3 FROM ord.trade_order WHERE order_id = ${ORDER:-0}" "three sweeps"
}

two_payments() { # FIRST is closed, PAYMENT is open, either can be captured at FIRST_URL, PAY_URL
    new_order
    open_payment "$ORDER"
    FIRST=$PAYMENT FIRST_URL=$PAY_URL
    http POST "${URL[thirdpay]}/v1/charges/$FIRST/close"
    payment_is "$FIRST" "is_paid = 3" || return 1
    open_payment "$ORDER"
}
is_paid_by() { # PAYMENT
    until_is 30 "SELECT pay_id = $1 FROM ord.trade_order WHERE order_id = ${ORDER:-0} AND pay_status = 2" "order paid" &&
        payment_is "$1" "acks & 7 = 7"
}
play_D10() {
    two_payments || return 1
    http POST "$PAY_URL"
    is_paid_by "$PAYMENT" || return 1
    provider capture_late 1
    http POST "$FIRST_URL"
    until_is 30 "SELECT EXISTS (SELECT FROM ord.mq_consumer_log WHERE tag = 'paid' AND msg_key = '$FIRST')" "the order has heard of both"
}
play_D11() {
    two_payments || return 1
    provider capture_late 1
    http POST "$FIRST_URL"
    is_paid_by "$FIRST"
}

# The order is cancelled between the grant and the payment's row.
play_D12() {
    local reached
    new_order
    hold payment pay.intent.after open_payment "$ORDER" || return 1
    cancel_now "$ORDER"
    order_is 2
    reached=$?
    let_go payment pay.intent.after
    return "$reached"
}

# Late money goes back before the points of it are booked.
play_D13() {
    local reached
    cancelled_order_with_charge || return 1
    failpoint user 'inbox.before_tx=pause*1'
    http POST "$PAY_URL"
    payment_is "$PAYMENT" "is_paid = 5 AND acks & 8 = 8"
    reached=$?
    failpoint user 'inbox.before_tx=off'
    [ "$reached" = 0 ] && until_is 30 "SELECT count(*) = 2 FROM usr.mq_consumer_log WHERE msg_key = '$PAYMENT'" "paid and refunded at the points"
}

# The journal's copy of `paid` becomes a dead letter, and nobody replays it.
play_D14() {
    failpoint paylog 'inbox.dead=error*1'
    new_order
    pay_now "$ORDER"
    until_is 30 "SELECT count(*) = 1 FROM plog.mq_dead_letter WHERE state = 'open'" "a dead letter" || return 1
    is_paid_by "$PAYMENT" || return 1
    drop_letters "lost on purpose"
}
