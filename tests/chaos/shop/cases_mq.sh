# shellcheck shell=bash
# The broker misbehaves: decisions and answers are lost, half messages too, check-backs come late or twice,
# consumers start again in the past, the disk is full, nobody knows the way to it.
#
# Faults of the broker are failpoints that it starts with (base/failpoints.def); each case that needs one
# starts it anew, and once more without.

broker_with() { # FAILPOINTS, "" for none; further lines of its configuration
    FAULTS[mqbroker]=$1
    stack_kill mqbroker
    write_configuration
    [ -z "${2:-}" ] || printf '%s\n' "$2" >>"$S_DIR/conf/mqbroker.conf"
    stack_start mqbroker
}

# No END arrives, from anybody; then not even the answers to check-backs.
ends_dropped() {
    failpoint order mq.end=error
    failpoint payment mq.end=error
    place every_END_is_dropped_a_confirmation 1 201
    new_order
    pay_now "$ORDER"
    later every_END_is_dropped_a_payment 1/2 "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
    failpoint order 'order.wallet.after=error*1'
    place every_END_is_dropped_an_abort 2 409
    order_comes_to "$ORDER" 2
    new_order
    cancel_now "$ORDER"
    expect every_END_is_dropped_a_cancellation 2 202
    order_comes_to "$ORDER" 2
    failpoint order mq.end=off
    failpoint payment mq.end=off

    broker_with tx.end=error
    place no_decision_arrives_a_confirmation 1 201
    failpoint order 'order.wallet.after=error*1'
    place no_decision_arrives_an_abort 2 409
    order_comes_to "$ORDER" 2 || bad no_decision_arrives_an_abort "the sweeper does not bring it to its end"
    new_order
    open_payment "$ORDER"
    http POST "$PAY_URL" # the reconciler sends `paid` itself
    later no_decision_arrives_a_payment 1/2 "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
    until_sql 40 "SELECT pay_status = 2 FROM ord.trade_order WHERE order_id = ${ORDER:-0}" || bad no_decision_arrives_a_payment "the reconciler does not bring it to its end"
    broker_with ''
}

# No check-back until the sweeper has done its work; then they come, too late.
checks_late_and_twice() {
    local at
    broker_with tx.check=error
    for at in stock.after wallet.after; do
        failpoint order "order.$at=error*1;order.abort.before=error*1"
        place "the_check_back_of_${at}_comes_after_all_is_over" 2 202
        order_comes_to "$ORDER" 2 || bad "no_check_back_at_$at" "the sweeper does not cancel"
    done
    broker_with tx.check.again=error
    for at in insert.after stock.after wallet.after; do
        failpoint order "order.$at=error*1;order.abort.before=error*1"
        place "two_check_backs_at_once_at_$at" 2 202
        order_comes_to "$ORDER" 2
    done
    broker_with ''
}

# The broker has acknowledged the half message and lost it; or gives it up after one unanswered question.
halves_lost() {
    local at
    failpoint order 'mq.half.lost=error*1'
    place the_half_is_lost_a_confirmation 1 201
    for at in insert.after stock.after wallet.after confirm.before; do
        failpoint order "mq.half.lost=error*1;order.$at=error*1"
        place "the_half_is_lost_an_abort_at_$at" 2 '409|503'
    done
    failpoint order 'mq.half.lost=error*1'
    order_crash order.coupon.after 2
    paid_case the_half_of_paid_is_lost payment 'mq.half.lost=error*1'
    user_case the_half_of_a_users_cancellation_is_lost 'mq.half.lost=error*1' 202

    broker_with '' transactionCheckMax=1
    failpoint order 'order.check.after=error'
    place_lost the_half_is_given_up_after_one_question 2
    order_comes_to "$ORDER" 2 || bad the_half_is_given_up_after_one_question "the sweeper does not cancel"
    failpoint order 'order.check.after=off'
    broker_with ''
}

# Answers of the broker are lost on their way; and messages that it had acknowledged.
answers_lost() {
    local service at
    for at in 0 1 2 3 4 5; do # of what the first seconds bring: sends, pulls, heartbeats, offsets
        broker_with "broker.reply=error*8,after($((at * 7)))"
        new_order
        [ "$STATUS" != 201 ] || pay_now "$ORDER"
        later "eight_answers_of_the_broker_are_lost_after_$((at * 7))" 'none|1/2|1/0|1/1|2/0|3/0' \
            "SELECT coalesce((SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE client_req_id = '$KEY' ORDER BY order_status = 3 LIMIT 1), 'none')"
    done
    broker_with ''
    for service in stock coupon user payment; do
        for at in mq.send.lost mq.send.ack; do
            new_order
            open_payment "$ORDER"
            failpoint "$service" "$at=error*1"
            cancel_now "$ORDER"
            later "cancel_ack_of_${service}_at_$at" 2/0 "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
            was_met "$service" "$at"
        done
    done
    for at in mq.send.lost mq.send.ack; do
        for service in order user paylog; do
            paid_case "what_${service}_says_of_a_payment_at_$at" "$service" "$at=error*1"
            was_met "$service" "$at"
        done
        for service in order user paylog payment; do
            refund_case "what_${service}_says_of_a_refund_at_$at" "$service" "$at=error*1"
            was_met "$service" "$at"
        done
        failpoint order "$at=error*1"
        case $at in
        mq.send.lost) place the_timer_of_an_order_is_lost 1 201 ;;
        mq.send.ack) place the_timer_of_an_order_is_not_acknowledged 2 503 ;;
        esac
    done
}

