# shellcheck shell=bash
# A RocketMQ cluster and a PostgreSQL that exist already, for the demonstration. Sourced after lib.sh and
# stack.sh; nothing of somebody else's is started, stopped or changed unless it says so here.
#
#   existing_rocketmq ADDRESS CLUSTER LEVELS
#                                       refuses when a shop runs there; makes the shop's topics and groups where
#                                       they are missing. Sets NAMESRV and FOREIGN_BROKER, and DELAY_LEVELS and
#                                       PATIENCE_S as the brokers are set; LEVELS: if they do not tell theirs
#   existing_postgres DSN               refuses a database that is not empty and a server that has the shop's
#                                       roles; makes schema, roles and demonstration data. Sets OWNER_DSN,
#                                       AUDIT_DSN; services log in with passwords of this run
#   existing_clean DSN                  removes what existing_postgres made, and only that
#
# What a demonstration made carries its mark as a comment, on the schema kit and on each role.

MARK='demonstration of Halfpenny'
SHOP_SCHEMAS="ord stk cpn usr pay plog tp audit kit"
SHOP_ROLES="shop_order shop_stock shop_coupon shop_user shop_payment shop_paylog shop_thirdpay shop_auditor"
# What RocketMQ does when its brokers do not tell: its own defaults.
UNKNOWN_DELAY_LEVELS='1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h'
UNKNOWN_CHECK_MS=30000

# --- RocketMQ ---

cluster_setting() { # CLUSTER KEY: prints it; fails when the brokers do not tell or differ
    "$S_BIN/shopctl" cluster --namesrv "$NAMESRV" --cluster "$1" --setting "$2" 2>>"$S_DIR/log/cluster.log"
}

is_delay_levels() { [[ $1 =~ ^[1-9][0-9]{0,6}[smhd](\ [1-9][0-9]{0,6}[smhd])*$ ]]; } # TEXT: a messageDelayLevel

# level_seconds N: what the N-th of DELAY_LEVELS lasts; the last one, when there are fewer.
level_seconds() {
    local levels level unit
    read -r -a levels <<<"$DELAY_LEVELS"
    level=${levels[$1 - 1]:-${levels[-1]}}
    case $level in
    *s) unit=1 ;;
    *m) unit=60 ;;
    *h) unit=3600 ;;
    *) unit=86400 ;;
    esac
    printf '%d' $((${level%?} * unit))
}

existing_rocketmq() { # ADDRESS CLUSTER LEVELS
    local check status=0
    NAMESRV=$1 FOREIGN_BROKER=1
    "$S_BIN/shopctl" cluster --namesrv "$1" --cluster "$2" --create --idle >"$S_DIR/log/cluster.out" \
        2>"$S_DIR/log/cluster.log" || status=$?
    case $status in
    0) ;;
    1) die "$(tail -1 "$S_DIR/log/cluster.out"); the demonstration would take its messages. Stop that shop, or use another cluster" ;;
    *) die "the RocketMQ cluster $2 at $1 cannot be used: $(tail -1 "$S_DIR/log/cluster.log")" ;;
    esac
    if ! DELAY_LEVELS=$(cluster_setting "$2" messageDelayLevel); then
        DELAY_LEVELS=${3:-$UNKNOWN_DELAY_LEVELS}
        NOTES+=("the brokers do not tell their messageDelayLevel; taken to be: $DELAY_LEVELS")
    fi
    is_delay_levels "$DELAY_LEVELS" || die "the brokers' messageDelayLevel is \"$DELAY_LEVELS\", which is not a list like \"1s 5s 10s 30s 1m\""
    if ! check=$(cluster_setting "$2" transactionCheckInterval); then
        check=$UNKNOWN_CHECK_MS
        NOTES+=("the brokers do not tell their transactionCheckInterval; taken to be $check ms")
    fi
    # A half message is asked about after two rounds of checks at the latest; the first retry of a consumer
    # waits for the third delay level.
    PATIENCE_S=$((2 * check / 1000 + $(level_seconds 3)))
}

# --- PostgreSQL ---

as_owner() { psql "$OWNER_DSN" -XAtq -v ON_ERROR_STOP=1 "$@" 2>>"$S_DIR/log/schema.log"; }

