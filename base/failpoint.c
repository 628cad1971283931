/* Failpoints: named places where a test decides what goes wrong.
 *
 * Owns: the armed flags and the plan of each failpoint, for the whole process.
 * Runs on: any thread. Unarmed, FAILPOINT(id) reads one byte; what follows here is the slow path.
 *
 * Happy path of a test: failpoint_arm("store.flush.sync=error(E_IO)*1,after(3)") parses every entry
 * first and then arms all or none; the fourth pass through the place fails, the fifth does not.
 *
 *   spec   = entry *(";" entry)
 *   entry  = name "=" action ["*" count] ["," "after(" n ")"]
 *   action = "error" ["(" E_NAME ")"]    the outcome of the operation; E_IO when not said
 *          | "sleep(" ms ")"             then goes on
 *          | "pause"                     until the failpoint is disarmed or armed anew
 *          | "crash"                     _exit(99): no clean-up, no flush
 *          | "short(" n ")"              writes n bytes, then E_IO, where the place knows how
 *          | "off"                       disarms this one
 *   count: acts so many times, then disarms itself. after(n): the first n passes are let through.
 *
 * Failure modes: a bad entry gives E_INVAL naming it and arms nothing. Built without failpoints
 * (HP_FAILPOINTS=0) every request to arm one is refused: a test must not pass because nothing
 * fired.
 *
 * Invariants: 1. failpoint_armed[id] is set exactly while plan[id].action is not OFF (it is a hint:
 * the plan, read under the lock, decides); 2. nothing sleeps or waits with the lock held. */
#include "base/failpoint.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"

#if HP_FAILPOINTS

enum action { OFF, ERROR, SLEEP, PAUSE, CRASH, SHORT };

struct plan {
    enum action action;
    int64_t value; /* ERROR: the code; SLEEP: milliseconds; SHORT: bytes */
    int64_t count; /* times still to act; < 0 = no limit */
    int64_t after; /* passes still to let through */
    uint64_t armed_times; /* a paused thread waits for this to change */
};

_Atomic unsigned char failpoint_armed[FAILPOINT_COUNT];

static const char *const names[] = {
#define FAILPOINT_DEF(id, name, meaning) name,
#include "base/failpoints.def"
#undef FAILPOINT_DEF
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards plans and hits */
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct plan plans[FAILPOINT_COUNT];
static uint64_t hits[FAILPOINT_COUNT];

/* Needs the lock. */
static void set_plan(int id, struct plan plan)
{
    plan.armed_times = plans[id].armed_times + 1;
    plans[id] = plan;
    failpoint_armed[id] = plan.action != OFF;
    pthread_cond_broadcast(&changed);
}

static int find_name(struct slice name)
{
    for (int i = 0; i < FAILPOINT_COUNT; i++)
        if (slice_eq_str(name, names[i]))
            return i;
    return -1;
}

/* "word(argument)" or "word"; false when the parentheses do not match. */
static bool split_call(struct slice s, struct slice *word, struct slice *argument)
{
    const char *open = s.n ? memchr(s.p, '(', s.n) : NULL;
    *word = s;
    *argument = SLICE_NULL;
    if (!open)
        return true;
    if (s.p[s.n - 1] != ')')
        return false;
    word->n = (size_t)(open - s.p);
    *argument = slice_of(open + 1, s.n - word->n - 2);
    return true;
}

static bool parse_count(struct slice s, int64_t *out)
{
    return slice_i64(s, out) == 0 && *out >= 0;
}

static bool parse_error(struct slice name, int64_t *out)
{
    static const struct {
        const char *name;
        int code;
    } codes[] = {
#define ERR(name, value, class, text) {#name, value},
#include "base/errors.def"
#undef ERR
    };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (slice_eq_str(name, codes[i].name)) {
            *out = codes[i].code;
            return true;
        }
    return false;
}

static bool parse_action(struct slice s, struct plan *p)
{
    struct slice word, arg;
    if (!split_call(s, &word, &arg))
        return false;
    if (slice_eq_str(word, "error")) {
        p->action = ERROR;
        p->value = E_IO;
        return !arg.p || parse_error(arg, &p->value);
    }
    if (slice_eq_str(word, "sleep")) {
        p->action = SLEEP;
        return parse_count(arg, &p->value);
    }
    if (slice_eq_str(word, "short")) {
        p->action = SHORT;
        return parse_count(arg, &p->value) && p->value <= INT32_MAX;
    }
    p->action = slice_eq_str(word, "pause") ? PAUSE : slice_eq_str(word, "crash") ? CRASH : OFF;
    return !arg.p && (p->action != OFF || slice_eq_str(word, "off"));
}

static bool parse_after(struct slice s, int64_t *out)
{
    struct slice word, arg;
    return split_call(slice_trim(s), &word, &arg) && slice_eq_str(word, "after") &&
           parse_count(arg, out);
}

static int parse_entry(struct slice entry, int *id, struct plan *p, struct err *e)
{
    struct slice rest = entry, name, action;
    *p = (struct plan){.count = -1};
    slice_cut(&rest, '=', &name);
    *id = find_name(slice_trim(name));
    if (*id < 0)
        return err_set(e, E_INVAL, "failpoint '" SLICE_FMT "': no such name",
                       SLICE_ARG(slice_trim(name)));
    if (!slice_cut(&rest, ',', &action))
        return err_set(e, E_INVAL, "failpoint '" SLICE_FMT "': expected name=action",
                       SLICE_ARG(entry));
    if (rest.p && !parse_after(rest, &p->after))
        return err_set(e, E_INVAL, "failpoint '" SLICE_FMT "': expected after(n)",
                       SLICE_ARG(entry));
    struct slice what, count = action;
    slice_cut(&count, '*', &what);
    if (count.p && (!parse_count(slice_trim(count), &p->count) || !p->count))
        return err_set(e, E_INVAL,
                       "failpoint '" SLICE_FMT "': the count after '*' must be at least 1",
                       SLICE_ARG(entry));
    if (!parse_action(slice_trim(what), p))
        return err_set(e, E_INVAL,
                       "failpoint '" SLICE_FMT
                       "': the action must be error, error(E_...), sleep(ms), pause, "
                       "crash, short(n) or off",
                       SLICE_ARG(entry));
    return 0;
}

int failpoint_arm(struct slice spec, struct err *e)
{
    struct plan parsed[FAILPOINT_COUNT];
    bool given[FAILPOINT_COUNT] = {false};
    for (struct slice entry; slice_cut(&spec, ';', &entry);) {
        struct plan p;
        int id;
        entry = slice_trim(entry);
        if (!entry.n)
            continue;
        int rc = parse_entry(entry, &id, &p, e);
        if (rc)
            return rc;
        parsed[id] = p;
        given[id] = true;
    }
    pthread_mutex_lock(&lock);
    for (int i = 0; i < FAILPOINT_COUNT; i++)
        if (given[i]) {
            set_plan(i, parsed[i]);
            hits[i] = 0;
        }
    pthread_mutex_unlock(&lock);
    return 0;
}

void failpoint_disarm_all(void)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < FAILPOINT_COUNT; i++)
        set_plan(i, (struct plan){0});
    pthread_mutex_unlock(&lock);
}

