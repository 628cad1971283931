# shellcheck shell=bash
# Lines of defence: with one of them off, and a failure, another one has to do (layers_off); unless the failure
# is the one that it alone answers (layers_needed):
#
#   off                              failure                                       until it is on again
#   check-back and sweeper           the request dies between its deductions       the order stays pending
#   a participant's verdict query,   order_cancel is a dead letter at the          the order stays cancelling
#     and the sweeper                participant
#   reconciler                       the callback is lost for ever                 the payment stays open
#   reconciler                       one consumer's copy of `paid` is lost         the payment is not settled
#
# The timer of an unpaid order would come too, long after.

# Each stays off until what failed has come to its end.
key_comes_to_2() { until_sql 60 "SELECT order_status = 2 FROM ord.trade_order WHERE client_req_id = '$KEY'"; }

layers_off() {
    local at service
    reconfigure order "--sweep-ms 0"
    for at in order.stock.after order.wallet.after; do order_crash "$at" 2; done
    key_comes_to_2
    refund_case without_the_sweeper payment pay.open.after=off
    reconfigure order ""

    failpoint order 'order.check.before=error'
    for at in stock.after wallet.after; do
        failpoint order "order.$at=error*1;order.abort.before=error*1"
        place "without_check_backs_the_sweeper_finds_$at" 2 202
        key_comes_to_2
    done
    failpoint order 'order.check.before=off'

    reconfigure payment "--reconcile-ms 0"
    paid_case without_the_reconciler payment pay.open.after=off
    refund_case without_the_reconciler_a_refund payment pay.refund.provider.after=error*1
    payment_comes_to "is_paid = 5 AND acks & 24 = 24"
    reconfigure payment ""

    for service in stock coupon user; do reconfigure "$service" "--verdict-ms 0"; done
    order_crash order.wallet.after 2
    key_comes_to_2
    for service in stock coupon user; do reconfigure "$service" ""; done
}

payment_comes_to() { until_sql 30 "SELECT $1 FROM pay.trade_pay WHERE pay_id = ${PAYMENT:-0}"; } # CONDITION

layers_needed() {
    needs_check_back_or_sweeper
    needs_the_verdict
    needs_the_reconciler
}

needs_check_back_or_sweeper() {
    reconfigure order "--sweep-ms 0"
    failpoint order 'order.check.before=error;order.stock.after=error*1;order.abort.before=error*1'
    place without_the_sweeper_the_check_back_ends_an_order 2 202
    until_sql 30 "SELECT now() > saga_deadline + interval '5 s' FROM ord.trade_order WHERE client_req_id = '$KEY'"
    judge without_both_the_order_stays_pending "$(sql "SELECT order_status FROM ord.trade_order WHERE client_req_id = '$KEY'")" 0
    failpoint order 'order.check.before=off'
    key_comes_to_2
    reconfigure order ""
}

needs_the_verdict() {
    reconfigure order "--sweep-ms 0"
    reconfigure stock "--verdict-ms 0"
    new_order
    failpoint stock 'inbox.dead=error*1'
    cancel_now "$ORDER"
    until_sql 30 "SELECT comp_mask = 14 FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
    until_sql 30 "SELECT count(*) = 1 FROM stk.mq_dead_letter WHERE state = 'open' AND msg_key = '$ORDER'"
    judge without_the_verdict_an_order_with_a_dead_cancellation_stays "$(state_of "$ORDER")" 5/0
    reconfigure stock "--verdict-age-ms 500 --verdict-again-ms 500"
    expect a_participant_asks_when_its_cancellation_is_dead 2 202
    key_comes_to_2
    reconfigure stock ""
    reconfigure order ""
    drop_letters "consumed by way of the verdict"
}

needs_the_reconciler() {
    local unseen
    reconfigure payment "--reconcile-ms 0"
    new_order
    open_payment "$ORDER"
    provider lost 1
    http POST "$PAY_URL"
    until_sql 30 "SELECT status = 'CAPTURED' FROM tp.charge WHERE out_trade_no = ${PAYMENT:-0}"
    unseen="is_paid = 0 AND NOT EXISTS (SELECT FROM tp.notify WHERE out_trade_no = pay_id AND next_at IS NOT NULL)"
    judge without_the_reconciler_money_without_callback_is_not_seen \
        "$(sql "SELECT $unseen FROM pay.trade_pay WHERE pay_id = ${PAYMENT:-0}")" t
    expect the_reconciler_finds_money_without_callback 1/2 200

    new_order
    failpoint paylog 'inbox.dead=error*1'
    pay_now "$ORDER"
    until_sql 30 "SELECT count(*) = 1 FROM plog.mq_dead_letter WHERE state = 'open' AND msg_key = '${PAYMENT:-0}'"
    payment_comes_to "acks = 3"
    judge without_the_reconciler_a_lost_copy_stays_lost "$(sql "SELECT acks FROM pay.trade_pay WHERE pay_id = ${PAYMENT:-0}")" 3
    reconfigure payment ""
    later the_reconciler_sends_a_lost_copy_again 7 "SELECT acks FROM pay.trade_pay WHERE pay_id = ${PAYMENT:-0}"
    payment_comes_to "acks = 7"
    drop_letters "consumed from another copy"
}
