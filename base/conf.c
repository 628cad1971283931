/* Typed configuration from a table of rows (base/conf_def.h makes the table).
 *
 * Owns: nothing; the strings of a configured struct belong to it until conf_free.
 * Runs on: the thread that owns the struct; a program that changes keys while running does so on
 * one thread and publishes the values its own way.
 *
 * Happy path: conf_defaults, props_load, conf_apply. Each value passes through parse_value: kind,
 * bounds, names; only then the field changes.
 *
 * Failure modes: every error text names the place ("broker.conf:12"), the key, the value and what
 * would be right. Unknown keys do not fail conf_apply, so that a file written for Apache RocketMQ
 * works: each is noted once, with the nearest known key if at most a third of it differs. Keys that
 * are understood but would be unsafe to run without (CONF_UNSAFE) are refused unless they ask for
 * the default. Keys without meaning here (CONF_IGNORED) are noted with the reason.
 *
 * Invariants: 1. a field is unchanged after a failed conf_set; 2. of the rows that share a field
 * the first is its name: it gives the default and is what conf_print prints; 3. blanks around a
 * value never count; 4. a value marked CONF_SECRET appears in no text made here. */
#include "base/conf.h"

#include <stdio.h>
#include <stdlib.h>

union value {
    bool b;
    int32_t i32;
    int64_t i64;
    int e;
    char *s; /* heap */
};

static void *field_of(const struct conf_row *row, void *obj)
{
    return (char *)obj + row->offset;
}

static const void *const_field_of(const struct conf_row *row, const void *obj)
{
    return (const char *)obj + row->offset;
}

static bool is_alias(const struct conf_table *t, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (t->rows[k].offset == t->rows[i].offset && t->rows[i].offset != CONF_NO_FIELD)
            return true;
    return false;
}

const struct conf_row *conf_find(const struct conf_table *t, const char *key)
{
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->rows[i].key, key) == 0)
            return &t->rows[i];
    return NULL;
}

/* ---- values ---- */

/* The value as error texts show it. */
static struct slice shown(const struct conf_row *row, struct slice v)
{
    enum { SHOWN_MAX = 64 };
    if (row->flags & CONF_SECRET)
        return SLICE_LIT("(secret)");
    return slice_of(v.p, v.n < SHOWN_MAX ? v.n : SHOWN_MAX);
}

static int parse_bool(const struct conf_row *row, struct slice v, union value *out, struct err *e)
{
    out->b = slice_bool(v);
    if (out->b || slice_eq_nocase(v, SLICE_LIT("false")))
        return 0;
    return err_set(e, E_INVAL, "%s: '" SLICE_FMT "' must be true or false", row->key,
                   SLICE_ARG(shown(row, v)));
}

static int parse_number(const struct conf_row *row, struct slice v, union value *out, struct err *e)
{
    bool is_32 = row->kind == CONF_I32, bounded = row->min || row->max;
    int64_t min = bounded ? row->min : is_32 ? INT32_MIN : INT64_MIN;
    int64_t max = bounded ? row->max : is_32 ? INT32_MAX : INT64_MAX, n;
    int rc = slice_i64(v, &n);
    if (rc == E_INVAL)
        return err_set(e, rc, "%s: '" SLICE_FMT "' is not a whole number", row->key,
                       SLICE_ARG(shown(row, v)));
    if (rc || n < min || n > max || (is_32 && (n < INT32_MIN || n > INT32_MAX)))
        return err_set(e, E_RANGE, "%s: " SLICE_FMT " must be between %lld and %lld", row->key,
                       SLICE_ARG(shown(row, v)), (long long)min, (long long)max);
    if (is_32)
        out->i32 = (int32_t)n;
    else
        out->i64 = n;
    return 0;
}

static int parse_enum(const struct conf_row *row, struct slice v, union value *out, struct err *e)
{
    struct buf names;
    buf_init(&names, 160);
    for (int i = 0; row->values[i]; i++) {
        if (slice_eq_nocase(v, slice_str(row->values[i]))) {
            buf_free(&names);
            out->e = i;
            return 0;
        }
        buf_printf(&names, "%s%s", i ? ", " : "", row->values[i]);
    }
    int rc = err_set(e, E_INVAL, "%s: '" SLICE_FMT "' must be one of " SLICE_FMT, row->key,
                     SLICE_ARG(shown(row, v)), SLICE_ARG(buf_slice(&names)));
    buf_free(&names);
    return rc;
}

