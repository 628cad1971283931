# shellcheck shell=bash
# What the failure cases of the shop share. Sourced by tests/chaos/shop.sh; expects tools/stack.sh.
#
# One order or payment per case; the failure is a failpoint of the process concerned, a kill, a switch of the
# provider, or something done to broker or database. Cases do not wait for each other: what a failure leaves
# behind is healed by check-backs, timers, redeliveries and sweepers while the next cases run. At the end
# every order and payment must be in the state its case expects, and every invariant must hold.
#
# A case says what it expects with
#   expect CASE STATES HTTP       the order of KEY comes to one of STATES (order_status, /2 when paid, none);
#                                 its customer was told HTTP
#   later CASE WANTED SQL         the query comes to answer WANTED (a regular expression)
#   judge CASE GOT WANTED         at once

GOODS=2001 PRICE=3000 BUYER=9 # 1 unit + shipping 1000 = 4000: 300 by coupon, 500 by wallet, 3200 to pay
declare -A CUSTOMER=()        # process of the customer whose order waits at a failpoint
names=() queries=() wants=()  # of what has to come true
failed=0 judged=0
coupon=10000

ok() {
    judged=$((judged + 1))
    printf '[       OK ] %s\n' "$1"
}
bad() { # CASE WHY
    printf '[  FAILED  ] %s\n%s\n' "$1" "$2"
    failed=$((failed + 1))
}
judge() { # CASE GOT WANTED(regular expression)
    if [[ $2 =~ ^($3)$ ]]; then ok "$1"; else bad "$1" "got $2, want $3"; fi
}
later() { # CASE WANTED SQL
    names+=("${1// /_}") wants+=("$2") queries+=("$3")
}
expect() { # CASE STATES HTTP
    later "$1" "$2" "SELECT coalesce((SELECT order_status || CASE pay_status WHEN 2 THEN '/2' ELSE '' END FROM ord.trade_order
        WHERE client_req_id = '$KEY' ORDER BY order_status = 3 LIMIT 1), 'none')"
    [[ $STATUS =~ ^($3)$ ]] || bad "${1// /_}" "the customer was told $STATUS, want $3"
}

# --- one order ---

send_order() { # [KEY]: sets KEY, STATUS, BODY, ORDER
    KEY=${1:-$(new_key)}
    order_json $BUYER $GOODS:1:$PRICE 500 $coupon
    http POST "${URL[order]}/v1/orders" "$REQUEST" "$KEY"
    ORDER=$(member order_id)
}
new_order() { # the next one, with a coupon of its own
    coupon=$((coupon + 1))
    send_order
}
place() { # CASE STATES HTTP
    new_order
    expect "$1" "$2" "$3"
}

# --- processes ---

reconfigure() { # SERVICE OPTIONS: runs on with these on top; "" for none
    EXTRA[$1]=$2
    stack_kill "$1"
    stack_start "$1"
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

# hold_order FAILPOINT [SERVICE [ACTION]]: sends an order in the background and returns when it waits there;
# release_order FAILPOINT [SERVICE] lets it go on and sets STATUS. ACTION pause also holds what comes after it.
hold_order() {
    local before
    coupon=$((coupon + 1))
    before=$(hits_of "$1" "${2:-order}")
    failpoint "${2:-order}" "$1=${3:-pause*1}"
    KEY=$(new_key)
    (
        send_order "$KEY"
        printf '%s' "$STATUS" >"$S_DIR/answer.$1"
    ) &
    CUSTOMER[$1]=$!
    until_hit "$1" "${2:-order}" "${before:-0}" 6 || bad "hold_at_$1" "the order never came there"
}
release_order() {
    failpoint "${2:-order}" "$1=off"
    wait "${CUSTOMER[$1]}"
    STATUS=$(cat "$S_DIR/answer.$1")
}

# pay_now ORDER: creates its payment and lets the payer pay; sets STATUS. For cases that are not about time:
# a confirmed order that nobody pays is cancelled when its time is over.
open_payment() { # ORDER: sets PAYMENT, PAY_URL, STATUS
    http POST "${URL[payment]}/v1/payments" "{\"order_id\":\"$1\",\"channel\":\"thirdpay\"}" "$(new_key)"
    PAYMENT=$(member pay_id) PAY_URL=$(member provider_url)
}
pay_now() { # ORDER
    open_payment "$1"
    [ -z "$PAY_URL" ] || http POST "$PAY_URL"
}
cancel_now() { # ORDER: by its user; sets STATUS
    http POST "${URL[order]}/v1/orders/$1/cancel" "{\"user_id\":\"$BUYER\"}" "$(new_key)"
}
provider() { http POST "${URL[thirdpay-internal]}/admin/switches" "{\"$1\":$2}"; } # SWITCH VALUE
state_of() {                                                                         # ORDER
    sql "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${1:-0}"
}
order_comes_to() { # ORDER STATUS [SECONDS]
    until_sql "${3:-30}" "SELECT order_status = $2 FROM ord.trade_order WHERE order_id = ${1:-0}"
}

# --- the end ---

all_there() {
    local i
    for i in "${!names[@]}"; do
        [ -z "${reached[$i]:-}" ] || continue
        [[ $(sql "${queries[$i]}") =~ ^(${wants[$i]})$ ]] && reached[$i]=yes || return 1
    done
}

finish_cases() { # SECONDS
    local i end=$((SECONDS + $1))
    reached=()
    until all_there; do
        [ "$SECONDS" -lt "$end" ] || break
        sleep 0.1
    done
    ctl audit --wait 60 --namesrv "127.0.0.1:${PORT[mqnamesrv]}" >"$S_DIR/audit"
    judge every_invariant_holds_at_rest $? 0
    cat "$S_DIR/audit"
    for i in "${!names[@]}"; do # once more: at rest, not in passing
        judge "${names[$i]}" "$(sql "${queries[$i]}")" "${wants[$i]}"
    done
}

seed() {
    psql "$OWNER_DSN" -Xq -v ON_ERROR_STOP=1 <<SQL || die "cannot seed"
INSERT INTO stk.trade_goods(goods_id, goods_name, goods_price, initial_qty, buckets) VALUES ($GOODS, 'thing', $PRICE, 10000, 1), (2002, 'nothing', $PRICE, 0, 1),
  (2003, 'the last one', $PRICE, 1, 1), (2004, 'other thing', $PRICE, 10000, 1);
INSERT INTO stk.goods_stock VALUES ($GOODS, 0, 10000), (2002, 0, 0), (2003, 0, 1), (2004, 0, 10000);
INSERT INTO usr.trade_user(user_id, user_name, user_money) VALUES ($BUYER, 'Barbara', 10000000), (19, 'Charles', 600);
INSERT INTO usr.trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after)
  VALUES ($BUYER, -$BUYER, 0, 10000000, 10000000), (19, -19, 0, 600, 600);
INSERT INTO cpn.trade_coupon(coupon_id, user_id, coupon_price, min_amount, valid_from, valid_to)
  SELECT n, CASE WHEN n < 13500 THEN $BUYER ELSE 19 END, 300, 0, now() - interval '1 day', now() + interval '1 day' * CASE n WHEN 12001 THEN -0.5 ELSE 1 END
  FROM (SELECT generate_series(10001, 12001) UNION ALL SELECT generate_series(13001, 13010) UNION ALL SELECT generate_series(13501, 13510)) x(n);
SQL
}

