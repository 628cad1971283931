#!/usr/bin/env bash
# saga_test.sh BIN: the shop's failure cases with real processes: PostgreSQL, name server, broker and all
# services. One order or payment per case; the failure is a failpoint of the process concerned, a crash is
# followed by a restart. Cases do not wait for each other: what a crash leaves behind is healed by
# check-backs and redeliveries while the next cases run. At the end every order must reach the state its
# case expects (shop-wide: all invariants empty, no dead letter, no sanitizer report).
# Prints one cmocka-like line per case.
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$ROOT/tools/lib.sh"
RPC_MS=600 SAGA_MS=5600 IMMUNITY_S=6
. "$ROOT/tools/stack.sh"
[ $# -eq 1 ] || die "usage: saga_test.sh BIN"

GOODS=2001 PRICE=3000 USER=9 # 1 unit + shipping 1000 = 4000: 300 by coupon, 500 by wallet, 3200 to pay
declare -A CUSTOMER=() # process of the customer whose order waits at a failpoint
names=() keys=() wants=() answers=() # of the cases with an order to look at
failed=0
coupon=10000

ok() { printf '[       OK ] %s\n' "$1"; }
bad() { # CASE WHY
    printf '[  FAILED  ] %s\n%s\n' "$1" "$2"
    failed=$((failed + 1))
}
judge() { # CASE GOT WANTED(regular expression)
    if [[ $2 =~ ^($3)$ ]]; then ok "$1"; else bad "$1" "got $2, want $3"; fi
}

# --- one order ---

send_order() { # [KEY]: sets KEY, STATUS, BODY, ORDER
    KEY=${1:-$(new_key)}
    order_json $USER $GOODS:1:$PRICE 500 $coupon
    http POST "${URL[order]}/v1/orders" "$REQUEST" "$KEY"
    ORDER=$(member order_id)
}

# expect CASE STATES HTTP: the order of KEY shall come to one of STATES; the customer was told HTTP.
expect() {
    names+=("$1") keys+=("$KEY") wants+=("$2") answers+=("$STATUS $3")
}

place() { # CASE STATES HTTP
    coupon=$((coupon + 1))
    send_order
    expect "$1" "$2" "$3"
}

restart() { # NAME FAILPOINT=off: it has crashed, or is about to
    local i
    for ((i = 0; i < 300; i++)); do
        alive "$1" || break
        sleep 0.05
    done
    if alive "$1"; then
        bad "${1}_crashes" "$1 did not crash at $2"
        failpoint "$1" "$2"
        return
    fi
    stack_start "$1"
}

# hold_order FAILPOINT: sends an order in the background and returns when it waits there; release_order
# lets it go on and sets STATUS.
hold_order() {
    local i before
    coupon=$((coupon + 1))
    before=$(hits_of "$1")
    failpoint order "$1=pause*1"
    KEY=$(new_key)
    (
        send_order "$KEY"
        printf '%s' "$STATUS" >"$S_DIR/answer.$1"
    ) &
    CUSTOMER[$1]=$!
    for ((i = 0; i < 300; i++)); do
        [ "$(hits_of "$1")" = "$before" ] || return 0
        sleep 0.02
    done
    bad "hold_at_$1" "the order never came there"
}
hits_of() { # FAILPOINT of order
    http GET "${URL[order-internal]}/admin/failpoints"
    grep -oE "\{[^{}]*\"name\":\"$1\"[^{}]*\}" <<<"$BODY" | grep -oE '"hits":[0-9]+'
}
release_order() { # FAILPOINT
    failpoint order "$1=off"
    wait "${CUSTOMER[$1]}"
    STATUS=$(cat "$S_DIR/answer.$1")
}

order_crash() { # FAILPOINT STATES
    failpoint order "$1=crash"
    place "order_crashes_at_$1" "$2" 000
    restart order "$1=off"
}
order_error() { # FAILPOINT STATES HTTP
    failpoint order "$1=error*1"
    place "order_fails_at_$1" "$2" "$3"
}

# --- one payment ---

capture() { # ORDER: creates the payment and lets the payer pay; sets STATUS
    local url
    http POST "${URL[payment]}/v1/payments" "{\"order_id\":\"$1\",\"channel\":\"thirdpay\"}" "$(new_key)"
    url=$(member provider_url)
    [ -z "$url" ] || http POST "$url"
}
paid_case() { # CASE SERVICE FAILPOINT=ACTION: an order that is paid while SERVICE fails
    coupon=$((coupon + 1))
    send_order
    failpoint "$2" "$3"
    capture "$ORDER"
    case $3 in *crash*) restart "$2" "${3%%=*}=off" ;; esac
    [ "$STATUS" = 200 ] || capture "$ORDER"
    expect "$1" 1/2 '.*'
}

# --- cases ---

