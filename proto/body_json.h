#pragma once
/* Helpers of the body_*.c files: reading members with errors that name them. Private to proto. */
#include "proto/body.h"

static inline struct slice json_slice(const json_t *s)
{
    return json_is_string(s) ? slice_of(json_string_value(s), json_string_length(s)) : SLICE_NULL;
}
/* A new JSON string; malformed UTF-8 gives NULL. */
static inline json_t *json_of_slice(struct slice s)
{
    return json_stringn(s.p ? s.p : "", s.n);
}

/* Parses a body that must be a JSON object. `what` ("heartbeat") opens every error text. */
int body_parse(struct slice body, const char *what, json_t **root, struct err *e) HP_MUST_USE;
/* A member that must be a string with at least one character. */
int body_need_str(const json_t *obj, const char *key, const char *what, struct slice *out,
                  struct err *e) HP_MUST_USE;
/* A number of 32 bits, from a number or from text; `def` when absent or null. */
int body_get_i32(const json_t *obj, const char *key, int32_t def, const char *what, int32_t *out,
                 struct err *e) HP_MUST_USE;
/* An array, or *out = NULL when absent or null (an iteration over NULL is empty). */
int body_get_array(const json_t *obj, const char *key, const char *what, const json_t **out,
                   struct err *e) HP_MUST_USE;
/* An object, in the same way. */
int body_get_object(const json_t *obj, const char *key, const char *what, json_t **out,
                    struct err *e) HP_MUST_USE;
/* An array of n zeroed elements, never NULL on success (also for n = 0). */
int body_alloc(size_t n, size_t size, const char *what, void *out, struct err *e) HP_MUST_USE;
/* Writes and drops `j`, which may be NULL (E_NOMEM, or bytes that are no text). */
int body_write(json_t *j, struct buf *out) HP_MUST_USE;
