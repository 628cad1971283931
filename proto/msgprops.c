/* The property string of a message: name 0x01 value 0x02 name 0x01 value 0x02 ...
 *
 * It travels as one string in the send header and lies as one string in the record; nobody needs a
 * map, so look-ups walk the text, once for everything that a caller wants to know. Meaning, as Java reads it: the last 0x02 may be missing (4.x
 * never writes it), an entry is split at its first 0x01, entries without name or value are no
 * entries, and of equal names the last one counts.
 *
 * What we write always ends with 0x02. Values that hold a separator would silently become two
 * properties on the other side, so props_str_add refuses them (E_INVAL).
 *
 * Any thread; no state. Invariant: no read outside the given slice. */
#include "proto/message.h"

enum { NAME_END = 1, VALUE_END = 2 };

bool props_str_next(struct props_iter *it, struct slice *name, struct slice *value)
{
    while (it->rest.n) {
        const char *const p = it->rest.p;
        const char *const stop = memchr(p, VALUE_END, it->rest.n);
        const size_t n = stop ? (size_t)(stop - p) : it->rest.n;
        const size_t used = stop ? n + 1 : n;
        it->rest = slice_of(p + used, it->rest.n - used);
        const char *const split = n ? memchr(p, NAME_END, n) : NULL;
        if (!split || split == p || split == p + n - 1)
            continue;
        *name = slice_of(p, (size_t)(split - p));
        *value = slice_of(split + 1, n - name->n - 1);
        return true;
    }
    return false;
}

struct slice props_str_get(struct slice props, const char *name)
{
    const struct slice wanted = slice_str(name);
    struct slice found = SLICE_NULL, key, value;
    for (struct props_iter it = {props}; props_str_next(&it, &key, &value);)
        if (slice_eq(key, wanted))
            found = value;
    return found;
}

void props_str_get_all(struct slice props, const struct slice *names, size_t n, struct slice *values)
{
    struct slice key, value;
    for (size_t i = 0; i < n; i++)
        values[i] = SLICE_NULL;
    for (struct props_iter it = {props}; props_str_next(&it, &key, &value);)
        for (size_t i = 0; i < n; i++)
            if (slice_eq(key, names[i])) {
                values[i] = value;
                break;
            }
}

static bool holds_separator(struct slice s)
{
    return s.n && (memchr(s.p, NAME_END, s.n) || memchr(s.p, VALUE_END, s.n));
}

static void entry_add(struct buf *out, struct slice name, struct slice value)
{
    buf_slice_add(out, name);
    buf_char(out, NAME_END);
    buf_slice_add(out, value);
    buf_char(out, VALUE_END);
}

int props_str_add(struct buf *out, const char *name, struct slice value)
{
    const struct slice key = slice_str(name);
    if (!key.n || holds_separator(key) || holds_separator(value))
        return E_INVAL;
    if (out->n && out->p[out->n - 1] != VALUE_END)
        buf_char(out, VALUE_END);
    entry_add(out, key, value);
    return buf_error(out);
}

static bool listed(const char *const *names, struct slice name)
{
    for (; *names; names++)
        if (slice_eq_str(name, *names))
            return true;
    return false;
}

void props_str_copy_without(struct buf *out, struct slice props, const char *const *names)
{
    struct slice name, value;
    for (struct props_iter it = {props}; props_str_next(&it, &name, &value);)
        if (!listed(names, name))
            entry_add(out, name, value);
}
