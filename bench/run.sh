#!/usr/bin/env bash
#
# run.sh [--rounds N] [--only ROW,..] [--quick] [--json FILE] [--flow-seconds S] [--fill-gb N] [--keep-results FILE]
#
# Measures the broker beside Apache RocketMQ, NATS JetStream, Redis streams, beanstalkd and the limit
# program, interleaved (ours, Apache, limit, other, ours, ...), and prints one table: medians with
# min-max, ratios, and whether each gate is met. Every acknowledged message is read back (counted, for
# the other servers) before a figure is taken.
#
#   --rounds N        measurements of each row and server, their median counts [5]
#   --only ROW,..     rows by name or by the beginning of the name (send, send-async, pull, ...)
#   --quick           short windows and one round: to see that everything works, not to quote
#   --json FILE       the table as JSON too
#   --flow-seconds S  how long produce-and-consume runs, each round [4]
#   --fill-gb N       size of the log that is recovered after kill -9 [10]
#   --keep-results F  every single measurement, one line each
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tools/lib.sh
. "$ROOT/tools/lib.sh"
BIN=$ROOT/build/bin

ROWS=(send-async-1x1 send-async-1x64 send-async-8x64 send-sync-1x1 send-sync-1x64 send-sync-8x64
    batch-1x8 batch-8x8 pull route start connections recovery
    flow latency latency-own tx topics idle)
rounds=5
only=
quick=false
json=
keep=
flow_seconds=4
fill_gb=10
seconds=1.5
warmup=0.4

usage() { sed -n '3,18s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }

positive() { # NAME VALUE
    [[ $2 =~ ^[1-9][0-9]{0,5}$ ]] || die "bench: $1 wants a positive number, not \"$2\""
}

while [ $# -gt 0 ]; do
    case $1 in
    --quick)
        quick=true
        shift
        continue
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    --rounds | --only | --json | --flow-seconds | --fill-gb | --keep-results) ;;
    *) die "bench: no such option: $1 (see ./run bench --help)" ;;
    esac
    [ $# -ge 2 ] || die "bench: $1 wants a value"
    case $1 in
    --rounds) positive "$1" "$2" && rounds=$2 ;;
    --only) only=$2 ;;
    --json) json=$2 ;;
    --keep-results) keep=$2 ;;
    --flow-seconds) positive "$1" "$2" && flow_seconds=$2 ;;
    --fill-gb) positive "$1" "$2" && fill_gb=$2 ;;
    esac
    shift 2
done
if $quick; then
    rounds=1 seconds=0.5 warmup=0.2 flow_seconds=1 fill_gb=1
fi

