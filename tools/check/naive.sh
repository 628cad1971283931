#!/bin/sh
# The naive design (apps/common/defects.def) is complete, and stays out of programs without failpoints: every
# defect names an invariant, stands in the code, is played and is documented; and a file that has one, compiled
# with HP_FAILPOINTS=0, has no trace of it.
top=$(cd "$(dirname "$0")/../.." && pwd) || exit 1
cd "$top" || exit 1
rows=apps/common/defects.def plays=tests/chaos/shop/cases_naive.sh tour=docs/TOUR_SHOP.md
objects=$(mktemp -d "${TMPDIR:-/tmp}/halfpenny-check-XXXXXX") || exit 1
trap 'rm -rf "$objects"' EXIT
failed=0
complain() {
    echo "$1: $2"
    failed=1
}

n=0
for id in $(sed -nE 's/^DEFECT\(([A-Z0-9_]+),.*/\1/p' $rows); do
    n=$((n + 1)) d=${id%%_*}
    row=$(sed -nE "s/^DEFECT\($id, \"naive\.$d\.[a-z_]+\", \"(i[0-9]+)\", \"[^\"]+\"\)\$/\1/p" $rows)
    [ "$d" = "D$n" ] || complain $rows "$id is row $n"
    [ -n "$row" ] || complain $rows "$id is not written like the others"
    grep -q "VIEW audit\.$row AS" apps/schema/invariants.sql || complain $rows "$id: there is no invariant \"$row\""
    grep -rqF --include='*.c' "NAIVE($id)" apps || complain $rows "$id stands nowhere in apps/"
    grep -q "^play_$d()" $plays && grep -qF "[$d]=" $plays || complain $plays "$d is not played"
    grep -q "^| $d |.* $row |\$" $tour || complain $tour "the table has no row of $d that ends with $row"
done
[ "$n" -ge 14 ] || complain $rows "only $n defects"

trace() { # HP_FAILPOINTS FILE: names and texts of the naive design in its object
    # shellcheck disable=SC2046
    "${CC:-cc}" -std=gnu17 -O2 -D_GNU_SOURCE -DHP_FAILPOINTS="$1" -I. -Iinclude $(pkg-config --cflags jansson libpq) \
        -c "$2" -o "$objects/o" && { nm "$objects/o" && strings -n 4 "$objects/o"; } | grep -iE 'naive|blindly'
}
files=$(grep -rlE --include='*.c' '\bNAIVE\(|naive_defects' apps)
for file in $files; do
    traces=$(trace 0 "$file")
    [ -z "$traces" ] || complain "$file" "with HP_FAILPOINTS=0 it has: $(echo "$traces" | tr '\n' ' ')"
    [ -n "$(trace 1 "$file")" ] || complain "$file" "with HP_FAILPOINTS=1 it has no defect: this check is blind"
done
[ "$failed" -eq 0 ] && echo "naive: $n defects, none in a program without failpoints"
exit "$failed"
