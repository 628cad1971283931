#!/usr/bin/env bash
# compose.sh [--keep]: builds the images of docker-compose.yml, starts everything, plays the shop's scenario with
# containers, prints the invariants and removes all that it made. Called by ./run compose. Exit status 0 only if
# everything held.
#
# Needs a Docker engine. Where none answers it starts one of its own (as root, with Debian's docker.io), whose data
# lie in the directory of this run and go with it. Where debian:bookworm-slim is neither there nor to be pulled, it
# makes the image with debootstrap. --keep leaves everything running and says how to stop it.
#   TMPDIR   where the directory is made [/tmp]: 2 GB for an engine of its own
set -uo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$ROOT/tools/lib.sh"
. "$ROOT/tools/ask.sh"
. "$ROOT/tools/scenario.sh"
. "$ROOT/tools/engine.sh"

keep=
case ${1:-} in
'') ;;
--keep) keep=1 ;;
*) die "usage: ./run compose [--keep]" ;;
esac

BASE=debian:bookworm-slim
PROJECT=halfpenny-scenario
NAMESRV="mqnamesrv1:9876;mqnamesrv2:9876"
SERVICES="order stock coupon user payment paylog thirdpay"
export SAGA_MS=5000 IMMUNITY_S=6 PAY_DEADLINE_MS=25000 COMPOSE_HTTP_TIMEOUT=300
declare -A URL=() ID=()
COMPOSE=() # the command, with its files and the project

# --- settings of this run: passwords nobody knows, ports that are free ---

choose_passwords() {
    local name
    for name in OWNER AUDITOR ORDER STOCK COUPON USER PAYMENT PAYLOG THIRDPAY; do
        export "PASSWORD_$name=$(head -c 18 /dev/urandom | base64 | tr '+/' '-_')"
    done
    SIGN_KEY=$(head -c 18 /dev/urandom | base64 | tr '+/' '-_')
    export SIGN_KEY
}

choose_port() { # VARIABLE WANTED: keeps what is set; otherwise WANTED, or the next free one
    local port=${!1:-$2}
    while [ -z "${!1:-}" ] && port_taken "$port"; do port=$((port + 20)); done
    [ "$port" = "${!1:-$2}" ] || tell "note: port $2 is taken by something else; $1=$port"
    export "$1=$port"
}

