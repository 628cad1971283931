#pragma once
/* Typed configuration from a table: one row per key gives struct field, parser, bounds, help,
 * `-p` output, remote get and set, and the reference page.
 *
 * Rows come from a conf.def of the program, expanded by base/conf_def.h (usage there):
 *   CONF(kind, field, "key", default, min, max, flags, "help")     kind: BOOL I32 I64 STR ENUM
 * An alias row (CONF_ALIAS) accepts another spelling. Unknown keys are collected and reported once,
 * with the nearest known key when one is close. */
#include "base/buf.h"
#include "base/props.h"

enum conf_kind { CONF_BOOL, CONF_I32, CONF_I64, CONF_STR, CONF_ENUM };
enum {
    CONF_RUNTIME = 1, /* fit to be changed while running; nothing does yet: code 25 is not served */
    CONF_UNSAFE = 2,  /* any value but the default is refused: `help` says why and what to do */
    CONF_IGNORED = 4, /* upstream key without meaning here: accepted, listed once with `help` as reason */
    CONF_SECRET = 8,  /* never printed */
    CONF_SECOND_NAME = 16 /* set by CONF_ALIAS: another row has the field's name and default */
};
#define CONF_NO_FIELD SIZE_MAX
struct conf_row {
    const char *key;
    enum conf_kind kind;
    size_t offset;             /* of the field in the struct; BOOL bool, I32 int32_t, ENUM int, STR char*;
                                * CONF_NO_FIELD: the key is known but holds nothing */
    const char *def;           /* default as text; NULL = computed by the program */
    int64_t min, max;          /* numbers: inclusive; strings: length; both 0: the type's own range */
    const char *const *values; /* ENUM: NULL-terminated names, the index is the value */
    int flags;
    const char *help;
};
struct conf_table {
    const struct conf_row *rows;
    size_t n;
};

/* Sets every field to its default, which must lie within its own bounds (E_INVAL otherwise: a fault
 * of the table). `obj` must be zeroed or conf_free'd: strings are allocated, NULL defaults stay
 * NULL. */
int conf_defaults(const struct conf_table *t, void *obj, struct err *e) HP_MUST_USE;
/* Sets one key; an empty text unsets a string that has no default. `where` ("broker.conf:12") prefixes error texts. E_NOTFOUND unknown key, E_INVAL,
 * E_RANGE, E_DENIED (unsafe). */
int conf_set(const struct conf_table *t, void *obj, const char *key, const char *value,
             const char *where, struct err *e) HP_MUST_USE;
/* Applies a parsed file; stops at the first bad value with file, line, key and what would be right.
 * Unknown and ignored keys do not fail: on_note(arg, text) gets one line about each. */
int conf_apply(const struct conf_table *t, void *obj, const struct props *p, const char *path,
               void (*on_note)(void *arg, const char *text), void *arg, struct err *e) HP_MUST_USE;
void conf_print(const struct conf_table *t, const void *obj, struct buf *out); /* key=value lines */
void conf_free(const struct conf_table *t, void *obj); /* frees the strings */
const struct conf_row *conf_find(const struct conf_table *t, const char *key);
