/* Op records of an earlier run, as broker/tx_op.c reads them at the start. */
#include <stdlib.h>

#include "base/fs_sim.h"
#include "broker/offset.h"
#include "broker/tx_priv.h"
#include "proto/names.h"
#include "tests/support/test.h"

enum { HALVES = 3 };

static struct {
    struct fs_sim *sim;
    struct clock_fake clock;
    struct broker_conf conf;
    struct broker b;
    struct store_port port;
} f;

static void on_done(struct append *a)
{
    assert_int_equal(a->status, STORE_OK);
}

static void append(const char *topic, const char *body)
{
    struct message m = {.body_crc = -1, .born_host = {.len = 4}, .store_host = {.len = 4},
                        .topic = slice_str(topic), .body = slice_str(body), .prop_crc = true};
    size_t size;
    assert_int_equal(message_prepare(&m, &size), 0);
    char *const record = malloc(size);
    assert_non_null(record);
    message_encode(&m, record, size);
    struct append a = {.records = record, .size = size, .record_n = 1, .topic = m.topic, .done = on_done};
    store_append(&f.port, &a);
    store_port_submit(&f.port);
    store_port_drain(&f.port, 0);
    free(record);
}

static int setup(void **state)
{
    (void)state;
    struct store_opts o;
    struct err e;
    memset(&f, 0, sizeof f);
    f.sim = fs_sim_new(INT64_C(1) << 30);
    clock_fake_init(&f.clock, INT64_C(1700000000000), 1000);
    store_opts_defaults(&o);
    o.root_dir = "/store";
    o.fs = fs_sim_fs(f.sim);
    o.clock = &f.clock.base;
    o.commitlog_file_size = 65536;
    o.index_enable = false;
    o.manual = true;
    assert_ok(broker_conf_defaults(&f.conf, &e), &e);
    f.b.conf = &f.conf;
    f.b.fs = o.fs;
    f.b.clock = o.clock;
    f.b.offsets = offsets_new(10);
    assert_non_null(f.b.offsets);
    assert_int_equal(uv_loop_init(&f.b.service.loop.uv), 0);
    assert_ok(store_open(&f.b.store, &o, NULL, &e), &e);
    assert_ok(store_port_open(&f.port, f.b.store, NULL, &e), &e);
    for (int i = 0; i < HALVES; i++)
        append(TOPIC_HALF, "half");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    struct err e;
    tx_stop(&f.b);
    uv_run(&f.b.service.loop.uv, UV_RUN_NOWAIT);
    tx_free(&f.b);
    uv_loop_close(&f.b.service.loop.uv);
    store_port_close(&f.port);
    assert_ok(store_close(f.b.store, &e), &e);
    offsets_free(f.b.offsets);
    broker_conf_free(&f.conf);
    fs_sim_free(f.sim);
    return 0;
}

static void expect(const enum tx_state want[HALVES])
{
    struct err e;
    assert_ok(tx_start(&f.b, &e), &e);
    for (int i = 0; i < HALVES; i++)
        assert_int_equal(tx_window_get(&f.b.tx->window, i), want[i]);
}

static void what_records_name_is_decided(void **state)
{
    (void)state;
    append(TOPIC_OP, "0,");
    append(TOPIC_OP, "2"); /* as RocketMQ 4.x writes */
    expect((enum tx_state[]){TX_DECIDED, TX_UNDECIDED, TX_DECIDED});
}

/* Else one record could claim all memory, or decide halves of the future. */
static void a_name_of_no_half_decides_nothing(void **state)
{
    (void)state;
    append(TOPIC_OP, "9223372036854775807,3,-1,,x,1,1000000000000,");
    expect((enum tx_state[]){TX_UNDECIDED, TX_DECIDED, TX_UNDECIDED});
    assert_int_equal(tx_window_get(&f.b.tx->window, 3), TX_UNDECIDED);
    assert_int_equal(tx_window_low(&f.b.tx->window), 0);
}

static int64_t position(const char *topic)
{
    return offsets_get(f.b.offsets, SLICE_LIT(GROUP_TRANS), slice_str(topic), 0);
}

static void flush(void)
{
    clock_fake_advance(&f.clock, 60000);
    while (store_step_flush(f.b.store)) {
    }
}

/* A broker that was killed may have nothing to do afterwards: its halves must not look undecided for ever. */
static void positions_pass_what_an_earlier_run_decided_once_that_is_on_disk(void **state)
{
    (void)state;
    append(TOPIC_OP, "0,");
    append(TOPIC_OP, "2,1,");
    expect((enum tx_state[]){TX_DECIDED, TX_DECIDED, TX_DECIDED});
    tx_op_progress(f.b.tx);
    assert_int_equal(position(TOPIC_HALF) > 0, false); /* a power cut could still take the records */
    assert_int_equal(tx_needed_from(&f.b), 0);
    flush();
    tx_op_progress(f.b.tx);
    assert_int_equal(position(TOPIC_HALF), HALVES);
    tx_op_progress(f.b.tx);
    assert_int_equal(position(TOPIC_OP), 1); /* the newest record */
    assert_int_equal(tx_needed_from(&f.b), INT64_MAX);
}

static void positions_stay_at_the_lowest_half_that_nobody_decided(void **state)
{
    (void)state;
    append(TOPIC_OP, "0,");
    append(TOPIC_OP, "2,");
    expect((enum tx_state[]){TX_DECIDED, TX_UNDECIDED, TX_DECIDED});
    flush();
    tx_op_progress(f.b.tx);
    tx_op_progress(f.b.tx);
    assert_int_equal(position(TOPIC_HALF), 1);
    assert_int_equal(position(TOPIC_OP), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_records_name_is_decided, setup, teardown),
        cmocka_unit_test_setup_teardown(a_name_of_no_half_decides_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(positions_pass_what_an_earlier_run_decided_once_that_is_on_disk, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(positions_stay_at_the_lowest_half_that_nobody_decided, setup, teardown),
    };
    return cmocka_run_group_tests_name("tx_op", tests, NULL, NULL);
}
