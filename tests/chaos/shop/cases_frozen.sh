# shellcheck shell=bash
# Whole processes stand still for 20 seconds (SIGSTOP, SIGCONT), longer than any deadline of an order, while the
# others decide without them.

FROZEN_S=20

freeze() { # NAME...: for FROZEN_S seconds
    local name until=$((SECONDS + FROZEN_S))
    for name in "$@"; do kill -STOP "${PID[$name]}"; done
    while [ "$SECONDS" -lt "$until" ]; do sleep 0.2; done
    for name in "$@"; do kill -CONT "${PID[$name]}"; done
}

# One order waits at each step when the first instance stops; the second one answers the check-backs.
stopped_order() {
    local at HTTP_WAIT_S=90
    local -A key_of=()
    reconfigure order "--http-workers 24"
    stack_start order@2
    for at in half.after insert.after timer.after stock.before stock.after coupon.before coupon.after wallet.before wallet.after \
        confirm.before confirm.after; do
        hold_order "order.$at"
        key_of[$at]=$KEY
    done
    freeze order
    for at in "${!key_of[@]}"; do
        [ "$at" = confirm.after ] || judge "the_other_instance_decides_for_one_stopped_at_$at" \
            "$(sql "SELECT order_status FROM ord.trade_order WHERE client_req_id = '${key_of[$at]}'")" '2|3|5'
    done
    for at in "${!key_of[@]}"; do
        release_order "order.$at"
        KEY=${key_of[$at]}
        case $at in
        half.after) expect "order_stops_for_${FROZEN_S}_s_at_$at" 3 503 ;;
        confirm.after) expect "order_stops_for_${FROZEN_S}_s_at_$at" 1 201 ;;
        insert.after) expect "order_stops_for_${FROZEN_S}_s_at_$at" 2 '409|503' ;;
        *) expect "order_stops_for_${FROZEN_S}_s_at_$at" 2 409 ;;
        esac
    done
    stack_kill order@2
    reconfigure order ""
}

# A participant stops with a try in its hands; the order gives up and cancels, and both wait for it.
stopped_participants() {
    local at service HTTP_WAIT_S=90
    local -A key_of=()
    for service in user coupon stock; do # an order must come past those before it
        hold_order "$service.try.before_tx" "$service" pause
        key_of[$service]=$KEY
    done
    freeze stock coupon user
    for service in stock coupon user; do
        at=$service.try.before_tx
        release_order "$at" "$service"
        KEY=${key_of[$service]}
        expect "${service}_stops_for_${FROZEN_S}_s_before_its_try" 2 '409|503'
    done
    # And the broker, with an order before its confirmation and another behind it.
    for at in confirm.before confirm.after; do
        hold_order "order.$at"
        key_of[$at]=$KEY
    done
    freeze mqbroker
    for at in confirm.before confirm.after; do
        release_order "order.$at"
        KEY=${key_of[$at]}
        case $at in
        confirm.before) expect "the_broker_stops_for_${FROZEN_S}_s_at_$at" '1|2' '201|409' ;;
        confirm.after) expect "the_broker_stops_for_${FROZEN_S}_s_at_$at" 1 201 ;;
        esac
    done
}
