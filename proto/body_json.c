/* What the body decoders share: typed access to members with errors that say which member is wrong.
 *
 * A body is untrusted. Its size is bounded by the frame and its depth by base/json; here every
 * member is checked for its type before use. Null counts as absent, since Go writes null for what
 * is not set. Text that is a number passes as a number, because several clients quote theirs.
 *
 * Any thread; owns nothing. Failure modes: E_PROTO with `what: member "x" ...`, E_NOMEM. */
#include "proto/body_json.h"

#include <stdlib.h>

int body_parse(struct slice body, const char *what, json_t **root, struct err *e)
{
    json_t *j = NULL;
    const int rc = json_parse(body, &j, e);
    if (rc)
        return err_wrap(e, rc, "%s", what);
    if (!json_is_object(j)) {
        json_decref(j);
        return err_set(e, E_PROTO, "%s: not a JSON object", what);
    }
    *root = j;
    return 0;
}

int body_need_str(const json_t *obj, const char *key, const char *what, struct slice *out,
                  struct err *e)
{
    const json_t *v = json_object_get(obj, key);
    if (!json_string_length(v))
        return err_set(e, E_PROTO, "%s: member \"%s\" is %s", what, key,
                       !v || json_is_null(v) ? "missing" : "not a string with content");
    *out = json_slice(v);
    return 0;
}

int body_get_i32(const json_t *obj, const char *key, int32_t def, const char *what, int32_t *out,
                 struct err *e)
{
    const json_t *v = json_object_get(obj, key);
    int64_t n = 0;
    if (!v || json_is_null(v)) {
        *out = def;
        return 0;
    }
    if (json_is_integer(v))
        n = json_integer_value(v);
    else if (!json_is_string(v) || slice_i64(json_slice(v), &n))
        return err_set(e, E_PROTO, "%s: member \"%s\" is not an integer", what, key);
    if (n < INT32_MIN || n > INT32_MAX)
        return err_set(e, E_PROTO, "%s: member \"%s\" is outside the 32-bit range", what, key);
    *out = (int32_t)n;
    return 0;
}

int body_get_array(const json_t *obj, const char *key, const char *what, const json_t **out,
                   struct err *e)
{
    const json_t *v = json_object_get(obj, key);
    *out = NULL;
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_array(v))
        return err_set(e, E_PROTO, "%s: member \"%s\" is not an array", what, key);
    *out = v;
    return 0;
}

int body_get_object(const json_t *obj, const char *key, const char *what, json_t **out,
                    struct err *e)
{
    json_t *v = json_object_get(obj, key);
    *out = NULL;
    if (!v || json_is_null(v))
        return 0;
    if (!json_is_object(v))
        return err_set(e, E_PROTO, "%s: member \"%s\" is not an object", what, key);
    *out = v;
    return 0;
}

int body_alloc(size_t n, size_t size, const char *what, void *out, struct err *e)
{
    void *const p = calloc(n ? n : 1, size);
    if (!p)
        return err_set(e, E_NOMEM, "%s: %zu elements", what, n);
    memcpy(out, &p, sizeof p);
    return 0;
}

int body_write(json_t *j, struct buf *out)
{
    if (!j)
        return E_NOMEM;
    const int rc = json_write(j, out);
    json_decref(j);
    return rc;
}
