/* docs/STORE_FORMAT.md says what layout.h and the codec do: each number of its tables is compared with
 * the struct it describes, and a record is taken apart by the document alone.
 *
 * A table is found by its section and its header row; cells are sums like "76 + b + s". */
#include "store/layout.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "proto/message.h"
#include "store/inspect.h"
#include "tests/support/test.h"

enum { ROWS_MAX = 24 };

struct variable {
    const char *name;
    int64_t value;
};
struct row {
    int64_t offset, bytes;
    struct slice field;
};
struct table {
    struct row rows[ROWS_MAX];
    size_t n;
};

static char *doc;

static int load_document(void **state)
{
    (void)state;
    const char *const source = getenv("HALFPENNY_SOURCE");
    char path[600];
    size_t n;
    struct err e = {0};
    snprintf(path, sizeof path, "%s/docs/STORE_FORMAT.md", source ? source : ".");
    assert_ok(fs_read_all(&fs_real, path, 1 << 20, &doc, &n, &e), &e);
    return 0;
}

static int free_document(void **state)
{
    (void)state;
    free(doc);
    return 0;
}

static int64_t factor(struct slice word, const struct variable *vars)
{
    int64_t v;
    if (!slice_i64(word, &v))
        return v;
    for (; vars && vars->name; vars++)
        if (slice_eq_str(word, vars->name))
            return vars->value;
    fail_msg("the document uses \"" SLICE_FMT "\" in a number", SLICE_ARG(word));
    return 0;
}

/* Terms with + and -, a term is one factor or several with blanks between ("4 S"). */
static int64_t value(struct slice text, const struct variable *vars)
{
    struct slice rest = slice_trim(text), word;
    int64_t sum = 0, term = 1, sign = 1;
    while (slice_cut(&rest, ' ', &word)) {
        if (!word.n)
            continue;
        if (slice_eq_str(word, "+") || slice_eq_str(word, "-")) {
            sum += sign * term;
            term = 1;
            sign = word.p[0] == '+' ? 1 : -1;
        } else {
            term *= factor(word, vars);
        }
    }
    return sum + sign * term;
}

/* The rows below `header` in the section that begins with `heading`. */
static struct table table_of(const char *heading, const char *header, const struct variable *vars)
{
    struct table t = {0};
    const char *at = strstr(doc, heading);
    if (!at)
        fail_msg("no section \"%s\" in the document", heading);
    at = strstr(at, header);
    if (!at)
        fail_msg("no table \"%s\" in section \"%s\"", header, heading);
    struct slice rest = slice_str(at), line, cell;
    slice_cut(&rest, '\n', &line);
    slice_cut(&rest, '\n', &line); /* |---| */
    while (slice_cut(&rest, '\n', &line) && line.n && line.p[0] == '|') {
        assert_true(t.n < ROWS_MAX);
        struct row *const r = &t.rows[t.n++];
        slice_cut(&line, '|', &cell);
        slice_cut(&line, '|', &cell);
        r->offset = value(cell, vars);
        slice_cut(&line, '|', &cell);
        r->bytes = value(cell, vars);
        slice_cut(&line, '|', &cell);
        r->field = slice_trim(cell);
    }
    return t;
}

struct place {
    size_t offset, bytes;
};
#define PLACE(type, member) {offsetof(struct type, member), sizeof((struct type *)0)->member}

static void table_is(const struct table *t, const struct place *want, size_t n, int64_t base)
{
    assert_int_equal(t->n, n);
    for (size_t i = 0; i < n; i++)
        if (t->rows[i].offset != base + (int64_t)want[i].offset || t->rows[i].bytes != (int64_t)want[i].bytes)
            fail_msg("\"" SLICE_FMT "\": the document says byte %lld, %lld bytes; the code has byte %lld, %zu bytes",
                     SLICE_ARG(t->rows[i].field), (long long)t->rows[i].offset, (long long)t->rows[i].bytes,
                     (long long)base + (long long)want[i].offset, want[i].bytes);
}
#define TABLE_IS(t, want) table_is(&(t), want, sizeof(want) / sizeof *(want), 0)

