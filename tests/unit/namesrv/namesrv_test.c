#include "tests/unit/remoting/fixture.h"

#include "base/failpoint.h"
#include "base/log.h"
#include "namesrv/namesrv.h"
#include "proto/body.h"
#include "tests/support/golden.h"
#include "tests/support/seed.h"

struct fixture {
    struct namesrv_conf conf;
    struct clock_fake clock;
    struct namesrv *ns;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err e = {0};
    assert_ok(namesrv_conf_load(&f->conf, NULL, NULL, NULL, &e), &e);
    f->conf.listen_port = 0;
    free(f->conf.bind_address);
    f->conf.bind_address = slice_dup(SLICE_LIT("127.0.0.1"));
    f->conf.scan_interval = 10;
    clock_fake_init(&f->clock, 1700000000000, 1000000);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->ns != NULL)
        namesrv_close(f->ns);
    namesrv_conf_free(&f->conf);
    free(f);
    return 0;
}

static int start_and_connect(struct fixture *f)
{
    struct err e = {0};
    assert_ok(namesrv_open(&f->ns, &f->conf, &f->clock.base, &e), &e);
    return peer_connect(namesrv_port(f->ns));
}

/* --- small verbs --- */

struct ask {
    int32_t code;
    const void *hdr;
    struct slice body;
    const char *version; /* of the asker, when it is not ours */
    int32_t flag;
};

/* Sends one request with opaque 7. A version other than ours is patched into the header's text. */
static void send_ask(int fd, const struct ask *q)
{
    const struct code_row *row = code_row_of(q->code);
    struct command_out c = {.code = q->code, .opaque = 7, .flag = q->flag, .type = COMMAND_JSON};
    if (q->hdr != NULL) {
        c.desc = row->request;
        c.names = row->names;
        c.hdr = q->hdr;
    }
    struct buf b;
    struct err e = {0};
    buf_init(&b, 0);
    assert_ok(command_encode(&b, &c, q->body.n, &e), &e);
    if (q->version != NULL) {
        char *at = memmem(b.p, b.n, "\"version\":513", 13);
        assert_non_null(at);
        memcpy(at + 10, q->version, 3);
    }
    buf_slice_add(&b, q->body);
    peer_send(fd, buf_slice(&b));
    buf_free(&b);
}

static void ask(int fd, const struct ask *q, struct answer *a)
{
    send_ask(fd, q);
    peer_answer(fd, a);
    assert_int_equal(a->command.opaque, 7);
}

static void expect(int fd, const struct ask *q, int32_t code, const char *remark)
{
    struct answer a;
    ask(fd, q, &a);
    if (a.command.code != code)
        fail_msg("code %d, %d expected; remark " SLICE_FMT, a.command.code, code, SLICE_ARG(a.command.remark));
    if (remark != NULL)
        assert_slice_equal(a.command.remark, remark);
    answer_free(&a);
}

static const struct hdr_register_broker usual = {
    .broker_name = {"broker-a", 8},
    .broker_addr = {"10.0.0.1:10911", 14},
    .cluster_name = {"C", 1},
    .ha_server_addr = {"10.0.0.1:10912", 14},
    .heartbeat_timeout_ms = 120000,
};
static const struct data_version version_1 = {0, 1000, 1};

static struct buf registration_body(struct data_version v)
{
    static const struct topic_config topics[] = {
        {.name = {"T", 1}, .read_queue_nums = 4, .write_queue_nums = 4, .perm = 6, .filter_type = {"SINGLE_TAG", 10}},
        {.name = {"U", 1}, .read_queue_nums = 8, .write_queue_nums = 8, .perm = 6, .filter_type = {"SINGLE_TAG", 10}},
    };
    struct buf body;
    buf_init(&body, 0);
    assert_int_equal(register_body_encode(topics, 2, v, &body), 0);
    return body;
}

static void enrol_as(int fd, const struct hdr_register_broker *h)
{
    struct buf body = registration_body(version_1);
    expect(fd, &(struct ask){RC_REGISTER_BROKER, h, buf_slice(&body), NULL, 0}, RESP_SUCCESS, NULL);
    buf_free(&body);
}

