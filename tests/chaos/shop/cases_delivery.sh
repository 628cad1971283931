# shellcheck shell=bash
# Messages and requests that come several times, in another order, or late.

# --- several times ---

everywhere() { # SPEC: in every service with messages
    local service
    for service in order stock coupon user payment paylog; do failpoint "$service" "$1"; done
}

# Every message is stored five times, every END comes twice, every callback five times at once, every try three
# times. Every order and payment comes to the same end as without.
duplicates() {
    local service
    everywhere 'mq.send.again=error;mq.end.again=error'
    failpoint order 'order.try.again=error'
    provider duplicates 4
    paid_case five_of_every_message_a_payment payment pay.open.after=off
    user_case five_of_every_message_a_cancellation order.cancel.tx.after=off 202
    refund_case five_of_every_message_a_refund payment pay.open.after=off
    failpoint order 'order.wallet.after=error*1'
    place five_of_every_message_an_abort 2 '409|503'
    reconfigure order "--pay-deadline-ms 5000"
    failpoint order 'mq.send.again=error;order.try.again=error'
    unpaid_case five_of_every_message_a_timeout order order.sweep.before=off
    order_comes_to "$ORDER" 2
    reconfigure order ""
    provider duplicates 0
    everywhere 'mq.send.again=off;mq.end.again=off'
    failpoint order 'order.try.again=off'

    # What comes by way of a half message is delivered five times: its acknowledgement is lost four times.
    for service in stock coupon user payment; do
        failpoint "$service" 'inbox.before_ack=error*4'
        user_case "a_cancellation_is_delivered_to_${service}_five_times" order.cancel.tx.after=off 202
    done
    for service in order user paylog; do
        paid_case "a_payment_is_delivered_to_${service}_five_times" "$service" 'inbox.before_ack=error*4'
    done
    for service in order user paylog payment; do
        refund_case "a_refund_is_delivered_to_${service}_five_times" "$service" 'inbox.before_ack=error*4'
    done
}

# --- another order ---

# cancel_before_try SERVICE SCHEMA BRANCH: the try is held in the participant until its cancellation is done.
cancel_before_try() {
    local at=$1.try.before_tx row
    hold_order "$at" "$1" pause
    until_sql 20 "SELECT count(*) = 1 FROM $2.tx_barrier JOIN ord.trade_order ON order_id = txn_key::bigint
        WHERE client_req_id = '$KEY' AND branch = '$3' AND op = 'C'" || bad "cancel_before_try_at_$1" "the cancellation never came"
    release_order "$at" "$1"
    expect "cancel_before_try_at_$1" 2 '409|503'
    row="FROM $2.tx_barrier JOIN ord.trade_order ON order_id = txn_key::bigint WHERE client_req_id = '$KEY' AND branch = '$3'"
    later "cancel_before_try_at_$1_leaves_a_tombstone" C "SELECT reason $row AND op = 'T'"
}

# refunded_before_paid SERVICE BIT: `paid` of late money is held at SERVICE until its `refunded` is consumed.
refunded_before_paid() {
    local first
    new_order
    open_payment "$ORDER"
    cancel_now "$ORDER"
    order_comes_to "$ORDER" 2
    failpoint "$1" inbox.paid=pause
    provider capture_late 1
    http POST "$PAY_URL"
    first=$PAYMENT
    until_sql 30 "SELECT acks & $2 > 0 FROM pay.trade_pay WHERE pay_id = ${first:-0}" || bad "refunded_before_paid_at_$1" "refunded never came"
    failpoint "$1" inbox.paid=off
    later "refunded_before_paid_at_$1" '5 24' "SELECT is_paid || ' ' || (acks & 24) FROM pay.trade_pay WHERE pay_id = ${first:-0}"
    later "refunded_before_paid_at_$1_is_consumed_all_the_same" t "SELECT EXISTS (SELECT FROM ${3}.mq_consumer_log WHERE tag = 'paid' AND msg_key = '$first')"
}

