/* A consumer's subscription to one topic.
 *
 * "A || B" is split at two vertical bars, trimmed, and each tag kept once, as text (clients compare
 * text) and as the hash that the consume queue holds (brokers compare hashes and let collisions
 * pass). "*", empty and null mean everything.
 *
 * Owns copies of all strings; an initialised subscription is read-only and may be shared by
 * threads.
 * Failure modes: E_INVAL for an expression type that is neither TAG nor SQL92, for a tag list
 * without a tag, for SQL92 without an expression; E_NOMEM. After a failure nothing needs freeing.
 * Invariants: 1. all == false implies tag_n > 0 unless the type is SQL92; 2. codes is sorted.
 * Source: FilterAPI.buildSubscriptionData, ExpressionMessageFilter. */
#include "proto/subscription.h"

#include <stdlib.h>

#include "proto/message.h"

static int compare_codes(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Cuts the text before the next "||" off *rest; false when *rest is used up. */
static bool next_part(struct slice *rest, struct slice *part)
{
    if (!rest->p)
        return false;
    const char *const bars = rest->n ? memmem(rest->p, rest->n, "||", 2) : NULL;
    if (!bars) {
        *part = *rest;
        *rest = SLICE_NULL;
        return true;
    }
    *part = slice_of(rest->p, (size_t)(bars - rest->p));
    *rest = slice_of(bars + 2, rest->n - part->n - 2);
    return true;
}

/* Equal texts have equal hashes: sort (hash, text) once instead of comparing each with each. */
struct tag_entry {
    int32_t code;
    struct slice text;
};

static int compare_entries(const void *a, const void *b)
{
    const struct tag_entry *x = a, *y = b;
    if (x->code != y->code)
        return compare_codes(&x->code, &y->code);
    if (x->text.n != y->text.n)
        return x->text.n < y->text.n ? -1 : 1;
    return memcmp(x->text.p, y->text.p, x->text.n);
}

static size_t collect(struct slice list, struct tag_entry *entries)
{
    size_t n = 0;
    for (struct slice part; next_part(&list, &part);) {
        part = slice_trim(part);
        if (part.n)
            entries[n++] = (struct tag_entry){java_string_hash(part), part};
    }
    return n;
}

static int keep_tags(struct subscription *s, struct tag_entry *entries, size_t n, struct err *e)
{
    qsort(entries, n, sizeof *entries, compare_entries);
    s->tags = calloc(n, sizeof *s->tags);
    s->codes = calloc(n, sizeof *s->codes);
    if (!s->tags || !s->codes)
        return err_set(e, E_NOMEM, "subscription of %zu tags", n);
    for (size_t i = 0; i < n; i++) {
        if (i && compare_entries(&entries[i - 1], &entries[i]) == 0)
            continue;
        char *const tag = slice_dup(entries[i].text);
        if (!tag)
            return err_set(e, E_NOMEM, "subscription of %zu tags", n);
        s->tags[s->tag_n] = tag;
        s->codes[s->tag_n++] = entries[i].code;
    }
    return 0;
}

static int split_tags(struct subscription *s, struct slice list, struct err *e)
{
    size_t n = 0, n_max = 0;
    for (struct slice rest = list, part; next_part(&rest, &part);)
        n_max++;
    struct tag_entry *const entries = calloc(n_max, sizeof *entries);
    if (!entries)
        return err_set(e, E_NOMEM, "subscription of %zu tags", n_max);
    n = collect(list, entries);
    const int rc =
        n ? keep_tags(s, entries, n, e)
          : err_set(e, E_INVAL, "subscription \"" SLICE_FMT "\" to topic %s names no tag",
                    (int)(list.n < 64 ? list.n : 64), list.p, s->topic);
    free(entries);
    return rc;
}

static int fill(struct subscription *s, struct slice topic, struct slice sub_string,
                struct slice type, struct err *e)
{
    const bool sql = slice_eq(type, SLICE_LIT("SQL92"));
    if (!sql && type.n && !slice_eq(type, SLICE_LIT("TAG")))
        return err_set(e, E_INVAL, "expression type \"" SLICE_FMT "\" is neither TAG nor SQL92",
                       (int)(type.n < 64 ? type.n : 64), type.p);
    if (sql && !sub_string.n)
        return err_set(e, E_INVAL, "SQL92 subscription without an expression");
    s->all = !sql && (!sub_string.n || slice_eq(sub_string, SLICE_LIT("*")));
    s->topic = slice_dup(topic);
    s->sub_string = slice_dup(s->all ? SLICE_LIT("*") : sub_string);
    s->expression_type = slice_dup(sql ? SLICE_LIT("SQL92") : SLICE_LIT("TAG"));
    if (!s->topic || !s->sub_string || !s->expression_type)
        return err_set(e, E_NOMEM, "subscription");
    return sql || s->all ? 0 : split_tags(s, sub_string, e);
}

int subscription_init(struct subscription *s, struct slice topic, struct slice sub_string,
                      struct slice type, int64_t version, struct err *e)
{
    *s = (struct subscription){.version = version};
    const int rc = fill(s, topic, sub_string, type, e);
    if (rc)
        subscription_fini(s);
    return rc;
}

void subscription_fini(struct subscription *s)
{
    for (size_t i = 0; i < s->tag_n; i++)
        free(s->tags[i]);
    free(s->tags);
    free(s->codes);
    free(s->topic);
    free(s->sub_string);
    free(s->expression_type);
    *s = (struct subscription){0};
}

bool subscription_match_code(const struct subscription *s, int64_t code)
{
    if (s->all || !s->tag_n)
        return true;
    const int32_t wanted = (int32_t)code;
    return bsearch(&wanted, s->codes, s->tag_n, sizeof *s->codes, compare_codes) != NULL;
}

bool subscription_match_tag(const struct subscription *s, struct slice tag)
{
    if (s->all || !s->tag_n)
        return true;
    for (size_t i = 0; i < s->tag_n; i++)
        if (slice_eq_str(tag, s->tags[i]))
            return true;
    return false;
}
