# shellcheck shell=bash
#
# The servers of a benchmark: how each is configured, started and stopped. Source it after tools/lib.sh;
# it wants BIN (our programs), BENCH_DIR (a private directory) and ROOT.
#
#   server_start PEER MODE   sets server_pid, server_address; MODE is async or sync
#   server_stop              ends it and removes its files
#
# Apache's broker takes half a minute to start and to become fast, so it is started once for each
# mode and stopped with SIGSTOP while others are measured (apache_resume, apache_pause). Every pid is
# in server_pids until the process is gone; servers_end kills what is left.
#
# docs/BENCHMARKS.md says why each setting is what it is.

declare -A server_pids=() apache_pid=() apache_address=()
server_pid=
server_address=
APACHE_HEAP='-Xms4g -Xmx4g -XX:+UseG1GC'

# interop COMMAND...: a function of the interop scripts, in a shell of its own.
interop() { (
    set +e
    # shellcheck source=tests/interop/apache.sh
    . "$ROOT/tests/interop/apache.sh"
    "$@"
); }

free_port() { interop free_ports 1; }

# await SECONDS COMMAND...: polls every 2 ms; fails when server_pid has ended.
await() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@" 2>/dev/null; do
        kill -0 "$server_pid" 2>/dev/null || return 1
        ((SECONDS < deadline)) || return 1
        sleep 0.002
    done
}

listens() { (exec 3<>"/dev/tcp/${server_address%:*}/${server_address##*:}"); }

fail_start() { # PEER OUTPUT
    reason="$1 did not start: $(tail -n 3 "$2" | tr '\n\t' '  ')"
    return 1
}

# spawn OUTPUT COMMAND...: in the background, from the server's directory.
spawn() {
    local output=$1
    shift
    "$@" >"$output" 2>&1 </dev/null &
    server_pid=$!
    server_pids[$server_pid]=1
}

kill_pid() { # PID
    kill -KILL "$1" 2>/dev/null || true
    wait "$1" 2>/dev/null || true
    unset "server_pids[$1]"
}

servers_end() {
    local pid
    for pid in "${!server_pids[@]}"; do
        kill_pid "$pid"
    done
}

# peer_reason PEER: prints why a peer cannot be measured here; nothing when it can.
peer_reason() {
    case $1 in
    apache | apache-namesrv)
        if ! command -v java >/dev/null; then
            printf 'no java here (apt-get install openjdk-17-jre-headless)'
        elif [ ! -d "$(interop apache_jars)" ] && ! command -v mvn >/dev/null; then
            printf 'no mvn here to fetch Apache RocketMQ with (apt-get install maven)'
        elif ! interop fetch >"$(log_file apache-fetch)" 2>&1; then
            printf 'Apache RocketMQ could not be fetched, see %s' "$(log_file apache-fetch)"
        fi
        ;;
    redis) command -v redis-server >/dev/null || printf 'no redis-server here' ;;
    nats) command -v nats-server >/dev/null || printf 'no nats-server here' ;;
    beanstalkd) command -v beanstalkd >/dev/null || printf 'no beanstalkd here' ;;
    esac
}

flush_type() { [ "$1" = sync ] && printf SYNC_FLUSH || printf ASYNC_FLUSH; }

# broker_conf PORT STORE MODE: what ours and Apache's are both given; everything else is the default.
broker_conf() {
    printf 'brokerName=bench\nbrokerIP1=127.0.0.1\nlistenPort=%s\nstorePathRootDir=%s\n' "$1" "$2"
    printf 'storePathCommitLog=%s/commitlog\nflushDiskType=%s\n' "$2" "$(flush_type "$3")"
}

server_start() { # PEER MODE
    local dir=$BENCH_DIR/server
    mkdir -p "$dir"
    "start_$1" "$dir" "$2"
}

server_stop() {
    [ -z "$server_pid" ] || kill_pid "$server_pid"
    server_pid=
    rm -rf "$BENCH_DIR/server"
}

