#!/usr/bin/env bash
#
# The real Apache RocketMQ, for comparing with and for testing our client against.
#
#   apache.sh fetch                              jars into the cache (once)
#   apache.sh up DIR [NAMESRV_PORT BROKER_PORT]  start both, print the name server's address
#   apache.sh down DIR                           stop both
#
# or source it and call the functions. Everything a server writes goes below DIR: configuration,
# store, logs (the JVM gets its own user.home), stdout, pid file. The broker listens on BROKER_PORT,
# BROKER_PORT - 2 and BROKER_PORT + 1.

INTEROP_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=tests/interop/lib.sh
source "$INTEROP_DIR/lib.sh"

APACHE_VERSION=5.5.0
MAVEN_COPY=org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies

# The delay table of every broker in these tests. Levels 1 and 2 are what the delay scenarios use;
# level 3 is where retries begin, seconds instead of upstream's 10 s.
DELAY_LEVELS='1s 2s 3s 3s 4s 4s 5s 5s 6s 7s 8s 9s 10s 20s 30s 1m 2m 3m'

# fetch_jars POM VERSION DIR : the dependencies of POM into DIR, all or nothing.
fetch_jars() {
    local pom=$1 version=$2 dir=$3 partial
    [[ -d $dir ]] && return 0
    mkdir -p "$(dirname "$dir")"
    partial=$(mktemp -d "$dir.XXXXXX")
    if ! mvn -q -B -f "$pom" -Drocketmq.version="$version" "$MAVEN_COPY" \
        -DincludeScope=runtime -DoutputDirectory="$partial" >"$partial.log" 2>&1; then
        cat "$partial.log" >&2
        rm -rf "$partial" "$partial.log"
        return 1
    fi
    rm -f "$partial.log"
    mv -T "$partial" "$dir" 2>/dev/null || rm -rf "$partial" # another run was faster
    [[ -d $dir ]]
}

apache_jars() {
    printf '%s/apache-%s/lib' "$(interop_cache)" "$APACHE_VERSION"
}

fetch() {
    fetch_jars "$INTEROP_DIR/apache/pom.xml" "$APACHE_VERSION" "$(apache_jars)"
}

# launch DIR NAME READY_TEXT CLASS ARG... : starts a JVM with its output in a fresh DIR/NAME.out,
# its pid in DIR/NAME.pid, and returns when READY_TEXT is in the output.
launch() {
    local dir=$1 name=$2 ready=$3 class=$4 pid
    shift 4
    mkdir -p "$dir/home/$name/conf"
    : >"$dir/$name.out"
    ROCKETMQ_HOME="$dir/home/$name" java -Xms512m -Xmx512m -XX:+UseSerialGC \
        -Duser.home="$dir/home/$name" -cp "$(apache_jars)/*" "$class" "$@" \
        >>"$dir/$name.out" 2>&1 </dev/null &
    pid=$!
    printf '%s\n' "$pid" >"$dir/$name.pid"
    wait_until 90 launched "$pid" "$dir/$name.out" "$ready"
    grep -qF "$ready" "$dir/$name.out" && return 0
    printf 'interop: Apache %s did not get ready; its output:\n' "$name" >&2
    tail -n 20 "$dir/$name.out" >&2
    kill -KILL "$pid" 2>/dev/null
    return 1
}

launched() {
    process_gone "$1" || grep -qF "$3" "$2"
}

# start_namesrv DIR PORT
start_namesrv() {
    mkdir -p "$1"
    printf 'listenPort=%s\n' "$2" >"$1/namesrv.conf"
    launch "$1" namesrv 'The Name Server boot success.' \
        org.apache.rocketmq.namesrv.NamesrvStartup -c "$1/namesrv.conf"
}

# broker_conf DIR PORT NAMESRV : the settings that our broker and Apache's are both tested with.
# Checks of half messages come after 1 to 3 seconds instead of 30.
broker_conf() {
    cat <<CONF
brokerClusterName=DefaultCluster
brokerName=broker-a
brokerId=0
brokerIP1=127.0.0.1
listenPort=$2
haListenPort=$(($2 + 1))
namesrvAddr=$3
storePathRootDir=$1/store
storePathCommitLog=$1/store/commitlog
mappedFileSizeCommitLog=67108864
autoCreateTopicEnable=true
autoCreateSubscriptionGroup=true
brokerRole=ASYNC_MASTER
flushDiskType=ASYNC_FLUSH
messageDelayLevel=$DELAY_LEVELS
transactionCheckInterval=2000
transactionTimeOut=1000
CONF
}

# start_broker DIR PORT NAMESRV [LINES] : LINES are added to its configuration.
start_broker() {
    mkdir -p "$1"
    broker_conf "$1" "$2" "$3" >"$1/broker.conf"
    # A loaded machine must not turn into refused requests; and without the last two lines a thread
    # of 5.5.0 spins on a core from the first transactional message on.
    cat >>"$1/broker.conf" <<CONF
waitTimeMillsInSendQueue=8000
waitTimeMillsInPullQueue=15000
waitTimeMillsInHeartbeatQueue=60000
transactionOpBatchInterval=2000000000
transactionOpMsgMaxSize=1
${4-}
CONF
    launch "$1" broker 'boot success.' \
        org.apache.rocketmq.broker.BrokerStartup -c "$1/broker.conf" &&
        wait_until 60 route_known "$3" SELF_TEST_TOPIC
}

# stop PID : at once. An orderly end takes an Apache broker 16 seconds.
stop() {
    kill -KILL "$1" 2>/dev/null
    wait_until 10 process_gone "$1"
}

# apache_up DIR NAMESRV_PORT BROKER_PORT : prints the name server's address.
apache_up() {
    start_namesrv "$1" "$2" && start_broker "$1" "$3" "127.0.0.1:$2" &&
        printf '127.0.0.1:%s\n' "$2"
}

# apache_down DIR
apache_down() {
    local name
    for name in broker namesrv; do
        [[ -f $1/$name.pid ]] || continue
        stop "$(<"$1/$name.pid")"
        rm -f "$1/$name.pid"
    done
}

apache_main() {
    local usage='usage: apache.sh fetch | up DIR [NAMESRV_PORT BROKER_PORT] | down DIR' first
    case "${1-} $#" in
    'fetch 1')
        fetch
        ;;
    'up 2' | 'up 4')
        fetch || die 'cannot fetch the jars of Apache RocketMQ'
        mkdir -p "$2" || exit 1
        first=$(free_ports 5) || exit 1
        if ! apache_up "$(cd "$2" && pwd)" "${3-$first}" "${4-$((first + 3))}"; then
            apache_down "$2"
            exit 1
        fi
        ;;
    'down 2')
        apache_down "$2"
        ;;
    *)
        die "$usage"
        ;;
    esac
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -uo pipefail
    apache_main "$@"
fi
