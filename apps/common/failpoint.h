#pragma once
/* Named failure places of a service (its failpoints.def), compiled in for tests.
 *
 * A service owns a table: one row FAILPOINT_DEF(ID, "dotted.name", "what it stands for") each, expands
 * it into an enum and an array of struct failpoint, and registers the array once at boot:
 *
 *   enum stock_fp {
 *   #define FAILPOINT_DEF(id, name, meaning) id,
 *   #include "apps/stock/failpoints.def"
 *   #undef FAILPOINT_DEF
 *   STOCK_FP_COUNT };
 *   extern struct failpoint stock_fp[STOCK_FP_COUNT];
 *   ...  if (FAILPOINT(stock_fp[FP_STOCK_TRY_AFTER_TX])) return app_fail(e, APP_E_UNKNOWN, "...");
 *
 * Armed by the environment HALFPENNY_FAILPOINTS or POST /admin/failpoints {"spec": "..."}; a
 * ';'-separated list of   name=action[*count][,after(n)][,every(n)]   with action
 *   crash | error | sleep(ms) | pause | off
 * crash is _exit(99) without clean-up; pause blocks until disarmed; error makes FAILPOINT true, what it
 * means is the place's own matter (a refused call, a lost END, a dropped message). *count: fires that
 * many times, then disarms; after(n): lets n passes go by first; every(n): of those that follow, only
 * each n-th fires.
 * Unarmed: one relaxed load. With HP_FAILPOINTS=0 the macro is the constant false. */
#include "apps/common/error.h"

struct failpoint {
    const char *name, *meaning;
    /* Private to failpoint.c. */
    _Atomic int armed;
    int action;
    int64_t arg, left, skip, every, passes;
    _Atomic uint64_t hits;
};

bool app_failpoint_hit(struct failpoint *fp); /* slow path */
#if HP_FAILPOINTS
#define FAILPOINT(fp)                                                                              \
    (__builtin_expect(__atomic_load_n((const int *)&(fp).armed, __ATOMIC_RELAXED), 0) &&           \
     app_failpoint_hit(&(fp)))
#else
#define FAILPOINT(fp) ((void)&(fp), false)
#endif

/* The table must live for ever. At most 16 tables. */
void app_failpoint_register(struct failpoint *table, int n);
/* APP_E_INVALID names the bad entry; nothing of the list is armed then. */
int app_failpoint_arm(const char *spec, struct app_error *e) APP_CHECK;
int app_failpoint_arm_from_env(struct app_error *e) APP_CHECK;
void app_failpoint_disarm_all(void); /* wakes paused threads */
uint64_t app_failpoint_hits(const char *name);
/* Calls fn for each registered one; armed is its current state. */
void app_failpoint_each(void (*fn)(void *arg, const struct failpoint *fp, bool armed), void *arg);