order_crashes() {
    local at
    order_crash order.half.before none
    order_crash order.half.after 3
    order_crash order.insert.after 2
    for at in stock coupon wallet; do
        order_crash "order.$at.before" 2
        order_crash "order.$at.after" 2
    done
    order_crash order.confirm.before 2
    for at in confirm.after reply.before; do
        order_crash "order.$at" 1
        send_order "$KEY"
        judge "the_same_key_answers_201_after_$at" "$STATUS" 201
    done
    for at in before after; do
        failpoint order 'order.wallet.after=error*1'
        order_crash "order.abort.$at" 2
    done
}

order_errors() {
    local at
    order_error order.half.before none 503
    order_error mq.half.ack 3 503
    order_error order.half.after 3 503
    for at in insert.after stock.before stock.after coupon.before coupon.after wallet.before wallet.after confirm.before; do
        order_error "order.$at" 2 '409|503'
    done
    order_error order.confirm.after 1 201
    order_error mq.end 1 201
    failpoint order 'order.wallet.after=error*1;order.abort.before=error*1'
    place abort_fails_before_its_write 2 202
    failpoint order 'order.coupon.after=error*1;order.abort.after=error*1'
    place abort_fails_after_its_write 2 409
    failpoint order 'order.stock.after=error*1;mq.end=error*1'
    place the_END_of_an_abort_is_lost 2 409
    # The answer of the first commit is lost: nobody knows, the check-back settles it.
    order_error db.commit.cut '2|3' 202
    order_error db.commit.before 1 201
    failpoint order 'db.commit.cut=error*1,after(1)'
    place the_answer_to_the_confirming_commit_is_lost 1 201
}

check_back_fails() {
    local at
    for at in before after; do
        failpoint order "order.check.$at=error*1"
        place_lost "check_back_answers_unknown_$at" 2
    done
    # Check-backs of earlier cases may be the ones that meet the crash: as good.
    for at in before after; do
        place_lost "order_crashes_in_check_back_$at" 2
        failpoint order "order.check.$at=crash"
        restart order "order.check.$at=off"
    done
}
place_lost() { # CASE STATES: the request ends without a verdict
    failpoint order 'order.stock.after=error*1;order.abort.before=error*1'
    place "$1" "$2" 202
}
# A request thread that freezes, is given up by the check-back, and wakes up again.
frozen_orders() {
    local at
    local -A key_of=()
    for at in half.after stock.before coupon.before wallet.before confirm.before confirm.after; do
        hold_order "order.$at"
        key_of[$at]=$KEY
    done
    for at in half.after stock.before coupon.before wallet.before confirm.before; do
        until_sql 30 "SELECT count(*) = 1 FROM ord.trade_order WHERE client_req_id = '${key_of[$at]}' AND order_status IN (2, 3, 5)" ||
            bad "freeze_at_$at" "the check-back never came"
    done
    for at in "${!key_of[@]}"; do
        release_order "order.$at"
        KEY=${key_of[$at]}
        case $at in
        half.after) expect "order_freezes_at_$at" 3 503 ;;
        confirm.after) expect "order_freezes_at_$at" 1 201 ;;
        *) expect "order_freezes_at_$at" 2 409 ;;
        esac
    done
}

participants() {
    local service at
    for service in stock coupon user; do
        for at in $(try_places "$service"); do
            failpoint "$service" "$at=crash"
            place "$service crashes at $at" '1|2' '201|409'
            restart "$service" "$at=off"
        done
        for at in inbox.before_tx inbox.after_tx inbox.before_ack; do
            hold_order order.wallet.after
            failpoint order 'order.confirm.before=error*1'
            failpoint "$service" "$at=crash"
            release_order order.wallet.after
            expect "$service crashes in cancel at $at" 2 409
            restart "$service" "$at=off"
        done
    done
}
try_places() { sed -nE 's/^FAILPOINT_DEF.*"([a-z_.]*try[a-z_.]*)".*/\1/p' "$ROOT/apps/$1/failpoints.def"; }

payments() {
    local at
    paid_case payment_goes_through payment pay.open.after=off
    for at in pay.intent.after pay.open.after pay.charge.after pay.half.before pay.half.after pay.settle.after pay.reply.before; do
        paid_case "payment_crashes_at_$at" payment "$at=crash"
    done
    paid_case paid_END_is_lost payment 'mq.end=error*1'
    paid_case paid_half_ack_is_lost payment 'mq.half.ack=error*1'
    paid_case paid_commit_answer_is_lost payment 'db.commit.cut=error*1,after(1)'
    for at in inbox.before_tx inbox.after_tx inbox.before_ack; do
        paid_case "order_crashes_on_paid_at_$at" order "$at=crash"
        paid_case "user_crashes_on_paid_at_$at" user "$at=crash"
        paid_case "paylog_crashes_on_paid_at_$at" paylog "$at=crash"
        paid_case "payment_crashes_on_order_paid_or_ack_at_$at" payment "$at=crash"
    done
    http POST "${URL[thirdpay-internal]}/admin/switches" '{"duplicates":5}'
    paid_case every_callback_comes_six_times_at_once payment pay.open.after=off
    http POST "${URL[thirdpay-internal]}/admin/switches" '{"duplicates":0,"wrong_signature":1,"wrong_amount":1}'
    paid_case callbacks_with_wrong_signature_and_amount_come_first payment pay.open.after=off
    http POST "${URL[thirdpay-internal]}/admin/switches" '{"wrong_signature":0,"wrong_amount":0}'
}

