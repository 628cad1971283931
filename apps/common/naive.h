#pragma once
/* The naive design, for tests: mistakes that are easy to make in a shop like this (defects.def), each one
 * switch at the place of the rule it breaks:
 *
 *   return w->h->emit && (w->fresh || !NAIVE(D9_NO_REEMISSION)) ? w->h->emit(...) : APP_OK;
 *
 * The suite switches them on one at a time and expects the invariants to notice, which proves that it can
 * fail. Whoever copies this code leaves NAIVE out: the rule is what remains when it is false.
 *
 * A switch is a failpoint (failpoint.h): off unless armed by name with =error. With HP_FAILPOINTS=0 NAIVE is
 * the constant false and neither table nor mistakes are in the program (tools/check/naive.sh). */
#include "apps/common/failpoint.h"

#if HP_FAILPOINTS
enum defect {
#define DEFECT(id, name, invariant, mistake) id,
#include "apps/common/defects.def"
#undef DEFECT
    DEFECT_COUNT
};
extern struct failpoint naive_defects[DEFECT_COUNT];
#define NAIVE(defect) FAILPOINT(naive_defects[defect])
#else
#define NAIVE(defect) false
#endif