static void enrol(int fd)
{
    enrol_as(fd, &usual);
}

static int32_t route_code(int fd, const char *topic)
{
    struct hdr_get_routeinfo h = {.topic = slice_str(topic)};
    struct answer a;
    ask(fd, &(struct ask){RC_GET_ROUTEINFO_BY_TOPIC, &h, SLICE_NULL, NULL, 0}, &a);
    int32_t code = a.command.code;
    answer_free(&a);
    return code;
}

struct watch {
    int fd;
    int32_t code;
};

static bool route_has_code(void *arg)
{
    struct watch *w = arg;
    return route_code(w->fd, "T") == w->code;
}

static void await_route(int fd, int32_t code)
{
    struct watch w = {fd, code};
    if (!wait_until(route_has_code, &w, DEADLINE_MS))
        fail_msg("route query still answers %d, %d expected", route_code(fd, "T"), code);
}

/* --- registration and routes --- */

static void a_route_is_there_once_a_broker_registered(void **state)
{
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    struct hdr_get_routeinfo h = {.topic = SLICE_LIT("T")};
    struct answer a;
    ask(fd, &(struct ask){RC_GET_ROUTEINFO_BY_TOPIC, &h, SLICE_NULL, NULL, 0}, &a);
    assert_int_equal(a.command.code, RESP_TOPIC_NOT_EXIST);
    assert_true(slice_starts(a.command.remark, SLICE_LIT("No topic route info in name server for the topic: T\n")));
    answer_free(&a);
    enrol(fd);
    ask(fd, &(struct ask){RC_GET_ROUTEINFO_BY_TOPIC, &h, SLICE_NULL, NULL, 0}, &a);
    assert_int_equal(a.command.code, RESP_SUCCESS);
    assert_slice_equal(a.command.body,
                       "{\"brokerDatas\":[{\"brokerAddrs\":{\"0\":\"10.0.0.1:10911\"},\"brokerName\":\"broker-a\","
                       "\"cluster\":\"C\",\"enableActingMaster\":false}],\"filterServerTable\":{},\"queueDatas\":["
                       "{\"brokerName\":\"broker-a\",\"perm\":6,\"readQueueNums\":4,\"topicSysFlag\":0,"
                       "\"writeQueueNums\":4}]}");
    answer_free(&a);
    close(fd);
}

static void old_askers_get_the_legacy_dialect_unless_they_ask_for_the_standard(void **state)
{
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    enrol(fd);
    static const struct {
        const char *version;
        bool standard_only, legacy;
    } cases[] = {{"400", false, true}, {"401", false, false}, {"317", true, false}, {"121", false, true}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hdr_get_routeinfo h = {SLICE_LIT("T"), cases[i].standard_only};
        struct answer a;
        ask(fd, &(struct ask){RC_GET_ROUTEINFO_BY_TOPIC, &h, SLICE_NULL, cases[i].version, 0}, &a);
        bool legacy = memmem(a.command.body.p, a.command.body.n, "{0:\"10.0.0.1", 12) != NULL;
        assert_int_equal(legacy, cases[i].legacy);
        answer_free(&a);
    }
    close(fd);
}

