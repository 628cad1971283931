# shellcheck shell=bash
# The whole system as processes of one directory: PostgreSQL, name server, broker, the shop's services.
# Sourced by tools/demo.sh and tests/e2e/saga_test.sh; expects ROOT to be the repository and lib.sh.
#
#   stack_new DIR BIN        chooses ports, writes configurations; nothing runs yet
#   stack_postgres           starts the cluster, with schema and demonstration data
#   stack_start NAME         starts mqnamesrv, mqbroker or one service and waits until it is ready;
#                            SERVICE@N is the N-th instance of a service, on ports of its own choice
#   stack_services           starts all services
#   stack_kill NAME          kill -9 and wait for the end
#   stack_down               stops everything that was started, by process id
# With a RocketMQ or a PostgreSQL that exists already (existing.sh) those parts are not started.
#
# Programs run detached from the terminal; output in DIR/log/NAME.out, log in DIR/log/NAME.log, process
# ids in PID[NAME]. Ports are PORT[NAME] and PORT[NAME-internal], base URLs URL[NAME] and
# URL[NAME-internal]. OWNER_DSN and AUDIT_DSN reach the database.

declare -A PID=() PORT=() URL=()
NOTES=() # what should be told about the choice of ports
STACK_SERVICES="order stock coupon user payment paylog thirdpay"
SIGN_KEY=${SIGN_KEY:-demonstration-key-of-thirdpay}
# One participant call, life of a pending order, silence before the broker asks (milliseconds, ms, s).
: "${RPC_MS:=500}" "${SAGA_MS:=5000}" "${IMMUNITY_S:=6}"
# An order may be paid for so long; what is late is sent again after so long (ms).
: "${PAY_DEADLINE_MS:=600000}" "${DRIVE_MS:=4000}"
# Retries of a consumer begin with the third level; the order service arms its timers by the same list.
: "${DELAY_LEVELS:=1s 1s 1s 1s 2s 2s 3s 3s 5s 5s 10s 10s 20s 20s 30s 30s 1m 2m}"
declare -A EXTRA=()  # further options of a service, by name
declare -A FAULTS=() # failpoints that a program of this name starts with
BROKER_INSIDE=()     # command that the broker is started by, such as nsenter with its options

# --- ports ---

choose_namesrv_port() { # WANTED
    local port=$1
    while port_taken "$port"; do port=$((port + 1)); done
    [ "$port" = "$1" ] || NOTES+=("port $1 is taken by something else; mqnamesrv uses $port")
    PORT[mqnamesrv]=$port
}

# The broker's fast port is two below its port, and both must be free.
choose_broker_port() { # WANTED
    local port=$1
    while port_taken "$port" || port_taken $((port - 2)); do port=$((port + 10)); done
    [ "$port" = "$1" ] || NOTES+=("port $1 or $(($1 - 2)) is taken by something else; mqbroker uses $port and $((port - 2))")
    PORT[mqbroker]=$port
}

# A run of ports for the services, and one 1000 above it for their internal sides.
first_taken() { # FIRST: prints the first port of the two runs that is taken
    local name port=$1
    for name in $STACK_SERVICES; do
        ! port_taken "$port" || { printf '%s' "$port" && return 0; }
        ! port_taken $((port + 1000)) || { printf '%s' $((port + 1000)) && return 0; }
        port=$((port + 1))
    done
    return 1
}
choose_service_ports() { # FIRST
    local name port=$1 taken
    while taken=$(first_taken "$port"); do
        [ "$port" != "$1" ] || NOTES+=("port $taken is taken by something else; the services use others than $1 and following")
        port=$((port + 20))
        [ "$port" -lt 60000 ] || die "no free ports for the services above $1"
    done
    for name in $STACK_SERVICES; do
        PORT[$name]=$port
        PORT[$name-internal]=$((port + 1000))
        URL[$name]=http://127.0.0.1:$port
        URL[$name-internal]=http://127.0.0.1:$((port + 1000))
        port=$((port + 1))
    done
}