static void the_document_has_the_structs_numbers(void **state)
{
    (void)state;
    static const struct place blank[] = {PLACE(disk_blank, left), PLACE(disk_blank, magic)};
    static const struct place unit[] = {PLACE(disk_cq_unit, phys_offset), PLACE(disk_cq_unit, size),
                                        PLACE(disk_cq_unit, tags_code)};
    static const struct place checkpoint[] = {
        PLACE(disk_checkpoint, physic_ts), PLACE(disk_checkpoint, logics_ts), PLACE(disk_checkpoint, index_ts),
        PLACE(disk_checkpoint, master_flushed), PLACE(disk_checkpoint, confirm_phys), PLACE(disk_checkpoint, zeros),
        PLACE(disk_checkpoint, age_from_ts), PLACE(disk_checkpoint, more_zeros)};
    static const struct place item[] = {PLACE(disk_index_item, hash), PLACE(disk_index_item, phys),
                                        PLACE(disk_index_item, seconds), PLACE(disk_index_item, prev)};
    static const struct place index_state[] = {
        PLACE(disk_index_state, magic), PLACE(disk_index_state, version), PLACE(disk_index_state, name),
        PLACE(disk_index_state, phys),  PLACE(disk_index_state, count),   PLACE(disk_index_state, slots),
        PLACE(disk_index_state, crc)};
    const struct table blank_t = table_of("## 2. ", "| Offset | Bytes | Blank record |", NULL),
                       unit_t = table_of("## 3. ", "| Offset | Bytes | Field |", NULL),
                       checkpoint_t = table_of("## 4. ", "| Offset | Bytes | Field |", NULL),
                       item_t = table_of("## 5. ", "| Offset in item | Bytes | Field |", NULL),
                       state_t = table_of("`indexCheckpoint` says what counts", "| Offset | Bytes | Field |", NULL);
    TABLE_IS(blank_t, blank);
    TABLE_IS(unit_t, unit);
    TABLE_IS(checkpoint_t, checkpoint);
    TABLE_IS(item_t, item);
    TABLE_IS(state_t, index_state);
}

static void the_document_has_the_index_files_shape(void **state)
{
    (void)state;
    const struct variable vars[] = {{"S", 7}, {"N", 28}, {NULL, 0}};
    const struct place want[] = {
        PLACE(disk_index_header, begin_ts),   PLACE(disk_index_header, end_ts), PLACE(disk_index_header, begin_phys),
        PLACE(disk_index_header, end_phys),   PLACE(disk_index_header, slots_used), PLACE(disk_index_header, count),
        {INDEX_HEADER_SIZE, 7 * INDEX_SLOT_SIZE},
        {INDEX_HEADER_SIZE + 7 * INDEX_SLOT_SIZE, 28 * INDEX_ITEM_SIZE}};
    const struct table t = table_of("## 5. ", "| Offset | Bytes | Field |", vars);
    TABLE_IS(t, want);
}

static void the_document_has_the_checksums_place(void **state)
{
    (void)state;
    static const struct place want[] = {PLACE(disk_prop_crc, name), PLACE(disk_prop_crc, is),
                                        PLACE(disk_prop_crc, digits), PLACE(disk_prop_crc, end)};
    const struct variable vars[] = {{"size", 1000}, {NULL, 0}};
    const struct table t = table_of("### 2.1 ", "| Offset | Bytes | Content |", vars);
    table_is(&t, want, 4, 1000 - MESSAGE_PROP_CRC_SIZE);
    struct message m = {.topic = SLICE_LIT("T"), .properties = SLICE_LIT("a\1b\2"), .born_host = {.len = 4},
                        .store_host = {.len = 4}, .body_crc = -1, .prop_crc = true};
    size_t size;
    char record[200];
    assert_int_equal(message_prepare(&m, &size), 0);
    message_encode(&m, record, size);
    message_patch(record, 1, 2, 3);
    const struct disk_prop_crc *const d = (const struct disk_prop_crc *)(record + size - sizeof *d);
    assert_memory_equal(d->name, PROP_CRC32, sizeof d->name);
    assert_int_equal(d->is[0], 1);
    assert_int_equal(d->end[0], 2);
    for (size_t i = 0; i < sizeof d->digits; i++)
        assert_in_range(d->digits[i], '0', '9');
}

static void host_add(struct buf *out, const struct host *h)
{
    buf_add(out, h->addr, h->len);
    buf_be32(out, (uint32_t)h->port);
}

