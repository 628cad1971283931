# shellcheck shell=bash
#
# What apache.sh and run.sh share: where the cache is, free ports, waiting for a condition,
# processes by pid, and one remoting request in plain bash. Source it; it starts nothing.
#
# The remoting request exists so that readiness can be asked for instead of guessed, on a machine
# that has neither mqadmin nor a scripting language. A frame is: total length, header length with
# serialize type 0 in the high byte (both big endian, 32 bits), JSON header, body.

interop_cache() {
    printf '%s/interop' "${HALFPENNY_CACHE:-$HOME/.cache/halfpenny}"
}

die() {
    printf 'interop: %s\n' "$*" >&2
    exit 1
}

# wait_until SECONDS COMMAND... : polls COMMAND until it succeeds; 1 if the deadline passes first.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

port_is_taken() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# free_ports COUNT : prints the first of COUNT neighbouring ports that nobody listens on. They lie
# below the range the kernel hands out to clients, so a connection cannot take one in between.
free_ports() {
    local count=$1 first port tries
    for ((tries = 0; tries < 200; tries++)); do
        first=$((20000 + RANDOM % 12000))
        for ((port = first; port < first + count; port++)); do
            port_is_taken "$port" && continue 2
        done
        printf '%s\n' "$first"
        return 0
    done
    die "no $count free neighbouring ports between 20000 and 32000"
}

process_runs() {
    kill -0 "$1" 2>/dev/null
}

process_gone() {
    ! process_runs "$1"
}

# stop_process PID SECONDS : SIGTERM, then SIGKILL when it is still there after SECONDS; 1 if that
# was needed.
stop_process() {
    local pid=$1 seconds=$2
    kill -TERM "$pid" 2>/dev/null || return 0
    wait_until "$seconds" process_gone "$pid" && return 0
    kill -KILL "$pid" 2>/dev/null
    return 1
}

be32() {
    printf '\\x%02x\\x%02x\\x%02x\\x%02x' $(($1 >> 24 & 255)) $(($1 >> 16 & 255)) \
        $(($1 >> 8 & 255)) $(($1 & 255))
}

# remoting_call HOST:PORT HEADER_JSON : sends one request without body, prints header and body of
# the answer as text. Fails when nobody answers within 3 seconds.
remoting_call() {
    local host=${1%:*} port=${1##*:} header=$2 length
    (
        exec 3<>"/dev/tcp/$host/$port" || exit 1
        # shellcheck disable=SC2059
        printf "$(be32 $((${#header} + 4)))$(be32 ${#header})" >&3
        printf '%s' "$header" >&3
        length=$(timeout 3 head -c 4 <&3 | od -An -tu1 |
            { read -r a b c d && printf '%s' $(((a << 24) + (b << 16) + (c << 8) + d)); })
        [[ -n $length ]] || exit 1
        timeout 3 head -c "$length" <&3 | tail -c +5
    ) 2>/dev/null
}

# route_known NAMESRV TOPIC : does the name server know a broker for TOPIC (request code 105)?
route_known() {
    local answer header='{"code":105,"extFields":{"topic":"%s"},"flag":0,"opaque":1,"version":479}'
    # shellcheck disable=SC2059
    answer=$(remoting_call "$1" "$(printf "$header" "$2")") || return 1
    [[ $answer == *brokerAddrs* ]]
}