# stack_new DIR BIN [NAMESRV_PORT BROKER_PORT FIRST_SERVICE_PORT]: the ports wished for
stack_new() {
    S_DIR=$1 S_BIN=$2
    mkdir -p "$S_DIR/log" "$S_DIR/conf"
    chmod 711 "$S_DIR" # PostgreSQL may run as another user
    choose_namesrv_port "${3:-9876}"
    choose_broker_port "${4:-10911}"
    choose_service_ports "${5:-18080}"
    NAMESRV=127.0.0.1:${PORT[mqnamesrv]}
    write_configuration
}

# --- configuration ---

write_configuration() {
    cat >"$S_DIR/conf/mqnamesrv.conf" <<CONF
listenPort=${PORT[mqnamesrv]}
bindAddress=127.0.0.1
CONF
    cat >"$S_DIR/conf/mqbroker.conf" <<CONF
brokerName=shop-broker
brokerIP1=127.0.0.1
bindAddress=127.0.0.1
listenPort=${PORT[mqbroker]}
namesrvAddr=127.0.0.1:${PORT[mqnamesrv]}
storePathRootDir=$S_DIR/store
flushDiskType=SYNC_FLUSH
mappedFileSizeCommitLog=67108864
transactionCheckInterval=2000
messageDelayLevel=$DELAY_LEVELS
CONF
}

service_options() { # SERVICE: one option or value a line
    case $1 in
    order)
        printf '%s\n' --stock-url "${URL[stock-internal]}" --coupon-url "${URL[coupon-internal]}" \
            --user-url "${URL[user-internal]}" --rpc-ms "$RPC_MS" --saga-ms "$SAGA_MS" --immunity-s "$IMMUNITY_S" \
            --pay-deadline-ms "$PAY_DEADLINE_MS" --pay-margin-ms 1000 --delay-levels "$DELAY_LEVELS" \
            --sweep-ms 1000 --sweep-pending-ms 5000 --sweep-unpaid-ms 5000 --drive-ms "$DRIVE_MS" --drive-max-ms 15000
        ;;
    stock | coupon | user)
        printf '%s\n' --order-url "${URL[order-internal]}" --verdict-ms 2000 --verdict-age-ms 20000 --verdict-again-ms 10000
        ;;
    payment)
        printf '%s\n' --order-url "${URL[order-internal]}" --provider-url "${URL[thirdpay]}" \
            --notify-url "${URL[payment]}/v1/payments/callback" --reconcile-ms 500 --query-ms 2000 --confirm-ms 3000 \
            --drive-ms "$DRIVE_MS" --drive-max-ms 15000
        ;;
    thirdpay) printf '%s\n' --retry-ms 500 --retry-max-ms 5000 ;;
    esac
    [ -z "${EXTRA[$1]:-}" ] || printf '%s\n' ${EXTRA[$1]}
}

# --- processes ---

launch() { # NAME COMMAND...: in the background, detached; appends to the log
    local name=$1
    shift
    : >"$S_DIR/log/$name.out"
    HALFPENNY_FAILPOINTS=${FAULTS[$name]:-} setsid "$@" >"$S_DIR/log/$name.out" 2>>"$S_DIR/log/$name.log" </dev/null &
    PID[$name]=$!
    disown
}

alive() { kill -0 "${PID[$1]}" 2>/dev/null; }

# wait_ready NAME TEXT: until TEXT stands in its output; its log when it ends before that.
wait_ready() {
    local i
    for ((i = 0; i < 600; i++)); do
        grep -q "$2" "$S_DIR/log/$1.out" 2>/dev/null && return 0
        if ! alive "$1"; then
            tail -5 "$S_DIR/log/$1.log" >&2
            die "$1 did not start; see $S_DIR/log/$1.log"
        fi
        sleep 0.05
    done
    die "$1 is not ready after 30 s; see $S_DIR/log/$1.log"
}

stack_start() { # NAME
    case $1 in
    mqnamesrv) launch "$1" "$S_BIN/mqnamesrv" -c "$S_DIR/conf/mqnamesrv.conf" && wait_ready "$1" 'boot success' ;;
    mqbroker) launch "$1" "${BROKER_INSIDE[@]}" "$S_BIN/mqbroker" -c "$S_DIR/conf/mqbroker.conf" && wait_ready "$1" 'boot success' ;;
    *) start_service "$1" ;;
    esac
}