static void a_damaged_registration_is_refused(void **state)
{
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    struct hdr_register_broker h = usual;
    struct buf body = registration_body(version_1);
    h.body_crc32 = 12345;
    expect(fd, &(struct ask){RC_REGISTER_BROKER, &h, buf_slice(&body), NULL, 0}, RESP_SYSTEM_ERROR, "crc32 not match");
    h.body_crc32 = 0;
    expect(fd, &(struct ask){RC_REGISTER_BROKER, &h, slice_of(body.p, body.n - 1), NULL, 0}, RESP_SYSTEM_ERROR, NULL);
    expect(fd, &(struct ask){RC_REGISTER_BROKER, &h, SLICE_LIT("[]"), NULL, 0}, RESP_SYSTEM_ERROR, NULL);
    expect(fd, &(struct ask){RC_REGISTER_BROKER, &h, SLICE_LIT("\x78\x9c no zlib"), NULL, 0}, RESP_SYSTEM_ERROR, NULL);
    expect(fd, &(struct ask){RC_REGISTER_BROKER, NULL, buf_slice(&body), NULL, 0}, RESP_SYSTEM_ERROR, NULL);
    h.broker_addr = SLICE_LIT("");
    expect(fd, &(struct ask){RC_REGISTER_BROKER, &h, buf_slice(&body), NULL, 0}, RESP_SYSTEM_ERROR, NULL);
    assert_int_equal(route_code(fd, "T"), RESP_TOPIC_NOT_EXIST);
    buf_free(&body);
    close(fd);
}

static void a_registration_that_fails_inside_is_answered_and_can_be_repeated(void **state)
{
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    struct buf body = registration_body(version_1);
    const struct ask q = {RC_REGISTER_BROKER, &usual, buf_slice(&body), NULL, 0};
    struct err e = {0};
    assert_ok(failpoint_arm(SLICE_LIT("namesrv.register=error(E_NOMEM)*1"), &e), &e);
    expect(fd, &q, RESP_SYSTEM_ERROR, NULL);
    assert_int_equal(route_code(fd, "T"), RESP_TOPIC_NOT_EXIST);
    expect(fd, &q, RESP_SUCCESS, NULL);
    assert_int_equal(route_code(fd, "T"), RESP_SUCCESS);
    failpoint_disarm_all();
    buf_free(&body);
    close(fd);
}

static void a_slave_learns_its_master(void **state)
{
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    enrol(fd);
    struct hdr_register_broker h = usual;
    h.broker_id = 1;
    h.broker_addr = SLICE_LIT("10.0.0.2:10911");
    struct buf body = registration_body(version_1);
    struct answer a;
    ask(fd, &(struct ask){RC_REGISTER_BROKER, &h, buf_slice(&body), NULL, 0}, &a);
    assert_slice_equal(command_ext(&a.command, "masterAddr"), "10.0.0.1:10911");
    assert_slice_equal(command_ext(&a.command, "haServerAddr"), "10.0.0.1:10912");
    answer_free(&a);
    buf_free(&body);
    close(fd);
}

static void a_oneway_registration_counts_and_is_not_answered(void **state)
{
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    struct buf body = registration_body(version_1);
    send_ask(fd, &(struct ask){RC_REGISTER_BROKER, &usual, buf_slice(&body), NULL, COMMAND_FLAG_ONEWAY});
    assert_int_equal(route_code(fd, "T"), RESP_SUCCESS); /* its answer is the first thing that comes */
    buf_free(&body);
    close(fd);
}

static void codes_that_are_not_served_say_so(void **state)
{
    static const int32_t codes[] = {100, 101, 102, 219, 205, 216, 217, 318, 319, 901, 10, 0, -1, 200050};
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        char remark[64];
        snprintf(remark, sizeof remark, " request type %d not supported", codes[i]);
        expect(fd, &(struct ask){codes[i], NULL, SLICE_NULL, NULL, 0}, RESP_REQUEST_CODE_NOT_SUPPORTED, remark);
    }
    close(fd);
}

/* --- lists --- */

