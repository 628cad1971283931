# shellcheck shell=bash
# The scenario of the shop: what a customer, his payer and misfortune do, step by step, and what must hold
# after each. ./run demo plays it with processes of this machine, ./run compose with containers.
#
#   scenario          plays all steps; a mistake in a step ends it early
#   invariants        a step of its own: the audit
#   summary           the table of steps; `failures` is 0 if everything held
#
# Whoever sources it has started the shop, and provides tools/ask.sh with what that expects, and
#   S_DIR                        a directory for notes
#   PAY_DEADLINE_MS, IMMUNITY_S  as the order service was told
#   NAMESRV                      name servers as shopctl reaches them
#   ctl ARGUMENT...              shopctl, as the auditor
#   address_for_ctl NAME         a base URL as shopctl reaches it
#   stack_kill NAME              kill -9, and wait for the end
#   stack_start NAME             start again, and wait until it is ready
#   describe NAME                how to call what will be killed
#   broker_recovery              what the broker said about its recovery
#   FOREIGN_BROKER               set: the brokers are not ours, nobody kills them

# --- telling what happens ---

bold='' green='' red='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$'\e[1m' green=$'\e[32m' red=$'\e[31m' plain=$'\e[0m'
fi
begun=$EPOCHREALTIME
step_begun=$begun
failures=0
step_titles=() step_times=() step_results=()

seconds_since() { # EPOCHREALTIME value
    local us=$((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}))
    printf '%d.%02d' $((us / 1000000)) $((us % 1000000 / 10000))
}
tell() { printf '%8s s  %s\n' "$(seconds_since "$begun")" "$*"; }
indent() { sed '/^$/d; s/^/              /'; }

step() { # TITLE
    end_step
    step_titles+=("$1")
    step_begun=$EPOCHREALTIME
    step_failures=$failures
    printf '\n%s%s%s\n' "$bold" "$1" "$plain"
}
end_step() {
    [ ${#step_titles[@]} -eq ${#step_times[@]} ] && return
    step_times+=("$(seconds_since "$step_begun")")
    [ "$failures" -eq "$step_failures" ] && step_results+=("held") || step_results+=("FAILED")
}
skip() { # TITLE WHY
    end_step
    step_titles+=("$1") step_times+=("0.00") step_results+=("skipped")
    printf '\n%s%s%s\n' "$bold" "$1" "$plain"
    tell "skipped: $2"
}
expect() { # WHAT COMMAND...: says whether it held
    local what=$1
    shift
    if "$@"; then
        tell "${green}ok${plain}      $what"
    else
        tell "${red}FAILED${plain}  $what"
        failures=$((failures + 1))
    fi
}
is() { [ "$1" = "$2" ]; }

# --- the customer ---

place() { # USER ITEMS WALLET [COUPON]: sets STATUS, BODY, ORDER
    order_json "$@"
    http POST "${URL[order]}/v1/orders" "$REQUEST" "$(new_key)"
    ORDER=$(member order_id)
}

# place_behind FAILPOINT USER ITEMS WALLET [COUPON]: in the background; the order waits at the failpoint of the
# order service. Returns once it does; ORDER is its id.
place_behind() {
    local at=$1 before
    shift
    before=$(hits_of "$at")
    failpoint order "$at=pause*1"
    rm -f "$S_DIR/answer"
    (
        place "$@"
        printf '%s\n%s\n' "$STATUS" "$BODY" >"$S_DIR/answer.new"
        mv "$S_DIR/answer.new" "$S_DIR/answer"
    ) &
    customer=$!
    until_hit "$at" order "${before:-0}" 10 || tell "the order does not come to $at"
    ORDER=$(sql "SELECT max(order_id) FROM ord.trade_order")
}
answer_of_background() { # sets STATUS, BODY
    wait "$customer"
    STATUS=$(sed -n 1p "$S_DIR/answer")
    BODY=$(sed -n 2p "$S_DIR/answer")
}

pay() { # ORDER: through thirdpay, to the end; sets PAYMENT
    local url
    http POST "${URL[payment]}/v1/payments" "{\"order_id\":\"$1\",\"channel\":\"thirdpay\"}" "$(new_key)"
    PAYMENT=$(member pay_id) url=$(member provider_url)
    tell "payment $PAYMENT over $(money "$(member pay_amount)") created (HTTP $STATUS); the payer opens $url"
    http POST "$url"
    tell "the payer pressed Pay (HTTP $STATUS); thirdpay signs and sends its callback"
    expect "settled: order, points and journal have acknowledged" \
        until_sql 20 "SELECT is_paid = 2 AND acks = 7 FROM pay.trade_pay WHERE pay_id = ${PAYMENT:-0}"
}

open_payment() { # ORDER: sets PAYMENT, PAY_URL, STATUS
    http POST "${URL[payment]}/v1/payments" "{\"order_id\":\"$1\",\"channel\":\"thirdpay\"}" "$(new_key)"
    PAYMENT=$(member pay_id) PAY_URL=$(member provider_url)
}
provider() { http POST "${URL[thirdpay-internal]}/admin/switches" "{\"$1\":$2}"; } # SWITCH VALUE
payment_is() {                                                                       # PAYMENT STATE [SECONDS]
    until_sql "${3:-20}" "SELECT is_paid = $2 FROM pay.trade_pay WHERE pay_id = ${1:-0}"
}
# refunded PAYMENT [SECONDS]: the payer has his money back, once, and everybody knows.
refunded() {
    expect "payment ${1:-?} is refunded" payment_is "$1" 5 "${2:-20}"
    expect "points and journal have acknowledged the refund" \
        until_sql 20 "SELECT acks & 24 = 24 FROM pay.trade_pay WHERE pay_id = ${1:-0}"
    expect "thirdpay's books agree: all of it went back" is t \
        "$(sql "SELECT status = 'CAPTURED' AND refunded = amount FROM tp.charge WHERE out_trade_no = ${1:-0}")"
}

money() { printf '%d.%02d' $(($1 / 100)) $(($1 % 100)); }
ledgers() { ctl order --show ledgers "$1" | sed 1d | indent; }
order_is() { # ORDER STATUS [SECONDS]
    until_sql "${3:-20}" "SELECT order_status = $2 FROM ord.trade_order WHERE order_id = ${1:-0}"
}

# compensated ORDER [SECONDS]: the order ends cancelled, and nothing of it is left anywhere.
compensated() {
    expect "order ${1:-?} is cancelled: stock, coupon, wallet and payment have acknowledged" order_is "$1" 2 "${2:-20}"
    ledgers "$1"
    expect "its net effect is zero in every ledger" is t "$(sql "
        SELECT coalesce((SELECT sum(goods_number) FROM stk.trade_goods_number_log WHERE order_id = ${1:-0}), 0) = 0
           AND coalesce((SELECT sum(use_money) FROM usr.trade_user_money_log WHERE order_id = ${1:-0}), 0) = 0
           AND NOT EXISTS (SELECT 1 FROM cpn.trade_coupon WHERE order_id = ${1:-0})")"
}

# --- the steps ---

paid_order() {
    step "An order with wallet, coupon and two goods, paid to the end"
    place 1 "1001:1:19900 1002:2:4500" 5000 501
    tell "Ada orders a keyboard and two lamps: 289.00, 20.00 by coupon, 50.00 by wallet"
    expect "order $ORDER is confirmed (HTTP $STATUS), $(money "$(member pay_amount)") to pay" is "$STATUS" 201
    pay "$ORDER"
    ledgers "$ORDER"
    expect "Ada has 269 points: one for each whole unit paid" is 269 "$(sql 'SELECT user_score FROM usr.trade_user WHERE user_id = 1')"
}

# overtaken FAILPOINT CODE USER FIRST HELD WINS ITEMS WALLET [COUPON]: USER's order waits at the failpoint while FIRST
# orders the same; what one of them can have is gone then, and USER is told so. HELD and WINS tell it, with ORDER
# for the id.
overtaken() {
    local at=$1 code=$2 user=$3 first=$4 held=$5 wins=$6 loser
    shift 6
    place_behind "$at" "$user" "$@"
    loser=$ORDER
    tell "${held/ORDER/$loser}"
    place "$first" "$@"
    expect "${wins/ORDER/$ORDER} (HTTP $STATUS)" is "$STATUS" 201
    failpoint order "$at=off"
    answer_of_background
    expect "whoever was late is told: HTTP $STATUS, code $(member code), $(member message)" is "$STATUS $(member code)" "409 $code"
    compensated "$loser"
}

refused_by_stock() {
    step "Refused by stock: two orders for the last poster"
    overtaken order.stock.before 20003 1 3 "Ada's order ORDER has seen one poster left and is held just before it takes it" \
        "Edsger's order ORDER is faster and gets it" 1003:1:8800 0
}

refused_by_coupon() {
    step "Refused by coupon: the same coupon twice, after the stock was deducted"
    overtaken order.coupon.before 40003 2 2 "Grace's order ORDER has its lamps and is held just before it uses coupon 502" \
        "her other order ORDER uses the coupon first" 1002:2:4500 0 502
}

refused_by_wallet() {
    step "Refused by wallet: the same 50.00 twice, after the stock was deducted"
    overtaken order.wallet.before 30003 2 2 "Grace's order ORDER has its notebooks and is held just before it charges her wallet" \
        "her other order ORDER charges it first" 1004:5:990 5000
}

too_late() {
    step "Two orders that will be too late: one nobody pays, one whose payer takes his time"
    place 1 1002:1:4500 1500
    unpaid=$ORDER
    tell "order $unpaid (15.00 by wallet) is confirmed (HTTP $STATUS); nobody pays it, its timer is armed: $((PAY_DEADLINE_MS / 1000)) s"
    place 3 1004:2:990 0
    late=$ORDER
    open_payment "$late"
    late_payment=$PAYMENT late_url=$PAY_URL
    tell "order $late has payment $late_payment open (HTTP $STATUS); its payer looks for his card"
}

paid_twice() {
    step "Paid twice: the first payment was given up, and captured all the same"
    place 1 1004:4:990 0
    local order=$ORDER first first_url
    open_payment "$order"
    first=$PAYMENT first_url=$PAY_URL
    http POST "${URL[thirdpay]}/v1/charges/$first/close"
    tell "payment $first: the payer walks away, thirdpay closes the charge"
    expect "the reconciler asks thirdpay and closes the payment" payment_is "$first" 3
    open_payment "$order"
    local second=$PAYMENT
    expect "a second payment $second is opened (HTTP $STATUS)" is "$STATUS" 201
    http POST "$PAY_URL"
    expect "it is settled" until_sql 20 "SELECT is_paid = 2 AND acks = 7 FROM pay.trade_pay WHERE pay_id = ${second:-0}"
    provider capture_late 1
    http POST "$first_url"
    tell "and now the bank of the first one delivers after all (HTTP $STATUS)"
    refunded "$first"
    expect "order $order is paid by $second, and stays so" is "1 2 $second" \
        "$(sql "SELECT order_status || ' ' || pay_status || ' ' || pay_id FROM ord.trade_order WHERE order_id = ${order:-0}")"
}

cancelled_by_user() {
    step "Cancelled by the user, with a payment open"
    place 1 1002:2:4500 1000
    open_payment "$ORDER"
    http POST "${URL[order]}/v1/orders/$ORDER/cancel" '{"user_id":"1","reason":"ordered twice"}' "$(new_key)"
    expect "Ada cancels order $ORDER (HTTP $STATUS)" is "$STATUS" 202
    compensated "$ORDER"
    expect "its payment $PAYMENT is closed, here and at thirdpay" is "3 CLOSED" \
        "$(sql "SELECT is_paid || ' ' || status FROM pay.trade_pay JOIN tp.charge ON out_trade_no = pay_id WHERE pay_id = ${PAYMENT:-0}")"
}

dead_letter_replayed() {
    step "A dead letter: the stock service takes a cancellation for malformed"
    place 1 1001:1:19900 0
    failpoint stock 'inbox.dead=error*1'
    http POST "${URL[order]}/v1/orders/$ORDER/cancel" '{"user_id":"1"}' "$(new_key)"
    tell "order $ORDER is cancelled by its user (HTTP $STATUS)"
    expect "the message went to the dead-letter queue, and is kept" \
        until_sql 20 "SELECT count(*) = 1 FROM stk.mq_dead_letter WHERE state = 'open'"
    ctl dlq list | indent
    expect "the order waits for its stock" until_sql 10 \
        "SELECT order_status = 5 AND comp_mask = 14 FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
    local letter
    letter=$(sql "SELECT 'stk:' || letter_id FROM stk.mq_dead_letter WHERE state = 'open'")
    local stock
    stock=$(address_for_ctl stock-internal)
    tell "the fault is repaired; shopctl dlq replay $stock $letter"
    expect "replayed to its group alone" ctl dlq replay "$stock" "$letter"
    compensated "$ORDER"
}

the_deadline_passes() {
    step "The deadline passes, and money comes after it"
    expect "the timer cancels order $unpaid" order_is "$unpaid" 2 60
    compensated "$unpaid"
    compensated "$late" 40
    provider capture_late 1
    http POST "$late_url"
    tell "the payer of order $late has found his card, and his bank delivers (HTTP $STATUS): a late callback"
    refunded "$late_payment" 40
    expect "no unpaid order is left: the others have timed out too" until_sql 60 \
        "SELECT count(*) = 0 FROM ord.trade_order WHERE order_status = 1 AND pay_status < 2"
}

order_service_killed() {
    step "kill -9 of the order service after the first deduction"
    place_behind order.stock.after 1 1002:3:4500 2000
    local victim=$ORDER
    until_sql 10 "SELECT count(*) = 1 FROM stk.trade_goods_number_log WHERE order_id = $victim"
    tell "order $victim has taken three lamps; now kill -9 of $(describe order)"
    stack_kill order
    answer_of_background
    expect "the customer got no answer" is "$STATUS" 000
    ctl sagas | sed 1d | grep -E "ORDER|order|$victim" | indent
    stack_start order
    tell "shop-order runs again; the broker asks it about the undecided half message (silence of ${IMMUNITY_S} s first)"
    compensated "$victim" 40
}

broker_killed() {
    step "kill -9 of the broker in the middle of an order"
    place_behind order.wallet.before 1 "1001:1:19900 1004:3:990" 3000
    local order=$ORDER
    until_sql 10 "SELECT count(*) = 2 FROM stk.trade_goods_number_log WHERE order_id = $order"
    tell "order $order has its goods, its wallet is next; now kill -9 of $(describe mqbroker)"
    stack_kill mqbroker
    failpoint order 'order.wallet.before=off'
    answer_of_background
    tell "the order goes on without a broker: HTTP $STATUS, $(member message); its END is lost"
    place 1 1004:1:990 0
    expect "a new order is refused meanwhile (HTTP $STATUS: $(member message))" is "$STATUS" 503
    stack_start mqbroker
    tell "mqbroker runs again: $(broker_recovery)"
    expect "the order is confirmed or cancelled, nothing in between" \
        until_sql 40 "SELECT order_status IN (1, 2) FROM ord.trade_order WHERE order_id = $order"
    case $(sql "SELECT order_status FROM ord.trade_order WHERE order_id = $order") in
    1)
        pay "$order"
        ledgers "$order"
        ;;
    *) compensated "$order" ;;
    esac
}

invariants() {
    step "The invariants of the shop"
    ctl audit --wait $((60 + ${PATIENCE_S:-0})) --namesrv "$NAMESRV" | sed '/^$/d'
    local status=${PIPESTATUS[0]}
    expect "every invariant holds" is "$status" 0
}

summary() {
    end_step
    local i
    printf '\n%s%-72s %9s  %s%s\n' "$bold" STEP TIME RESULT "$plain"
    for i in "${!step_titles[@]}"; do
        printf '%-72s %7s s  %s\n' "${step_titles[$i]}" "${step_times[$i]}" "${step_results[$i]}"
    done
    printf '%-72s %7s s\n\n' "all" "$(seconds_since "$begun")"
}

scenario() {
    paid_order
    refused_by_stock
    refused_by_coupon
    refused_by_wallet
    dead_letter_replayed
    too_late
    paid_twice
    cancelled_by_user
    order_service_killed
    if [ -n "${FOREIGN_BROKER:-}" ]; then
        skip "kill -9 of the broker in the middle of an order" "the broker is not ours to kill"
    else
        broker_killed
    fi
    the_deadline_passes
}