start_service() { # SERVICE, or SERVICE@N
    local options=() said service=${1%@*} n=0 ready
    [ "$service" = "$1" ] || n=${1#*@}
    said=$(service_options "$service") || die "no options for $service"
    [ -z "$said" ] || mapfile -t options <<<"$said"
    SHOP_SIGN_KEY=$SIGN_KEY SHOP_DSN=$(role_dsn "shop_$service") launch "$1" "$S_BIN/shop-$service" \
        --listen "127.0.0.1:${PORT[$1]:-0}" --internal-listen "127.0.0.1:${PORT[$1-internal]:-0}" --instance "$n" \
        --namesrv "$NAMESRV" --mq-refresh-ms 2000 "${options[@]}"
    wait_ready "$1" "$service ready"
    ready=$(grep "$service ready" "$S_DIR/log/$1.out")
    URL[$1]=http://$(sed -E 's/.* http=([^ ]*).*/\1/' <<<"$ready")
    URL[$1-internal]=http://$(sed -E 's/.* internal=([^ ]*).*/\1/' <<<"$ready")
}

stack_kill() { # NAME
    kill -9 "${PID[$1]}" 2>/dev/null || true
    wait_gone "$1"
}

wait_gone() { # NAME
    local i
    for ((i = 0; i < 200; i++)); do
        alive "$1" || return 0
        sleep 0.05
    done
    return 1
}

# role_dsn ROLE: the private cluster trusts its socket; elsewhere (existing.sh) the roles have passwords.
role_dsn() {
    if [ -n "${ROLE_PASSWORD:-}" ]; then
        with_login "$OWNER_DSN" "$1" "$ROLE_PASSWORD"
    else
        printf '%s' "${OWNER_DSN/shop_owner/$1}"
    fi
}

stack_postgres() {
    OWNER_DSN=$("$ROOT/tools/pg.sh" start "$S_DIR/postgres" "$@") || die "PostgreSQL did not start"
    AUDIT_DSN=$(role_dsn shop_auditor)
    SHOP_DSN=$OWNER_DSN "$S_BIN/shopctl" schema --dir "$ROOT/apps/schema" >"$S_DIR/log/schema.log" 2>&1 &&
        SHOP_DSN=$OWNER_DSN "$S_BIN/shopctl" seed --file "$ROOT/apps/schema/seed_demo.sql" >>"$S_DIR/log/schema.log" 2>&1 ||
        die "the schema could not be created; see $S_DIR/log/schema.log"
}

stack_services() {
    local name
    for name in $STACK_SERVICES; do stack_start "$name"; done
}

stack_down() {
    local name pg=
    for name in "${!PID[@]}"; do
        case $name in mqbroker | mqnamesrv) ;; *) kill "${PID[$name]}" 2>/dev/null || true ;; esac
    done
    for name in "${!PID[@]}"; do
        case $name in mqbroker | mqnamesrv) ;; *) wait_gone "$name" || stack_kill "$name" ;; esac
    done
    for name in mqbroker mqnamesrv; do
        [ -n "${PID[$name]:-}" ] || continue
        kill "${PID[$name]}" 2>/dev/null || true
        wait_gone "$name" || stack_kill "$name"
    done
    PID=()
    [ ! -d "$S_DIR/postgres" ] || "$ROOT/tools/pg.sh" stop "$S_DIR/postgres" fast || pg=failed
    [ -z "$pg" ]
}

# --- what tools/ask.sh and tools/scenario.sh expect of whoever started the shop ---

ctl() { SHOP_DSN=$AUDIT_DSN "$S_BIN/shopctl" "$@"; }
sql() { psql "$AUDIT_DSN" -XAtqc "$1"; } # QUERY: reads as the auditor
address_for_ctl() { printf '%s' "${URL[$1]}"; } # NAME: a base URL as shopctl reaches it
describe() { printf 'process %s' "${PID[$1]}"; } # NAME
broker_recovery() { sed -n 's/^ *recovery *//p' "$S_DIR/log/mqbroker.out"; }

. "$ROOT/tools/ask.sh"