# was_met SERVICE FAILPOINT: a fault that is armed once was met, before the next case could meet it.
was_met() {
    local end=$((SECONDS + 20))
    while failpoint_armed "$1" "$2"; do
        if [ "$SECONDS" -ge "$end" ]; then
            bad "$2_of_$1" "the fault was never met"
            failpoint "$1" "$2=off"
            return
        fi
        sleep 0.05
    done
}
failpoint_armed() { # SERVICE FAILPOINT
    http GET "${URL[$1-internal]}/admin/failpoints"
    grep -oE "\{[^{}]*\"name\":\"$2\"[^{}]*\}" <<<"$BODY" | grep -q '"armed":true'
}

# Everything of the last thousand messages of each queue is delivered once more to every group.
rewound() {
    local service groups=() again
    for service in stock coupon user; do groups+=("${service}_orderTopic_cancel_group@orderTopic"); done
    groups+=(pay_orderTopic_group@orderTopic order_orderTopic_timeout_group@orderTopic order_payTopic_group@payTopic
        user_payTopic_group@payTopic log_payTopic_group@payTopic pay_payTopic_refund_group@payTopic
        order_ackTopic_group@ackTopic pay_ackTopic_group@ackTopic)
    new_order
    pay_now "$ORDER"
    until_sql 30 "SELECT acks = 7 FROM pay.trade_pay WHERE pay_id = ${PAYMENT:-0}"
    new_order
    cancel_now "$ORDER"
    order_comes_to "$ORDER" 2
    # Consumers commit their offsets every few seconds; then they must not write over ours.
    until_rest_of_broker
    for service in order stock coupon user payment paylog; do stack_kill "$service"; done
    again=$("$S_BIN/shop_rewind" "127.0.0.1:${PORT[mqbroker]}" 1000 "${groups[@]}")
    judge consumers_are_set_back_by_1000_messages "$again" '[1-9][0-9]*'
    for service in stock coupon user payment paylog order; do stack_start "$service"; done
    until_rest_of_broker
    judge they_know_all_of_them "$(curl -s "${URL[stock-internal]}/metrics" |
        sed -nE 's/^shop_consumed_total\{.*result="duplicate"\} //p')" '[1-9][0-9]*'
    place an_order_after_that 1 201
}
until_rest_of_broker() {
    local end=$((SECONDS + 60))
    until ctl audit --namesrv "127.0.0.1:${PORT[mqnamesrv]}" | grep -E '^i14 .* behind ' | grep -q ' ok'; do
        if [ "$SECONDS" -ge "$end" ]; then
            bad broker_comes_to_rest "a group is still behind after 60 s"
            return
        fi
        sleep 0.2
    done
}

# The broker's store moves to a small file system, seen by the broker alone, that somebody else fills up.
disk_full() {
    local i small=$S_DIR/small alone=(unshare -m)
    [ "$(id -u)" = 0 ] || alone+=(-r)
    mkdir -p "$small"
    stack_kill mqbroker
    "${alone[@]}" sh -c "mount -t tmpfs -o size=$(($(du -sk "$S_DIR/store" | cut -f1) + 400000))k tmpfs '$small' &&
        cp -a '$S_DIR/store' '$small/' && echo ready && exec tail -f /dev/null" >"$S_DIR/log/keeper.out" 2>&1 &
    PID[keeper]=$!
    disown
    wait_ready keeper ready
    BROKER_INSIDE=(nsenter -t "${PID[keeper]}" -m)
    [ "$(id -u)" = 0 ] || BROKER_INSIDE+=(-U --preserve-credentials)
    broker_with '' "storePathRootDir=$small/store
cleanFileForciblyEnable=false
cleanResourceInterval=200"
    place before_the_disk_is_full 1 201
    "${BROKER_INSIDE[@]}" sh -c "cat /dev/zero >'$small/ballast'" 2>/dev/null
    for ((i = 0; i < 100; i++)); do
        new_order
        expect the_disk_fills_up 'none|1|2|3' '201|409|503'
        [ "$STATUS" != 503 ] || break
    done
    judge an_order_on_a_full_disk_is_refused "$STATUS" 503
    "${BROKER_INSIDE[@]}" rm "$small/ballast"
    for ((i = 0; i < 100; i++)); do
        new_order
        expect the_disk_is_free_again 'none|1|2|3' '201|409|503'
        [ "$STATUS" != 201 ] || break
        sleep 0.1
    done
    judge orders_are_taken_again_on_a_free_disk "$STATUS" 201
    stack_kill mqbroker
    rm -rf "$S_DIR/store"
    "${BROKER_INSIDE[@]}" cp -a "$small/store" "$S_DIR/store"
    BROKER_INSIDE=()
    stack_kill keeper
    unset 'PID[keeper]'
    broker_with ''
}

# No name server for longer than clients ask it again (2 s here), while the broker starts anew as well.
name_server_away_for_long() {
    local end=$((SECONDS + 5))
    stack_kill mqnamesrv
    while [ "$SECONDS" -lt "$end" ]; do
        new_order
        judge an_order_without_name_server_is_confirmed "$STATUS" 201
        pay_now "$ORDER"
        sleep 0.5
        later the_name_server_is_gone_while_paying 1/2 "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
    done
    broker_with ''
    new_order # the broker's address is known
    expect the_name_server_is_gone_and_the_broker_starts_anew 'none|1|2|3' '201|409|503'
    stack_kill stock
    stack_start mqnamesrv
    stack_start stock
    until_placed the_name_server_is_back
}
until_placed() { # CASE: orders are confirmed again
    local end=$((SECONDS + 20))
    while :; do
        place "$1" 'none|1|2|3' '201|202|409|503'
        [ "$STATUS" != 201 ] || break
        [ "$SECONDS" -lt "$end" ] || { bad "$1" "no order is confirmed after 20 s: $STATUS" && return; }
        sleep 0.2
    done
}
