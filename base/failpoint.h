#pragma once
/* Named failure places (base/failpoints.def). Unarmed: one relaxed load and a cold branch.
 *
 * Armed by the environment HALFPENNY_FAILPOINTS or by failpoint_arm, a ';'-separated list of
 *   name=action[*count][,after(n)]
 * action: error | error(E_IO) | sleep(ms) | pause | crash | short(n) | off
 * `crash` is _exit(99) without any clean-up; `pause` blocks until disarmed or armed anew. The
 * grammar is in failpoint.c. With HP_FAILPOINTS=0 the macro is the constant 0 and arming fails
 * (E_UNSUPP). */
#include "base/err.h"
#include "base/slice.h"

enum failpoint_id {
#define FAILPOINT_DEF(id, name, meaning) id,
#include "base/failpoints.def"
#undef FAILPOINT_DEF
    FAILPOINT_COUNT
};

int failpoint_init_from_env(struct err *e) HP_MUST_USE; /* E_INVAL names the bad entry */
int failpoint_arm(struct slice spec, struct err *e) HP_MUST_USE;
void failpoint_disarm_all(void);
uint64_t failpoint_hits(enum failpoint_id id); /* passes since it was last armed, while armed */
/* Slow path: 0 or the E_* to return. *arg (may be NULL): the n of short(n), which returns E_IO,
 * else -1. */
int failpoint_hit(enum failpoint_id id, int *arg);

#if HP_FAILPOINTS
extern _Atomic unsigned char failpoint_armed[FAILPOINT_COUNT];
/* 0, or the error that the caller must treat as the outcome of the operation here. */
#define FAILPOINT(id)                                                                              \
    (__builtin_expect(__atomic_load_n((const unsigned char *)&failpoint_armed[id], __ATOMIC_RELAXED), 0) \
         ? failpoint_hit((id), NULL)                                                               \
         : 0)
#else
#define FAILPOINT(id) 0
#endif
