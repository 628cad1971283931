# shellcheck shell=bash
# Cancelling what was placed: the user, the timer, the sweeper; dead letters.

user_case() { # CASE FAILPOINT=ACTION HTTP
    new_order
    open_payment "$ORDER"
    failpoint order "$2"
    cancel_now "$ORDER"
    [[ $STATUS =~ ^($3)$ ]] || bad "$1" "the user was told $STATUS, want $3"
    case $2 in *crash*) restart order "${2%%=*}=off" ;; esac
    [ "$STATUS" = 202 ] || cancel_now "$ORDER"
    later "$1" 2/0/3 "SELECT order_status || '/' || o.pay_status || '/' || is_paid FROM ord.trade_order o JOIN pay.trade_pay USING (order_id)
        WHERE order_id = ${ORDER:-0}"
}

user_cancels() {
    local at
    user_case the_user_cancels order.cancel.tx.after=off 202
    for at in order.cancel.half.before order.cancel.half.after order.cancel.tx.after; do
        user_case "order_crashes_at_$at" "$at=crash" 000
        user_case "order_fails_at_$at" "$at=error*1" '202|503'
    done
    user_case the_END_of_a_users_cancellation_is_lost 'mq.end=error*1' 202
    user_case the_half_of_a_users_cancellation_is_not_acknowledged 'mq.half.ack=error*1' 503
    user_case the_commit_of_a_users_cancellation_is_not_answered 'db.commit.cut=error*1,after(1)' '202|503'
    # Payment and cancellation at once: one of them wins, the loser's money goes back.
    new_order
    open_payment "$ORDER"
    http POST "$PAY_URL" &
    cancel_now "$ORDER"
    wait $!
    later user_and_callback_at_once '1/2|2/0' "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
}

unpaid_case() { # CASE SERVICE FAILPOINT=ACTION: an order that nobody pays
    new_order
    expect "$1" 2 201
    failpoint "$2" "$3"
    case $3 in *crash*) restart "$2" "${3%%=*}=off" ;; esac
}

timers() {
    local at
    reconfigure order "--pay-deadline-ms 5000"
    unpaid_case nobody_pays order order.sweep.before=off
    for at in inbox.before_tx inbox.after_tx inbox.before_ack; do
        unpaid_case "order_crashes_in_the_timer_at_$at" order "$at=crash"
        unpaid_case "payment_crashes_in_cancel_at_$at" payment "$at=crash"
        unpaid_case "order_crashes_on_a_cancel_ack_at_$at" order "$at=crash,after(2)"
    done
    unpaid_case the_timer_reaches_nobody_five_times order 'inbox.before_tx=error*5'
    order_comes_to "$ORDER" 2
    reconfigure order ""
}

sweeper() {
    local at
    # What the sweeper finds: an order whose half message, timer and request are all gone.
    for at in before after; do
        failpoint order 'order.check.before=error'
        failpoint order 'order.stock.after=error*1;order.abort.before=error*1'
        place "the_sweeper_crashes_at_order.sweep.$at" 2 202
        failpoint order "order.sweep.$at=crash"
        restart order "order.sweep.$at=off"
    done
    # Three at once: it dies behind the first.
    failpoint order 'order.check.before=error;order.sweep.before=error'
    for at in first second third; do
        failpoint order 'order.stock.after=error*1;order.abort.before=error*1'
        place "the_sweeper_dies_in_the_middle_of_a_batch_${at}_order" 2 202
    done
    until_sql 30 "SELECT saga_deadline < now() - interval '5 s' FROM ord.trade_order WHERE client_req_id = '$KEY'"
    failpoint order 'order.sweep.before=off;order.sweep.after=crash,after(1)'
    restart order "order.sweep.after=off"
}

# --- dead letters ---

open_letters() { sql "SELECT count(*) FROM audit.i14"; }
drop_letters() { # REASON: of all services
    local schema service letter
    for service in order:ord stock:stk coupon:cpn user:usr payment:pay paylog:plog; do
        schema=${service#*:}
        for letter in $(sql "SELECT letter_id FROM $schema.mq_dead_letter WHERE state = 'open'"); do
            ctl dlq drop "${URL[${service%:*}-internal]}" "$schema:$letter" "$1" >/dev/null
        done
    done
}

# A message that no consumer can read: a dead letter at once, the neighbours go on. The text is put where a
# replay takes it from.
poison_case() { # CASE TAG KEY BODY
    local id
    id=$(psql "$OWNER_DSN" -XAtqc "INSERT INTO stk.mq_dead_letter(group_name, tag, msg_key, msg_id, body)
        VALUES ('stock_orderTopic_cancel_group', '$2', '$3', '$1', convert_to('$4', 'UTF8')) RETURNING letter_id")
    ctl dlq replay "${URL[stock-internal]}" "stk:$id" >/dev/null || bad "$1" "the replay failed"
    until_sql 30 "SELECT count(*) = 1 FROM stk.mq_dead_letter WHERE state = 'open' AND replays = 1 AND msg_key = '$3'"
    judge "$1" "$?" 0
}

poison() {
    local good='{"v":1,"event":"order_cancel","event_id":"x","order_id":"4711","attempt":1,"at":"2026-01-01T00:00:00Z","user_id":"1","client_req_id":"11111111-1111-4111-8111-111111111111","items":[]}'
    poison_case malformed_JSON_is_a_dead_letter_at_once order_cancel p1 '{"v":1,'
    poison_case an_unknown_version_is_a_dead_letter_at_once order_cancel 4711 "${good/\"v\":1/\"v\":9}"
    poison_case a_wrong_tag_is_a_dead_letter_at_once order_paid 4712 "${good/4711/4712}"
    poison_case a_key_that_is_not_the_bodys_is_a_dead_letter_at_once order_cancel 4713 "$good"
    printf -v good '%s%70000s' "${good/4711/4714}" ''
    poison_case a_body_above_the_limit_is_a_dead_letter_at_once order_cancel 4714 "$good"
    new_order
    failpoint stock 'inbox.dead=error*1'
    cancel_now "$ORDER"
    until_sql 30 "SELECT count(*) = 1 FROM stk.mq_dead_letter WHERE state = 'open' AND msg_key = '$ORDER'"
    judge a_faulty_release_makes_a_dead_letter "$?" 0
    ctl dlq replay "${URL[stock-internal]}" "$(sql "SELECT 'stk:' || letter_id FROM stk.mq_dead_letter WHERE msg_key = '$ORDER'")" >/dev/null
    expect the_order_is_cancelled_after_the_replay 2 202
    order_comes_to "$ORDER" 2
    drop_letters "poison of a test"
    judge no_dead_letter_is_open "$(open_letters)" 0
}
