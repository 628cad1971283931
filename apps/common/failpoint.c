/* Named failure places: the registry, the parser of specifications, and what happens on a hit.
 *
 * Any thread; one mutex guards the registry and every row's plan, an atomic flag per row lets unarmed
 * places pass without it. A list is parsed twice: first only to check, then to arm, so that a bad entry
 * leaves everything as it was. A paused thread waits on a condition until its row is disarmed.
 */
#include "apps/common/failpoint.h"

#include "apps/common/kit_failpoints.h"
#include "apps/common/log.h"
#include "apps/common/naive.h"
#include "apps/common/timing.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TABLES_MAX 16
#define ENTRY_MAX 128

struct failpoint kit_failpoints[KIT_FP_COUNT] = {
#define FAILPOINT_DEF(id, text, what) [id] = {.name = text, .meaning = what},
#include "apps/common/failpoints.def"
#undef FAILPOINT_DEF
};
#if HP_FAILPOINTS
struct failpoint naive_defects[DEFECT_COUNT] = {
#define DEFECT(id, text, invariant, mistake)                                                       \
    [id] = {.name = text, .meaning = "the naive design, seen by " invariant ": " mistake},
#include "apps/common/defects.def"
#undef DEFECT
};
#endif

enum action { ACTION_OFF, ACTION_CRASH, ACTION_ERROR, ACTION_SLEEP, ACTION_PAUSE };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct {
        struct failpoint *v;
        int n;
    } tables[TABLES_MAX];
    int n_tables;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER,
              .changed = PTHREAD_COND_INITIALIZER,
              .tables = {{kit_failpoints, KIT_FP_COUNT},
#if HP_FAILPOINTS
                         {naive_defects, DEFECT_COUNT}
#endif
              },
              .n_tables = 1 + HP_FAILPOINTS};

struct plan {
    struct failpoint *fp;
    enum action action;
    int64_t arg, left, skip, every;
};

void app_failpoint_register(struct failpoint *table, int n)
{
    pthread_mutex_lock(&registry.lock);
    for (int i = 0; i < registry.n_tables; i++) {
        if (registry.tables[i].v == table) {
            pthread_mutex_unlock(&registry.lock);
            return;
        }
    }
    APP_ASSERT(registry.n_tables < TABLES_MAX);
    registry.tables[registry.n_tables].v = table;
    registry.tables[registry.n_tables++].n = n;
    pthread_mutex_unlock(&registry.lock);
}

static struct failpoint *find(const char *name)
{
    for (int t = 0; t < registry.n_tables; t++)
        for (int i = 0; i < registry.tables[t].n; i++)
            if (strcmp(registry.tables[t].v[i].name, name) == 0)
                return &registry.tables[t].v[i];
    return NULL;
}

/* Reads "<digits>" at *s, moves on; false when there is none or it is beyond max. */
static bool take_number(const char **s, int64_t max, int64_t *out)
{
    if (**s < '0' || **s > '9')
        return false;
    char *end;
    const long long v = strtoll(*s, &end, 10);
    if (v > max)
        return false;
    *s = end;
    *out = v;
    return true;
}

static bool take_word(const char **s, const char *word)
{
    const size_t n = strlen(word);
    if (strncmp(*s, word, n) != 0)
        return false;
    *s += n;
    return true;
}

/* "crash*2,after(3),every(5)" */
static bool parse_action(const char *s, struct plan *p)
{
    p->left = -1;
    p->skip = 0;
    p->every = 1;
    if (take_word(&s, "crash"))
        p->action = ACTION_CRASH;
    else if (take_word(&s, "error"))
        p->action = ACTION_ERROR;
    else if (take_word(&s, "pause"))
        p->action = ACTION_PAUSE;
    else if (take_word(&s, "off"))
        p->action = ACTION_OFF;
    else if (take_word(&s, "sleep(") && take_number(&s, 3600000, &p->arg) && take_word(&s, ")"))
        p->action = ACTION_SLEEP;
    else
        return false;
    if (take_word(&s, "*") && (!take_number(&s, INT32_MAX, &p->left) || p->left == 0))
        return false;
    if (take_word(&s, ",after(") && (!take_number(&s, INT32_MAX, &p->skip) || !take_word(&s, ")")))
        return false;
    if (take_word(&s, ",every(") &&
        (!take_number(&s, INT32_MAX, &p->every) || p->every == 0 || !take_word(&s, ")")))
        return false;
    return *s == '\0';
}

