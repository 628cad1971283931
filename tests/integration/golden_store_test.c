/* Stores written by Apache RocketMQ 4.9.7 and 5.5.0, stopped and killed, open here with everything in
 * them (tests/golden/stores). NAME.expected.jsonl holds what the real broker answered just before.
 *
 * Two readings of each store. In process, without services, so that nothing moves: every message
 * with all its fields, queue ranges, records by physical offset. And by the real broker: consumer
 * offsets over the wire, then the topics, groups and delay positions in the files it writes.
 *
 * Queries by key are asked of the recorded index files themselves: after an orderly stop of the real
 * broker they are believed, and must stay as they were. What RocketMQ answers with an equal hash but
 * without the key (keyReallyPresent), or twice, is not answered so here.
 *
 * Not compared, each for its reason (what is compared is counted in struct archive):
 *   message, queue of a BatchCQ topic   kept in batchconsumequeue/, a queue form that is not served
 *   offsetByTime                        4.9.7 answers otherwise than 5.5.0; get_test.c has the rules
 *   unreadable, topic noTopicConfig     4.9.7 has no configuration for its operation topic
 * Timers and POP checkpoints are compared as messages of their topics; their own files (timerwheel,
 * timerlog) are tolerated, not read. */
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "store/store.h"
#include "tests/support/golden.h"
#include "tests/support/mq/mq_process.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"
#include "tests/support/tmpdir.h"

enum { LOG_FILE = 262144, CQ_FILE = 2000, BODY_MAX = 131072 };

struct archive {
    const char *name;  /* below tests/golden/stores */
    const char *batch; /* the topic of type BatchCQ; NULL: none */
    int messages, queues, views, queries;
    int index_files;
    bool clean;
};

struct reading {
    const struct archive *a;
    const char *dir;
    json_t *expected; /* array of lines */
    struct store *st;
};

static const char *join(char dst[600], const char *a, const char *b)
{
    snprintf(dst, 600, "%s%s", a, b);
    return dst;
}

static void extract(struct reading *r)
{
    const char *const source = getenv("HALFPENNY_SOURCE");
    char archive[600];
    snprintf(archive, sizeof archive, "%s/tests/golden/stores/%s.tar.zst", source ? source : ".", r->a->name);
    r->dir = tmpdir_new("golden-store");
    const char *const argv[] = {"tar", "--zstd", "-xf", archive, "-C", r->dir, NULL};
    struct err e = {0};
    struct process *const p = process_start(&(struct process_options){.argv = argv, .output = tmpdir_path(r->dir, "tar")},
                                            &e);
    if (!p)
        fail_msg("tar: %s", e.text);
    assert_int_equal(process_wait(p, 60000), 0);
    process_free(p);
}

static void load_expected(struct reading *r)
{
    char name[600], *text;
    size_t n;
    struct err e = {0};
    snprintf(name, sizeof name, "stores/%s.expected.jsonl", r->a->name);
    assert_ok(golden_file(name, &text, &n, &e), &e);
    r->expected = json_array();
    struct slice rest = slice_of(text, n), line;
    while (slice_cut(&rest, '\n', &line)) {
        json_t *j;
        if (!line.n)
            continue;
        assert_ok(json_parse(line, &j, &e), &e);
        assert_int_equal(json_array_append_new(r->expected, j), 0);
    }
    free(text);
}

static struct reading reading_begin(const struct archive *a)
{
    struct reading r = {.a = a};
    extract(&r);
    load_expected(&r);
    return r;
}

static void reading_end(struct reading *r)
{
    json_decref(r->expected);
    tmpdir_remove(r->dir);
}

static bool is(const json_t *line, const char *type)
{
    return slice_eq_str(json_get_str(line, "type"), type);
}

static bool of_batch_topic(const struct reading *r, const json_t *line)
{
    return r->a->batch && slice_eq_str(json_get_str(line, "topic"), r->a->batch);
}

/* ---- in process ---- */

static void open_in_process(struct reading *r, struct store_recovery *found)
{
    char root[600];
    struct store_opts o;
    struct err e = {0};
    store_opts_defaults(&o);
    o.root_dir = join(root, r->dir, "/store");
    o.commitlog_file_size = LOG_FILE;
    o.cq_file_size = CQ_FILE;
    o.max_message_size = BODY_MAX;
    o.index_slots = 40;
    o.index_items = 160;
    o.manual = true;
    assert_ok(store_open(&r->st, &o, found, &e), &e);
}