static void the_cluster_and_topic_lists_name_everything_once(void **state)
{
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    enrol(fd);
    struct hdr_register_broker h = usual;
    h.broker_name = SLICE_LIT("broker-b");
    h.broker_addr = SLICE_LIT("10.0.0.2:10911");
    enrol_as(fd, &h);
    h.broker_name = SLICE_LIT("broker-c");
    h.broker_addr = SLICE_LIT("10.0.0.3:10911");
    h.cluster_name = SLICE_LIT("D");
    enrol_as(fd, &h);
    struct answer a;
    ask(fd, &(struct ask){RC_GET_BROKER_CLUSTER_INFO, NULL, SLICE_NULL, NULL, 0}, &a);
    assert_slice_equal(
        a.command.body,
        "{\"brokerAddrTable\":{"
        "\"broker-a\":{\"brokerAddrs\":{0:\"10.0.0.1:10911\"},\"brokerName\":\"broker-a\",\"cluster\":\"C\",\"enableActingMaster\":false},"
        "\"broker-b\":{\"brokerAddrs\":{0:\"10.0.0.2:10911\"},\"brokerName\":\"broker-b\",\"cluster\":\"C\",\"enableActingMaster\":false},"
        "\"broker-c\":{\"brokerAddrs\":{0:\"10.0.0.3:10911\"},\"brokerName\":\"broker-c\",\"cluster\":\"D\",\"enableActingMaster\":false}},"
        "\"clusterAddrTable\":{\"C\":[\"broker-a\",\"broker-b\"],\"D\":[\"broker-c\"]}}");
    answer_free(&a);
    ask(fd, &(struct ask){RC_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, NULL, SLICE_NULL, NULL, 0}, &a);
    assert_slice_equal(a.command.body, "{\"topicList\":[\"T\",\"U\"]}");
    answer_free(&a);
    close(fd);
}

static void the_topic_list_can_be_disabled(void **state)
{
    struct fixture *f = *state;
    f->conf.all_topic_list_enable = false;
    int fd = start_and_connect(f);
    expect(fd, &(struct ask){RC_GET_ALL_TOPIC_LIST_FROM_NAMESERVER, NULL, SLICE_NULL, NULL, 0}, RESP_SYSTEM_ERROR,
           "disable");
    close(fd);
}

static void routes_can_be_held_back_after_the_start(void **state)
{
    struct fixture *f = *state;
    f->conf.wait_for_service = true;
    int fd = start_and_connect(f);
    enrol(fd);
    struct hdr_get_routeinfo h = {.topic = SLICE_LIT("T")};
    const struct ask q = {RC_GET_ROUTEINFO_BY_TOPIC, &h, SLICE_NULL, NULL, 0};
    expect(fd, &q, RESP_SYSTEM_ERROR, "name server not ready");
    clock_fake_advance(&f->clock, 44999);
    expect(fd, &q, RESP_SYSTEM_ERROR, "name server not ready");
    clock_fake_advance(&f->clock, 1);
    expect(fd, &q, RESP_SUCCESS, NULL);
    close(fd);
}

/* --- data versions --- */

static void expect_version(int fd, const char *body, const char *changed, const char *known)
{
    const struct hdr_query_data_version h = {usual.broker_name, usual.broker_addr, usual.cluster_name, 0};
    struct answer a;
    ask(fd, &(struct ask){RC_QUERY_DATA_VERSION, &h, slice_str(body), NULL, 0}, &a);
    assert_int_equal(a.command.code, RESP_SUCCESS);
    assert_slice_equal(command_ext(&a.command, "changed"), changed);
    assert_slice_equal(a.command.body, known);
    answer_free(&a);
}

static void a_broker_can_ask_whether_its_version_is_known(void **state)
{
    static const char known[] = "{\"counter\":1,\"stateVersion\":0,\"timestamp\":1000}";
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    expect_version(fd, known, "true", "");
    enrol(fd);
    expect_version(fd, known, "false", known);
    expect_version(fd, "{\"counter\":2,\"stateVersion\":0,\"timestamp\":1000}", "true", known);
    expect_version(fd, "{\"counter\":1,\"timestamp\":1000}", "false", known); /* 4.x: no stateVersion */
    expect_version(fd, "garbage", "true", known);
    close(fd);
}

/* --- leaving --- */

static void an_unregistered_broker_has_no_routes(void **state)
{
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    enrol(fd);
    const struct hdr_unregister_broker h = {usual.broker_name, usual.broker_addr, usual.cluster_name, 0};
    for (int i = 0; i < 2; i++) { /* twice is fine */
        expect(fd, &(struct ask){RC_UNREGISTER_BROKER, &h, SLICE_NULL, NULL, 0}, RESP_SUCCESS, NULL);
        assert_int_equal(route_code(fd, "T"), RESP_TOPIC_NOT_EXIST);
    }
    close(fd);
}