quoted() { # WORDS: 'a','b'
    local list
    list=$(printf ",'%s'" $1)
    printf '%s' "${list:1}"
}

# with_login DSN ROLE PASSWORD: what stands later counts, in both forms that libpq takes.
with_login() {
    case $1 in
    postgres://*\?* | postgresql://*\?*) printf '%s&user=%s&password=%s' "$@" ;;
    postgres://* | postgresql://*) printf '%s?user=%s&password=%s' "$@" ;;
    *) printf '%s user=%s password=%s' "$@" ;;
    esac
}

is_marked() { # does the database have what a demonstration made?
    [ "$(as_owner -c "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'kit'")" = "$MARK" ]
}

connect_postgres() { # DSN
    OWNER_DSN=$1
    : >"$S_DIR/log/schema.log"
    as_owner -c 'SELECT 1' >/dev/null ||
        die "PostgreSQL cannot be reached: $(tail -1 "$S_DIR/log/schema.log")"
    DATABASE=$(as_owner -c 'SELECT current_database()')
}

# May the login make what has to be made, and is there nothing that would be in the way?
check_postgres() {
    local found
    [ "$(as_owner -c "SELECT has_database_privilege(current_database(), 'CREATE') AND (rolsuper OR rolcreaterole)
        FROM pg_roles WHERE rolname = current_user")" = t ] ||
        die "the login of --dsn must be allowed to create schemas in database $DATABASE (owner of the database) and roles (CREATEROLE)"
    ! is_marked ||
        die "database $DATABASE has what an earlier demonstration left; ./run demo --dsn DSN --clean removes it"
    found=$(as_owner -c "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'")
    [ "$found" = 0 ] ||
        die "database $DATABASE is not empty ($found tables, views and sequences): the demonstration wants one of its own (createdb)"
    found=$(as_owner -c "SELECT string_agg(rolname, ', ') FROM pg_roles WHERE rolname IN ($(quoted "$SHOP_ROLES"))")
    [ -z "$found" ] ||
        die "this server has roles of a shop already ($found): the demonstration would have to change their passwords. Use a server without them"
}

make_schema() {
    SHOP_DSN=$OWNER_DSN "$S_BIN/shopctl" schema --dir "$ROOT/apps/schema" >>"$S_DIR/log/schema.log" 2>&1 &&
        SHOP_DSN=$OWNER_DSN "$S_BIN/shopctl" seed --file "$ROOT/apps/schema/seed_demo.sql" >>"$S_DIR/log/schema.log" 2>&1
}

# Marks the roles that are there, also when making the schema stopped half-way: --clean removes what is marked.
mark_roles() {
    local role sql=''
    for role in $(as_owner -c "SELECT rolname FROM pg_roles WHERE rolname IN ($(quoted "$SHOP_ROLES"))"); do
        sql+="ALTER ROLE $role PASSWORD '$ROLE_PASSWORD'; COMMENT ON ROLE $role IS '$MARK';"
    done
    as_owner -1 <<<"$sql"
}

existing_postgres() { # DSN
    local made=1
    connect_postgres "$1"
    check_postgres
    ROLE_PASSWORD=$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')
    as_owner -c 'CREATE SCHEMA kit' -c "COMMENT ON SCHEMA kit IS '$MARK'" && make_schema || made=
    mark_roles && [ -n "$made" ] ||
        die "the shop's schemas could not be made in $DATABASE: $(tail -1 "$S_DIR/log/schema.log"). ./run demo --dsn DSN --clean removes what was made"
    AUDIT_DSN=$(role_dsn shop_auditor)
}

existing_clean() { # DSN
    local roles schema role sql=''
    connect_postgres "$1"
    is_marked || die "nothing in database $DATABASE was made by a demonstration"
    for schema in $SHOP_SCHEMAS; do sql+="DROP SCHEMA IF EXISTS $schema CASCADE;"; done
    roles=$(as_owner -c "SELECT rolname FROM pg_roles WHERE rolname IN ($(quoted "$SHOP_ROLES"))
        AND shobj_description(oid, 'pg_authid') = '$MARK'")
    for role in $roles; do sql+="DROP ROLE $role;"; done
    as_owner -1 <<<"$sql" >/dev/null ||
        die "what the demonstration made could not be removed from $DATABASE: $(tail -1 "$S_DIR/log/schema.log")"
}