static void apply(const struct plan *p)
{
    struct failpoint *fp = p->fp;
    fp->action = (int)p->action;
    fp->arg = p->arg;
    fp->left = p->left;
    fp->skip = p->skip;
    fp->every = p->every;
    fp->passes = 0;
    fp->armed = p->action != ACTION_OFF;
    pthread_cond_broadcast(&registry.changed);
}

/* Walks the list; applies each entry when `arm`. */
static int walk(const char *spec, bool arm, struct app_error *e)
{
    for (const char *s = spec; *s;) {
        const size_t n = strcspn(s, ";");
        char entry[ENTRY_MAX];
        if (n >= sizeof entry)
            return app_fail(e, APP_E_INVALID, "failpoints: an entry is longer than %d bytes",
                            ENTRY_MAX - 1);
        memcpy(entry, s, n);
        entry[n] = '\0';
        s += n + (s[n] == ';');
        if (n == 0)
            continue;
        char *eq = strchr(entry, '=');
        struct plan p = {.fp = NULL};
        if (!eq || !parse_action(eq + 1, &p))
            return app_fail(
                e, APP_E_INVALID,
                "failpoints: \"%s\": expected name=crash|error|sleep(ms)|pause|off[*count][,after(n)][,every(n)]",
                entry);
        *eq = '\0';
        p.fp = find(entry);
        if (!p.fp)
            return app_fail(e, APP_E_INVALID, "failpoints: no failpoint is called \"%s\"", entry);
        if (arm)
            apply(&p);
    }
    return APP_OK;
}

int app_failpoint_arm(const char *spec, struct app_error *e)
{
    if (!HP_FAILPOINTS && spec[0])
        return app_fail(e, APP_E_INVALID, "failpoints are not compiled into this program");
    pthread_mutex_lock(&registry.lock);
    int rc = walk(spec, false, e);
    if (rc == APP_OK)
        rc = walk(spec, true, e);
    pthread_mutex_unlock(&registry.lock);
    return rc;
}

int app_failpoint_arm_from_env(struct app_error *e)
{
    const char *spec = getenv("HALFPENNY_FAILPOINTS");
    return spec ? app_failpoint_arm(spec, e) : APP_OK;
}

void app_failpoint_disarm_all(void)
{
    pthread_mutex_lock(&registry.lock);
    for (int t = 0; t < registry.n_tables; t++)
        for (int i = 0; i < registry.tables[t].n; i++)
            apply(&(struct plan){.fp = &registry.tables[t].v[i], .action = ACTION_OFF});
    pthread_mutex_unlock(&registry.lock);
}

uint64_t app_failpoint_hits(const char *name)
{
    pthread_mutex_lock(&registry.lock);
    const struct failpoint *fp = find(name);
    const uint64_t hits = fp ? fp->hits : 0;
    pthread_mutex_unlock(&registry.lock);
    return hits;
}

void app_failpoint_each(void (*fn)(void *arg, const struct failpoint *fp, bool armed), void *arg)
{
    pthread_mutex_lock(&registry.lock);
    for (int t = 0; t < registry.n_tables; t++)
        for (int i = 0; i < registry.tables[t].n; i++)
            fn(arg, &registry.tables[t].v[i], registry.tables[t].v[i].armed != 0);
    pthread_mutex_unlock(&registry.lock);
}

/* Whether this pass fires. Needs the lock. */
static bool takes_its_turn(struct failpoint *fp)
{
    if (!fp->armed || fp->left == 0) /* left 0: a counted pause others still wait in */
        return false;
    if (fp->skip > 0) {
        fp->skip--;
        return false;
    }
    if (++fp->passes < fp->every)
        return false;
    fp->passes = 0;
    return true;
}

bool app_failpoint_hit(struct failpoint *fp)
{
    pthread_mutex_lock(&registry.lock);
    if (!takes_its_turn(fp)) {
        pthread_mutex_unlock(&registry.lock);
        return false;
    }
    fp->hits++;
    const enum action action = (enum action)fp->action;
    const int64_t arg = fp->arg;
    if (fp->left > 0 && --fp->left == 0 && action != ACTION_PAUSE)
        fp->armed = 0;
    if (action == ACTION_PAUSE)
        while (fp->armed && fp->action == ACTION_PAUSE)
            pthread_cond_wait(&registry.changed, &registry.lock);
    pthread_mutex_unlock(&registry.lock);
    log_warn("failpoint", "name=%s action=%d", fp->name, (int)action);
    if (action == ACTION_CRASH)
        _exit(99);
    if (action == ACTION_SLEEP)
        timing_sleep_ms(arg);
    return action == ACTION_ERROR;
}