static void a_lost_connection_ends_its_broker_at_once(void **state)
{
    struct fixture *f = *state;
    int client = start_and_connect(f);
    int broker = peer_connect(namesrv_port(f->ns));
    enrol(broker);
    assert_int_equal(route_code(client, "T"), RESP_SUCCESS);
    close(broker);
    await_route(client, RESP_TOPIC_NOT_EXIST); /* the fake clock stands: nothing can expire */
    close(client);
}

/* Known failure 21, over the wire: the successor registers, then the predecessor says farewell, then its
 * connection ends. Real name servers drop the route at either. */
static void a_late_unregister_does_not_wipe_a_fresh_registration(void **state)
{
    struct fixture *f = *state;
    int client = start_and_connect(f);
    int predecessor = peer_connect(namesrv_port(f->ns));
    enrol(predecessor);
    int successor = peer_connect(namesrv_port(f->ns));
    enrol(successor);
    const struct hdr_unregister_broker h = {usual.broker_name, usual.broker_addr, usual.cluster_name, 0};
    const struct ask farewell = {RC_UNREGISTER_BROKER, &h, SLICE_NULL, NULL, 0};
    expect(predecessor, &farewell, RESP_SUCCESS, NULL);
    assert_int_equal(route_code(client, "T"), RESP_SUCCESS);
    shutdown(predecessor, SHUT_RDWR);
    expect_closed(predecessor);
    close(predecessor);
    for (int i = 0; i < 50; i++)
        assert_int_equal(route_code(client, "T"), RESP_SUCCESS);
    expect(successor, &farewell, RESP_SUCCESS, NULL);
    assert_int_equal(route_code(client, "T"), RESP_TOPIC_NOT_EXIST);
    close(successor);
    close(client);
}

static void a_silent_broker_expires_and_a_heartbeat_keeps_it(void **state)
{
    struct fixture *f = *state;
    f->conf.idle_seconds = 86400; /* the fake clock must not end connections */
    int fd = start_and_connect(f);
    int broker = peer_connect(namesrv_port(f->ns));
    enrol(broker);
    const struct hdr_broker_heartbeat h = {usual.cluster_name, usual.broker_addr, usual.broker_name, 0, 120000};
    for (int i = 0; i < 3; i++) {
        clock_fake_advance(&f->clock, 100000);
        expect(broker, &(struct ask){RC_BROKER_HEARTBEAT, &h, SLICE_NULL, NULL, 0}, RESP_SUCCESS, NULL);
        assert_int_equal(route_code(fd, "T"), RESP_SUCCESS);
    }
    clock_fake_advance(&f->clock, 120001);
    await_route(fd, RESP_TOPIC_NOT_EXIST);
    close(broker);
    close(fd);
}

static void several_name_servers_run_side_by_side(void **state)
{
    struct fixture *f = *state;
    struct namesrv *others[3];
    int fds[3];
    struct err e = {0};
    int fd = start_and_connect(f);
    for (int i = 0; i < 3; i++) {
        assert_ok(namesrv_open(&others[i], &f->conf, &clock_system, &e), &e);
        fds[i] = peer_connect(namesrv_port(others[i]));
    }
    enrol(fds[1]);
    assert_int_equal(route_code(fds[0], "T"), RESP_TOPIC_NOT_EXIST);
    assert_int_equal(route_code(fds[1], "T"), RESP_SUCCESS);
    assert_int_equal(route_code(fd, "T"), RESP_TOPIC_NOT_EXIST);
    for (int i = 0; i < 3; i++) {
        close(fds[i]);
        namesrv_close(others[i]);
    }
    close(fd);
}

static void a_taken_port_is_reported(void **state)
{
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    f->conf.listen_port = namesrv_port(f->ns);
    struct namesrv *second;
    struct err e = {0};
    assert_code(namesrv_open(&second, &f->conf, &clock_system, &e), E_EXISTS, &e);
    assert_contains(e.text, "in use");
    close(fd);
}