static void sha256_equals(struct slice bytes, struct slice want_hex, const char *where)
{
    unsigned char digest[SHA256_DIGEST_LENGTH];
    char hex[2 * SHA256_DIGEST_LENGTH + 1];
    SHA256((const unsigned char *)bytes.p, bytes.n, digest);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    if (!slice_eq_str(want_hex, hex))
        fail_msg("%s: SHA-256 %s, recorded " SLICE_FMT, where, hex, SLICE_ARG(want_hex));
}

static void numbers_equal(const json_t *line, const struct message *m, const char *where)
{
    char magic[16];
    snprintf(magic, sizeof magic, "%08X", (uint32_t)m->magic);
    const struct { const char *name; int64_t got; } fields[] = {
        {"queueId", m->queue_id}, {"queueOffset", m->queue_offset}, {"phyOffset", m->phys_offset},
        {"storeSize", m->total_size}, {"bodyCRC", m->body_crc}, {"flag", m->flag}, {"sysFlag", m->sys_flag},
        {"bornTimestamp", m->born_timestamp}, {"storeTimestamp", m->store_timestamp},
        {"reconsumeTimes", m->reconsume_times}, {"preparedTransactionOffset", m->prepared_offset}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!json_object_get(line, fields[i].name) || json_get_i64(line, fields[i].name, 0) != fields[i].got)
            fail_msg("%s: %s is %lld, recorded %lld", where, fields[i].name, (long long)fields[i].got,
                     (long long)json_get_i64(line, fields[i].name, INT64_MIN));
    assert_slice_equal(json_get_str(line, "magic"), magic);
}

static void texts_equal(const json_t *line, const struct message *m, const char *where)
{
    char born[64], stored[64], id[MSG_ID_MAX];
    host_text(&m->born_host, born);
    host_text(&m->store_host, stored);
    offset_msg_id(&m->store_host, m->phys_offset, id);
    const struct { const char *name; struct slice got; } fields[] = {
        {"topic", m->topic}, {"propertiesString", m->properties}, {"bornHost", slice_str(born)},
        {"storeHost", slice_str(stored)}, {"offsetMsgId", slice_str(id)}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (!slice_eq(json_get_str(line, fields[i].name), fields[i].got))
            fail_msg("%s: %s is " SLICE_FMT ", recorded " SLICE_FMT, where, fields[i].name,
                     SLICE_ARG(fields[i].got), SLICE_ARG(json_get_str(line, fields[i].name)));
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(line, "properties"), key, value)
        assert_slice_equal(props_str_get(m->properties, key), json_string_value(value));
    const struct slice stored_sha = json_get_str(line, "storedBodySha256");
    sha256_equals(m->body, stored_sha.p ? stored_sha : json_get_str(line, "bodySha256"), where);
}

static void compare_message(struct reading *r, const json_t *line)
{
    const json_t *const at = json_object_get(line, "at");
    const char *const topic = json_string_value(json_array_get(at, 0));
    const int32_t queue = (int32_t)json_integer_value(json_array_get(at, 1));
    const int64_t offset = json_integer_value(json_array_get(at, 2));
    char where[300];
    snprintf(where, sizeof where, "%s: %s-%d@%lld", r->a->name, topic, queue, (long long)offset);
    struct store_got g;
    struct message m;
    struct err e = {0};
    const struct store_get q = {.topic = slice_str(topic), .queue_id = queue, .offset = offset, .max_msgs = 1};
    assert_int_equal(store_get(r->st, &q, &g), 0);
    if (g.status != GET_FOUND || g.msg_n != 1)
        fail_msg("%s: %s, %d messages", where, get_status_name(g.status), g.msg_n);
    assert_int_equal(g.next_begin_offset, offset + 1);
    assert_ok(message_decode(slice_of(g.iov[0].iov_base, g.iov[0].iov_len), MESSAGE_CHECK_CRC, &m, &e), &e);
    numbers_equal(line, &m, where);
    texts_equal(line, &m, where);
    store_got_release(&g);
}

static void compare_queue(struct reading *r, const json_t *line)
{
    int64_t min, max;
    const struct slice topic = json_get_str(line, "topic");
    const int32_t queue = (int32_t)json_get_i64(line, "queueId", -1);
    store_queue_range(r->st, topic, queue, &min, &max);
    if (min != json_get_i64(line, "minOffset", -1) || max != json_get_i64(line, "maxOffset", -1))
        fail_msg("%s: " SLICE_FMT "-%d is %lld to %lld, recorded %lld to %lld", r->a->name, SLICE_ARG(topic), queue,
                 (long long)min, (long long)max, (long long)json_get_i64(line, "minOffset", -1),
                 (long long)json_get_i64(line, "maxOffset", -1));
}

