# shellcheck shell=bash
# Placing an order: refusals, failures and crashes at every step, check-backs that fail, frozen requests,
# participants that crash.

order_crash() { # FAILPOINT STATES
    failpoint order "$1=crash"
    place "order_crashes_at_$1" "$2" 000
    restart order "$1=off"
}
order_error() { # FAILPOINT STATES HTTP
    failpoint order "$1=error*1"
    place "order_fails_at_$1" "$2" "$3"
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
    order_json $BUYER $GOODS:1:$PRICE 0 12001
    refused coupon_expired "$REQUEST" '409 40002'
    place an_order_uses_the_coupon 1 201
    order_json $BUYER $GOODS:1:$PRICE 0 $coupon
    refused coupon_used "$REQUEST" '409 40003'
    order_json 3 $GOODS:1:$PRICE 500
    refused balance_short "$REQUEST" '409 30003'
    order_json 9 $GOODS:1:$PRICE 0
    body=${REQUEST/\"shipping_fee\":1000/\"shipping_fee\":0}
    refused wrong_shipping "$body" '409 10002'
    refused not_json 'x' '400 -1'
}

# By a participant: the quotes were good when they were read, but while the order waits before its try,
# another one takes what it wants.
refusals_by_tries() {
    local BUYER=$BUYER GOODS=$GOODS coupon=13000
    taken_meanwhile coupon order.coupon.before 40003 -1
    GOODS=2003 taken_meanwhile last_unit order.stock.before 20003 0
    BUYER=19 coupon=13500
    taken_meanwhile balance order.wallet.before 30003 0
}
taken_meanwhile() { # WHAT FAILPOINT CODE: the other order's coupon, from this one's next
    local first
    hold_order "$2"
    first=$KEY
    coupon=$((coupon + $4))
    place "the_other_order_takes_the_$1" 1 201
    release_order "$2"
    KEY=$first
    expect "the_$1_is_taken_meanwhile" 2 409
    later "the_$1_is_named_as_the_reason" "$3" "SELECT fail_code FROM ord.trade_order WHERE client_req_id = '$KEY'"
}
refused() { # CASE BODY STATUS_AND_CODE
    KEY=$(new_key)
    http POST "${URL[order]}/v1/orders" "$2" "$KEY"
    judge "refused_$1" "$STATUS $(member code)" "$3"
    expect "nothing_is_left_of_$1" none '.*'
}

order_crashes() {
    local at
    order_crash order.half.before none
    order_crash order.half.after 3
    order_crash order.insert.after 2
    for at in timer stock coupon wallet; do
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

# The order service dies while a participant executes its try: the answer reaches nobody.
order_crashes_during_tries() {
    local service at
    for service in stock coupon user; do
        at=$service.try.before_tx
        hold_order "$at" "$service" pause
        stack_kill order
        release_order "$at" "$service"
        stack_start order
        expect "order_crashes_during_the_try_of_$service" 2 000
    done
}

order_errors() {
    local at
    order_error order.half.before none 503
    order_error mq.half.ack 3 503
    order_error order.half.after 3 503
    for at in timer.before timer.after insert.after stock.before stock.after coupon.before coupon.after wallet.before wallet.after confirm.before; do
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
    # An acknowledgement of an earlier order's cancellation is a commit, too, and must not meet the fault.
    no_order_is_open
    # The answer of the first commit is lost: nobody knows, the check-back settles it.
    order_commit_lost
    order_error db.commit.before 1 201
    hold_order order.confirm.before
    failpoint order 'db.commit.cut=error*1'
    release_order order.confirm.before
    expect the_answer_to_the_confirming_commit_is_lost 1 201
}
# Another transaction of the service, the sweeper's or a late acknowledgement's, may come first and meet the
# fault; then the order is as any other, and the next one tries.
order_commit_lost() {
    local n
    for n in 1 2 3 4 5; do
        failpoint order 'db.commit.cut=error*1'
        new_order
        [ "$STATUS" = 201 ] || break
        expect "order_${n}_behind_another_lost_commit" 1 201
    done
    expect order_fails_at_db.commit.cut '2|3' 202
}
no_order_is_open() {
    until_sql 30 "SELECT NOT EXISTS (SELECT FROM ord.trade_order WHERE order_status IN (0, 5))" ||
        bad orders_come_to_an_end "an order is still open after 30 s"
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

# Two instances: one dies with an order under way, the other answers for it.
two_instances() {
    local at
    stack_start order@2
    for at in order.insert.after order.stock.after order.wallet.after order.confirm.after; do
        failpoint order "$at=crash"
        place "one_of_two_instances_crashes_at_$at" "$([ "$at" = order.confirm.after ] && echo 1 || echo 2)" 000
        [ "$at" = order.confirm.after ] || until_sql 30 "SELECT count(*) = 1 FROM ord.trade_order WHERE client_req_id = '$KEY' AND order_status = 2" ||
            bad "the_other_instance_decides_after_$at" "it does not"
        restart order "$at=off"
    done
    # One of two dies in a check-back: the other is asked. It answers UNKNOWN until the first has died.
    for at in before after; do
        place_lost "one_of_two_crashes_in_check_back_$at" 2
        failpoint order@2 'order.check.before=error'
        failpoint order "order.check.$at=crash"
        restart order "order.check.$at=off"
        failpoint order@2 'order.check.before=off'
    done
    stack_kill order@2
}
