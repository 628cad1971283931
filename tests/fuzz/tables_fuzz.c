/* The files of config/ of any text.
 *
 *   byte 0: which one: 0 topics.json, 1 subscriptionGroup.json, 2 consumerOffset.json, 3 delayOffset.json;
 *           4: there is a backup as well
 *   the rest: the file; with a backup, a byte FF ends it and the backup follows
 *
 * A file either loads or is refused with words. What was loaded is written, and then loads to the same
 * table again; a backup is taken when the file itself is of no use. */
#include <stdio.h>

#include "broker/broker.h"
#include "broker/delay.h"
#include "broker/group.h"
#include "broker/offset.h"
#include "broker/persist.h"
#include "broker/topic.h"
#include "tests/fuzz/fuzz_store.h"
#include "tests/fuzz/fuzz_target.h"

enum { TOPICS, GROUPS, OFFSETS, DELAY, BACKUP = 4, TABLE_MAX = 10000 };

static const char *const names[] = {"topics.json", "subscriptionGroup.json", "consumerOffset.json",
                                    "delayOffset.json"};
static struct broker_conf conf;
static struct broker broker;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    static char root[] = FUZZ_ROOT;
    struct store_opts o;
    struct store_recovery found;
    struct err e;
    fuzz_store_init();
    fuzz_store_opts(&o);
    MQ_ASSERT(!broker_conf_defaults(&conf, &e));
    conf.store_root = root;
    broker.conf = &conf;
    broker.fs = o.fs;
    broker.clock = o.clock;
    broker.delay_level_n = delay_levels_parse(conf.message_delay_level, broker.delay_level_ms, &e);
    MQ_ASSERT(broker.delay_level_n > 0 && !uv_loop_init(&broker.service.loop.uv));
    broker.store = fuzz_store_open(&o, &found);
    MQ_ASSERT(broker.store);
    for (int32_t level = 0; level < 3; level++)
        for (int i = 0; i <= level; i++)
            fuzz_store_append(broker.store, TOPIC_SCHEDULE, level);
    return 0;
}

static void path_of(int table, const char *suffix, char out[128])
{
    snprintf(out, 128, FUZZ_ROOT "/config/%s%s", names[table], suffix);
}

static void put_files(int table, bool backup, struct slice text)
{
    char path[128];
    const char *cut = backup && text.n ? memchr(text.p, 0xff, text.n) : NULL;
    fuzz_disk_remove(FUZZ_ROOT "/config");
    path_of(table, "", path);
    fuzz_disk_put(path, cut ? slice_of(text.p, (size_t)(cut - text.p)) : text);
    if (cut) {
        path_of(table, ".bak", path);
        fuzz_disk_put(path, slice_of(cut + 1, (size_t)(text.p + text.n - cut - 1)));
    }
}

static void free_tables(void)
{
    topics_free(broker.topics);
    groups_free(broker.groups);
    offsets_free(broker.offsets);
}

static int load(struct err *e)
{
    broker.topics = topics_new(TABLE_MAX);
    broker.groups = groups_new(TABLE_MAX);
    broker.offsets = offsets_new(TABLE_MAX);
    MQ_ASSERT(broker.topics && broker.groups && broker.offsets);
    broker.recovery.clean = true;
    const int rc = persist_load_tables(&broker, e);
    MQ_ASSERT(rc == 0 || ((rc == E_CORRUPT || rc == E_BUSY || rc == E_INVAL) && e->text[0]));
    return rc;
}

/* Writes the table and gives back what it wrote, but for the version, which counts writes. */
static json_t *save(int table)
{
    struct err e;
    json_t *j;
    if (table == TOPICS) {
        topics_mark_dirty(broker.topics);
        MQ_ASSERT(!persist_save_topics(&broker, &e));
    } else if (table == GROUPS) {
        groups_mark_dirty(broker.groups);
        MQ_ASSERT(!persist_save_groups(&broker, &e));
    } else {
        offsets_mark_dirty(broker.offsets);
        MQ_ASSERT(!persist_save_offsets(&broker, &e));
    }
    MQ_ASSERT(!persist_load(&broker, names[table], &j, &e) && j);
    json_object_del(j, "dataVersion");
    return j;
}

static void fuzz_table(int table)
{
    struct err e;
    if (!load(&e)) {
        json_t *const first = save(table);
        free_tables();
        MQ_ASSERT(!load(&e));
        json_t *const second = save(table);
        MQ_ASSERT(json_equal(first, second));
        json_decref(first);
        json_decref(second);
    }
    free_tables();
}

static void end_delay(void)
{
    delay_stop(&broker);
    uv_run(&broker.service.loop.uv, UV_RUN_NOWAIT);
    delay_free(&broker);
}

static void fuzz_delay(void)
{
    struct err e;
    const int rc = delay_start(&broker, &e);
    MQ_ASSERT(rc == 0 || (rc == E_CORRUPT && e.text[0]));
    if (rc == 0) {
        struct store_stats stats;
        store_stats_get(broker.store, &stats);
        const int64_t needed = delay_needed_from(&broker);
        MQ_ASSERT(needed == INT64_MAX || (needed >= stats.log_min && needed < stats.log_visible));
        delay_save(&broker);
    }
    end_delay();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!n)
        return 0;
    const int table = data[0] & 3;
    put_files(table, data[0] & BACKUP, slice_of((const char *)data + 1, n - 1));
    if (table == DELAY)
        fuzz_delay();
    else
        fuzz_table(table);
    return 0;
}
