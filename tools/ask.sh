# shellcheck shell=bash
# Asking a running shop, however it was started: HTTP requests and waiting for rows. Sourced by whoever started
# it (tools/stack.sh, tools/compose.sh), who provides
#   sql QUERY     reads as the auditor, prints rows unadorned
#   URL[NAME], URL[NAME-internal]   base URLs of the services, as this machine reaches them
#   PATIENCE_S    added to every wait; unset: nothing. Brokers of somebody else may be slower in what they do later

# until_sql SECONDS QUERY: until it answers t.
until_sql() {
    local end=$((SECONDS + $1 + ${PATIENCE_S:-0}))
    while [ "$(sql "$2")" != t ]; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.05
    done
}

new_key() { cat /proc/sys/kernel/random/uuid; }

# http METHOD URL [JSON] [KEY]: sets STATUS (000: no answer) and BODY; always succeeds.
http() {
    local out
    out=$(curl -sS -m "${HTTP_WAIT_S:-30}" --noproxy '*' -X "$1" -w '\n%{http_code}' ${3:+-H 'Content-Type: application/json' -d "$3"} \
        ${4:+-H "Idempotency-Key: $4"} "$2" 2>/dev/null) || true
    STATUS=${out##*$'\n'}
    BODY=${out%$'\n'*}
    STATUS=${STATUS:-000}
}

# member NAME: the text or number of that name in BODY.
member() { sed -nE "s/.*\"$1\": *\"?([^\",}]*)\"?.*/\1/p" <<<"$BODY" | head -1; }

failpoint() { http POST "${URL[$1-internal]}/admin/failpoints" "{\"spec\":\"$2\"}"; } # SERVICE SPEC

hits_of() { # FAILPOINT [SERVICE]: how often it has been hit. To be called in $(...): it asks by http
    http GET "${URL[${2:-order}-internal]}/admin/failpoints"
    grep -oE "\{[^{}]*\"name\":\"$1\"[^{}]*\}" <<<"$BODY" | sed -nE 's/.*"hits":([0-9]+).*/\1/p'
}
# until_hit FAILPOINT SERVICE COUNT SECONDS: until it has been hit more than COUNT times.
until_hit() {
    local end=$((SECONDS + $4 + ${PATIENCE_S:-0})) hits
    until hits=$(hits_of "$1" "$2") && [ "${hits:-0}" -gt "$3" ]; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.02
    done
}

# order_json USER ITEMS(goods:qty:price ...) WALLET [COUPON]: a request whose
# amounts fit; sets REQUEST.
order_json() {
    local items='' goods=0 item id qty price fee=0
    for item in $2; do
        IFS=: read -r id qty price <<<"$item"
        items+="${items:+,}{\"goods_id\":\"$id\",\"qty\":$qty,\"goods_price\":$price}"
        goods=$((goods + qty * price))
    done
    [ "$goods" -gt 10000 ] || fee=1000
    REQUEST="{\"user_id\":\"$1\",\"items\":[$items],\"money_paid\":$3,\"shipping_fee\":$fee,\"order_amount\":$((goods + fee)),\"address\":\"1 Main Street\",\"consignee\":\"A. Buyer\"${4:+,\"coupon_id\":\"$4\"}}"
}