reorders() {
    local at
    cancel_before_try stock stk stock
    cancel_before_try coupon cpn coupon
    cancel_before_try user usr balance
    refunded_before_paid user 8 usr
    refunded_before_paid paylog 16 plog

    new_order
    failpoint order inbox.paid=pause
    pay_now "$ORDER"
    until_sql 20 "SELECT is_paid = 2 FROM pay.trade_pay WHERE pay_id = ${PAYMENT:-0}" || bad paid_after_cancel "the callback never came"
    cancel_now "$ORDER"
    order_comes_to "$ORDER" 2 || bad paid_after_cancel "the order is not cancelled"
    failpoint order inbox.paid=off
    later paid_after_cancel '2 5' "SELECT order_status || ' ' || is_paid FROM ord.trade_order JOIN pay.trade_pay USING (order_id) WHERE order_id = ${ORDER:-0}"

    # The timer is the only one left to cancel, and does it before the order is confirmed, or after.
    for at in confirm.before confirm.after; do
        reconfigure order "--pay-deadline-ms 5000 --sweep-ms 0"
        failpoint order 'order.check.before=error'
        hold_order "order.$at"
        until_sql 20 "SELECT order_status IN (2, 5) FROM ord.trade_order WHERE client_req_id = '$KEY'" || bad "order_timeout_at_$at" "the timer never fired"
        release_order "order.$at"
        case $at in
        confirm.before) expect "order_timeout_at_$at" 2 409 ;;
        confirm.after) expect "order_timeout_at_$at" 2 '201|202' ;;
        esac
        later "order_timeout_at_${at}_is_the_reason" timeout "SELECT cancel_reason FROM ord.trade_order WHERE client_req_id = '$KEY'"
    done
    reconfigure order ""
}

# --- late ---

# delayed TAG HITS SERVICE...: the messages of a tag wait at all their consumers until whoever is responsible
# has sent them once more (an instance later than any timeout; with the timings of this stack 4 s and more,
# where the reference has 60 s); HITS is how many the first wave has at the first of the consumers.
delay() {
    local service
    declare -gA delayed_from=()
    for service in "${@:3}"; do
        delayed_from[$service]=$(hits_of "inbox.$1" "$service")
        failpoint "$service" "inbox.$1=pause"
    done
}
delay_ends() { # TAG HITS SERVICE...
    local service
    until_hit "inbox.$1" "$3" $((${delayed_from[$3]:-0} + $2)) 40 || bad "${1}_is_sent_again" "$1 came no second time to $3"
    for service in "${@:3}"; do failpoint "$service" "inbox.$1=off"; done
}

delays() {
    local tag
    local -A wave=(
        [order_cancel]="1 stock coupon user payment" [cancel_ack]="4 order"
        [order_paid]="1 payment" [paid]="1 user order paylog" [paid_ack]="2 payment"
        [refund_request]="1 payment" [refunded]="1 user paylog" [refund_ack]="2 payment")
    for tag in order_cancel cancel_ack; do
        delay $tag ${wave[$tag]}
        user_case "${tag}_is_late" order.cancel.tx.after=off 202
        delay_ends $tag ${wave[$tag]}
    done
    for tag in paid order_paid paid_ack; do
        delay $tag ${wave[$tag]}
        paid_case "${tag}_is_late" payment pay.open.after=off
        delay_ends $tag ${wave[$tag]}
        until_sql 30 "SELECT acks = 7 FROM pay.trade_pay WHERE pay_id = ${PAYMENT:-0}"
    done
    for tag in refund_request refunded refund_ack; do
        delay $tag ${wave[$tag]}
        refund_case "${tag}_is_late" payment pay.open.after=off
        delay_ends $tag ${wave[$tag]}
    done
    reconfigure order "--pay-deadline-ms 5000"
    delay order_timeout 0 order
    unpaid_case order_timeout_is_late order order.sweep.after=off
    order_comes_to "$ORDER" 2 || bad order_timeout_is_late "the sweeper does not cancel"
    delay_ends order_timeout 0 order
    reconfigure order ""
}