refusals() { # by the quotes: before anything is written
    coupon=$((coupon + 1))
    local body
    order_json 9 2002:1:$PRICE 0
    refused sold_out "$REQUEST" '409 20003'
    order_json 9 $GOODS:1:$((PRICE - 1)) 0
    refused price_changed "$REQUEST" '409 20002'
    order_json 9 $GOODS:1:$PRICE 0 503
    refused coupon_of_somebody_else_and_expired "$REQUEST" '(404|409) 4000[1-3]'
    order_json 3 $GOODS:1:$PRICE 500
    refused balance_short "$REQUEST" '409 30003'
    order_json 9 $GOODS:1:$PRICE 0
    body=${REQUEST/\"shipping_fee\":1000/\"shipping_fee\":0}
    refused wrong_shipping "$body" '409 10002'
    refused not_json 'x' '400 -1'
}
refused() { # CASE BODY STATUS_AND_CODE
    KEY=$(new_key)
    http POST "${URL[order]}/v1/orders" "$2" "$KEY"
    judge "refused_$1" "$STATUS $(member code)" "$3"
    expect "nothing_is_left_of_$1" none '.*'
}

# The broker dies while an order waits at a step; the order goes on, then the broker comes back.
broker_kills() {
    local at
    for at in half.after stock.after wallet.after confirm.before confirm.after; do
        hold_order "order.$at"
        stack_kill mqbroker
        release_order "order.$at"
        stack_start mqbroker
        expect "broker_is_killed_at_$at" 1 '201'
    done
}

# --- the end ---

state_of() { # KEY
    sql "SELECT coalesce((SELECT order_status || CASE pay_status WHEN 2 THEN '/2' ELSE '' END FROM ord.trade_order
         WHERE client_req_id = '$1' ORDER BY order_status = 3 LIMIT 1), 'none')"
}
all_there() {
    local i
    for i in "${!names[@]}"; do
        [ "${reached[$i]:-}" ] && continue
        [[ $(state_of "${keys[$i]}") =~ ^(${wants[$i]})$ ]] && reached[$i]=yes || return 1
    done
}

finish_cases() {
    local i end=$((SECONDS + 60))
    reached=()
    until all_there; do
        [ "$SECONDS" -lt "$end" ] || break
        sleep 0.1
    done
    ctl audit --wait 60 >"$S_DIR/audit"
    judge every_invariant_holds_at_rest $? 0
    [ "$failed" -eq 0 ] || cat "$S_DIR/audit"
    for i in "${!names[@]}"; do
        # The state once more: at rest, not in passing.
        judge "${names[$i]// /_}" "$(state_of "${keys[$i]}"), told ${answers[$i]%% *}" "(${wants[$i]}), told (${answers[$i]#* })"
    done
    judge no_dead_letters "$(compgen -G "$S_DIR/store/consumequeue/%DLQ%*" | wc -l)" 0
    judge no_sanitizer_reports "$(cat "$S_DIR"/log/*.log | grep -cE 'Sanitizer|runtime error')" 0
}

seed() {
    psql "$OWNER_DSN" -Xq -v ON_ERROR_STOP=1 <<SQL || die "cannot seed"
INSERT INTO stk.trade_goods(goods_id, goods_name, goods_price, initial_qty, buckets) VALUES ($GOODS, 'thing', $PRICE, 10000, 1), (2002, 'nothing', $PRICE, 0, 1);
INSERT INTO stk.goods_stock VALUES ($GOODS, 0, 10000), (2002, 0, 0);
INSERT INTO usr.trade_user(user_id, user_name, user_money) VALUES ($USER, 'Barbara', 10000000);
INSERT INTO usr.trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after) VALUES ($USER, -$USER, 0, 10000000, 10000000);
INSERT INTO cpn.trade_coupon(coupon_id, user_id, coupon_price, min_amount, valid_from, valid_to)
  SELECT n, $USER, 300, 0, now() - interval '1 day', now() + interval '1 day' FROM generate_series(10001, 10400) n;
SQL
}

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
base=$((20000 + RANDOM % 8000))
stack_new "$(mktemp -d "${TMPDIR:-/tmp}/halfpenny-saga.XXXXXX")" "$1" "$base" $((base + 100)) $((base + 200))
stack_postgres --while $$
seed
stack_start mqnamesrv
stack_start mqbroker
stack_services

for group in refusals order_errors order_crashes check_back_fails frozen_orders participants payments broker_kills; do
    begun=$SECONDS
    "$group"
    say "# $group: $((SECONDS - begun)) s"
done
begun=$SECONDS
finish_cases
say "# coming to rest: $((SECONDS - begun)) s"
say "${#names[@]} orders, $failed failed"
[ "$failed" -eq 0 ]
