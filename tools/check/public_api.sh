#!/usr/bin/env bash
# public_api.sh LIBHALFPENNY_A: the library exports what include/halfpenny declares, and nothing else.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
declared=$(grep -rhoE '\bhp_[a-z_0-9]+\(' include/halfpenny | tr -d '(' | sort -u)
exported=$(nm -g --defined-only "$1" | awk 'NF == 3 { print $3 }' | sort -u)
bad=$(diff - /dev/fd/3 <<<"$declared" 3<<<"$exported") || [ $? -eq 1 ]
[ -z "$bad" ] && exit 0
printf '%s\n' "$bad" | sed -n 's/^< /declared, not in the library: /p; s/^> /in the library, not declared: /p'
exit 1
