/* The broker's configuration tables for runs that damage their files or take their memory.
 * Owns: the tables. Runs on: the thread of the run. */
#include "tests/chaos/sim/tables.h"

#include <stdio.h>
#include <stdlib.h>

#include "broker/persist.h"

int tables_init(struct tables *t, struct fs *fs, const char *root)
{
    *t = (struct tables){0};
    t->conf.store_root = (char *)(uintptr_t)root; /* borrowed, never changed */
    t->b.conf = &t->conf;
    t->b.clock = &clock_system;
    t->b.fs = fs;
    t->b.recovery.clean = true;
    t->b.topics = topics_new(1000);
    t->b.groups = groups_new(1000);
    t->b.offsets = offsets_new(10000);
    if (t->b.topics && t->b.groups && t->b.offsets)
        return 0;
    tables_fini(t);
    return E_NOMEM;
}

void tables_fini(struct tables *t)
{
    if (t->b.topics)
        topics_free(t->b.topics);
    if (t->b.groups)
        groups_free(t->b.groups);
    if (t->b.offsets)
        offsets_free(t->b.offsets);
    t->b.topics = NULL;
    t->b.groups = NULL;
    t->b.offsets = NULL;
}

int tables_fill(struct tables *t, const struct clock *clock, struct rng *rng, struct err *e)
{
    int rc = 0;
    for (int i = 0; i < 8 && !rc; i++) {
        char topic[32], group[32];
        snprintf(topic, sizeof topic, "topic-%d", i);
        snprintf(group, sizeof group, "group_%d", i);
        const struct topic_spec spec =
            topic_spec_plain(slice_str(topic), 1 + (int32_t)rng_below(rng, 16), false);
        rc = topics_put(t->b.topics, &spec, clock, NULL, e);
        if (!rc)
            rc = groups_create(t->b.groups, slice_str(group), clock, e);
        for (int32_t q = 0; q < 3 && !rc; q++)
            rc = offsets_set(t->b.offsets, slice_str(group), slice_str(topic), q,
                             (int64_t)rng_below(rng, 1000000), e);
    }
    return rc;
}

int tables_save(struct tables *t, struct err *e)
{
    int rc = persist_save_topics(&t->b, e);
    if (!rc)
        rc = persist_save_groups(&t->b, e);
    return rc ? rc : persist_save_offsets(&t->b, e);
}

int tables_load(struct tables *t, struct err *e)
{
    return persist_load_tables(&t->b, e);
}

char *tables_text(struct tables *t)
{
    struct buf out;
    json_t *j[3] = {NULL, NULL, NULL};
    buf_init(&out, 0);
    bool right = !topics_to_json(t->b.topics, &j[0]) && !groups_to_json(t->b.groups, &j[1]) &&
                 !offsets_to_json(t->b.offsets, t->b.clock, &j[2]);
    for (int i = 0; i < 3; i++) {
        if (j[i]) {
            json_object_del(j[i], "dataVersion");
            right = right && !json_write_indented(j[i], &out);
        }
        json_decref(j[i]);
    }
    if (right)
        return buf_take(&out, NULL);
    buf_free(&out);
    return NULL;
}