choose_ports() {
    choose_port NAMESRV1_PORT 9876
    choose_port NAMESRV2_PORT 9877
    choose_port BROKER_PORT 10911
    choose_port ORDER_PORT 18080
    choose_port PAYMENT_PORT 18084
    choose_port THIRDPAY_PORT 18086
    choose_port ORDER_INTERNAL_PORT 19080
    choose_port STOCK_INTERNAL_PORT 19081
    choose_port THIRDPAY_INTERNAL_PORT 19086
    URL=([order]=http://127.0.0.1:$ORDER_PORT [payment]=http://127.0.0.1:$PAYMENT_PORT
        [thirdpay]=http://127.0.0.1:$THIRDPAY_PORT [order-internal]=http://127.0.0.1:$ORDER_INTERNAL_PORT
        [stock-internal]=http://127.0.0.1:$STOCK_INTERNAL_PORT
        [thirdpay-internal]=http://127.0.0.1:$THIRDPAY_INTERNAL_PORT)
}

# --- compose: the plugin of the docker command, or the program of its own ---

find_compose() {
    if docker compose version >/dev/null 2>&1; then
        COMPOSE=(docker compose)
    else
        command -v docker-compose >/dev/null || need_packages compose
        COMPOSE=(docker-compose)
    fi
    tell "compose  ${COMPOSE[*]} $("${COMPOSE[@]}" version --short 2>/dev/null)"
    COMPOSE+=(-p "$PROJECT" --project-directory "$ROOT" -f "$ROOT/docker-compose.yml"
        -f "$ROOT/docker/scenario/compose.yml")
}

logged() { # WHAT COMMAND...: its output goes to the log; the end of it when it fails
    local what=$1 log=$S_DIR/log/$1.log
    shift
    "$@" >"$log" 2>&1 </dev/null && return 0
    tail -20 "$log" >&2
    die "$what failed; see $log"
}

ours() { docker ps -a --filter "label=com.docker.compose.project=$PROJECT" --format "$1"; } # FORMAT

find_containers() { # sets ID
    local list id name
    list=$(ours '{{.ID}} {{.Label "com.docker.compose.service"}}') && [ -n "$list" ] || die "docker lists no container of $PROJECT"
    while read -r id name; do ID[$name]=$id; done <<<"$list"
}

# wait_container NAME FORMAT VALUE SECONDS
wait_container() {
    local end=$((SECONDS + $4))
    while [ "$(docker inspect -f "$2" "${ID[$1]}" 2>/dev/null)" != "$3" ]; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}
healthy() { wait_container "$1" '{{.State.Running}} {{.State.Health.Status}}' 'true healthy' "${2:-60}"; }

# --- what tools/ask.sh and tools/scenario.sh expect ---

sql() { # QUERY
    PGPASSWORD=$PASSWORD_AUDITOR docker exec -e PGPASSWORD "${ID[postgres]}" \
        psql -h localhost -U shop_auditor -d shop -XAtqc "$1"
}
# The audit as docker-compose.yml tells the operator to run it; the many small ones in a container that runs already.
ctl() {
    case $1 in
    audit) "${COMPOSE[@]}" run --rm -T --no-deps shopctl "$@" 2>>"$S_DIR/log/shopctl.log" </dev/null ;;
    *)
        PGPASSWORD=$PASSWORD_AUDITOR SHOP_DSN="host=postgres dbname=shop user=shop_auditor" \
            docker exec -e PGPASSWORD -e SHOP_DSN "${ID[thirdpay]}" shopctl "$@"
        ;;
    esac
}
address_for_ctl() {
    case $1 in
    *-internal) printf 'http://%s:8081' "${1%-internal}" ;;
    *) printf 'http://%s:8080' "$1" ;;
    esac
}
describe() { printf 'container %s' "$(docker inspect -f '{{slice .Name 1}}' "${ID[$1]}")"; }
stack_kill() { # docker kill counts as wanted: the container stays down until it is started
    docker kill -s KILL "${ID[$1]}" >/dev/null
    wait_container "$1" '{{.State.Running}}' false 20
}
stack_start() {
    docker start "${ID[$1]}" >/dev/null
    healthy "$1" || tell "$(describe "$1") is not healthy; see $S_DIR/log"
}
broker_recovery() { docker logs "${ID[mqbroker]}" 2>/dev/null | sed -n 's/^ *recovery *//p' | tail -1; }

# --- steps of its own ---

start_everything() {
    step "Building the images and starting PostgreSQL, two name servers, broker and seven services"
    find_engine
    find_compose
    find_base
    tell "building the images; $S_DIR/log/build.log grows meanwhile"
    logged build "${COMPOSE[@]}" --profile tools build
    docker image ls --filter "reference=$PROJECT*" --format '{{.Repository}} {{.Size}}' | sort |
        awk '{ printf "%-32s %s\n", $1, $2 }' | indent
    choose_ports # only now: a port that was free before the build may be taken after it
    choose_passwords
    logged up "${COMPOSE[@]}" up -d
    find_containers
    local name
    for name in $SERVICES; do healthy "$name" || die "$name is not healthy; see $(keep_logs)"; done
    "${COMPOSE[@]}" ps 2>/dev/null | indent
    expect "every container is healthy" is "$(unhealthy)" ""
}

unhealthy() { # the names of containers that are not, without those that have ended well
    ours '{{.Names}} {{.Status}}' | grep -v -e '(healthy)' -e 'Exited (0)'
}

name_server_killed() {
    step "kill -9 of one of the two name servers"
    stack_kill mqnamesrv1
    tell "$(describe mqnamesrv1) is gone; the other one knows the same routes"
    place 1 1004:2:990 0
    expect "order $ORDER is confirmed (HTTP $STATUS)" is "$STATUS" 201
    pay "$ORDER"
    stack_start mqnamesrv1
}

