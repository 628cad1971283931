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
 * Invariants: 1. a field is unchanged after a failed conf_set; 2. a row with
 * CONF_SECOND_NAME is another spelling: it gives no default and is not printed; 3. blanks around a
 * value never count; 4. a value marked CONF_SECRET appears in no text made here. */
#include "base/conf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/map.h"

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

const struct conf_row *conf_find(const struct conf_table *t, const char *key)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->rows[i].key[0] == key[0] && strcmp(t->rows[i].key, key) == 0)
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
        if (row->offset == CONF_NO_FIELD || !row->def || row->flags & CONF_SECOND_NAME)
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

enum { WORD_MAX = 63 }; /* longer words are far from all */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
}

/* Edit distance (Levenshtein, ASCII case free of charge); `limit` when it is that or more. Cells of its
 * table that are `limit` away from the diagonal cannot lie on a way that is shorter. */
static size_t distance(struct slice a, struct slice b, size_t limit)
{
    size_t row[WORD_MAX + 1];
    if (a.n > WORD_MAX || b.n > WORD_MAX || (a.n > b.n ? a.n - b.n : b.n - a.n) >= limit)
        return limit;
    for (size_t k = 0; k <= b.n; k++)
        row[k] = k;
    for (size_t i = 1; i <= a.n; i++) {
        const size_t from = i > limit ? i - limit : 1, to = b.n < i + limit ? b.n : i + limit;
        size_t diagonal = row[from - 1], least = from == 1 ? i : limit;
        row[from - 1] = least;
        for (size_t k = from; k <= to; k++) {
            const size_t change = diagonal + (lower(a.p[i - 1]) != lower(b.p[k - 1]));
            const size_t one_more = (row[k] < row[k - 1] ? row[k] : row[k - 1]) + 1;
            diagonal = row[k];
            row[k] = change < one_more ? change : one_more;
            least = row[k] < least ? row[k] : least;
        }
        if (least >= limit)
            return limit;
    }
    return row[b.n];
}

static const char *nearest_key(const struct conf_table *t, struct slice key)
{
    const char *best = NULL;
    size_t best_d = key.n / 3 + 1;
    for (size_t i = 0; i < t->n && key.n <= WORD_MAX; i++) {
        const size_t d = distance(key, slice_str(t->rows[i].key), best_d);
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
    const char *near = nearest_key(t, slice_str(key));
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

/* "broker.conf:12"; without the line when the item was in no file. */
static void place_of(const char *path, const struct prop *item, char out[192])
{
    if (item->line)
        snprintf(out, 192, "%.160s:%d", path, item->line);
    else
        snprintf(out, 192, "%.160s", path);
}

struct noting {
    const char *path;
    struct map *told; /* keys that had their note */
    void (*on_note)(void *arg, const char *text);
    void *arg;
};

/* Tells, once for each key, that it is unknown or means nothing here. */
static int note(const struct conf_table *t, const struct conf_row *row, const struct prop *item, struct noting *n,
                struct err *e)
{
    char where[192];
    struct err text;
    void *before;
    if (row && !(row->flags & CONF_IGNORED))
        return 0;
    if (map_put(n->told, slice_str(item->key), n, &before))
        return err_set(e, E_NOMEM, "%s: %s", n->path, err_text(E_NOMEM));
    if (before)
        return 0;
    place_of(n->path, item, where);
    if (row)
        err_set(&text, E_UNSUPP, "%s: %s is ignored: %s", where, row->key, row->help);
    else
        unknown_key(t, item->key, where, &text);
    n->on_note(n->arg, text.text);
    return 0;
}

int conf_apply(const struct conf_table *t, void *obj, const struct props *p, const char *path,
               void (*on_note)(void *arg, const char *text), void *arg, struct err *e)
{
    struct noting noting = {path, map_new(), on_note, arg};
    int rc = noting.told ? 0 : err_set(e, E_NOMEM, "%s: %s", path, err_text(E_NOMEM));
    for (size_t i = 0; i < p->n && !rc; i++) {
        const struct prop *item = &p->items[i];
        const struct conf_row *row = conf_find(t, item->key);
        rc = row ? set_row(row, obj, slice_trim(slice_str(item->value)), e) : 0;
        if (rc) {
            char where[192];
            place_of(path, item, where);
            err_wrap(e, rc, "%s", where);
        } else if (on_note) {
            rc = note(t, row, item, &noting, e);
        }
    }
    map_free(noting.told, NULL);
    return rc;
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
        if (row->offset == CONF_NO_FIELD || row->flags & (CONF_IGNORED | CONF_SECRET | CONF_SECOND_NAME))
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
