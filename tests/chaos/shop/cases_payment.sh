# shellcheck shell=bash
# Paying and refunding: crashes at every step and of every consumer, duplicates, money that comes late or
# twice, a provider that misbehaves.

paid_case() { # CASE SERVICE FAILPOINT=ACTION: an order that is paid while SERVICE fails
    new_order
    [ "$STATUS" = 201 ] || bad "$1" "the order was not confirmed: $STATUS"
    failpoint "$2" "$3"
    pay_now "$ORDER"
    case $3 in *crash*) restart "$2" "${3%%=*}=off" ;; esac
    [ "$STATUS" = 200 ] || pay_now "$ORDER"
    later "$1" 1/2 "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
}

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
    provider duplicates 5
    paid_case every_callback_comes_six_times_at_once payment pay.open.after=off
    provider duplicates 0
}

# Creating a payment crashes and nobody comes back to pay: the order is cancelled, the payment closed.
payment_crashes_unpaid() {
    local at
    reconfigure order "--pay-deadline-ms 6000"
    for at in pay.intent.after pay.open.after pay.charge.after; do
        new_order
        failpoint payment "$at=crash"
        open_payment "$ORDER"
        restart payment "$at=off"
        case $at in pay.intent.after) at+=' 2 none' ;; *) at+=' 2 3' ;; esac
        later "payment_crashes_at_${at%% *}_and_nobody_pays" "${at#* }" "SELECT order_status || ' ' ||
            coalesce((SELECT is_paid::text FROM pay.trade_pay p WHERE p.order_id = o.order_id), 'none') FROM ord.trade_order o WHERE order_id = ${ORDER:-0}"
    done
    order_comes_to "$ORDER" 2 || bad payment_crashes_unpaid "nobody cancels the unpaid order"
    reconfigure order ""
}

provider_fails() {
    local wrong
    for wrong in wrong_signature wrong_amount wrong_currency wrong_number; do
        provider "$wrong" 1
        paid_case "a_callback_with_${wrong}_comes_first" payment pay.open.after=off
        # Otherwise its repetition would meet the fault of the next case.
        until_sql 20 "SELECT pay_status = 2 FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
        case $wrong in wrong_amount | wrong_currency)
            later "a_callback_with_${wrong}_makes_the_payment_suspect" t "SELECT bool_or(suspect) FROM pay.trade_pay WHERE order_id = ${ORDER:-0}"
            ;;
        esac
    done
    provider lost 1
    paid_case the_callback_is_lost_for_ever payment pay.open.after=off
    provider capture_early 1
    paid_case the_callback_comes_before_the_charge_is_answered payment pay.open.after=off
    # The provider thinks until the shop has given up asking.
    new_order
    failpoint thirdpay tp.create.before_tx=pause
    open_payment "$ORDER"
    judge the_charge_was_asked_for "$(hits_of tp.create.before_tx thirdpay)" '[1-9].*'
    judge creating_a_charge_that_takes_too_long_is_refused "$STATUS" 503
    failpoint thirdpay tp.create.before_tx=off
    pay_now "$ORDER"
    later creating_the_charge_times_out 1/2 "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
    failpoint thirdpay 'tp.create.after_tx=error*1'
    paid_case the_answer_about_the_charge_is_lost payment pay.open.after=off
}

# An order whose money comes after its cancellation; SERVICE fails while it goes back.
refund_case() { # CASE SERVICE FAILPOINT=ACTION
    new_order
    open_payment "$ORDER"
    cancel_now "$ORDER"
    order_comes_to "$ORDER" 2 || bad "$1" "the order is not cancelled"
    failpoint "$2" "$3"
    provider capture_late 1
    http POST "$PAY_URL"
    case $3 in *crash*) restart "$2" "${3%%=*}=off" ;; esac
    later "$1" '2 5 24 t' "SELECT order_status || ' ' || is_paid || ' ' || (acks & 24) || ' ' || (refunded = amount)::text::char(1)
        FROM pay.trade_pay JOIN tp.charge ON out_trade_no = pay_id JOIN ord.trade_order USING (order_id) WHERE trade_pay.pay_id = ${PAYMENT:-0}"
}

refunds() {
    local at
    refund_case late_money_goes_back payment pay.open.after=off
    for at in pay.refund.begin.after pay.refund.provider.after pay.refund.end.after; do
        refund_case "payment_crashes_at_$at" payment "$at=crash"
        refund_case "payment_fails_at_$at" payment "$at=error*1"
    done
    for at in inbox.before_tx inbox.after_tx inbox.before_ack; do
        refund_case "user_crashes_on_paid_or_refunded_at_$at" user "$at=crash"
        refund_case "user_crashes_on_refunded_at_$at" user "$at=crash,after(1)"
        refund_case "paylog_crashes_on_refunded_at_$at" paylog "$at=crash,after(1)"
    done
    provider refund_error 5
    refund_case the_provider_fails_five_refunds payment pay.open.after=off
    failpoint thirdpay 'tp.refund.after_tx=error*1'
    refund_case the_answer_about_the_refund_is_lost payment pay.open.after=off
    paid_twice
}

paid_twice() {
    local first_url
    new_order
    open_payment "$ORDER"
    local first=$PAYMENT
    first_url=$PAY_URL
    http POST "${URL[thirdpay]}/v1/charges/$first/close"
    until_sql 20 "SELECT is_paid = 3 FROM pay.trade_pay WHERE pay_id = ${first:-0}" ||
        bad two_payments_captured "the reconciler has not closed the first one"
    pay_now "$ORDER"
    provider capture_late 1
    http POST "$first_url"
    later two_payments_captured '1/2 1 1' "SELECT order_status || '/' || pay_status || ' ' || (SELECT count(*) FILTER (WHERE is_paid = 2) || ' ' ||
        count(*) FILTER (WHERE is_paid = 5) FROM pay.trade_pay p WHERE p.order_id = o.order_id) FROM ord.trade_order o WHERE order_id = ${ORDER:-0}"
}

# The last group: a payment that needs an operator is stuck, and the invariants say so.
refund_refused() {
    new_order
    open_payment "$ORDER"
    cancel_now "$ORDER"
    order_comes_to "$ORDER" 2 || bad refund_refused "the order is not cancelled"
    provider refund_refused 1
    provider capture_late 1
    http POST "$PAY_URL"
    until_sql 30 "SELECT is_paid = 6 FROM pay.trade_pay WHERE pay_id = ${PAYMENT:-0}"
    judge a_refund_that_is_refused_for_good_waits_for_an_operator "$?" 0
    judge and_the_invariants_say_so "$(sql "SELECT count(*) FROM audit.i10 WHERE id = ${PAYMENT:-0}")" 1
    judge and_so_do_the_metrics "$(curl -s "${URL[payment-internal]}/metrics" | awk '$1 == "shop_refunds_refused_total" { print $2 }')" 1
}
