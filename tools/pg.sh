#!/bin/bash
# A private PostgreSQL cluster for tests and the demonstration.
#
#   tools/pg.sh start DIR [--while PID]   makes (if need be) and starts a cluster below DIR; prints its DSN
#   tools/pg.sh stop DIR [fast|immediate] stops it; the data stays
#   tools/pg.sh crash DIR                 kills it without a clean-up and starts it again
#   tools/pg.sh dsn DIR                   prints the DSN of a running one
#
# It listens on a unix socket only, in a directory that nobody else may enter, so it needs no port and no
# password and never meets another PostgreSQL. fsync is on. Run as root, the server runs as `postgres`
# (initdb refuses root). --while: stops the cluster when that process is gone, however it ended.
set -eu

die() {
    printf 'pg.sh: %s\n' "$*" >&2
    exit 1
}

bin=
for d in /usr/lib/postgresql/*/bin; do
    [ -x "$d/initdb" ] && bin=$d
done
[ -n "$bin" ] || bin=$(dirname "$(command -v initdb 2>/dev/null || echo /none/none)")
[ -x "$bin/pg_ctl" ] || die "PostgreSQL's server programs are not installed (Debian: postgresql)"

as_server() { # COMMAND...: as somebody initdb accepts
    if [ "$(id -u)" -eq 0 ]; then
        setpriv --reuid=postgres --regid=postgres --init-groups env HOME=/ "$@"
    else
        "$@"
    fi
}

# Socket paths may have 107 bytes: a short name outside DIR, remembered in it.
socket_dir() { cat "$1/socket-dir"; }
dsn() { printf 'host=%s dbname=shop user=shop_owner\n' "$(socket_dir "$1")"; }

make_cluster() { # DIR
    as_server "$bin/initdb" -D "$1/data" -U shop_owner -A trust -E UTF8 --locale=C --no-sync \
        --no-instructions >"$1/initdb.log" 2>&1 || die "initdb failed; see $1/initdb.log"
    cat >>"$1/data/postgresql.conf" <<CONF
listen_addresses = ''
fsync = on
max_connections = 200
shared_buffers = 64MB
log_min_messages = warning
log_lock_waits = on
CONF
}

start() { # DIR
    mkdir -p "$1"
    [ "$(id -u)" -ne 0 ] || chown postgres "$1"
    if [ ! -s "$1/socket-dir" ] || [ ! -d "$(socket_dir "$1")" ]; then
        local sock
        sock=$(mktemp -d /tmp/shop-pg.XXXXXX)
        [ "$(id -u)" -ne 0 ] || chown postgres "$sock"
        printf '%s\n' "$sock" >"$1/socket-dir"
    fi
    [ -f "$1/data/PG_VERSION" ] || make_cluster "$1"
    # pg_ctl would keep our standard output open for ever.
    as_server "$bin/pg_ctl" -D "$1/data" -w -t 60 -l "$1/server.log" -o "-k $(socket_dir "$1")" start \
        >"$1/pg_ctl.log" 2>&1 </dev/null || die "PostgreSQL did not start; see $1/server.log"
    as_server "$bin/psql" -h "$(socket_dir "$1")" -U shop_owner -d postgres -Atqc \
        "SELECT 1 FROM pg_database WHERE datname = 'shop'" | grep -q 1 ||
        as_server "$bin/createdb" -h "$(socket_dir "$1")" -U shop_owner shop
}

stop() { # DIR MODE
    [ -f "$1/data/postmaster.pid" ] || return 0
    as_server "$bin/pg_ctl" -D "$1/data" -w -t 60 -m "$2" stop >>"$1/pg_ctl.log" 2>&1 ||
        die "PostgreSQL did not stop; see $1/pg_ctl.log"
    rm -rf "$(socket_dir "$1")"
}

crash() { # DIR
    : >"$1/crashing"
    as_server "$bin/pg_ctl" -D "$1/data" -w -t 60 -m immediate -o "-k $(socket_dir "$1")" -l "$1/server.log" restart \
        >>"$1/pg_ctl.log" 2>&1 </dev/null || die "PostgreSQL did not come back; see $1/server.log"
    rm -f "$1/crashing"
}

watch_process() { # DIR PID: a server that crashes on purpose is not one that was stopped
    while kill -0 "$2" 2>/dev/null && { [ -f "$1/crashing" ] || [ -f "$1/data/postmaster.pid" ]; }; do sleep 1; done
    stop "$1" immediate
}

[ $# -ge 2 ] || die "usage: pg.sh start DIR [--while PID] | stop DIR [fast|immediate] | crash DIR | dsn DIR"
mkdir -p "$2"
dir=$(cd "$2" && pwd)
case $1 in
start)
    start "$dir"
    if [ "${3:-}" = --while ]; then
        # In a session of its own: a signal to the caller's group must not take the watcher with it.
        setsid "$0" watch "$dir" "$4" >/dev/null 2>&1 </dev/null &
    fi
    dsn "$dir"
    ;;
stop) stop "$dir" "${3:-fast}" ;;
crash) crash "$dir" ;;
watch) watch_process "$dir" "$3" ;;
dsn) dsn "$dir" ;;
*) die "unknown command $1" ;;
esac
