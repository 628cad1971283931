#!/usr/bin/env bash
#
# Runs the real clients of RocketMQ against our name server and broker, our C client and the shop against
# the real Apache RocketMQ, and both brokers by turns on one store directory. One line per check, the count
# at the end; exit 0 only if none failed.
#
#   run.sh [--only REGEX] NAMESRV_BIN BROKER_BIN CLIENT_TOOLS_DIR
#   run.sh [--only REGEX] --namesrv HOST:PORT [CLIENT_TOOLS_DIR]
#
# The second form runs the clients against servers that are already there. --only picks scenarios
# whose "CLIENT VERSION SCENARIO" matches. README.md says what a client's peer program has to do.
#
# Everything lives in a private temporary directory: servers, the peers' homes and working
# directories, compiled peers. Only downloads go to the cache. Peers run two at a time, each under
# timeout(1), whose pid is on file so that an interrupted run can end it.

set -uo pipefail

INTEROP_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/interop/apache.sh
source "$INTEROP_DIR/apache.sh"
REPOSITORY=$(cd "$INTEROP_DIR/../.." && pwd)

LANES=2
START_SECONDS=30 # for our servers to be ready, and to end after SIGTERM

JAVA_VERSIONS=(5.5.0 4.9.8)
GO_VERSION=2.1.2   # go/go.mod
NODE_VERSION=3.12.0 # node/package.json

# What each client is tried with, longest first so that the lanes end together.
declare -A SCENARIOS=(
    [java]='transaction dlq retry consume orderly litepull pull delay broadcast send'
    [go]='transaction retry orderly delay consume broadcast send'
    [node]='retry delay consume broadcast send'
    [c]='transaction dlq retry lag consume delay broadcast cluster send'
)
SCENARIO_SECONDS=130
PROBE_SECONDS=60
PROBE_COUNT=100
# The shop creates what it needs; nothing is done for it.
SHOP_BROKER=$'autoCreateTopicEnable=false\nautoCreateSubscriptionGroup=false\nflushDiskType=SYNC_FLUSH'

# ---- peers ---------------------------------------------------------------------------------------

# A peer is called CLIENT/VERSION; its label is what the reader sees.
peer_label() {
    case $1 in
    node/*) printf 'node ali-ons %s' "${1#*/}" ;;
    *) printf '%s' "${1/\// }" ;;
    esac
}

