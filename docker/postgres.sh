#!/bin/bash
# PostgreSQL in a container: makes the cluster, the database and its roles at the first start, then becomes the
# server. Arguments are added to the server's.
#
#   PGDATA             the cluster [/var/lib/postgresql/data]; the volume is mounted on its parent
#   PASSWORD_ROLE...   one for each login role: PASSWORD_shop_owner, PASSWORD_shop_order, ...
#
# The server takes connections from networks of the container, with passwords (scram), and from its own user on
# the socket in /tmp. Roles are made here and not by the schema, because they need passwords; shopctl schema then finds
# them. Passwords of a cluster that exists are not changed: ALTER ROLE does that.
set -euo pipefail
bin=/usr/lib/postgresql/15/bin
export PGDATA=${PGDATA:-/var/lib/postgresql/data}

# One statement a role; the password as a quoted literal.
role_statements() {
    local name password
    for name in $(compgen -e PASSWORD_ | sort); do
        password=${!name}
        [ -n "$password" ] || { printf 'postgres.sh: %s is empty\n' "$name" >&2 && return 1; }
        printf "CREATE ROLE %s LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD '%s';\n" \
            "${name#PASSWORD_}" "${password//\'/\'\'}"
    done
}

# Made beside its place and moved there when it is complete: a first start that was cut short begins again.
make_cluster() {
    local new=$PGDATA.new sock statements
    rm -rf "$new"
    statements=$(role_statements)
    [ -n "${PASSWORD_shop_owner:-}" ] || { printf 'postgres.sh: PASSWORD_shop_owner is not set\n' >&2 && return 1; }
    "$bin/initdb" -D "$new" -U postgres -E UTF8 --locale=C --data-checksums --auth-local=peer \
        --auth-host=scram-sha-256 --no-instructions
    printf 'host shop all samenet scram-sha-256\n' >>"$new/pg_hba.conf"
    sock=$(mktemp -d /tmp/first.XXXXXX)
    "$bin/pg_ctl" -D "$new" -w -o "-c listen_addresses='' -k $sock" start
    "$bin/psql" -h "$sock" -d postgres -XqAt -v ON_ERROR_STOP=1 <<SQL
$statements
CREATE DATABASE shop OWNER shop_owner;
SQL
    "$bin/pg_ctl" -D "$new" -w -m fast stop
    mv "$new" "$PGDATA"
}

[ -s "$PGDATA/PG_VERSION" ] || make_cluster
exec "$bin/postgres" -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp -c max_connections=200 \
    -c log_min_messages=warning -c log_lock_waits=on "$@"