/* What must stand in row i of the record's table, as bytes. */
static void row_content(struct buf *out, size_t i, const struct message *m, size_t size)
{
    switch (i) {
    case 0: buf_be32(out, (uint32_t)size); break;
    case 1: buf_be32(out, 0xDAA320A7u); break;
    case 2: buf_be32(out, (uint32_t)m->body_crc); break;
    case 3: buf_be32(out, (uint32_t)m->queue_id); break;
    case 4: buf_be32(out, (uint32_t)m->flag); break;
    case 5: buf_be64(out, (uint64_t)m->queue_offset); break;
    case 6: buf_be64(out, (uint64_t)m->phys_offset); break;
    case 7: buf_be32(out, (uint32_t)m->sys_flag); break;
    case 8: buf_be64(out, (uint64_t)m->born_timestamp); break;
    case 9: host_add(out, &m->born_host); break;
    case 10: buf_be64(out, (uint64_t)m->store_timestamp); break;
    case 11: host_add(out, &m->store_host); break;
    case 12: buf_be32(out, (uint32_t)m->reconsume_times); break;
    case 13: buf_be64(out, (uint64_t)m->prepared_offset); break;
    case 14: buf_be32(out, (uint32_t)m->body.n); buf_slice_add(out, m->body); break;
    case 15: buf_u8(out, (uint8_t)m->topic.n); buf_slice_add(out, m->topic); break;
    case 16: buf_be16(out, (uint16_t)m->properties.n); buf_slice_add(out, m->properties); break;
    default: fail_msg("the record's table has a row %zu", i);
    }
}

static void take_apart(bool born_v6, bool store_v6)
{
    struct message m = {
        .body_crc = 0x11223344, .queue_id = 5, .flag = -7, .queue_offset = 0x0102030405060708,
        .phys_offset = 0x1112131415161718, .sys_flag = SYSFLAG_TX_COMMIT, .born_timestamp = 1700000000001,
        .born_host = {.addr = {10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, .len = born_v6 ? 16 : 4, .port = 40001},
        .store_timestamp = 1700000000002,
        .store_host = {.addr = {11, 9, 9, 8, 7}, .len = store_v6 ? 16 : 4, .port = 10911}, .reconsume_times = 3,
        .prepared_offset = 0x2122232425262728, .body = SLICE_LIT("body!"), .topic = SLICE_LIT("Topic"),
        .properties = SLICE_LIT("KEYS\1a b\2TAGS\1t\2")};
    const struct variable vars[] = {{"b", born_v6 ? 12 : 0}, {"s", store_v6 ? 12 : 0}, {"n", 5}, {"t", 5}, {"p", 16},
                                    {NULL, 0}};
    size_t size;
    char record[300];
    struct buf want;
    assert_int_equal(message_prepare(&m, &size), 0);
    message_encode(&m, record, size);
    const struct table t = table_of("## 2. ", "| Offset | Bytes | Field |", vars);
    assert_int_equal(t.n, 17);
    buf_init(&want, 0);
    int64_t at = 0;
    for (size_t i = 0; i < t.n; i++) {
        const struct row *const r = &t.rows[i];
        buf_clear(&want);
        row_content(&want, i, &m, size);
        if (r->offset != at || r->bytes != (int64_t)want.n || memcmp(record + at, want.p, want.n))
            fail_msg("\"" SLICE_FMT "\": the document says byte %lld, %lld bytes; the record has it at %lld, %zu bytes",
                     SLICE_ARG(r->field), (long long)r->offset, (long long)r->bytes, (long long)at, want.n);
        at += r->bytes;
    }
    assert_int_equal(at, size);
    const struct disk_record_head *const d = (const struct disk_record_head *)record;
    assert_int_equal(be64_get(d->phys_offset), m.phys_offset);
    assert_int_equal(be64_get(d->queue_offset), m.queue_offset);
    assert_int_equal(be64_get(d->born_timestamp), m.born_timestamp);
    buf_free(&want);
}

static void a_record_is_taken_apart_by_the_document(void **state)
{
    (void)state;
    take_apart(false, false);
    take_apart(true, false);
    take_apart(false, true);
    take_apart(true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_document_has_the_structs_numbers),
        cmocka_unit_test(the_document_has_the_index_files_shape),
        cmocka_unit_test(the_document_has_the_checksums_place),
        cmocka_unit_test(a_record_is_taken_apart_by_the_document),
    };
    return cmocka_run_group_tests(tests, load_document, free_document);
}
