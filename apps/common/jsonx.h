#pragma once
/* Strict reading of JSON that came from outside, and small helpers to write it.
 *
 * A reader is sticky: the first member that is missing or wrong is remembered with its path
 * ("items[2].qty: expected an integer from 1 to 1000, found a string"), later reads return zeros, and
 * jsonx_end tells once. Unknown members are ignored: an older service must read a newer message. */
#include "apps/common/error.h"
#include <jansson.h>
#include <stddef.h>

struct jsonx_reader {
    const json_t *at;        /* the object being read */
    struct jsonx_reader *up; /* reader of the object around it, or NULL */
    char path[64];           /* "items[2]", "" at the top */
    struct app_error error;  /* of the outermost reader; kind 0 while all is well */
};

/* Parses text; refuses duplicate members, trailing text, NUL bytes, nesting jansson refuses, and
 * anything but an object at the top. NULL on failure (APP_E_INVALID). */
json_t *jsonx_parse_object(const char *text, size_t len, struct app_error *e);

struct jsonx_reader jsonx_reader(const json_t *object);
/* 0, or APP_E_INVALID with the first complaint. */
int jsonx_end(struct jsonx_reader *r, struct app_error *e) APP_CHECK;
/* Reports a complaint of the caller's own about a member. */
void jsonx_complain(struct jsonx_reader *r, const char *member, const char *fmt, ...)
    APP_PRINTF(3, 4);

bool jsonx_has(const struct jsonx_reader *r, const char *member); /* present and not null */
int64_t jsonx_int(struct jsonx_reader *r, const char *member, int64_t min, int64_t max);
int64_t jsonx_int_or(struct jsonx_reader *r, const char *member, int64_t min, int64_t max,
                     int64_t dflt);
int64_t jsonx_money(struct jsonx_reader *r, const char *member); /* 0..MONEY_MAX cents */
int64_t jsonx_id(struct jsonx_reader *r, const char *member);    /* decimal string */
int64_t jsonx_id_or(struct jsonx_reader *r, const char *member, int64_t dflt); /* absent or null */
bool jsonx_bool(struct jsonx_reader *r, const char *member);
/* Borrowed from the JSON; length in bytes. "" when missing or wrong (then the reader complains). */
const char *jsonx_text(struct jsonx_reader *r, const char *member, size_t min_len, size_t max_len);
const char *jsonx_text_or(struct jsonx_reader *r, const char *member, size_t max_len,
                          const char *dflt);
/* An array of min..max objects; returns the count. */
size_t jsonx_array(struct jsonx_reader *r, const char *member, size_t min, size_t max);
/* Reader of element i of an array that jsonx_array accepted; complaints climb to r, which must
 * outlive it. */
struct jsonx_reader jsonx_item(struct jsonx_reader *r, const char *member, size_t i);

json_t *jsonx_from_id(int64_t id);         /* decimal string */
json_t *jsonx_from_id_or_null(int64_t id); /* 0: null */
