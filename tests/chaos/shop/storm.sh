# shellcheck shell=bash
# Storms: a steady load (tests/chaos/shop_load.c) while processes are killed at random, then rest, the
# invariants, and the load's journal against the books (I15).
#
# R16     kill -9 of a random process, or PostgreSQL stopped at once, KILLS times; each comes back after a
#         random moment, and the next dies when orders are confirmed again.
# random  for STORM_S seconds: one every 5 s, each third of the time (3 minutes at most) the broker; and all the
#         time one in a hundred acknowledgements, messages and ENDs is lost, one message in twenty comes five
#         times, every callback twice.
#
# What is chosen (victims, moments, customers) follows from the seed; when a thing happens is up to the machine.
# Faults that a program was started with (FAULTS) are there again when it comes back.

VICTIMS=(order stock coupon user payment paylog thirdpay mqbroker mqnamesrv postgres)
STORM_USERS=3001 STORM_RATE=20
STORM_ORDERS="user_id >= $STORM_USERS"

storm_seed() { # once
    psql "$OWNER_DSN" -Xq -v ON_ERROR_STOP=1 <<SQL || die "cannot seed the storm"
INSERT INTO stk.trade_goods(goods_id, goods_name, goods_price, initial_qty, buckets)
  SELECT n, 'thing ' || n, $PRICE, CASE WHEN n = 3001 THEN 200 ELSE 1000000 END, 1 FROM generate_series(3001, 3020) n ON CONFLICT DO NOTHING;
INSERT INTO stk.goods_stock SELECT goods_id, 0, initial_qty FROM stk.trade_goods WHERE goods_id BETWEEN 3001 AND 3020 ON CONFLICT DO NOTHING;
WITH born AS (INSERT INTO usr.trade_user(user_id, user_name, user_money)
  SELECT n, 'user ' || n, CASE WHEN n % 10 = 0 THEN 2000 ELSE 100000000 END FROM generate_series($STORM_USERS, $STORM_USERS + 49) n
  ON CONFLICT DO NOTHING RETURNING user_id, user_money)
INSERT INTO usr.trade_user_money_log(user_id, order_id, money_log_type, use_money, balance_after) SELECT user_id, -user_id, 0, user_money, user_money FROM born;
INSERT INTO cpn.trade_coupon(coupon_id, user_id, coupon_price, min_amount, valid_from, valid_to)
  SELECT $1 + n, $STORM_USERS + n % 50, 300, 0, now() - interval '1 day', now() + interval '1 day' FROM generate_series(0, 9999) n ON CONFLICT DO NOTHING;
SQL
}

# storm_begins NAME SEED FIRST_COUPON
storm_begins() {
    JOURNAL=$S_DIR/journal.$1
    : >"$JOURNAL"
    storm_seed "$3"
    reconfigure order "--pay-deadline-ms 5000"
    provider_of_the_storm
    launch shop_load "$S_BIN/shop_load" --order "${URL[order]}" --payment "${URL[payment]}" --journal "$JOURNAL" \
        --seed "$2" --rate $STORM_RATE --first-user $STORM_USERS --first-coupon "$3" --coupons 10000 --price $PRICE
    progress 10 || bad "$1" "the load does not begin; see $S_DIR/log/shop_load.log"
}
provider_of_the_storm() { # its switches are gone when it comes back
    http POST "${URL[thirdpay-internal]}/admin/switches" '{"capture_late":1000000,"duplicates":1}'
}

confirmed() { grep -c $'^place\t.*\t201\t' "$JOURNAL"; }
progress() { # ORDERS: until so many more are confirmed, at most 60 s
    local from=$(($(confirmed) + $1)) end=$((SECONDS + 60))
    until [ "$(confirmed)" -ge "$from" ]; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

pause_ms() { # BELOW: a random moment
    local ms=$((RANDOM % $1))
    sleep "$((ms / 1000)).$(printf '%03d' $((ms % 1000)))"
}

strike() { # NAME: dies, and comes back
    kills[$1]=$((${kills[$1]:-0} + 1))
    if [ "$1" = postgres ]; then
        "$ROOT/tools/pg.sh" crash "$S_DIR/postgres" || bad "$1" "it did not come back"
        return
    fi
    stack_kill "$1"
    pause_ms 800
    stack_start "$1"
    [ "$1" != thirdpay ] || provider_of_the_storm
}

storm_ends() { # NAME: the load stops, all comes to rest and is judged
    local begun=$SECONDS i
    kill "${PID[shop_load]}"
    for ((i = 0; i < 900; i++)); do alive shop_load && sleep 0.1 || break; done
    ! alive shop_load || bad "$1" "the load does not end"
    unset 'PID[shop_load]'
    say "# $1: $(cat "$S_DIR/log/shop_load.out")"
    until_sql 90 "SELECT NOT EXISTS (SELECT FROM ord.trade_order WHERE $STORM_ORDERS AND
        (order_status IN (0, 5) OR (order_status = 1 AND pay_status < 2)))" || bad "$1_comes_to_rest" "orders are under way after 90 s"
    ctl audit --wait 60 --namesrv "127.0.0.1:${PORT[mqnamesrv]}" >"$S_DIR/audit.$1"
    judge "$1_every_invariant_holds" $? 0
    cat "$S_DIR/audit.$1"
    judge_journal "$1"
    say "# $1: rest and judgement took $((SECONDS - begun)) s"
    provider capture_late 0
    provider duplicates 0
    reconfigure order ""
}