# peer_command PEER : the command in the array COMMAND, to be followed by NAMESRV SCENARIO PREFIX.
peer_command() {
    local version=${1#*/}
    case $1 in
    java/*)
        COMMAND=(java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx256m -Duser.home="$PWD"
            -cp "$WORK/peers/java-$version:$(java_jars "$version")/*" interop.Peer)
        ;;
    go/*) COMMAND=("$WORK/peers/go") ;;
    node/*) COMMAND=(node "$WORK/peers/node/peer.js") ;;
    c/*) COMMAND=("$CLIENT_TOOLS/interop_client") ;;
    esac
}

java_jars() {
    printf '%s/java-%s/lib' "$(interop_cache)" "$1"
}

build_java() {
    local version=$1
    fetch_jars "$INTEROP_DIR/java/pom.xml" "$version" "$(java_jars "$version")" &&
        javac -encoding UTF-8 -nowarn --release 17 -d "$WORK/peers/java-$version" \
            -cp "$(java_jars "$version")/*" "$INTEROP_DIR"/java/src/interop/*.java
}

build_go() {
    cd "$INTEROP_DIR/go" && GOFLAGS=-mod=readonly GOTOOLCHAIN=local \
        go build -buildvcs=false -o "$WORK/peers/go" .
}

build_node() {
    local key modules partial
    key=$(cat "$INTEROP_DIR"/node/package*.json | sha256sum | cut -c1-12)
    modules=$(interop_cache)/node-$key
    if [[ ! -d $modules ]]; then
        partial=$(mktemp -d "$modules.XXXXXX")
        cp "$INTEROP_DIR"/node/package*.json "$partial/"
        (cd "$partial" && npm ci --no-audit --no-fund --ignore-scripts) || return 1
        mv -T "$partial" "$modules" 2>/dev/null || rm -rf "$partial" # another run was faster
    fi
    mkdir -p "$WORK/peers/node"
    cp "$INTEROP_DIR"/node/*.js "$WORK/peers/node/"
    ln -s "$modules/node_modules" "$WORK/peers/node/node_modules"
}

# build LABEL FUNCTION ARG... : one line of progress; the output only if it fails.
build() {
    local label=$1 log=$WORK/logs/build-${1// /-}.log began=$SECONDS
    shift
    if ! ("$@") >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        return 1
    fi
    printf 'built %-20s %3d s\n' "$label" $((SECONDS - began))
}

build_peers() {
    local version pid failed=0 builds=()
    mkdir -p "$WORK/peers" "$(interop_cache)"
    build "apache $APACHE_VERSION" fetch &
    builds+=($!)
    for version in "${JAVA_VERSIONS[@]}"; do
        build "java $version" build_java "$version" || failed=1
    done
    build "go $GO_VERSION" build_go &
    builds+=($!)
    build "node ali-ons $NODE_VERSION" build_node || failed=1
    for pid in "${builds[@]}"; do
        wait "$pid" || failed=1
    done
    ((failed == 0)) || die 'a peer could not be built; see above'
}

# install_missing : Debian packages for the commands that are absent.
install_missing() {
    local need command package packages=() root=()
    for need in javac:openjdk-17-jdk-headless mvn:maven go:golang-go node:nodejs npm:npm; do
        command=${need%%:*} package=${need#*:}
        command -v "$command" >/dev/null || packages+=("$package")
    done
    ((${#packages[@]})) || return 0
    printf 'installing %s\n' "${packages[*]}"
    ((EUID == 0)) || root=(sudo)
    if ! { "${root[@]}" apt-get -q update && "${root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends install "${packages[@]}"; } \
        >"$WORK/logs/install.log" 2>&1; then
        tail -n 20 "$WORK/logs/install.log" >&2
        die "cannot install ${packages[*]}: install them by hand and try again"
    fi
}

# ---- running scenarios ---------------------------------------------------------------------------

# result ok|FAIL LABEL CHECK MICROSECONDS DETAIL : a line for the reader, a word for the count.
result() {
    local seconds
    printf -v seconds '%d.%d' $(($4 / 1000000)) $(($4 / 100000 % 10))
    printf '%-4s %-20s %-34s %6s s  %s\n' "$1" "$2" "$3" "$seconds" "$5"
    printf '%s\n' "$1" >>"$WORK/results"
}

microseconds() {
    printf '%s' "${EPOCHREALTIME/[.,]/}"
}

# scenario_dir SCENARIO PREFIX : where a peer runs and what is kept of it.
scenario_dir() {
    printf '%s/logs/%s-%s' "$WORK" "$2" "$1"
}

# peer_exec PEER SCENARIO PREFIX SECONDS : runs a peer at the address NAMESRV in a directory of its
# own; its output passes through.
peer_exec() {
    local dir pid status COMMAND=()
    dir=$(scenario_dir "$2" "$3")
    mkdir -p "$dir" && cd "$dir" || return 1
    peer_command "$1"
    HOME=$dir timeout -k 5 "$4" "${COMMAND[@]}" "$NAMESRV" "$2" "$3" 2>stderr &
    pid=$!
    printf '%s\n' "$pid" >"$WORK/pids/$pid"
    wait "$pid"
    status=$?
    rm -f "$WORK/pids/$pid"
    return $status
}

# report LABEL : turns a peer's PASS and FAIL lines into results, each with the time since the last.
report() {
    local verdict check detail now before
    before=$(microseconds)
    while read -r verdict check detail; do
        now=$(microseconds)
        case $verdict in
        PASS) result ok "$1" "$check" $((now - before)) "$detail" ;;
        FAIL) result FAIL "$1" "$check" $((now - before)) "$detail" ;;
        *) continue ;;
        esac
        before=$now
    done
}

# why STATUS SECONDS DIR : a peer's end in words.
why() {
    case $1 in
    0) printf 'ended without a check' ;;
    124 | 137) printf 'did not end within %s s' "$2" ;;
    *) printf 'ended with status %s: %s' "$1" "$(tail -n 1 "$3/stderr" 2>/dev/null)" ;;
    esac
}

# scenario PEER SCENARIO PREFIX : a peer that ends badly without saying FAIL is one more failure.
scenario() {
    local label dir status began
    label=$(peer_label "$1")
    dir=$(scenario_dir "$2" "$3")
    mkdir -p "$dir"
    began=$(microseconds)
    peer_exec "$1" "$2" "$3" $SCENARIO_SECONDS | tee "$dir/stdout" | report "$label"
    status=${PIPESTATUS[0]}
    grep -q '^FAIL' "$dir/stdout" && return
    if ((status != 0)) || ! grep -q '^PASS' "$dir/stdout"; then
        result FAIL "$label" "$2" $(($(microseconds) - began)) \
            "$(why "$status" $SCENARIO_SECONDS "$dir")"
    fi
}

# probe_step PEER produce|consume PREFIX : prints what went wrong, nothing when it went well. To be
# called in a subshell: it changes the directory.
probe_step() {
    local dir status
    dir=$(scenario_dir "probe-$2" "$3")
    mkdir -p "$dir"
    peer_exec "$1" "probe-$2" "$3" $PROBE_SECONDS >"$dir/stdout"
    status=$?
    if ((status != 0)); then
        printf '%s probe-%s: %s' "$(peer_label "$1")" "$2" "$(grep -m 1 '^FAIL' "$dir/stdout" ||
            why "$status" $PROBE_SECONDS "$dir")"
    elif [[ $2 == consume && $(grep '^DATA' "$dir/stdout") != "$(seq -f 'DATA %06.0f' 0 $((PROBE_COUNT - 1)))" ]]; then
        printf 'not the numbers 0 to %d: see %s' $((PROBE_COUNT - 1)) "$dir/stdout"
    fi
}

# probe PRODUCER CONSUMER PREFIX : what one client sends another must receive, number by number.
probe() {
    local detail verdict=ok began
    began=$(microseconds)
    detail=$(probe_step "$1" produce "$3")
    [[ -n $detail ]] || detail=$(probe_step "$2" consume "$3")
    [[ -z $detail ]] || verdict=FAIL
    result "$verdict" "$(peer_label "$2")" "from $(peer_label "$1")" $(($(microseconds) - began)) \
        "${detail:-$PROBE_COUNT messages, some compressed}"
}

# lane FUNCTION PEER ARG... : runs it in the background as soon as fewer than LANES are running.
lane() {
    local pid running=()
    while :; do
        running=()
        for pid in "${RUNNING[@]}"; do
            process_runs "$pid" && running+=("$pid")
        done
        RUNNING=("${running[@]}")
        ((${#RUNNING[@]} < LANES)) && break
        wait -n "${RUNNING[@]}"
    done
    "$@" &
    RUNNING+=($!)
}

finish_lanes() {
    ((${#RUNNING[@]} == 0)) || wait "${RUNNING[@]}"
    RUNNING=()
}

# chosen PEER WHAT : did the command line ask for it?
chosen() {
    [[ "$(peer_label "$1") $2" =~ $ONLY ]]
}

run_scenarios() {
    local peer name
    for peer in "$@"; do
        for name in ${SCENARIOS[${peer%%/*}]}; do
            chosen "$peer" "$name" || continue
            lane scenario "$peer" "$name" "$(prefix "$peer")"
        done
    done
    finish_lanes
}

# run_probes PRODUCER CONSUMER [PRODUCER CONSUMER]...
run_probes() {
    for (( ; $# > 0; )); do
        chosen "$2" "from $(peer_label "$1")" &&
            lane probe "$1" "$2" "$(prefix "$1" "$2")"
        shift 2
    done
    finish_lanes
}

# prefix PEER... : topics and groups must be new in each run, also at servers that outlive it.
prefix() {
    local name="$*"
    name=${name//./}
    printf '%s-%s-%s' "$SECTION" "${name//[\/ ]/-}" "$RUN_ID"
}

section() {
    SECTION=$1
    printf '\n== %s\n' "$2"
}

# ---- the servers ---------------------------------------------------------------------------------

# start_server NAME COMMAND... : leaves the pid in the variable of that name.
start_server() {
    local name=$1
    shift
    printf 'starting %s\n' "$*"
    (cd "$WORK/ours" && exec "$@") >"$WORK/logs/$name.log" 2>&1 </dev/null &
    printf -v "$name" '%s' $!
}

ours_ready() {
    process_gone "$OUR_NAMESRV" || process_gone "$OUR_BROKER" || route_known "$NAMESRV" TBW102
}

# start_our_broker BROKER_BIN PORT
start_our_broker() {
    broker_conf "$WORK/ours" "$2" "$NAMESRV" >"$WORK/ours/broker.conf"
    start_server OUR_BROKER "$1" -n "$NAMESRV" -c "$WORK/ours/broker.conf"
    wait_until $START_SECONDS ours_ready
    if process_gone "$OUR_NAMESRV" || process_gone "$OUR_BROKER" ||
        ! route_known "$NAMESRV" TBW102; then
        tail -n 20 "$WORK/logs/OUR_NAMESRV.log" "$WORK/logs/OUR_BROKER.log" >&2
        die "a server ended or the broker was not routed within $START_SECONDS s: see above"
    fi
}

# start_ours NAMESRV_BIN BROKER_BIN : sets NAMESRV and BROKER_PORT.
start_ours() {
    local first
    mkdir -p "$WORK/ours"
    first=$(free_ports 5) || exit 1
    NAMESRV=127.0.0.1:$first
    BROKER_PORT=$((first + 3))
    printf 'listenPort=%s\n' "$first" >"$WORK/ours/namesrv.conf"
    start_server OUR_NAMESRV "$1" -c "$WORK/ours/namesrv.conf"
    start_our_broker "$2" "$BROKER_PORT"
}

# end_server LABEL PID : it must still be there, and end with status 0 when it is asked to.
end_server() {
    local began verdict=ok detail='after SIGTERM, status 0' status
    began=$(microseconds)
    if process_gone "$2"; then
        wait "$2"
        verdict=FAIL detail="had ended during the run with status $?"
    elif ! stop_process "$2" $START_SECONDS; then
        verdict=FAIL detail="had to be killed $START_SECONDS s after SIGTERM"
    else
        wait "$2"
        status=$?
        ((status == 0)) || verdict=FAIL detail="ended with status $status after SIGTERM"
    fi
    result "$verdict" "$1" stopped $(($(microseconds) - began)) "$detail"
}

# ---- the parts -----------------------------------------------------------------------------------

# clients_part : every client against the servers at NAMESRV, then each against another: a ring
# through all languages, and our client against each.
clients_part() {
    local foreign=("${JAVA_VERSIONS[@]/#/java/}" "go/$GO_VERSION" "node/$NODE_VERSION") previous peer pairs=()
    run_scenarios "${foreign[@]}"
    previous=${foreign[-1]}
    for peer in "${foreign[@]}"; do
        pairs+=("$previous" "$peer")
        previous=$peer
        [[ -n $CLIENT_TOOLS ]] && pairs+=(c/halfpenny "$peer" "$peer" c/halfpenny)
    done
    if [[ -n $CLIENT_TOOLS ]]; then
        run_scenarios c/halfpenny
    fi
    run_probes "${pairs[@]}"
}

# apache_part : our client against the real broker, alone and with the real Java client.
apache_part() {
    local first java=java/${JAVA_VERSIONS[0]}
    section apache "our C client against Apache RocketMQ $APACHE_VERSION"
    first=$(free_ports 5) || exit 1
    NAMESRV=$(apache_up "$WORK/apache" "$first" $((first + 3))) ||
        die 'Apache RocketMQ did not start'
    printf 'Apache RocketMQ %s at %s\n' "$APACHE_VERSION" "$NAMESRV"
    run_scenarios c/halfpenny
    run_probes c/halfpenny "$java" "$java" c/halfpenny
    apache_down "$WORK/apache"
}

# stop_by SIGNAL PID : TERM with time for an orderly end, or KILL.
stop_by() {
    if [[ $1 == TERM ]]; then
        stop_process "$2" 60
    else
        disown "$2" # or bash reports the kill
        stop "$2"
    fi
    wait "$2" 2>/dev/null
}

# opened CHECK PREFIX... : a new broker on the old store must give what was sent under each PREFIX.
opened() {
    local check=$1 prefix detail='' verdict=ok began java=java/${JAVA_VERSIONS[0]}
    shift
    began=$(microseconds)
    for prefix in "$@"; do
        [[ -n $detail ]] || detail=$(probe_step "$java" consume "$prefix")
    done
    [[ -z $detail ]] || verdict=FAIL
    result "$verdict" store "$check" $(($(microseconds) - began)) \
        "${detail:-$(($# * PROBE_COUNT)) messages}"
}

# sent PREFIX... : fills the store of the broker that runs.
sent() {
    local prefix detail
    for prefix in "$@"; do
        detail=$(probe_step "java/${JAVA_VERSIONS[0]}" produce "$prefix")
        [[ -z $detail ]] || result FAIL store "sends to $prefix" 0 "$detail"
    done
}

# exchange SIGNAL NAMESRV_BIN BROKER_BIN : one store directory, under our broker, under Apache's,
# under ours again, each ended by SIGNAL. Apache's verifies the checksum of every record.
exchange() {
    local id
    id=store-$1-$RUN_ID
    rm -rf "$WORK/ours/store"
    start_ours "$2" "$3"
    sent "$id-a" "$id-b"
    stop_by "$1" "$OUR_BROKER"
    OUR_BROKER=$OUR_NAMESRV # the broker of this name server is Apache's now
    if start_broker "$WORK/ours" "$BROKER_PORT" "$NAMESRV" \
        $'enabledAppendPropCRC=true\nforceVerifyPropCRC=true'; then
        opened "ours in Apache's, SIG$1" "$id-a"
        sent "$id-c"
    else
        result FAIL store "ours in Apache's, SIG$1" 0 'it did not start'
    fi
    stop_by "$1" "$(<"$WORK/ours/broker.pid")"
    rm -f "$WORK/ours/broker.pid"
    start_our_broker "$3" "$BROKER_PORT"
    opened "Apache's in ours, SIG$1" "$id-b" "$id-c"
    end_server broker "$OUR_BROKER"
    end_server 'name server' "$OUR_NAMESRV"
    unset OUR_BROKER OUR_NAMESRV
}

store_part() {
    local signal
    [[ "store" =~ $ONLY ]] || return 0
    section store "one store, by turns under Halfpenny and Apache RocketMQ $APACHE_VERSION"
    for signal in TERM KILL; do
        exchange "$signal" "$1" "$2"
    done
}

# ---- the shop ------------------------------------------------------------------------------------

# A database and a login as an operator would be given them: a password, no superuser. Prints the DSN.
shop_database() {
    local dir=$WORK/postgres dsn socket
    chmod 711 "$WORK" # PostgreSQL may run as another user
    dsn=$("$REPOSITORY/tools/pg.sh" start "$dir") || return 1
    socket=$(<"$dir/socket-dir")
    psql "$dsn" -Xq -v ON_ERROR_STOP=1 \
        -c "CREATE ROLE buyer LOGIN CREATEROLE PASSWORD 'as given'" -c 'CREATE DATABASE given OWNER buyer' || return 1
    sed -i -E 's/^(local +all +all +)trust$/local all shop_owner trust\n\1scram-sha-256/' "$dir/data/pg_hba.conf"
    psql "$dsn" -XAtqc 'SELECT pg_reload_conf()' >/dev/null || return 1
    printf 'postgresql://buyer:as%%20given@/given?host=%s' "${socket//\//%2F}"
}

# shop_steps OUTPUT : the summary of the demonstration as results.
shop_steps() {
    local told title seconds verdict n=0
    told=$(sed 's/\x1b\[[0-9;]*m//g' "$1") || return 1
    while read -r title; do
        [[ $title =~ ^(.*[^ ])\ +([0-9.]+)\ s\ +(held|FAILED|skipped)$ ]] || continue
        title=${BASH_REMATCH[1]} seconds=${BASH_REMATCH[2]} verdict=${BASH_REMATCH[3]}
        [[ $verdict != skipped ]] || continue
        n=$((n + 1))
        result "$([[ $verdict == held ]] && printf ok || printf FAIL)" shop "step $n" \
            $((10#${seconds/./} * 10000)) "$title"
    done <<<"$told"
    ((n > 0))
}

# shopctl_check CHECK PATTERN ARGUMENT... : its output must match; AUDIT_DSN is the auditor's.
shopctl_check() {
    local check=$1 pattern=$2 out began verdict=ok
    shift 2
    began=$(microseconds)
    out=$(SHOP_DSN=$AUDIT_DSN "$CLIENT_TOOLS/shopctl" "$@" 2>&1) && [[ $out =~ $pattern ]] || verdict=FAIL
    printf '%s\n' "$out" >"$WORK/logs/shopctl-${check// /-}.log"
    result "$verdict" shopctl "$check" $(($(microseconds) - began)) "shopctl $1 ${2:-}"
}

# shop_check CHECK DETAIL COMMAND...
shop_check() {
    local check=$1 detail=$2 began verdict=ok
    shift 2
    began=$(microseconds)
    "$@" >>"$WORK/logs/shop-checks.log" 2>&1 || verdict=FAIL
    result "$verdict" shop "$check" $(($(microseconds) - began)) "$detail"
}

# refused_with TEXT COMMAND... : it fails and says why.
refused_with() {
    local text=$1 out
    shift
    out=$("$@" 2>&1) && return 1
    printf '%s\n' "$out"
    [[ $out == *"$text"* ]]
}

demonstration() { # ARGUMENT... : its output is kept in the logs
    HALFPENNY_BIN=$CLIENT_TOOLS TMPDIR=$WORK "$REPOSITORY/tools/demo.sh" --namesrv "$NAMESRV" "$@"
}

is_empty() { # DSN : no schema of the shop, no role of it
    [[ $(psql "$1" -XAtqc "SELECT (SELECT count(*) FROM pg_namespace WHERE nspname IN ('ord', 'kit', 'audit'))
        + (SELECT count(*) FROM pg_roles WHERE rolname IN ('shop_order', 'shop_auditor'))") == 0 ]]
}

not_empty_refused() { # DSN
    psql "$1" -Xqc 'CREATE SCHEMA others CREATE TABLE t (x int)' &&
        refused_with 'is not empty (1 tables' demonstration --dsn "$1"
}

# shop_part : the demonstration on Apache's broker, which creates no topics and no groups by itself, and on
# a database of a login without special rights.
shop_part() {
    local first dsn out=$WORK/logs/demonstration.log stop
    [[ "shop" =~ $ONLY ]] || return 0
    section shop "the shop on Apache RocketMQ $APACHE_VERSION and on a PostgreSQL that exists"
    first=$(free_ports 5) || exit 1
    NAMESRV=127.0.0.1:$first
    (start_namesrv "$WORK/shop" "$first" &&
        start_broker "$WORK/shop" $((first + 3)) "$NAMESRV" "$SHOP_BROKER") ||
        die 'Apache RocketMQ did not start'
    dsn=$(shop_database) || die 'PostgreSQL did not start'
    demonstration --dsn "$dsn" --keep >"$out" 2>&1
    shop_steps "$out" || result FAIL shop demonstration 0 "no summary: $(tail -n 1 "$out")"
    stop=$(grep -oE '/[^ ]*/stop$' "$out" | tail -n 1)
    AUDIT_DSN=$(sed -nE "s/^ *SHOP_DSN='([^']*)'.*dlq list$/\1/p" "$out")
    shopctl_check 'audit, i14' 'all 16 invariants hold' audit --wait 30 --namesrv "$NAMESRV"
    shopctl_check 'dlq list' 'stk:1 .*replayed' dlq --all list
    shopctl_check 'dlq show' 'order_cancel' dlq show stk:1
    shopctl_check cluster '1 member' cluster --namesrv "$NAMESRV"
    shop_check 'second shop refused' 'while the first one consumes' \
        refused_with 'a shop is running on this cluster' demonstration
    [[ -z $stop ]] || "$stop"
    wait_until 30 "$CLIENT_TOOLS/shopctl" cluster --namesrv "$NAMESRV" --idle >/dev/null
    shop_check 'used database refused' 'with what an earlier run left' \
        refused_with 'an earlier demonstration left' demonstration --dsn "$dsn"
    shop_check 'database cleaned' 'schemas and roles are gone' demonstration --dsn "$dsn" --clean
    shop_check 'database empty' 'nothing is left in it' is_empty "$dsn"
    shop_check 'full database refused' 'a table of somebody else' not_empty_refused "$dsn"
    "$REPOSITORY/tools/pg.sh" stop "$WORK/postgres" fast
    apache_down "$WORK/shop"
}

cleanup() {
    local pid
    for pid in ${OUR_BROKER-} ${OUR_NAMESRV-}; do
        kill -KILL "$pid" 2>/dev/null
    done
    for pid in $(jobs -p) $(cat "$WORK"/pids/* 2>/dev/null); do
        kill -TERM "$pid" 2>/dev/null
    done
    apache_down "$WORK/apache"
    apache_down "$WORK/ours"
    apache_down "$WORK/shop"
    [[ ! -d $WORK/postgres/data ]] || "$REPOSITORY/tools/pg.sh" stop "$WORK/postgres" immediate
    wait 2>/dev/null
    [[ -d $WORK ]] || return
    rm -rf "$WORK/peers" "$WORK/apache/store" "$WORK/ours/store"
    printf 'logs: %s\n' "$WORK"
}

# summary : the count, as the last line; the logs stay if anything failed.
summary() {
    local passed failed
    passed=$(grep -c '^ok$' "$WORK/results")
    failed=$(grep -c '^FAIL$' "$WORK/results")
    printf '\n'
    trap - EXIT
    ((failed == 0 && passed > 0)) && rm -rf "$WORK"
    cleanup
    printf '%d passed, %d failed\n' "$passed" "$failed"
    ((failed == 0 && passed > 0))
}

usage() {
    die 'usage: run.sh [--only REGEX] NAMESRV_BIN BROKER_BIN CLIENT_TOOLS_DIR
       run.sh [--only REGEX] --namesrv HOST:PORT [CLIENT_TOOLS_DIR]'
}

require_program() {
    [[ -f $1 && -x $1 ]] || die "$1 is not a program: build it first"
    realpath "$1"
}

main() {
    local address='' namesrv_bin broker_bin
    ONLY=''
    while [[ ${1-} == --* ]]; do
        (($# >= 2)) || usage
        case $1 in
        --only) ONLY=$2 ;;
        --namesrv) address=$2 ;;
        *) usage ;;
        esac
        shift 2
    done
    if [[ -n $address ]]; then
        (($# <= 1)) || usage
        CLIENT_TOOLS=${1-}
    else
        (($# == 3)) || usage
        namesrv_bin=$(require_program "$1") && broker_bin=$(require_program "$2") || exit 1
        CLIENT_TOOLS=$3
    fi
    if [[ -n $CLIENT_TOOLS ]]; then
        CLIENT_TOOLS=$(require_program "$CLIENT_TOOLS/interop_client") || exit 1
        CLIENT_TOOLS=${CLIENT_TOOLS%/*}
    fi

    WORK=$(mktemp -d "${TMPDIR:-/tmp}/halfpenny-interop.XXXXXX")
    RUN_ID=${WORK##*.}
    RUNNING=()
    mkdir -p "$WORK/logs" "$WORK/pids"
    : >"$WORK/results"
    trap cleanup EXIT
    trap 'exit 130' INT TERM HUP

    install_missing
    build_peers
    if [[ -n $address ]]; then
        NAMESRV=$address
        section existing "clients against $address"
        [[ -n $CLIENT_TOOLS ]] || printf 'without our C client: no CLIENT_TOOLS_DIR given\n'
        clients_part
    else
        section ours 'clients against Halfpenny'
        start_ours "$namesrv_bin" "$broker_bin"
        INTEROP_ONCE=1 clients_part
        end_server broker "$OUR_BROKER"
        end_server 'name server' "$OUR_NAMESRV"
        unset OUR_BROKER OUR_NAMESRV
        apache_part
        shop_part
        store_part "$namesrv_bin" "$broker_bin"
    fi
    summary
}

main "$@"