/* --- recorded conversations --- */

/* NULL: the recording ended before the answer. */
static const struct golden_frame *answer_of(const struct golden *g, size_t request)
{
    const struct golden_frame *q = &g->frames[request];
    for (size_t i = request + 1; i < g->n; i++) {
        const struct golden_frame *a = &g->frames[i];
        if (a->conn == q->conn && a->opaque == q->opaque && strcmp(a->kind, "response") == 0 &&
            strcmp(a->to, q->from) == 0)
            return a;
    }
    return NULL;
}

static bool to_namesrv(const struct golden_frame *q)
{
    return strcmp(q->to, "namesrv") == 0 && strcmp(q->kind, "response") != 0;
}

static struct slice golden_body(const struct golden_frame *a)
{
    return slice_of(a->bytes.p + a->bytes.n - a->body_len, (size_t)a->body_len);
}

/* Sends every recorded frame to our name server, on one socket per recorded connection; each answer must
 * have the recorded code, answers to 106 the recorded bytes. Returns how many were answered. */
static int replay(struct fixture *f, const char *const *files)
{
    int fds[256], answered = 0;
    memset(fds, -1, sizeof fds);
    for (; *files != NULL; files++) {
        struct golden g;
        struct err e = {0};
        assert_ok(golden_load(*files, &g, &e), &e);
        for (size_t i = 0; i < g.n; i++) {
            const struct golden_frame *q = &g.frames[i];
            if (!to_namesrv(q))
                continue;
            assert_in_range(q->conn, 0, 255);
            if (fds[q->conn] < 0)
                fds[q->conn] = peer_connect(namesrv_port(f->ns));
            peer_send(fds[q->conn], q->bytes);
            if (strcmp(q->kind, "oneway") == 0)
                continue;
            const struct golden_frame *want = answer_of(&g, i);
            assert_non_null(want);
            struct answer a;
            peer_answer(fds[q->conn], &a);
            assert_int_equal(a.command.opaque, q->opaque);
            if (a.command.code != want->code)
                fail_msg("%s:%lld %s: code %d, recorded %d; remark " SLICE_FMT, q->file, (long long)q->offset,
                         q->name, a.command.code, want->code, SLICE_ARG(a.command.remark));
            if (q->code == RC_GET_BROKER_CLUSTER_INFO && !slice_eq(a.command.body, golden_body(want)))
                fail_msg("106: " SLICE_FMT "\nrecorded: " SLICE_FMT, SLICE_ARG(a.command.body),
                         SLICE_ARG(golden_body(want)));
            answer_free(&a);
            answered++;
        }
        golden_free(&g);
    }
    for (int i = 0; i < 256; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    return answered;
}

static void the_start_and_stop_of_a_5_5_0_broker_replays(void **state)
{
    static const char *const files[] = {"java-5.5.0-broker-register.bin", "java-5.5.0-broker-unregister.bin", NULL};
    struct fixture *f = *state;
    close(start_and_connect(f));
    assert_int_equal(replay(f, files), 19);
}

static void the_start_and_stop_of_a_4_9_7_broker_replays(void **state)
{
    static const char *const files[] = {"java-4.9.7-broker-register.bin", "java-4.9.7-broker-unregister2.bin", NULL};
    struct fixture *f = *state;
    close(start_and_connect(f));
    assert_int_equal(replay(f, files), 16);
}

static void a_compressed_4_9_7_registration_replays(void **state)
{
    static const char *const files[] = {"java-4.9.7-broker-register-compressed.bin",
                                        "java-4.9.7-broker-unregister.bin", NULL};
    struct fixture *f = *state;
    close(start_and_connect(f));
    assert_int_equal(replay(f, files), 3);
}

/* Known failure 30: what the 5.5.0 name server refused, ours understands. */
static void the_compressed_5_5_0_registration_is_accepted(void **state)
{
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    struct golden g;
    struct err e = {0};
    assert_ok(golden_load("java-5.5.0-broker-register-compressed-refused.bin", &g, &e), &e);
    assert_int_equal(g.frames[0].code, RC_REGISTER_BROKER);
    assert_int_equal(answer_of(&g, 0)->code, RESP_SYSTEM_ERROR);
    peer_send(fd, g.frames[0].bytes);
    expect_answer(fd, g.frames[0].opaque, RESP_SUCCESS);
    assert_int_equal(route_code(fd, "TBW102"), RESP_SUCCESS);
    golden_free(&g);
    close(fd);
}

/* Registers the broker and the topic that a recorded route shows. */
static void enrol_route(int fd, const struct route_data *d, struct slice topic)
{
    assert_int_equal(d->broker_n, 1);
    assert_int_equal(d->brokers[0].addr_n, 1);
    const struct queue_data *q = &d->queues[0];
    struct topic_config topics[] = {
        {topic, q->read_queue_nums, q->write_queue_nums, q->perm, q->sys_flag, false, SLICE_LIT("SINGLE_TAG"), NULL},
        {SLICE_LIT("another"), 1, 1, 6, 0, false, SLICE_LIT("SINGLE_TAG"), NULL}};
    struct hdr_register_broker h = {.broker_name = d->brokers[0].broker_name,
                                    .broker_addr = d->brokers[0].addrs[0].addr,
                                    .cluster_name = d->brokers[0].cluster,
                                    .ha_server_addr = SLICE_LIT("h:1"),
                                    .heartbeat_timeout_ms = 120000};
    struct buf body;
    buf_init(&body, 0);
    assert_int_equal(register_body_encode(topics, 2, version_1, &body), 0);
    expect(fd, &(struct ask){RC_REGISTER_BROKER, &h, buf_slice(&body), NULL, 0}, RESP_SUCCESS, NULL);
    buf_free(&body);
}

static void retire_route(int fd, const struct route_data *d)
{
    struct hdr_unregister_broker h = {d->brokers[0].broker_name, d->brokers[0].addrs[0].addr,
                                      d->brokers[0].cluster, d->brokers[0].addrs[0].id};
    expect(fd, &(struct ask){RC_UNREGISTER_BROKER, &h, SLICE_NULL, NULL, 0}, RESP_SUCCESS, NULL);
}

/* 4.9 name servers do not know enableActingMaster. */
static void expect_route_body(struct slice got, struct slice want, const char *file)
{
    static const char extra[] = ",\"enableActingMaster\":false";
    struct buf b;
    buf_init(&b, 0);
    buf_slice_add(&b, got);
    if (memmem(want.p, want.n, extra, sizeof extra - 1) == NULL) {
        char *at = memmem(b.p, b.n, extra, sizeof extra - 1);
        assert_non_null(at);
        size_t head = (size_t)(at - b.p);
        memmove(at, at + sizeof extra - 1, b.n - head - (sizeof extra - 1));
        b.n -= sizeof extra - 1;
    }
    if (!slice_eq(buf_slice(&b), want))
        fail_msg("%s\n" SLICE_FMT "\nrecorded:\n" SLICE_FMT, file, SLICE_ARG(buf_slice(&b)), SLICE_ARG(want));
    buf_free(&b);
}

static void every_recorded_route_query_gets_the_recorded_answer(void **state)
{
    struct fixture *f = *state;
    int fd = start_and_connect(f);
    struct golden g;
    struct err e = {0};
    int found = 0, missing = 0;
    assert_ok(golden_load("", &g, &e), &e);
    for (size_t i = 0; i < g.n; i++) {
        const struct golden_frame *q = &g.frames[i];
        if (!to_namesrv(q) || q->code != RC_GET_ROUTEINFO_BY_TOPIC)
            continue;
        const struct golden_frame *want = answer_of(&g, i);
        if (want == NULL)
            continue;
        struct route_data d;
        struct answer asked = {0}, a;
        buf_init(&asked.bytes, 0);
        buf_slice_add(&asked.bytes, q->bytes);
        assert_ok(frame_next(asked.bytes.p, asked.bytes.n, FRAME_MAX, &asked.frame, &e), &e);
        assert_ok(command_decode(asked.bytes.p + asked.frame.header_at, asked.frame.header_n, asked.frame.type,
                                 &asked.command, NULL, &e), &e);
        if (want->code == RESP_SUCCESS) {
            assert_ok(route_data_decode(golden_body(want), &d, &e), &e);
            enrol_route(fd, &d, command_ext(&asked.command, "topic"));
        }
        peer_send(fd, q->bytes);
        peer_answer(fd, &a);
        assert_int_equal(a.command.opaque, q->opaque);
        assert_int_equal(a.command.code, want->code);
        assert_int_equal(a.frame.type, asked.frame.type);
        if (want->code == RESP_SUCCESS) {
            expect_route_body(a.command.body, golden_body(want), q->file);
            retire_route(fd, &d);
            route_data_free(&d);
            found++;
        } else {
            size_t line = strcspn(want->remark, "\n");
            assert_true(slice_starts(a.command.remark, slice_of(want->remark, line)));
            missing++;
        }
        answer_free(&a);
        answer_free(&asked);
    }
    print_message("%d routes, %d missing topics\n", found, missing);
    assert_true(found > 200 && missing > 40);
    golden_free(&g);
    close(fd);
}

static void damaged_registrations_never_stop_the_server(void **state)
{
    struct fixture *f = *state;
    int canary = start_and_connect(f);
    struct golden g;
    struct err e = {0};
    assert_ok(golden_load("java-5.5.0-broker-register.bin", &g, &e), &e);
    struct rng rng = test_rng("damaged registrations");
    struct buf b;
    buf_init(&b, 0);
    for (int round = 0; round < 300; round++) {
        const struct slice frame = g.frames[2 * rng_below(&rng, 5)].bytes;
        buf_clear(&b);
        buf_slice_add(&b, frame);
        for (uint64_t n = 1 + rng_below(&rng, 4); n > 0; n--)
            b.p[8 + rng_below(&rng, b.n - 8)] = (char)rng_below(&rng, 256);
        int fd = peer_connect(namesrv_port(f->ns));
        peer_send(fd, buf_slice(&b));
        shutdown(fd, SHUT_WR);
        expect_closed(fd);
        close(fd);
    }
    assert_int_equal(route_code(canary, "no such topic"), RESP_TOPIC_NOT_EXIST);
    buf_free(&b);
    golden_free(&g);
    close(canary);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    log_set_level(LOG_ERROR);
    const struct CMUnitTest tests[] = {
        TEST(a_route_is_there_once_a_broker_registered),
        TEST(old_askers_get_the_legacy_dialect_unless_they_ask_for_the_standard),
        TEST(a_damaged_registration_is_refused),
        TEST(a_registration_that_fails_inside_is_answered_and_can_be_repeated),
        TEST(a_slave_learns_its_master),
        TEST(a_oneway_registration_counts_and_is_not_answered),
        TEST(codes_that_are_not_served_say_so),
        TEST(the_cluster_and_topic_lists_name_everything_once),
        TEST(the_topic_list_can_be_disabled),
        TEST(routes_can_be_held_back_after_the_start),
        TEST(a_broker_can_ask_whether_its_version_is_known),
        TEST(an_unregistered_broker_has_no_routes),
        TEST(a_lost_connection_ends_its_broker_at_once),
        TEST(a_late_unregister_does_not_wipe_a_fresh_registration),
        TEST(a_silent_broker_expires_and_a_heartbeat_keeps_it),
        TEST(several_name_servers_run_side_by_side),
        TEST(a_taken_port_is_reported),
        TEST(the_start_and_stop_of_a_5_5_0_broker_replays),
        TEST(the_start_and_stop_of_a_4_9_7_broker_replays),
        TEST(a_compressed_4_9_7_registration_replays),
        TEST(the_compressed_5_5_0_registration_is_accepted),
        TEST(every_recorded_route_query_gets_the_recorded_answer),
        TEST(damaged_registrations_never_stop_the_server),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
