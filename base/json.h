#pragma once
/* JSON for bodies and files (not for the per-message header: proto/json_header.h). The dialect of
 * RocketMQ's peers is wider than RFC 8259: bare integer member names, an object as member name,
 * numbers where strings are meant and the reverse, 64-bit integers, duplicate members. json_parse
 * rewrites the first two into quoted names, then lets jansson parse.
 * Depth is bounded (64) and size is bounded by the frame. */
#include <jansson.h>

#include "base/buf.h"

/* A new reference in *out. E_PROTO with line, column and jansson's text. */
int json_parse(struct slice text, json_t **out, struct err *e) HP_MUST_USE;
/* Compact text, members sorted, as fastjson writes; appended to out. E_NOMEM. */
int json_write(const json_t *j, struct buf *out) HP_MUST_USE;
int json_write_indented(const json_t *j, struct buf *out) HP_MUST_USE; /* tab-indented, for files */

/* Tolerant getters: a member that is absent, null or of a hopeless type gives `def`.
 * Numbers are read from numbers, from decimal text and from booleans; strings from any scalar of
 * string type only. Strings borrow from the object. */
int64_t json_get_i64(const json_t *obj, const char *key, int64_t def);
bool json_get_bool(const json_t *obj, const char *key, bool def);
struct slice json_get_str(const json_t *obj, const char *key); /* SLICE_NULL when absent */