static void compare_view(struct reading *r, const json_t *line)
{
    struct store_view v;
    struct err e = {0};
    assert_int_equal(json_get_i64(line, "code", -1), 0);
    assert_ok(store_view(r->st, json_get_i64(line, "phyOffset", -1), 0, &v, &e), &e);
    assert_int_equal(v.record.n, json_get_i64(line, "recordLen", -1));
    sha256_equals(v.record, json_get_str(line, "recordSha256"), "view by id");
    store_view_release(&v);
}

static void on_answer(struct store_query *q)
{
    q->last_phys = -1; /* answered */
}

static bool named_by(const struct store_query *q, int64_t phys)
{
    for (int32_t i = 0; i < q->n; i++)
        if ((int64_t)be64_get(q->views[i].record.p + 28) == phys)
            return true;
    return false;
}

/* RocketMQ names a record once for each of its items. */
static bool is_repeated(const json_t *offsets, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (json_equal(json_array_get(offsets, k), json_array_get(offsets, i)))
            return true;
    return false;
}

static void compare_query(struct reading *r, const json_t *line)
{
    struct store_view views[128];
    struct err e = {0};
    const struct slice topic = json_get_str(line, "topic"), key = json_get_str(line, "key");
    struct store_query q = {.topic = topic, .key = key, .end_ms = INT64_MAX, .views = views, .max = 128,
                            .bytes_max = INT64_MAX, .done = on_answer};
    assert_ok(store_query(r->st, &q, &e), &e);
    while (store_step_index(r->st)) {
    }
    assert_int_equal(q.last_phys, -1);
    int want = 0;
    size_t i;
    json_t *phys, *const offsets = json_object_get(line, "phyOffsets");
    json_array_foreach(offsets, i, phys) {
        if (!json_is_true(json_array_get(json_object_get(line, "keyReallyPresent"), i)) || is_repeated(offsets, i))
            continue;
        want++;
        if (!named_by(&q, json_integer_value(phys)))
            fail_msg("%s: " SLICE_FMT "#" SLICE_FMT " does not find %lld", r->a->name, SLICE_ARG(topic),
                     SLICE_ARG(key), (long long)json_integer_value(phys));
    }
    if (q.n != want)
        fail_msg("%s: " SLICE_FMT "#" SLICE_FMT " finds %d messages, recorded %d", r->a->name, SLICE_ARG(topic),
                 SLICE_ARG(key), q.n, want);
    while (q.n)
        store_view_release(&views[--q.n]);
}

static int add_index_file(void *arg, const char *name)
{
    struct buf *const names = arg;
    buf_printf(names, "%s\n", name);
    return 0;
}

/* Names and content of the index files, one after the other. */
static void index_files(const struct reading *r, int *n, struct buf *out)
{
    char dir[600], path[700];
    struct buf names;
    struct err e = {0};
    buf_init(&names, 0);
    snprintf(dir, sizeof dir, "%s/store/index", r->dir);
    assert_ok(fs_real.list(&fs_real, dir, add_index_file, &names, &e), &e);
    struct slice rest = buf_slice(&names), name;
    for (*n = 0; slice_cut(&rest, '\n', &name) && name.n; ++*n) {
        char *content;
        size_t size;
        snprintf(path, sizeof path, "%s/" SLICE_FMT, dir, SLICE_ARG(name));
        assert_ok(fs_read_all(&fs_real, path, 1 << 20, &content, &size, &e), &e);
        buf_slice_add(out, name);
        buf_add(out, content, size);
        free(content);
    }
    buf_free(&names);
}

static void every_key_is_found(const struct archive *a)
{
    struct reading r = reading_begin(a);
    struct store_recovery found;
    struct err e = {0};
    struct buf before, after;
    int queries = 0, n, n_after;
    size_t i;
    json_t *line;
    buf_init(&before, 0);
    buf_init(&after, 0);
    index_files(&r, &n, &before);
    assert_int_equal(n, a->index_files);
    open_in_process(&r, &found);
    json_array_foreach(r.expected, i, line)
        if ((is(line, "keyQuery") || is(line, "uniqueKeyQuery")) && !of_batch_topic(&r, line)) {
            compare_query(&r, line);
            queries++;
        }
    assert_int_equal(queries, a->queries);
    index_files(&r, &n_after, &after);
    if (a->clean && !slice_eq(buf_slice(&before), buf_slice(&after)))
        fail_msg("%s: %d recorded index files became %d others", a->name, n, n_after);
    assert_ok(store_close(r.st, &e), &e);
    buf_free(&before);
    buf_free(&after);
    reading_end(&r);
}

