# shellcheck shell=bash
# PostgreSQL: deadlocks, long locks, timeouts, an exhausted pool, connections lost at the COMMIT of each
# transaction of each flow, crashes while somebody pays.

in_session() { psql "$OWNER_DSN" -Xq -v ON_ERROR_STOP=1 "$@" >/dev/null 2>&1; } # ARGUMENT...: of psql

# lock_of TABLE SECONDS: holds it in the background; sets LOCKER and returns when it has it.
lock_of() {
    in_session -c "BEGIN; LOCK TABLE $1 IN EXCLUSIVE MODE; SELECT pg_sleep($2); COMMIT" &
    LOCKER=$!
    until_sql 5 "SELECT count(*) > 0 FROM pg_locks WHERE relation = '$1'::regclass AND mode = 'ExclusiveLock' AND granted"
}

# The order holds the first item and wants the second; another session the other way round. PostgreSQL ends
# one of the two transactions; which one is a matter of who waited first, so both ways are provoked.
deadlocks() {
    local before round
    for round in 1 2; do
        before=$(grep -c 'deadlock detected' "$S_DIR/postgres/server.log")
        coupon=$((coupon + 1))
        KEY=$(new_key)
        in_session <<SQL &
BEGIN;
SET lock_timeout = 0;
SELECT available FROM stk.goods_stock WHERE goods_id = 2004 FOR UPDATE;
DO \$\$ BEGIN
  FOR i IN 1..1000 LOOP -- until the order waits for us
    EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)));
    PERFORM pg_sleep(0.01);
  END LOOP;
END \$\$;
SET deadlock_timeout = '$([ $round = 1 ] && echo 5s || echo 10ms)';
SELECT available FROM stk.goods_stock WHERE goods_id = $GOODS FOR UPDATE;
COMMIT;
SQL
        LOCKER=$!
        until_sql 5 "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE starts_with(query, 'DO '))"
        order_json $BUYER "$GOODS:1:$PRICE 2004:1:$PRICE" 500 $coupon
        http POST "${URL[order]}/v1/orders" "$REQUEST" "$KEY"
        expect "deadlock_$round" '1|2' '201|409|503'
        wait $LOCKER
        judge "deadlock_${round}_was_one" "$(($(grep -c 'deadlock detected' "$S_DIR/postgres/server.log") - before))" '[1-9]'
    done
}

# Locks that are held for longer than any timeout: 5 s.
long_locks() {
    local table
    for table in stk.goods_stock cpn.trade_coupon usr.trade_user stk.tx_barrier ord.trade_order; do
        lock_of $table 5
        place "${table}_is_locked_for_5_s" 'none|1|2|3' '201|202|409|503'
        wait $LOCKER
    done
    for table in pay.trade_pay ord.trade_order plog.pay_log usr.user_score_log tp.charge; do
        new_order
        open_payment "$ORDER"
        lock_of $table 5
        http POST "$PAY_URL"
        [ "$STATUS" = 200 ] || { wait $LOCKER && http POST "$PAY_URL"; }
        later "${table}_is_locked_for_5_s_while_paying" 1/2 "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
        wait $LOCKER
    done
}

# Statements are cut short before the lock is given up.
statement_timeouts() {
    local service
    local -A table=([stock]=stk.goods_stock [coupon]=cpn.trade_coupon [user]=usr.trade_user)
    for service in stock coupon user; do
        reconfigure $service "--db-lock-ms 5000 --db-statement-ms 200"
        lock_of "${table[$service]}" 3
        place "statements_of_${service}_time_out" '1|2' '201|409|503'
        wait $LOCKER
        reconfigure $service ""
    done
    reconfigure order "--db-lock-ms 5000 --db-statement-ms 200"
    hold_order order.confirm.before
    lock_of ord.trade_order 3
    release_order order.confirm.before
    wait $LOCKER
    expect statements_of_order_time_out '1|2' '201|202|409|503'
    reconfigure order ""
}

# Twelve orders at once share one connection of a service, and one of them waits for a lock with it.
pools_exhausted() {
    local service i
    local -a names_of=()
    local -A table=([stock]=stk.goods_stock [coupon]=cpn.trade_coupon [user]=usr.trade_user [order]=ord.trade_order)
    for service in stock coupon user order; do
        reconfigure $service "--db-pool 1"
        lock_of "${table[$service]}" 3
        for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
            coupon=$((coupon + 1))
            KEY=$(new_key)
            { send_order "$KEY" && printf '%s' "$STATUS" >"$S_DIR/pool.$i"; } &
            CUSTOMER[pool.$i]=$!
            names_of[i]=$KEY
        done
        wait $LOCKER
        for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
            wait "${CUSTOMER[pool.$i]}"
            STATUS=$(cat "$S_DIR/pool.$i") KEY=${names_of[i]}
            expect "the_pool_of_${service}_is_exhausted_order_$i" 'none|1|2|3' '201|202|404|409|503'
        done
        reconfigure $service ""
    done
}