# The rows that were asked for, in the order of the table.
chosen=()
for row in "${ROWS[@]}"; do
    [ -z "$only" ] && chosen+=("$row") && continue
    for want in ${only//,/ }; do
        [[ $row == "$want"* ]] && chosen+=("$row") && break
    done
done
for want in ${only//,/ }; do
    [[ " ${ROWS[*]} " == *" $want"* ]] || die "bench: no row begins with \"$want\" (rows: ${ROWS[*]})"
done

BENCH_DIR=$(mktemp -d "${TMPDIR:-/tmp}/halfpenny-bench.XXXXXX")
# shellcheck source-path=SCRIPTDIR source=peers.sh
. "$ROOT/bench/peers.sh"
trap 'servers_end; rm -rf "$BENCH_DIR"' EXIT
trap 'exit 130' INT TERM
results=$BENCH_DIR/results.tsv
reasons=$BENCH_DIR/reasons.tsv
touch "$results" "$reasons"
declare -A checked=()
started=$SECONDS

# no_figure ROW PEER ROUND REASON: what that round recorded before it failed does not count.
no_figure() {
    say "  $1, $2: no figure: $4"
    printf '%s\t%s\t%s\n' "$1" "$2" "round $3: $4" >>"$reasons"
    awk -F '\t' -v r="$1" -v p="$2" -v n="$3" '!($1 == r && $2 == p && $3 == n)' "$results" >"$results.kept"
    mv "$results.kept" "$results"
}

# given_up ROW PEER: it failed twice, or cannot be had.
given_up() {
    available "$2" || return 0
    (($(grep -cF "$1	$2	" "$reasons") >= 2))
}

# available PEER: can it be measured here? The reason is found once.
available() {
    [ -n "${checked[$1]+set}" ] || checked[$1]=$(peer_reason "$1")
    reason=${checked[$1]}
    [ -z "$reason" ]
}

# record ROW PEER ROUND METRIC VALUE
record() { printf '%s\t%s\t%s\t%s\t%s\n' "$@" >>"$results"; }

# load ROW PEER ROUND SCENE ARGUMENTS...: one measurement by mqload; fails with `reason` set.
load() {
    local row=$1 peer=$2 round=$3 scene=$4 out
    shift 4
    if ! out=$("$BIN/mqload" "$scene" --record "$results" --label "$row	$peer	$round" "$@" 2>"$BENCH_DIR/load.err"); then
        reason=$(tail -n 1 "$BENCH_DIR/load.err" | tr '\t' ' ')
        return 1
    fi
    printf '  %-16s %d/%d %-10s %s\n' "$row" "$round" "$rounds" "$peer" "${out##*$'\n'}"
}

# count_limit ROW ROUND BATCH: the limit's log holds what it acknowledged.
count_limit() {
    local stored acked
    stored=$("$BIN/limit" --count "$BENCH_DIR/server" 2>&1)
    acked=$(awk -F '\t' -v r="$1" -v n="$2" '$1 == r && $2 == "limit" && $3 == n && $4 == "acked" { v = $5 } END { printf "%d", v }' "$results")
    [[ $stored =~ ^[0-9]+$ ]] && ((stored * $3 >= acked)) && return 0
    reason="limit acknowledged $acked messages, its log: $stored"
    return 1
}

# apache_ready NAME MODE: started, and warm: the rate of 8 x 64 sends is flat.
apache_ready() {
    [ -z "${apache_pid[$1]-}" ] || return 0
    available apache || return 1
    say "starting Apache RocketMQ ($2 flush, $APACHE_HEAP)"
    apache_start "$1" "$2" || return 1
    local messages=500000
    ! $quick || messages=50000
    say "warming it until its rate is flat"
    if ! "$BIN/mqload" --addr "${apache_address[$1]}" --connections 8 --inflight 64 --topic BenchWarm \
        --until-flat "$messages" --seconds 60 --no-verify >"$BENCH_DIR/load.out" 2>"$BENCH_DIR/load.err"; then
        reason="warming Apache RocketMQ: $(tail -n 1 "$BENCH_DIR/load.err")"
        return 1
    fi
    server_pid=${apache_pid[$1]}
    apache_pause
}

# server_up PEER MODE: for one measurement. "one" is ours too: what a row compares ours with.
server_up() {
    case $1 in
    apache) apache_ready "$2" "${2%-*}" && apache_resume "$2" ;;
    one) server_start ours "$2" ;;
    *) available "$1" && server_start "$1" "$2" ;;
    esac
}

server_down() { # PEER
    if [ "$1" = apache ]; then
        [ -z "$server_pid" ] || apache_pause
    else
        server_stop
    fi
}

# each_round ROW FUNCTION PEER...: FUNCTION ROW PEER ROUND, peers by turns in every round.
each_round() {
    local row=$1 run=$2 round peer
    shift 2
    say "$row"
    for peer in "$@"; do
        available "$peer" || no_figure "$row" "$peer" 1 "$reason"
    done
    for ((round = 1; round <= rounds; round++)); do
        for peer in "$@"; do
            given_up "$row" "$peer" && continue
            sync -f "$BENCH_DIR"
            reason=
            "$run" "$row" "$peer" "$round" || no_figure "$row" "$peer" "$round" "$reason"
            server_down "$peer"
        done
    done
}

# warm_for PEER ROUND: a JVM meets each kind of request cold.
warm_for() {
    [ "$1" = apache ] && [ "$2" -eq 1 ] && printf 4 || printf '%s' "$warmup"
}

row_send() { # ROW PEER ROUND; ROW is send-MODE-CxK
    local mode=${1#send-} shape=${1##*-} protocol=rocketmq verify=() topic=Bench$3-$1
    mode=${mode%-*}
    case $2 in
    redis | nats | beanstalkd) protocol=$2 ;;
    limit) verify=(--no-verify) ;;
    esac
    server_up "$2" "$mode" || return 1
    load "$1" "$2" "$3" send --peer "$protocol" --addr "$server_address" --connections "${shape%x*}" \
        --inflight "${shape#*x}" --seconds "$seconds" --warmup-seconds "$(warm_for "$2" "$3")" \
        --topic "$topic" --pid "$server_pid" "${verify[@]}" || return 1
    [ "$2" != limit ] || count_limit "$1" "$3" 1
}