static void everything_stored_is_there(const struct archive *a)
{
    struct reading r = reading_begin(a);
    struct store_recovery found;
    struct err e = {0};
    open_in_process(&r, &found);
    assert_int_equal(found.clean, a->clean);
    assert_int_equal(found.dropped_bytes, 0);
    int messages = 0, queues = 0, views = 0;
    size_t i;
    json_t *line;
    json_array_foreach(r.expected, i, line) {
        if (is(line, "broker")) {
            assert_int_equal(found.log_min, json_get_i64(line, "commitLogMinOffset", -1));
            assert_int_equal(found.log_max, json_get_i64(line, "commitLogMaxOffset", -1));
        } else if (is(line, "message") && !of_batch_topic(&r, line)) {
            compare_message(&r, line);
            messages++;
        } else if (is(line, "queue") && !of_batch_topic(&r, line)) {
            compare_queue(&r, line);
            queues++;
        } else if (is(line, "viewById")) {
            compare_view(&r, line);
            views++;
        }
    }
    assert_int_equal(messages, a->messages);
    assert_int_equal(queues, a->queues);
    assert_int_equal(views, a->views);
    assert_ok(store_close(r.st, &e), &e);
    open_in_process(&r, &found); /* and after an orderly stop of ours */
    assert_true(found.clean);
    json_array_foreach(r.expected, i, line)
        if (is(line, "message") && !of_batch_topic(&r, line))
            compare_message(&r, line);
    assert_ok(store_close(r.st, &e), &e);
    reading_end(&r);
}

/* ---- by the broker ---- */

static json_t *config_file(const struct reading *r, const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/store/config/%s", r->dir, name);
    FILE *const f = fopen(path, "r");
    assert_non_null(f);
    static char text[1 << 20];
    const size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    json_t *j;
    struct err e = {0};
    assert_ok(json_parse(slice_of(text, n), &j, &e), &e);
    return j;
}

/* Every member of the recorded entry, with its value. */
static void entry_equals(const struct reading *r, const json_t *table, const json_t *line, const char *name)
{
    char *const key = strndup(json_get_str(line, name).p, json_get_str(line, name).n);
    const json_t *const ours = json_object_get(table, key);
    if (!ours)
        fail_msg("%s: %s %s is gone", r->a->name, name, key);
    const char *member;
    json_t *want;
    json_object_foreach(json_object_get(line, "config"), member, want)
        if (!json_equal(want, json_object_get(ours, member)))
            fail_msg("%s: %s %s: %s is %s, recorded %s", r->a->name, name, key, member,
                     json_dumps(json_object_get(ours, member), JSON_ENCODE_ANY),
                     json_dumps(want, JSON_ENCODE_ANY));
    free(key);
}

static void compare_offset(struct peer *p, const struct reading *r, const json_t *line)
{
    const struct hdr_query_consumer_offset h = {json_get_str(line, "group"), json_get_str(line, "topic"),
                                                (int32_t)json_get_i64(line, "queueId", -1), false};
    const struct command *const c = peer_call(p, RC_QUERY_CONSUMER_OFFSET, &h, SLICE_NULL);
    int64_t offset = -1;
    const int rc = c->code == RESP_SUCCESS ? slice_i64(command_ext(c, "offset"), &offset) : 0;
    if (rc || offset != json_get_i64(line, "offset", -2))
        fail_msg("%s: " SLICE_FMT " at " SLICE_FMT "-%d: code %d, offset %lld, recorded %lld", r->a->name,
                 SLICE_ARG(h.consumer_group), SLICE_ARG(h.topic), h.queue_id, c->code, (long long)offset,
                 (long long)json_get_i64(line, "offset", -2));
}

/* Pending levels fall due while the broker runs: positions only go forward. */
static void compare_delay(const struct reading *r, const json_t *line, const json_t *delay)
{
    const char *level;
    json_t *want;
    json_object_foreach(json_object_get(line, "table"), level, want)
        if (json_get_i64(json_object_get(delay, "offsetTable"), level, -1) < json_integer_value(want))
            fail_msg("%s: delay level %s is at %lld, recorded %lld", r->a->name, level,
                     (long long)json_get_i64(json_object_get(delay, "offsetTable"), level, -1),
                     (long long)json_integer_value(want));
}

