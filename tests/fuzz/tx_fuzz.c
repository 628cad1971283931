/* Op records of any body (docs/STORE_FORMAT.md 7.2), read at the start of a broker.
 *
 *   byte 0: stored position in the half queue (low four bits) and in the op queue (the others)
 *   the rest: bodies of op records; a byte FF ends one
 *
 * The queue of half messages has HALVES of them. Exactly those are decided afterwards that lie before the
 * stored position or are named by a record at or behind the other one; whatever else a record names
 * decides nothing, now or later. */
#include "broker/offset.h"
#include "broker/tx_priv.h"
#include "proto/names.h"
#include "tests/fuzz/fuzz_store.h"
#include "tests/fuzz/fuzz_target.h"

enum { HALVES = 12, RECORDS_MAX = 16, BODY_MAX = 600 };

static struct broker_conf conf;
static struct broker broker;
static struct fuzz_image *image;
static int64_t half_phys[HALVES];

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    struct store_opts o;
    struct store_recovery found;
    struct store_unit units[HALVES];
    struct err e;
    fuzz_store_init();
    fuzz_store_opts(&o);
    MQ_ASSERT(!broker_conf_defaults(&conf, &e) && !uv_loop_init(&broker.service.loop.uv));
    broker.conf = &conf;
    broker.fs = o.fs;
    broker.clock = o.clock;
    struct store *const st = fuzz_store_open(&o, &found);
    MQ_ASSERT(st);
    for (int i = 0; i < HALVES; i++)
        fuzz_store_append(st, TOPIC_HALF, 0);
    MQ_ASSERT(store_units(st, SLICE_LIT(TOPIC_HALF), 0, 0, units, HALVES) == HALVES);
    for (int i = 0; i < HALVES; i++)
        half_phys[i] = units[i].phys_offset;
    fuzz_store_close(st);
    image = fuzz_disk_save();
    return 0;
}

static void on_done(struct append *a)
{
    MQ_ASSERT(a->status == STORE_OK);
}

static void append_op(struct store_port *port, struct slice body)
{
    struct buf record;
    buf_init(&record, 0);
    fuzz_record_put(&record, &(struct fuzz_record){.topic = TOPIC_OP, .body = body, .prop_crc = true});
    struct append a = {.records = record.p, .size = record.n, .record_n = 1, .topic = SLICE_LIT(TOPIC_OP),
                       .done = on_done};
    store_append(port, &a);
    store_port_submit(port);
    store_port_drain(port, 0);
    buf_free(&record);
}

/* A name is a decimal number, as slice_i64 takes it. */
static void judge(struct slice body, bool decided[HALVES])
{
    struct slice name;
    int64_t offset;
    while (slice_cut(&body, ',', &name))
        if (name.n && !slice_i64(name, &offset) && offset >= 0 && offset < HALVES)
            decided[offset] = true;
}

static void check(int64_t half_at, const bool decided[HALVES])
{
    struct tx *const t = broker.tx;
    int64_t low = half_at;
    while (low < HALVES && decided[low])
        low++;
    for (int64_t i = 0; i < HALVES; i++)
        MQ_ASSERT((tx_window_get(&t->window, i) == TX_DECIDED) == (i < half_at || decided[i]));
    for (int64_t i = HALVES; i < 3 * HALVES; i++)
        MQ_ASSERT(tx_window_get(&t->window, i) == TX_UNDECIDED);
    MQ_ASSERT(tx_window_low(&t->window) == low);
    const int64_t needed = tx_needed_from(&broker);
    MQ_ASSERT(half_at == HALVES || needed >= half_phys[half_at]);
    MQ_ASSERT(needed == INT64_MAX ? low == HALVES : low == HALVES || needed <= half_phys[low]);
}

static void start_and_check(struct slice records, int64_t half_at, int64_t op_at)
{
    bool decided[HALVES] = {false};
    struct store_port port;
    struct slice body;
    struct err e;
    MQ_ASSERT(!store_port_open(&port, broker.store, NULL, &e));
    for (int64_t i = 0; i < RECORDS_MAX && slice_cut(&records, (char)0xff, &body); i++) {
        body.n = body.n < BODY_MAX ? body.n : BODY_MAX;
        append_op(&port, body);
        if (i >= op_at)
            judge(body, decided);
    }
    store_port_close(&port);
    MQ_ASSERT(!offsets_set(broker.offsets, SLICE_LIT(GROUP_TRANS), SLICE_LIT(TOPIC_HALF), 0, half_at, &e));
    MQ_ASSERT(!offsets_set(broker.offsets, SLICE_LIT(GROUP_TRANS), SLICE_LIT(TOPIC_OP), 0, op_at, &e));
    MQ_ASSERT(!tx_start(&broker, &e));
    check(half_at < HALVES ? half_at : HALVES, decided);
    tx_stop(&broker);
    uv_run(&broker.service.loop.uv, UV_RUN_NOWAIT);
    tx_free(&broker);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct store_opts o;
    struct store_recovery found;
    if (!n)
        return 0;
    fuzz_disk_restore(image);
    fuzz_store_opts(&o);
    broker.store = fuzz_store_open(&o, &found);
    broker.offsets = offsets_new(10);
    MQ_ASSERT(broker.store && broker.offsets);
    start_and_check(slice_of((const char *)data + 1, n - 1), data[0] & 15, data[0] >> 4);
    offsets_free(broker.offsets);
    fuzz_store_close(broker.store);
    return 0;
}