uint64_t failpoint_hits(enum failpoint_id id)
{
    pthread_mutex_lock(&lock);
    uint64_t n = hits[id];
    pthread_mutex_unlock(&lock);
    return n;
}

/* What this pass has to do; a copy, as the plan may change at any time. Needs the lock. */
static struct plan next_act(enum failpoint_id id)
{
    struct plan *p = &plans[id], act = *p;
    if (p->action == OFF)
        return act;
    hits[id]++;
    if (p->after > 0) {
        p->after--;
        act.action = OFF;
        return act;
    }
    if (p->count > 0 && --p->count == 0) {
        p->action = OFF;
        failpoint_armed[id] = 0;
    }
    return act;
}

int failpoint_hit(enum failpoint_id id, int *arg)
{
    if (arg)
        *arg = -1;
    pthread_mutex_lock(&lock);
    struct plan act = next_act(id);
    /* A pause whose count is used up lets others pass, but holds on to the thread it caught. */
    while (act.action == PAUSE && plans[id].armed_times == act.armed_times)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    switch (act.action) {
    case ERROR: return (int)act.value;
    case SHORT:
        if (arg)
            *arg = (int)act.value;
        return E_IO;
    case SLEEP: clock_sleep(act.value); return 0;
    case CRASH: _exit(99);
    case PAUSE:
    case OFF: return 0;
    }
    return 0;
}

#else

int failpoint_arm(struct slice spec, struct err *e)
{
    (void)spec;
    return err_set(e, E_UNSUPP, "this program was built without failpoints (HP_FAILPOINTS=0)");
}

void failpoint_disarm_all(void)
{
}

uint64_t failpoint_hits(enum failpoint_id id)
{
    (void)id;
    return 0;
}

int failpoint_hit(enum failpoint_id id, int *arg)
{
    (void)id;
    if (arg)
        *arg = -1;
    return 0;
}

#endif

int failpoint_init_from_env(struct err *e)
{
    const char *spec = getenv("HALFPENNY_FAILPOINTS");
    if (!spec || !*spec)
        return 0;
    int rc = failpoint_arm(slice_str(spec), e);
    return rc ? err_wrap(e, rc, "HALFPENNY_FAILPOINTS") : 0;
}