static void everything_configured_is_there(const struct archive *a)
{
    struct reading r = reading_begin(a);
    struct mq_process b;
    struct peer p;
    size_t i;
    json_t *line;
    mq_broker_start(&b, r.dir, NULL,
                    "mappedFileSizeCommitLog=262144\nmappedFileSizeConsumeQueue=2000\nmaxMessageSize=131072\n"
                    "maxHashSlotNum=40\nmaxIndexNum=160\nfileReservedTime=876000\n", NULL);
    peer_open(&p, b.address);
    json_array_foreach(r.expected, i, line)
        if (is(line, "groupOffset"))
            compare_offset(&p, &r, line);
    peer_close(&p);
    mq_stop(&b);
    json_t *const topics = config_file(&r, "topics.json"), *const groups = config_file(&r, "subscriptionGroup.json"),
           *const delay = config_file(&r, "delayOffset.json");
    json_array_foreach(r.expected, i, line) {
        if (is(line, "topic") && !json_get_bool(json_object_get(line, "config"), "noTopicConfig", false))
            entry_equals(&r, json_object_get(topics, "topicConfigTable"), line, "topic");
        else if (is(line, "group"))
            entry_equals(&r, json_object_get(groups, "subscriptionGroupTable"), line, "group");
        else if (is(line, "delayOffset"))
            compare_delay(&r, line, delay);
    }
    json_decref(topics);
    json_decref(groups);
    json_decref(delay);
    reading_end(&r);
}

static const struct archive v4_clean = {.name = "4.9.7/clean", .messages = 257, .queues = 36, .views = 11,
                                        .queries = 145, .index_files = 4, .clean = true},
                            v4_killed = {.name = "4.9.7/killed", .messages = 257, .queues = 36, .views = 11,
                                         .queries = 145, .index_files = 4},
                            v5_clean = {.name = "5.5.0/clean", .batch = "g5_innerbatch", .messages = 307,
                                        .queues = 39, .views = 11, .queries = 148, .index_files = 6,
                                        .clean = true},
                            v5_killed = {.name = "5.5.0/killed", .batch = "g5_innerbatch", .messages = 304,
                                         .queues = 38, .views = 11, .queries = 146, .index_files = 6};

static void stored_by_4_9_7_stopped(void **state) { (void)state; everything_stored_is_there(&v4_clean); }
static void stored_by_4_9_7_killed(void **state) { (void)state; everything_stored_is_there(&v4_killed); }
static void stored_by_5_5_0_stopped(void **state) { (void)state; everything_stored_is_there(&v5_clean); }
static void stored_by_5_5_0_killed(void **state) { (void)state; everything_stored_is_there(&v5_killed); }
static void indexed_by_4_9_7_stopped(void **state) { (void)state; every_key_is_found(&v4_clean); }
static void indexed_by_4_9_7_killed(void **state) { (void)state; every_key_is_found(&v4_killed); }
static void indexed_by_5_5_0_stopped(void **state) { (void)state; every_key_is_found(&v5_clean); }
static void indexed_by_5_5_0_killed(void **state) { (void)state; every_key_is_found(&v5_killed); }
static void configured_by_4_9_7_stopped(void **state) { (void)state; everything_configured_is_there(&v4_clean); }
static void configured_by_4_9_7_killed(void **state) { (void)state; everything_configured_is_there(&v4_killed); }
static void configured_by_5_5_0_stopped(void **state) { (void)state; everything_configured_is_there(&v5_clean); }
static void configured_by_5_5_0_killed(void **state) { (void)state; everything_configured_is_there(&v5_killed); }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_by_4_9_7_stopped),
        cmocka_unit_test(stored_by_4_9_7_killed),
        cmocka_unit_test(stored_by_5_5_0_stopped),
        cmocka_unit_test(stored_by_5_5_0_killed),
        cmocka_unit_test(indexed_by_4_9_7_stopped),
        cmocka_unit_test(indexed_by_4_9_7_killed),
        cmocka_unit_test(indexed_by_5_5_0_stopped),
        cmocka_unit_test(indexed_by_5_5_0_killed),
        cmocka_unit_test(configured_by_4_9_7_stopped),
        cmocka_unit_test(configured_by_4_9_7_killed),
        cmocka_unit_test(configured_by_5_5_0_stopped),
        cmocka_unit_test(configured_by_5_5_0_killed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