static int parse_string(const struct conf_row *row, struct slice v, union value *out, struct err *e)
{
    bool bounded = row->min || row->max;
    if (!v.n && row->min && !row->def) { /* as conf_print writes what is not set */
        out->s = NULL;
        return 0;
    }
    if (bounded && ((int64_t)v.n < row->min || (row->max && (int64_t)v.n > row->max)))
        return err_set(e, E_RANGE, "%s: '" SLICE_FMT "' has %zu bytes, must have %lld to %lld",
                       row->key, SLICE_ARG(shown(row, v)), v.n, (long long)row->min,
                       (long long)row->max);
    out->s = slice_dup(v);
    return out->s ? 0 : err_set(e, E_NOMEM, "%s: %s", row->key, err_text(E_NOMEM));
}

static int parse_value(const struct conf_row *row, struct slice v, union value *out, struct err *e)
{
    switch (row->kind) {
    case CONF_BOOL: return parse_bool(row, v, out, e);
    case CONF_I32:
    case CONF_I64: return parse_number(row, v, out, e);
    case CONF_ENUM: return parse_enum(row, v, out, e);
    case CONF_STR: return parse_string(row, v, out, e);
    }
    return err_set(e, E_INVAL, "%s: unknown kind %d", row->key, (int)row->kind);
}

static void store_value(const struct conf_row *row, void *obj, union value v)
{
    void *field = field_of(row, obj);
    switch (row->kind) {
    case CONF_BOOL: *(bool *)field = v.b; break;
    case CONF_I32: *(int32_t *)field = v.i32; break;
    case CONF_I64: *(int64_t *)field = v.i64; break;
    case CONF_ENUM: *(int *)field = v.e; break;
    case CONF_STR:
        free(*(char **)field);
        *(char **)field = v.s;
        break;
    }
}

/* ---- setting ---- */

int conf_defaults(const struct conf_table *t, void *obj, struct err *e)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct conf_row *row = &t->rows[i];
        union value v;
        if (row->offset == CONF_NO_FIELD || !row->def || is_alias(t, i))
            continue;
        int rc = parse_value(row, slice_str(row->def), &v, e);
        if (rc)
            return err_wrap(e, E_INVAL, "default");
        store_value(row, obj, v);
    }
    return 0;
}

static int set_row(const struct conf_row *row, void *obj, struct slice v, struct err *e)
{
    if (row->flags & CONF_IGNORED)
        return 0;
    if ((row->flags & CONF_UNSAFE) && !(row->def && slice_eq_nocase(v, slice_str(row->def))))
        return err_set(e, E_DENIED, "%s=" SLICE_FMT " is refused: %s", row->key,
                       SLICE_ARG(shown(row, v)), row->help);
    union value parsed;
    int rc = row->offset == CONF_NO_FIELD ? 0 : parse_value(row, v, &parsed, e);
    if (!rc && row->offset != CONF_NO_FIELD)
        store_value(row, obj, parsed);
    return rc;
}

/* Edit distance (Levenshtein, ASCII case free of charge); words longer than WORD_MAX are far from
 * all. */
enum { WORD_MAX = 63 };

static size_t distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1], a_n = strlen(a), b_n = strlen(b);
    if (a_n > WORD_MAX || b_n > WORD_MAX)
        return SIZE_MAX;
    for (size_t k = 0; k <= b_n; k++)
        row[k] = k;
    for (size_t i = 1; i <= a_n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t k = 1; k <= b_n; k++) {
            bool same = slice_eq_nocase(slice_of(a + i - 1, 1), slice_of(b + k - 1, 1));
            size_t change = diagonal + !same, drop = row[k] + 1, add = row[k - 1] + 1;
            diagonal = row[k];
            row[k] = change < drop ? change : drop;
            row[k] = add < row[k] ? add : row[k];
        }
    }
    return row[b_n];
}

