# shellcheck shell=bash
# The broker, the name server and the database fail.

# The broker dies while an order waits at a step; the order goes on, then the broker comes back.
broker_kills() {
    local at
    for at in half.before half.after insert.after timer.after stock.after coupon.after wallet.after confirm.before confirm.after reply.before; do
        hold_order "order.$at"
        stack_kill mqbroker
        release_order "order.$at"
        stack_start mqbroker
        case $at in
        half.before) expect "broker_is_killed_at_$at" none 503 ;;
        half.after | insert.after) expect "broker_is_killed_at_$at" 2 503 ;; # the timer cannot be armed
        *) expect "broker_is_killed_at_$at" 1 201 ;;
        esac
    done
}

# Stopped between a deduction and the abort: nothing is undone until it is back, then everything is.
broker_is_away() {
    local confirmed
    new_order
    confirmed=$ORDER
    hold_order order.stock.after
    failpoint order 'order.coupon.before=error*1'
    stack_kill mqbroker
    release_order order.stock.after
    expect broker_is_away_during_an_abort 2 409
    judge the_order_waits_for_the_broker "$(sql "SELECT order_status FROM ord.trade_order WHERE client_req_id = '$KEY'")" 5
    place without_a_broker_nothing_is_begun none 503
    pay_now "$confirmed" # the provider hears FAIL, and repeats
    later a_callback_without_a_broker_is_repeated 1/2 \
        "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${confirmed:-0}"
    stack_start mqbroker
}

name_server_is_away() {
    stack_kill mqnamesrv
    place an_order_without_name_server 1 201
    stack_start mqnamesrv
}

# PostgreSQL dies while an order waits at a step.
postgres_crashes() {
    local at
    for at in half.after stock.after wallet.after confirm.before; do
        until_confirmed # behind the crash before this one
        hold_order "order.$at"
        "$ROOT/tools/pg.sh" crash "$S_DIR/postgres" || bad "postgres_crashes_at_$at" "it did not come back"
        release_order "order.$at"
        expect "postgres_crashes_at_$at" '1|2|3' '201|202|409|503'
    done
}

# Another session holds what an order needs, for longer than lock_timeout.
postgres_locks() {
    local table
    for table in stk.goods_stock usr.trade_user cpn.trade_coupon; do
        psql "$OWNER_DSN" -Xqc "BEGIN; LOCK TABLE $table IN EXCLUSIVE MODE; SELECT pg_sleep(3); COMMIT" >/dev/null &
        until_sql 5 "SELECT count(*) > 0 FROM pg_locks WHERE relation = '$table'::regclass AND mode = 'ExclusiveLock' AND granted"
        place "${table}_is_locked_for_3_s" '1|2' '201|409|503'
        wait $!
    done
}

postgres_is_read_only() {
    hold_order order.stock.after
    psql "$OWNER_DSN" -Xq -c 'ALTER SYSTEM SET default_transaction_read_only = on' -c 'SELECT pg_reload_conf()' >/dev/null
    until_sql 5 "SELECT current_setting('default_transaction_read_only') = 'on'"
    release_order order.stock.after
    expect postgres_is_read_only '1|2' '201|202|409|503'
    psql "$OWNER_DSN" -Xq -c 'SET default_transaction_read_only = off' -c 'ALTER SYSTEM RESET default_transaction_read_only' \
        -c 'SELECT pg_reload_conf()' >/dev/null
}

# The answer of a COMMIT is lost, in each service and at each of its first transactions.
commits_cut() {
    local service n
    for service in stock coupon user; do
        failpoint "$service" 'db.commit.cut=error*1'
        place "the_commit_of_${service}_is_not_answered" '1|2' '201|409'
    done
    for n in 1 2; do
        failpoint order "db.commit.cut=error*1,after($n)"
        place "commit_${n}_of_an_order_is_not_answered" '1|2' '201|202|409'
        failpoint order db.commit.cut=off # an order may have had fewer
    done
    for service in order user paylog payment; do
        paid_case "a_commit_of_${service}_is_not_answered_while_paying" "$service" 'db.commit.cut=error*1'
        # The next order must not be the one that meets it.
        until_sql 30 "SELECT acks = 7 FROM pay.trade_pay WHERE pay_id = ${PAYMENT:-0}"
    done
}
