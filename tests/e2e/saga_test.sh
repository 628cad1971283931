#!/usr/bin/env bash
# saga_test.sh BIN: the part of the failure matrix that every test run plays: ./run chaos shop has all of it.
set -euo pipefail
[ $# -eq 1 ] || { printf 'usage: saga_test.sh BIN\n' >&2 && exit 2; }
exec "$(dirname "${BASH_SOURCE[0]}")/../chaos/shop.sh" --bin "$1" refusals refusals_by_tries order_errors order_crashes \
    order_crashes_during_tries check_back_fails frozen_orders participants payments refunds user_cancels duplicates \
    deadlocks broker_kills D1 D9