static const char *nearest_key(const struct conf_table *t, const char *key)
{
    const char *best = NULL;
    size_t best_d = strlen(key) / 3 + 1;
    for (size_t i = 0; i < t->n; i++) {
        size_t d = distance(key, t->rows[i].key);
        if (d < best_d) {
            best = t->rows[i].key;
            best_d = d;
        }
    }
    return best;
}

static int unknown_key(const struct conf_table *t, const char *key, const char *where,
                       struct err *e)
{
    const char *near = nearest_key(t, key);
    return err_set(e, E_NOTFOUND, "%s: unknown key '%.64s'%s%s%s", where, key,
                   near ? "; did you mean '" : "", near ? near : "", near ? "'?" : "");
}

int conf_set(const struct conf_table *t, void *obj, const char *key, const char *value,
             const char *where, struct err *e)
{
    const struct conf_row *row = conf_find(t, key);
    if (!row)
        return unknown_key(t, key, where, e);
    int rc = set_row(row, obj, slice_trim(slice_str(value)), e);
    return rc ? err_wrap(e, rc, "%s", where) : 0;
}

static bool given_before(const struct props *p, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(p->items[k].key, p->items[i].key) == 0)
            return true;
    return false;
}

int conf_apply(const struct conf_table *t, void *obj, const struct props *p, const char *path,
               void (*on_note)(void *arg, const char *text), void *arg, struct err *e)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct prop *item = &p->items[i];
        const struct conf_row *row = conf_find(t, item->key);
        struct err note;
        char where[192];
        if (item->line)
            snprintf(where, sizeof where, "%.160s:%d", path, item->line);
        else
            snprintf(where, sizeof where, "%.160s", path);
        int rc = row ? conf_set(t, obj, item->key, item->value, where, e) : 0;
        if (rc)
            return rc;
        if (given_before(p, i) || !on_note)
            continue;
        if (!row)
            unknown_key(t, item->key, where, &note);
        else if (row->flags & CONF_IGNORED)
            err_set(&note, E_UNSUPP, "%s: %s is ignored: %s", where, row->key, row->help);
        else
            continue;
        on_note(arg, note.text);
    }
    return 0;
}

/* ---- printing ---- */

/* As props_parse and java.util.Properties read it back. */
static void print_escaped(struct slice s, struct buf *out)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        const char *escape = c == '\\'   ? "\\\\"
                             : c == '\n' ? "\\n"
                             : c == '\r' ? "\\r"
                             : c == '\t' ? "\\t"
                             : c == '\f' ? "\\f"
                                         : NULL;
        if (escape)
            buf_str(out, escape);
        else
            buf_char(out, c);
    }
}

static void print_field(const struct conf_row *row, const void *obj, struct buf *out)
{
    const void *field = const_field_of(row, obj);
    switch (row->kind) {
    case CONF_BOOL: buf_str(out, *(const bool *)field ? "true" : "false"); break;
    case CONF_I32: buf_i64_text(out, *(const int32_t *)field); break;
    case CONF_I64: buf_i64_text(out, *(const int64_t *)field); break;
    case CONF_ENUM: buf_str(out, row->values[*(const int *)field]); break;
    case CONF_STR: print_escaped(slice_str(*(char *const *)field), out); break;
    }
}

void conf_print(const struct conf_table *t, const void *obj, struct buf *out)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct conf_row *row = &t->rows[i];
        if (row->offset == CONF_NO_FIELD || row->flags & (CONF_IGNORED | CONF_SECRET) ||
            is_alias(t, i))
            continue;
        buf_str(out, row->key);
        buf_char(out, '=');
        print_field(row, obj, out);
        buf_char(out, '\n');
    }
}

void conf_free(const struct conf_table *t, void *obj)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct conf_row *row = &t->rows[i];
        if (row->offset == CONF_NO_FIELD || row->kind != CONF_STR)
            continue;
        free(*(char **)field_of(row, obj));
        *(char **)field_of(row, obj) = NULL;
    }
}
