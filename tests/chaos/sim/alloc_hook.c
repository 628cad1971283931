/* The allocation hook. Owns: its counters. Runs on: the thread of the run.
 * Invariant: a failed allocation is one that the C library could have failed: it returns NULL, sets
 * errno, and leaves a realloc's old memory alone. */
#include "tests/chaos/sim/alloc_hook.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *s);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);

static int64_t fail_at, seen, outstanding;
static int depth;
static bool fired;

void alloc_hook_arm(int64_t nth)
{
    fail_at = nth;
    seen = 0;
    fired = false;
}

bool alloc_hook_fired(void)
{
    return fired;
}

void alloc_hook_enter(void)
{
    depth++;
}

void alloc_hook_leave(void)
{
    depth--;
}

int64_t alloc_hook_outstanding(void)
{
    return outstanding;
}

static bool is_hit(void)
{
    if (depth <= 0 || !fail_at || ++seen != fail_at)
        return false;
    fired = true;
    errno = ENOMEM;
    return true;
}

static void *note(void *p)
{
    outstanding += p != NULL;
    return p;
}

void *__wrap_malloc(size_t n)
{
    return is_hit() ? NULL : note(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return is_hit() ? NULL : note(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    if (is_hit())
        return NULL;
    void *q = __real_realloc(p, n);
    outstanding += !p && q;
    return q;
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    if (is_hit())
        return NULL;
    void *q = __real_reallocarray(p, n, size);
    outstanding += !p && q;
    return q;
}

char *__wrap_strdup(const char *s)
{
    return is_hit() ? NULL : note(__real_strdup(s));
}

void __wrap_free(void *p)
{
    outstanding -= p != NULL;
    __real_free(p);
}