# start_ours DIR MODE [LINES]
start_ours() {
    broker_conf 0 "$1/store" "$2" >"$1/broker.conf"
    printf '%s\n' "${3-}" >>"$1/broker.conf"
    spawn "$1/out" "$BIN/mqbroker" -c "$1/broker.conf"
    await 60 grep -q 'boot success' "$1/out" || fail_start mqbroker "$1/out" || return 1
    server_address=$(sed -n 's/.*The broker\[[^,]*, \([^]]*\)\] boot success.*/\1/p' "$1/out" | head -1)
}

start_limit() {
    local sync=()
    [ "$2" != sync ] || sync=(--sync)
    spawn "$1/out" "$BIN/limit" "$1" "${sync[@]}"
    await 10 grep -q ready "$1/out" || fail_start limit "$1/out" || return 1
    server_address=$(awk '{ print $2 }' "$1/out")
}

# Rewriting the log would come on top of what is measured, snapshots too; both are off.
start_redis() {
    local fsync=everysec
    [ "$2" != sync ] || fsync=always
    server_address=127.0.0.1:$(free_port)
    spawn "$1/out" redis-server --bind 127.0.0.1 --port "${server_address##*:}" --dir "$1" --save '' \
        --appendonly yes --appendfsync "$fsync" --auto-aof-rewrite-percentage 0
    await 20 grep -q 'Ready to accept' "$1/out" || fail_start redis "$1/out"
}

start_nats() {
    server_address=127.0.0.1:$(free_port)
    printf 'listen: %s\njetstream { store_dir: "%s/js", max_file: 60GB }\n' "$server_address" "$1" >"$1/nats.conf"
    spawn "$1/out" nats-server -c "$1/nats.conf"
    await 20 grep -q 'Server is ready' "$1/out" || fail_start nats "$1/out"
}

# Async flush: at most one fsync in 500 ms, the default interval of RocketMQ's flush. Sync: for each put.
start_beanstalkd() {
    local fsync=500
    [ "$2" != sync ] || fsync=0
    server_address=127.0.0.1:$(free_port)
    mkdir -p "$1/binlog"
    spawn "$1/out" beanstalkd -l 127.0.0.1 -p "${server_address##*:}" -b "$1/binlog" -f "$fsync"
    await 20 listens || fail_start beanstalkd "$1/out"
}

# --- Apache ---------------------------------------------------------------------------------------

apache_command() { # HOME CLASS ARG...: the array COMMAND
    local home=$1
    shift
    mkdir -p "$home/conf"
    # shellcheck disable=SC2206
    COMMAND=(env ROCKETMQ_HOME="$home" java $APACHE_HEAP -Duser.home="$home"
        -cp "$(interop apache_jars)/*" "$@")
}

# apache_start NAME MODE: a fresh broker, in apache_pid[NAME] and apache_address[NAME].
apache_start() {
    local dir=$BENCH_DIR/apache-$1 port
    port=$(interop free_ports 4) || return 1
    mkdir -p "$dir"
    broker_conf $((port + 2)) "$dir/store" "$2" >"$dir/broker.conf"
    printf 'haListenPort=%s\n' $((port + 3)) >>"$dir/broker.conf"
    # Neither broker may refuse a send because it waited for more than 200 ms in the queue.
    printf 'waitTimeMillsInSendQueue=8000\nwaitTimeMillsInPullQueue=15000\n' >>"$dir/broker.conf"
    apache_command "$dir/home" org.apache.rocketmq.broker.BrokerStartup -c "$dir/broker.conf"
    spawn "$dir/out" "${COMMAND[@]}"
    await 90 grep -q 'boot success' "$dir/out" || fail_start 'Apache RocketMQ' "$dir/out" || return 1
    apache_pid[$1]=$server_pid
    apache_address[$1]=127.0.0.1:$((port + 2))
    server_pid=
}

apache_resume() { # NAME
    server_address=${apache_address[$1]}
    server_pid=${apache_pid[$1]}
    kill -CONT "$server_pid"
}

# What it has not yet written must not be written while somebody else is measured.
apache_pause() {
    sync -f "$BENCH_DIR"
    kill -STOP "$server_pid"
    server_pid=
}

apache_end() { # NAME
    [ -n "${apache_pid[$1]-}" ] || return 0
    kill_pid "${apache_pid[$1]}"
    unset "apache_pid[$1]"
    rm -rf "$BENCH_DIR/apache-$1"
}
