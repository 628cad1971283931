#pragma once
/* A consumer's subscription to one topic, and tag filtering on consume-queue codes. */
#include "base/err.h"
#include "base/slice.h"

struct subscription {
    char *topic, *sub_string;
    char *expression_type; /* "TAG" or "SQL92" */
    int64_t version;
    bool all;              /* "*", empty or null */
    char **tags;           /* the parts of "A || B", trimmed */
    int32_t *codes;        /* java_string_hash of each, sorted */
    size_t tag_n;
};
/* Owns copies. E_INVAL for an unknown type or an empty tag list ("|| ||"), E_NOMEM. */
int subscription_init(struct subscription *s, struct slice topic, struct slice sub_string,
                      struct slice type, int64_t version, struct err *e) HP_MUST_USE;
void subscription_fini(struct subscription *s);
/* Broker side: by hash (collisions pass, clients compare the text). */
bool subscription_match_code(const struct subscription *s, int64_t code);
/* Client side: by text; with tags listed an untagged message does not pass. */
bool subscription_match_tag(const struct subscription *s, struct slice tag);