row_batch() { # ROW PEER ROUND; ROW is batch-CxK
    local shape=${1##*-} verify=()
    local inflight=${shape#*x} batch=32
    [ "$2" != limit ] || verify=(--no-verify)
    [ "$2" != one ] || batch=1 inflight=64
    server_up "$2" async || return 1
    load "$1" "$2" "$3" send --addr "$server_address" --connections "${shape%x*}" --inflight "$inflight" \
        --batch "$batch" --seconds "$seconds" --warmup-seconds "$(warm_for "$2" "$3")" \
        --topic "Bench$3-$1" --pid "$server_pid" "${verify[@]}" || return 1
    [ "$2" != limit ] || count_limit "$1" "$3" 32
}

row_pull() {
    server_up "$2" async || return 1
    if [ "$2" != limit ] && { [ "$2" != apache ] || [ "$3" -eq 1 ]; }; then
        "$BIN/mqload" --addr "$server_address" --connections 8 --inflight 64 --messages 200000 \
            --topic BenchPull >"$BENCH_DIR/load.out" 2>"$BENCH_DIR/load.err" || {
            reason="filling: $(tail -n 1 "$BENCH_DIR/load.err")"
            return 1
        }
    fi
    load "$1" "$2" "$3" pull --addr "$server_address" --connections 8 --topic BenchPull \
        --seconds "$seconds" --warmup-seconds "$(warm_for "$2" "$3")"
}

# One broker of ours registers with both name servers; the same query goes to each by turns.
route_up() {
    local dir=$BENCH_DIR/route port
    mkdir -p "$dir"
    port=$(free_port)
    printf 'listenPort=%s\n' "$port" >"$dir/ours.conf"
    spawn "$dir/ours.out" "$BIN/mqnamesrv" -c "$dir/ours.conf"
    route_pid_ours=$server_pid
    route_address_ours=127.0.0.1:$port
    await 20 grep -q 'boot success' "$dir/ours.out" || fail_start mqnamesrv "$dir/ours.out" || return 1
    local both=$route_address_ours
    route_pid_apache=
    if available apache; then
        port=$(free_port)
        printf 'listenPort=%s\n' "$port" >"$dir/apache.conf"
        apache_command "$dir/home" org.apache.rocketmq.namesrv.NamesrvStartup -c "$dir/apache.conf"
        spawn "$dir/apache.out" "${COMMAND[@]}"
        route_pid_apache=$server_pid
        route_address_apache=127.0.0.1:$port
        await 60 grep -q 'boot success' "$dir/apache.out" || fail_start 'Apache name server' "$dir/apache.out" || return 1
        both="$both;$route_address_apache"
    fi
    mkdir -p "$dir/broker"
    start_ours "$dir/broker" async "namesrvAddr=$both" || return 1
    "$BIN/mqload" --addr "$server_address" --messages 100 --topic BenchRoute >"$BENCH_DIR/load.out" 2>&1
    route_broker=$server_pid
    server_pid=$route_pid_ours
    await 10 interop route_known "$route_address_ours" BenchRoute || {
        reason='the route did not reach our name server'
        return 1
    }
    server_pid=
}

row_route() {
    local pid=route_pid_$2 address=route_address_$2
    [ "$2" != apache ] || available apache || return 1
    kill -CONT "${!pid}"
    load "$1" "$2" "$3" route --addr "${!address}" --connections 8 --inflight 64 --topic BenchRoute \
        --seconds "$seconds" --warmup-seconds "$([ "$3" -eq 1 ] && [ "$2" = apache ] && printf 8 || printf '%s' "$warmup")"
    local status=$?
    kill -STOP "${!pid}"
    return $status
}

row_start() {
    local dir=$BENCH_DIR/server port status
    mkdir -p "$dir"
    if [ "$2" = apache ]; then
        available apache || return 1
        port=$(interop free_ports 4)
        broker_conf $((port + 2)) "$dir/store" async >"$dir/broker.conf"
        printf 'haListenPort=%s\n' $((port + 3)) >>"$dir/broker.conf"
        apache_command "$dir/home" org.apache.rocketmq.broker.BrokerStartup -c "$dir/broker.conf"
    else
        broker_conf 0 "$dir/store" async >"$dir/broker.conf"
        COMMAND=("$BIN/mqbroker" -c "$dir/broker.conf")
    fi
    load "$1" "$2" "$3" start --ready 'boot success' --seconds-max 90 -- "${COMMAND[@]}"
    status=$?
    rm -rf "$dir"
    return $status
}

row_connections() {
    ulimit -n "$(ulimit -Hn)"
    (($(ulimit -n) >= 10500)) || {
        reason="10,000 connections need 10,500 open files, the limit here is $(ulimit -n)"
        return 1
    }
    server_up "$2" async || return 1
    load "$1" "$2" "$3" idle --addr "$server_address" --connections 10000 --pid "$server_pid" \
        --seconds "$seconds" --warmup-seconds 2 --topic BenchIdle
}

row_idle() {
    server_up "$2" async || return 1
    load "$1" "$2" "$3" idle --addr "$server_address" --connections 1000 --pid "$server_pid" \
        --seconds "$($quick && printf 2 || printf 10)" --warmup-seconds 2 --topic BenchIdle
}

# 64 queues: with 8, no more than 8 x 32 messages can be on their way to consumers at any time.
row_flow() {
    server_up "$2" async || return 1
    load "$1" "$2" "$3" flow --addr "$server_address" --connections 8 --inflight 64 --queues 64 --topic "Bench$3-flow" \
        --seconds "$flow_seconds" --warmup-seconds "$(warm_for "$2" "$3")"
}

# tenth PEER DEFAULT: a tenth of the rate that the peer had with 8 x 64 sends in this run.
tenth() {
    awk -F '\t' -v p="$1" -v d="$2" '$1 == "send-async-8x64" && $2 == p && $4 == "rate" { v[n++] = $5 }
        END { asort(v); printf "%d", n ? v[int((n + 1) / 2)] / 10 : d }' "$results"
}

row_latency() {
    local rate
    rate=$([ "$1" = latency ] && tenth apache 6000 || tenth ours 30000)
    server_up "$2" async || return 1
    load "$1" "$2" "$3" latency --addr "$server_address" --rate "$rate" --topic "Bench$3-$1" \
        --seconds "$seconds" --warmup-seconds "$(warm_for "$2" "$3")"
}

# A broker of its own for Apache: its first transaction costs it a core for the rest of its life.
row_tx() {
    local mode=async
    [ "$2" != apache ] || mode=async-tx
    if [ "$mode" = async-tx ]; then
        apache_ready async-tx async && apache_resume async-tx || return 1
    else
        server_up "$2" async || return 1
    fi
    load "$1" "$2" "$3" send --tx --addr "$server_address" --connections 8 --inflight 64 --topic "Bench$3-tx" \
        --seconds "$seconds" --warmup-seconds "$([ "$3" -eq 1 ] && warm_for "$2" 1 || printf '%s' "$warmup")"
}

# 10,000 topics are in the broker's table before it starts; every queue is written to before the window.
row_topics() {
    local topics=1 dir=$BENCH_DIR/server
    [ "$2" = one ] || topics=10000
    mkdir -p "$dir/store/config"
    [ "$topics" -eq 1 ] || awk -v n=$topics 'BEGIN {
        printf "{\"dataVersion\":{\"counter\":1,\"stateVersion\":0,\"timestamp\":1},\"topicConfigTable\":{"
        for (i = 0; i < n; i++)
            printf "%s\"BenchMany-%05d\":{\"order\":false,\"perm\":6,\"readQueueNums\":8,\"topicFilterType\":\"SINGLE_TAG\",\"topicName\":\"BenchMany-%05d\",\"topicSysFlag\":0,\"writeQueueNums\":8}", i ? "," : "", i, i
        print "}}" }' >"$dir/store/config/topics.json"
    start_ours "$dir" async || return 1
    load "$1" "$2" "$3" send --addr "$server_address" --connections 8 --inflight 64 --topic BenchMany \
        --topics "$topics" --seconds "$seconds" --warmup-seconds "$topics_warmup"
}
topics_warmup=4

# The log is filled once, then the broker is killed under load and restarted, again and again.
recovery_fill() {
    local need=$((fill_gb * 1024 * 1024 * 3 / 2)) have
    have=$(df -Pk "$BENCH_DIR" | awk 'NR == 2 { print $4 }')
    ((have > need)) || {
        reason="a log of $fill_gb GB needs $((need / 1024 / 1024)) GB, $((have / 1024 / 1024)) GB are free"
        return 1
    }
    server_start ours async || return 1
    say "  filling a log of $fill_gb GB and reading it back"
    "$BIN/mqload" --addr "$server_address" --connections 8 --inflight 4 --batch 32 --topic BenchFill \
        --messages $((fill_gb * 29000)) >"$BENCH_DIR/load.out" 2>"$BENCH_DIR/load.err" || {
        reason="filling: $(tail -n 1 "$BENCH_DIR/load.err")"
        return 1
    }
}

row_recovery() {
    local begin end line bytes load_pid acked
    "$BIN/mqload" --addr "$server_address" --connections 8 --inflight 64 --seconds 60 --no-verify \
        --topic "BenchKill$3" >"$BENCH_DIR/load.out" 2>&1 &
    load_pid=$!
    sleep 1
    kill_pid "$server_pid"
    wait "$load_pid" 2>/dev/null
    : >"$BENCH_DIR/server/out"
    begin=$EPOCHREALTIME
    start_ours "$BENCH_DIR/server" async || return 1
    end=$EPOCHREALTIME
    line=$(grep -o 'event=store.recover .*' "$BENCH_DIR/server/out" | head -1)
    bytes=$(sed -n 's/.*verifiedBytes=\([0-9]*\).*/\1/p' <<<"$line")
    record "$1" ours "$3" ready_s "$(awk -v a="$begin" -v b="$end" 'BEGIN { printf "%.3f", b - a }')"
    record "$1" ours "$3" verified_mb "$(awk -v b="${bytes:-0}" 'BEGIN { printf "%.3f", b / 1048576 }')"
    acked=$(awk 'END { print $2 }' "$BENCH_DIR/fill.out")
    say "  $1         $3/$rounds ours       ready after $(awk -v a="$begin" -v b="$end" 'BEGIN { printf "%.2f s", b - a }') ($line)"
    recovery_count "$acked"
}

# The messages of the fill are still all there: the next offsets of its queues.
recovery_count() {
    local q sum=0 offset
    for q in 0 1 2 3 4 5 6 7; do
        offset=$(interop remoting_call "$server_address" "{\"code\":30,\"extFields\":{\"topic\":\"BenchFill\",\"queueId\":\"$q\"},\"flag\":0,\"opaque\":1,\"version\":479}" |
            sed -n 's/.*"offset":"\([0-9]*\)".*/\1/p')
        sum=$((sum + ${offset:-0}))
    done
    [ "$sum" -eq "$1" ] && return 0
    reason="after the restart the queues hold $sum messages, $1 were acknowledged"
    return 1
}

run_recovery() {
    local round
    say recovery
    reason=
    if ! recovery_fill; then
        no_figure recovery ours 1 "$reason"
    else
        cp "$BENCH_DIR/load.out" "$BENCH_DIR/fill.out"
        for ((round = 1; round <= rounds; round++)); do
            row_recovery recovery ours "$round" || {
                no_figure recovery ours "$round" "$reason"
                break
            }
        done
    fi
    server_stop
}

run_row() {
    case $1 in
    send-async-1x1) each_round "$1" row_send ours apache limit beanstalkd ;;
    send-async-1x64) each_round "$1" row_send ours apache limit nats ;;
    send-async-8x64) each_round "$1" row_send ours apache limit redis ;;
    send-sync-1x1) each_round "$1" row_send ours apache limit ;;
    send-sync-*) each_round "$1" row_send ours apache limit redis ;;
    batch-*) each_round "$1" row_batch ours apache limit one ;;
    pull) each_round "$1" row_pull ours apache limit ;;
    route)
        reason=
        route_up && kill -STOP "$route_pid_ours" ${route_pid_apache:+"$route_pid_apache"} || no_figure route ours 1 "$reason"
        each_round "$1" row_route ours apache
        local pid
        for pid in "$route_pid_ours" ${route_pid_apache:+"$route_pid_apache"} "${route_broker-}"; do
            [ -z "$pid" ] || kill_pid "$pid"
        done
        ;;
    start) each_round "$1" row_start ours apache ;;
    connections) each_round "$1" row_connections ours ;;
    recovery) run_recovery ;;
    flow) each_round "$1" row_flow ours apache ;;
    latency) each_round "$1" row_latency ours apache ;;
    latency-own) each_round "$1" row_latency ours ;;
    tx) each_round "$1" row_tx ours apache && apache_end async-tx ;;
    topics) each_round "$1" row_topics ours one ;;
    idle) each_round "$1" row_idle ours ;;
    esac
}

say "$(nproc) cores, $(awk '/MemTotal/ { printf "%d GB", $2 / 1048576 }' /proc/meminfo), $(uname -r); loopback, 1 KB bodies, $rounds rounds"
for row in "${chosen[@]}"; do
    run_row "$row"
    case $row in # Apache's brokers end as soon as no later row wants them
    send-sync-8x64) apache_end sync ;;
    latency) apache_end async ;;
    esac
done
[ -z "$keep" ] || cp "$results" "$keep"
say ''
"$BIN/mqreport" --results "$results" --reasons "$reasons" ${json:+--json "$json"}
status=$?
say "took $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s; again: ./run bench --rounds $rounds${only:+ --only $only}"
exit $status
