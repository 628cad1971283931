#!/bin/sh
# The checks must be able to fail: builds a small tree with one violation of each rule, expects every
# one to be found at its line, and nothing in the clean files beside them.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
top=$(mktemp -d "${TMPDIR:-/tmp}/halfpenny-check-XXXXXX") || exit 1
trap 'rm -rf "$top"' EXIT
cd "$top" || exit 1
mkdir -p base proto broker store apps/order apps/stock tests/unit tools/check
cp "$here/layers.txt" tools/check/
cp "$here/../../base/banned.h" base/

essay='/* Clean.
 * Owns nothing, runs anywhere.
 * It cannot fail.
 * Invariants: none. */'
# Spelled so that the checks do not find them here.
marker="TO""DO"
place="/ho""me/me"

printf '#pragma once\n' >base/clean.h
printf '%s\n#include "base/clean.h"\n/* time( and strcpy( in words */ const char *s = "rand(";\nint f(struct x *x) { return x->time(1) + x.random() + my_time(2); }\n' "$essay" >base/clean.c
printf '%s\n#include <stdlib.h>\n#include "base/late.h"\n' "$essay" >base/late.c
printf '#pragma once\n' >base/late.h
printf 'int x;\n' >base/noguard.h
printf '#include <jansson.h>\n' >base/noessay.c
printf '%s\n#include "broker/up.h"\n#include "../base/clean.h"\n#include "clean.h"\n#include "store/store_priv.h"\n' "$essay" >proto/up.c
printf '%s\n#include "store/append.h"\n#include "store/store.h"\nlong t(void) { return time(0); }\nvoid c(char *a) { strcpy(a, a); }\n' "$essay" >broker/deep.c
printf '%s\n#include "apps/stock/stock.h"\n#include "base/buf.h"\n#include "apps/order/x.h"\n#include "halfpenny/types.h"\n' "$essay" >apps/order/reach.c
printf 'int main(void) { usleep(5); } /* sleep(1) in words */\n' >tests/unit/slow_test.c
printf 'one\n%s: later\nSCHEDULE_TOPIC_XXXX and mktemp XXXXXX\nsee %s/x\nsee http://host%s/x and ./%s/x\n' \
    "$marker" "$place" "$place" "$place" >notes.md

mkdir -p docker/scenario bin
printf '#!/bin/sh\necho "  --listen   x"\necho "  --must     y (mandatory)"\n' >bin/shop-order
printf '#!/bin/sh\n' >bin/shopctl
printf '#!/bin/sh\nexit 2\n' >bin/mqbroker
chmod +x bin/*
printf 'FROM base AS order\nCOPY --from=build /programs/shop-order /programs/shop-none /bin/\nCMD ["x"]\nFROM base AS orphan\nCMD ["x"]\nFROM base AS service\nCOPY --from=build /programs/shop-${SERVICE} /bin/\n' \
    >docker/Dockerfile
printf 'x-all: &all\n  SHOP_LISTEN: 1\n  SHOP_LISTN: 1\nservices:\n  order:\n    build: {target: order}\n    environment: *all\n  stock:\n    build: {target: stok}\n  user:\n    build: {target: service, args: {SERVICE: user}}\n  paylog:\n    build: {target: service, args: {SERVISE: order}}\n' \
    >docker-compose.yml
printf 'services:\n  order:\n    volumes: ["./docker/none.conf:/x"]\n' >docker/scenario/compose.yml

failed=0
bin=
expect() { # CHECK PLACE...: the check fails and names exactly these places
    check=$1
    shift
    output=$("$here/$check.sh" ${bin:+"$bin"} "$top") && { echo "$check.sh passed a tree full of violations"; failed=1; }
    got=$(printf '%s\n' "$output" | sed -n 's/^\([^ :]*:[0-9]*\): .*/\1/p' | sort | tr '\n' ' ')
    want=$(printf '%s\n' "$@" | sort | tr '\n' ' ')
    [ "$got" = "$want" ] && return
    echo "$check.sh found:   $got"
    echo "$check.sh must be: $want"
    failed=1
}

expect layers base/noessay.c:1 proto/up.c:5 proto/up.c:6 proto/up.c:7 proto/up.c:8 proto/up.c:8 \
    broker/deep.c:5 apps/order/reach.c:5 apps/order/reach.c:6
expect banned broker/deep.c:7 broker/deep.c:8
expect style base/late.c:5 base/noguard.h:1 base/noessay.c:1 tests/unit/slow_test.c:1 notes.md:2 notes.md:4

bin=$top/bin
expect compose docker/Dockerfile:2 docker/Dockerfile:4 docker-compose.yml:1 docker-compose.yml:3 docker-compose.yml:9 \
    docker-compose.yml:11 docker-compose.yml:13 \
    docker/scenario/compose.yml:3 docker/broker.conf:1 docker/scenario/broker.conf:1
bin=

mkdir -p docs
printf '%s\n' 'See `base/clean.h`, `clean.c`, `my_time`, `f(...)` and `./run test`.' '' '```c base/clean.h' '#pragma once' '```' \
    'Not `base/gone.h`, `gone.c`,' '`no_such_thing` or `no-such-run`.' '```c base/clean.c' 'int g(void);' '```' \
    >docs/MODEL.md
expect docs docs/MODEL.md:6 docs/MODEL.md:6 docs/MODEL.md:7 docs/MODEL.md:7 docs/MODEL.md:8

rm -rf "${top:?}"/*
for check in layers banned style docs; do
    "$here/$check.sh" "$top" >/dev/null 2>&1 && { echo "$check.sh passed an empty tree"; failed=1; }
done
[ "$failed" -eq 0 ] && echo "self_test: every rule is able to fail"
exit "$failed"
