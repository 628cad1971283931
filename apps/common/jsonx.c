/* Strict JSON reading: sticky readers with paths.
 *
 * Pure; a reader belongs to one thread. A nested reader (jsonx_item) keeps a pointer to the one it came
 * from and reports to the outermost, so one jsonx_end after all reads covers the whole document. Only
 * the first complaint is kept: the following ones are often its consequences.
 */
#include "apps/common/jsonx.h"

#include "apps/common/ids.h"
#include "apps/common/money.h"

#include <stdio.h>
#include <string.h>

json_t *jsonx_parse_object(const char *text, size_t len, struct app_error *e)
{
    json_error_t err;
    json_t *j = json_loadb(text, len, JSON_REJECT_DUPLICATES, &err);
    if (!j) {
        (void)app_fail(e, APP_E_INVALID, "not JSON: %s (line %d, column %d)", err.text, err.line,
                       err.column);
        return NULL;
    }
    if (json_is_object(j))
        return j;
    json_decref(j);
    (void)app_fail(e, APP_E_INVALID, "expected a JSON object");
    return NULL;
}

struct jsonx_reader jsonx_reader(const json_t *object)
{
    return (struct jsonx_reader){.at = object};
}

static struct jsonx_reader *outermost(struct jsonx_reader *r)
{
    while (r->up)
        r = r->up;
    return r;
}

int jsonx_end(struct jsonx_reader *r, struct app_error *e)
{
    const struct jsonx_reader *top = outermost(r);
    if (top->error.kind && e)
        *e = top->error;
    return top->error.kind;
}

void jsonx_complain(struct jsonx_reader *r, const char *member, const char *fmt, ...)
{
    struct app_error *e = &outermost(r)->error;
    if (e->kind)
        return;
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    (void)app_fail(e, APP_E_INVALID, "%s%s%s: %s", r->path, r->path[0] ? "." : "", member, what);
}

static const char *type_text(const json_t *v)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array",  [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a fraction", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null"};
    return v ? names[json_typeof(v)] : "nothing";
}

bool jsonx_has(const struct jsonx_reader *r, const char *member)
{
    const json_t *v = json_object_get(r->at, member);
    return v && !json_is_null(v);
}

int64_t jsonx_int(struct jsonx_reader *r, const char *member, int64_t min, int64_t max)
{
    const json_t *v = json_object_get(r->at, member);
    if (!json_is_integer(v)) {
        jsonx_complain(r, member, "expected an integer, found %s", type_text(v));
        return 0;
    }
    const int64_t i = json_integer_value(v);
    if (i >= min && i <= max)
        return i;
    jsonx_complain(r, member, "%lld is not within %lld and %lld", (long long)i, (long long)min,
                   (long long)max);
    return 0;
}

int64_t jsonx_int_or(struct jsonx_reader *r, const char *member, int64_t min, int64_t max,
                     int64_t dflt)
{
    return jsonx_has(r, member) ? jsonx_int(r, member, min, max) : dflt;
}

int64_t jsonx_money(struct jsonx_reader *r, const char *member)
{
    return jsonx_int(r, member, 0, MONEY_MAX);
}

int64_t jsonx_id(struct jsonx_reader *r, const char *member)
{
    const json_t *v = json_object_get(r->at, member);
    int64_t id = 0;
    if (!json_is_string(v))
        jsonx_complain(r, member, "expected an id as a decimal string, found %s", type_text(v));
    else if (!id_parse(json_string_value(v), &id))
        jsonx_complain(r, member, "not an id: expected 1 to 19 digits");
    return id;
}

int64_t jsonx_id_or(struct jsonx_reader *r, const char *member, int64_t dflt)
{
    return jsonx_has(r, member) ? jsonx_id(r, member) : dflt;
}

bool jsonx_bool(struct jsonx_reader *r, const char *member)
{
    const json_t *v = json_object_get(r->at, member);
    if (!json_is_boolean(v))
        jsonx_complain(r, member, "expected true or false, found %s", type_text(v));
    return json_is_true(v);
}

const char *jsonx_text(struct jsonx_reader *r, const char *member, size_t min_len, size_t max_len)
{
    const json_t *v = json_object_get(r->at, member);
    if (!json_is_string(v)) {
        jsonx_complain(r, member, "expected a string, found %s", type_text(v));
        return "";
    }
    const size_t n = json_string_length(v);
    if (n >= min_len && n <= max_len)
        return json_string_value(v);
    jsonx_complain(r, member, "expected %zu to %zu bytes, found %zu", min_len, max_len, n);
    return "";
}

const char *jsonx_text_or(struct jsonx_reader *r, const char *member, size_t max_len,
                          const char *dflt)
{
    return jsonx_has(r, member) ? jsonx_text(r, member, 0, max_len) : dflt;
}

size_t jsonx_array(struct jsonx_reader *r, const char *member, size_t min, size_t max)
{
    const json_t *v = json_object_get(r->at, member);
    if (!json_is_array(v)) {
        jsonx_complain(r, member, "expected an array, found %s", type_text(v));
        return 0;
    }
    const size_t n = json_array_size(v);
    if (n >= min && n <= max)
        return n;
    jsonx_complain(r, member, "expected %zu to %zu elements, found %zu", min, max, n);
    return 0;
}

struct jsonx_reader jsonx_item(struct jsonx_reader *r, const char *member, size_t i)
{
    const json_t *v = json_array_get(json_object_get(r->at, member), i);
    struct jsonx_reader item = {.at = v, .up = r};
    const int n = snprintf(item.path, sizeof item.path, "%s%s%s[%zu]", r->path,
                           r->path[0] ? "." : "", member, i);
    APP_ASSERT(n > 0 && (size_t)n < sizeof item.path);
    if (!json_is_object(v)) {
        char name[48];
        (void)snprintf(name, sizeof name, "%.30s[%zu]", member, i);
        jsonx_complain(r, name, "expected an object, found %s", type_text(v));
        item.at = NULL; /* jansson's getters answer NULL for it */
    }
    return item;
}

json_t *jsonx_from_id(int64_t id)
{
    char text[ID_TEXT_MAX];
    return json_string(id_text(id, text));
}

json_t *jsonx_from_id_or_null(int64_t id)
{
    return id ? jsonx_from_id(id) : json_null();
}