# commit_case KIND N SERVICE FLOW: the connection is lost before (KIND before) or after (cut) the (N+1)-th COMMIT
# that SERVICE sends during FLOW. Others of its transactions may come in between: each run meets one.
commit_case() {
    local at=db.commit.$1 case when=after from
    [ "$1" = cut ] || when=$1
    case="the_connection_is_lost_${when}_commit_$2_of_$3_while_$4"
    from=$(hits_of "$at" "$3")
    case $4 in
    placing)
        failpoint "$3" "$at=error*1,after($2)"
        place "$case" '1|2|3' '201|202|409|503'
        ;;
    cancelling)
        new_order
        open_payment "$ORDER"
        failpoint "$3" "$at=error*1,after($2)"
        cancel_now "$ORDER"
        [ "$STATUS" = 202 ] || cancel_now "$ORDER"
        later "$case" 2/0 "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
        ;;
    paying) paid_case "$case" "$3" "$at=error*1,after($2)" ;;
    refunding) refund_case "$case" "$3" "$at=error*1,after($2)" ;;
    esac
    until_hit "$at" "$3" "${from:-0}" 15 || bad "$case" "the fault was never met"
    failpoint "$3" "$at=off"
}

commits_lost() {
    local kind service n
    for kind in cut before; do
        for service in stock coupon user; do commit_case $kind 0 $service placing; done
        for n in 0 1; do commit_case $kind $n order placing; done
        for service in stock coupon user payment; do commit_case $kind 0 $service cancelling; done
        for n in 0 1 2 3 4; do commit_case $kind $n order cancelling; done
        for service in user paylog; do commit_case $kind 0 $service paying; done
        for n in 0 1; do commit_case $kind $n order paying; done
        for n in 0 1 2 3; do commit_case $kind $n payment paying; done
        for n in 0 1 2; do commit_case $kind $n thirdpay paying; done
        for service in user paylog; do
            for n in 0 1; do commit_case $kind $n $service refunding; done
        done
        commit_case $kind 0 order refunding
        for n in 0 1 2 3 4; do commit_case $kind $n payment refunding; done
        for n in 0 1; do commit_case $kind $n thirdpay refunding; done
    done
}

# PostgreSQL dies while a payment waits at a step, and is read-only for a while.
postgres_crashes_while_paying() {
    local at payer from
    for at in pay.intent.after pay.open.after pay.charge.after pay.half.after pay.settle.after pay.reply.before; do
        until_confirmed
        failpoint payment "$at=pause*1"
        from=$(hits_of "$at" payment)
        pay_now "$ORDER" &
        payer=$!
        until_hit "$at" payment "${from:-0}" 10 || bad "postgres_crashes_at_$at" "the payment never came there"
        "$ROOT/tools/pg.sh" crash "$S_DIR/postgres" || bad "postgres_crashes_at_$at" "it did not come back"
        failpoint payment "$at=off"
        wait $payer
        until_paid "pay_now $ORDER"
        later "postgres_crashes_at_$at" 1/2 "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
    done
    until_confirmed
    open_payment "$ORDER"
    in_session -c 'ALTER SYSTEM SET default_transaction_read_only = on' -c 'SELECT pg_reload_conf()'
    until_sql 5 "SELECT current_setting('default_transaction_read_only') = 'on'"
    http POST "$PAY_URL"
    judge a_payer_is_refused_while_postgres_is_read_only "$STATUS" 503
    in_session -c 'SET default_transaction_read_only = off' -c 'ALTER SYSTEM RESET default_transaction_read_only' -c 'SELECT pg_reload_conf()'
    until_sql 5 "SELECT current_setting('default_transaction_read_only') = 'off'"
    until_paid "http POST $PAY_URL"
    later postgres_was_read_only_while_paying 1/2 "SELECT order_status || '/' || pay_status FROM ord.trade_order WHERE order_id = ${ORDER:-0}"
}
# Services look for a lost database once in a while; until then they answer 503.
until_confirmed() { # sets ORDER
    local end=$((SECONDS + 15))
    until new_order && [ "$STATUS" = 201 ]; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}
until_paid() { # COMMAND that pays
    local end=$((SECONDS + 15))
    until $1 && [ "$STATUS" = 200 ]; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}