comes_back_by_itself() {
    step "A service that dies is started again by its restart policy"
    local before
    before=$(docker inspect -f '{{.RestartCount}}' "${ID[paylog]}")
    docker exec "${ID[paylog]}" bash -c 'kill -9 -1' 2>/dev/null
    expect "$(describe paylog) has been restarted" \
        wait_container paylog '{{.RestartCount}}' $((before + 1)) 30
    expect "and is healthy" healthy paylog
}

# --- the end ---

keep_logs() { # writes the containers' output beside the logs; prints where
    local name
    for name in $(ours '{{.Names}}' 2>/dev/null); do
        docker logs "$name" >"$S_DIR/log/$name.log" 2>&1
    done
    printf '%s' "$S_DIR/log"
}

remove_everything() {
    local log=$S_DIR/log/down.log failed=
    if [ ${#COMPOSE[@]} -gt 0 ]; then
        "${COMPOSE[@]}" --profile tools down --volumes --remove-orphans --rmi local --timeout 20 >>"$log" 2>&1 </dev/null ||
            failed=1
        docker image prune -f --filter label=halfpenny.stage >>"$log" 2>&1
    fi
    remove_base >>"$log" 2>&1
    [ -z "$ENGINE_PID" ] || stop_engine "$S_DIR/engine" "$ENGINE_PID" || failed=1
    [ -z "$failed" ] || say "not everything could be removed; see $log" >&2
    [ -z "$failed" ]
}

finish() {
    local status=$?
    trap - EXIT INT TERM
    [ "$status" -eq 0 ] || say "logs stay in $(keep_logs)"
    remove_everything || status=1
    [ "$status" -ne 0 ] || rm -rf "$S_DIR"
    exit "$status"
}

how_to_go_on() {
    order_json 1 1004:3:990 0
    # What compose and docker need in a new shell, passwords included: for the owner's eyes.
    {
        compgen -e | grep -E '^(PASSWORD_|SIGN_KEY$|SAGA_MS$|IMMUNITY_S$|PAY_DEADLINE_MS$|DOCKER_HOST$|[A-Z0-9_]+_PORT$)' |
            while read -r name; do printf 'export %s=%q\n' "$name" "${!name}"; done
        printf 'halfpenny() { '
        printf '%q ' "${COMPOSE[@]}"
        printf '"$@"; }\n'
    } >"$S_DIR/environment"
    {
        printf '#!/usr/bin/env bash\n'
        printf '. %q\n' "$ROOT/tools/lib.sh" "$ROOT/tools/engine.sh" "$S_DIR/environment"
        printf 'BASE=%q BASE_MADE=%q ENGINE_PID=%q S_DIR=%q\n' "$BASE" "$BASE_MADE" "$ENGINE_PID" "$S_DIR"
        declare -f remove_everything
        printf 'COMPOSE=(halfpenny)\nremove_everything && rm -rf "$S_DIR"\n'
    } >"$S_DIR/stop"
    chmod 700 "$S_DIR/stop"
    cat <<TEXT

${bold}Everything goes on running.${plain}
Place an order (three notebooks):
  curl -i ${URL[order]}/v1/orders -H "Content-Type: application/json" \\
    -H "Idempotency-Key: \$(cat /proc/sys/kernel/random/uuid)" -d '$REQUEST'
Look at it, at the invariants, at the containers:
  . $S_DIR/environment
  halfpenny run --rm shopctl order ID
  halfpenny run --rm shopctl audit
  halfpenny ps
Stop and remove everything:
  $S_DIR/stop
TEXT
}

S_DIR=$(mktemp -d "${TMPDIR:-/tmp}/halfpenny-compose.XXXXXX") || die "cannot make a directory in ${TMPDIR:-/tmp}"
mkdir "$S_DIR/log"
trap finish EXIT
trap 'exit 130' INT TERM

# A mistake in this script ends `play` early; then `outcome` is not "held".
outcome=
play() {
    start_everything
    scenario
    name_server_killed
    comes_back_by_itself
    invariants
    summary
    [ "$failures" -gt 0 ] || outcome=held
}
play
if [ "$outcome" != held ]; then
    say "${red}$failures expectations FAILED${plain}"
    exit 1
fi
if [ -n "$keep" ]; then
    trap - EXIT INT TERM
    how_to_go_on
else
    say "${green}Everything held.${plain} Removing containers, networks, volumes and images."
fi