# I15: what customers and provider were told against what the books say. And the judge itself: a customer who was
# told of an order that nobody has must be found.
judge_journal() { # NAME
    local lie
    lie=$(new_key)
    judge "$1_every_answer_was_true_I15" "$(lies_in "$JOURNAL")" ''
    { cat "$JOURNAL" && printf 'place\t%s\t201\t1\t1\n' "$lie"; } >"$JOURNAL.lie"
    judge "$1_an_invented_answer_is_found" "$(lies_in "$JOURNAL.lie")" "confirmed to the customer, .*\|$lie"
    judge "$1_answers_in_the_journal" "$(grep -c . "$JOURNAL")" '[1-9][0-9]+'
}
lies_in() { # JOURNAL
    psql "$OWNER_DSN" -XAtq -v ON_ERROR_STOP=1 <<SQL || say "the journal cannot be judged"
CREATE TEMP TABLE told(what text, subject text, status int, code int, result text);
\copy told FROM '$1'
WITH placed AS (
  SELECT subject::uuid AS key, bool_or(status = 201) AS confirmed, bool_or(status BETWEEN 400 AND 499 AND status <> 429) AS refused
  FROM told WHERE what = 'place' GROUP BY 1), o AS (SELECT * FROM ord.trade_order WHERE order_status <> 3)
SELECT 'confirmed to the customer, but not there or cancelled by nobody', key FROM placed LEFT JOIN o ON client_req_id = key
  WHERE confirmed AND (order_id IS NULL OR NOT (order_status = 1 OR (order_status = 2 AND cancel_reason IN ('timeout', 'sweeper', 'by the user'))))
UNION ALL
SELECT 'refused to the customer, but alive', key FROM placed JOIN o ON client_req_id = key WHERE refused AND order_status <> 2
UNION ALL
SELECT 'two orders for one key', client_req_id FROM o GROUP BY 2 HAVING count(*) > 1
UNION ALL
SELECT 'its cancellation was accepted, but it is not cancelled: ' || order_id, client_req_id
  FROM told JOIN o ON order_id = subject::bigint WHERE what = 'cancel' AND status = 202 AND order_status <> 2
UNION ALL
SELECT 'the payer paid, but the provider has nothing: ' || subject, NULL
  FROM told LEFT JOIN tp.charge ON out_trade_no = subject::bigint WHERE what = 'pay' AND told.status = 200 AND charge.status IS DISTINCT FROM 'CAPTURED'
UNION ALL
SELECT 'the provider was told SUCCESS, but the payment is not paid: ' || out_trade_no, NULL
  FROM tp.notify LEFT JOIN pay.trade_pay ON pay_id = out_trade_no WHERE delivered_at IS NOT NULL AND coalesce(is_paid, 0) NOT IN (2, 4, 5, 6);
SQL
}

# next_victim: sets VICTIM. Each has its turn before one comes again, in a new order every time.
next_victim() {
    local i
    [ ${#deck[@]} -gt 0 ] || deck=("${VICTIMS[@]}")
    i=$((RANDOM % ${#deck[@]}))
    VICTIM=${deck[i]}
    deck=("${deck[@]:0:i}" "${deck[@]:i+1}")
}

tell_kills() { # NAME
    local name text=
    for name in "${VICTIMS[@]}"; do text+=" $name ${kills[$name]:-0}"; done
    say "# $1: killed$text"
}

R16() {
    local i deck=()
    local -A kills=()
    say "# R16: $KILLS kills, seed $SEED"
    RANDOM=$((SEED % 32768))
    storm_begins R16 "$SEED" 100001
    for ((i = 1; i <= KILLS; i++)); do
        next_victim
        strike "$VICTIM"
        if ! progress $((5 + RANDOM % 20)); then
            bad "R16_kill_${i}_of_$VICTIM" "no order is confirmed 60 s later"
            break
        fi
        pause_ms 500
    done
    tell_kills R16
    storm_ends R16
}

random() {
    local end service next_broker deck=() broker_s=$((STORM_S < 540 ? STORM_S / 3 : 180))
    local -A kills=()
    local spec='inbox.before_ack=error,every(100);mq.send.lost=error,every(100);mq.send.ack=error,every(100);mq.send.again=error,every(20);mq.end=error,every(100)'
    say "# random: $STORM_S s, seed $SEED"
    RANDOM=$(((SEED + 1) % 32768))
    for service in order stock coupon user payment paylog; do FAULTS[$service]=$spec; done
    everywhere "$spec"
    storm_begins random "$((SEED + 1))" 200001
    end=$((SECONDS + STORM_S)) next_broker=$((SECONDS + broker_s))
    while [ "$SECONDS" -lt "$end" ]; do
        next_victim
        if [ "$SECONDS" -ge "$next_broker" ]; then
            VICTIM=mqbroker
            next_broker=$((SECONDS + broker_s))
        fi
        strike "$VICTIM"
        pause_ms 5000
        pause_ms 5000 # 5 s on average
    done
    tell_kills random
    for service in order stock coupon user payment paylog; do unset "FAULTS[$service]"; done
    everywhere "$(sed -E 's/=[^;]*/=off/g' <<<"$spec")"
    progress 10 || bad random "no order is confirmed 60 s after the storm"
    storm_ends random
}
