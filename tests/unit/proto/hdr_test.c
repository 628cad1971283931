#include "proto/hdr.h"

#include "tests/unit/proto/vectors.h"

#define EXT(k, v) {SLICE_LIT(k), SLICE_LIT(v)}
#define EXT_N(list) (sizeof(list) / sizeof *(list))

static const struct ext_field send_v2[] = {
    EXT("a", "g"),  EXT("b", "T"), EXT("c", "TBW102"), EXT("d", "4"), EXT("e", "-1"), EXT("f", "4"),
    EXT("g", "1795254004301"), EXT("h", "7"), EXT("i", "K\1v\2"), EXT("j", "3"), EXT("k", "TRUE"),
    EXT("l", "16"), EXT("m", "true"), EXT("n", "broker-a")};
static const struct ext_field send_v1[] = {
    EXT("sysFlag", "4"), EXT("batch", "true"), EXT("bname", "broker-a"), EXT("unitMode", "true"),
    EXT("properties", "K\1v\2"), EXT("producerGroup", "g"), EXT("topic", "T"),
    EXT("defaultTopic", "TBW102"), EXT("defaultTopicQueueNums", "4"), EXT("queueId", "-1"),
    EXT("bornTimestamp", "1795254004301"), EXT("flag", "7"), EXT("reconsumeTimes", "3"),
    EXT("maxReconsumeTimes", "16"), EXT("unheard", "of")};

static void check_send(const struct hdr_send_message *h)
{
    assert_slice_equal(h->producer_group, "g");
    assert_slice_equal(h->topic, "T");
    assert_slice_equal(h->default_topic, "TBW102");
    assert_int_equal(h->default_topic_queue_nums, 4);
    assert_int_equal(h->queue_id, -1);
    assert_int_equal(h->sys_flag, 4);
    assert_int_equal(h->born_timestamp, 1795254004301);
    assert_int_equal(h->flag, 7);
    assert_slice_equal(h->properties, "K\1v\2");
    assert_int_equal(h->reconsume_times, 3);
    assert_true(h->unit_mode);
    assert_int_equal(h->max_reconsume_times, 16);
    assert_true(h->batch);
    assert_slice_equal(h->broker_name, "broker-a");
}

static void both_name_columns_fill_the_same_struct(void **state)
{
    struct hdr_send_message h;
    struct err e = {0};
    (void)state;
    memset(&h, 0xAA, sizeof h);
    assert_ok(hdr_decode(&hdr_desc_send_message, HDR_SHORT, send_v2, EXT_N(send_v2), &h, &e), &e);
    check_send(&h);
    memset(&h, 0xAA, sizeof h);
    assert_ok(hdr_decode(&hdr_desc_send_message, HDR_LONG, send_v1, EXT_N(send_v1), &h, &e), &e);
    check_send(&h);
}

static void absent_fields_take_their_defaults(void **state)
{
    struct hdr_send_message h;
    struct err e = {0};
    (void)state;
    assert_ok(hdr_decode(&hdr_desc_send_message, HDR_SHORT, send_v2, 8, &h, &e), &e);
    assert_null(h.properties.p);
    assert_int_equal(h.reconsume_times, 0);
    assert_int_equal(h.max_reconsume_times, -1);
    assert_false(h.batch);
    struct hdr_query_consumer_offset q;
    const struct ext_field query[] = {EXT("queueId", "0"), EXT("topic", "T"),
                                      EXT("consumerGroup", "g")};
    assert_ok(hdr_decode(&hdr_desc_query_consumer_offset, HDR_LONG, query, EXT_N(query), &q, &e),
              &e);
    assert_true(q.set_zero_if_not_found);
}

static void null_counts_as_absent_and_the_last_of_equal_names_counts(void **state)
{
    struct hdr_consumer_group h;
    struct err e = {0};
    const struct ext_field twice[] = {EXT("consumerGroup", "a"), EXT("consumerGroup", "b")};
    const struct ext_field nulled[] = {EXT("consumerGroup", "a"),
                                       {SLICE_LIT("consumerGroup"), {NULL, 0}}};
    (void)state;
    assert_ok(hdr_decode(&hdr_desc_consumer_group, HDR_LONG, twice, 2, &h, &e), &e);
    assert_slice_equal(h.consumer_group, "b");
    assert_int_equal(hdr_decode(&hdr_desc_consumer_group, HDR_LONG, nulled, 2, &h, &e), E_PROTO);
}

/* Each required field of each header, left out in turn. */
static void check_required(const struct hdr_desc *desc)
{
    struct ext_field ext[64];
    char out[512];
    assert_true(desc->size <= sizeof out);
    for (size_t skip = 0; skip <= desc->n; skip++) {
        size_t n = 0;
        for (size_t i = 0; i < desc->n; i++)
            if (i != skip)
                ext[n++] = (struct ext_field){desc->fields[i].wire[HDR_LONG], SLICE_LIT("1")};
        struct err e = {0};
        const int rc = hdr_decode(desc, HDR_LONG, ext, n, out, &e);
        const bool must_fail = skip < desc->n && desc->fields[skip].required;
        if (rc != (must_fail ? E_PROTO : 0))
            fail_msg("%s without field %zu: %s %s", desc->name, skip, err_name(rc), e.text);
        if (must_fail) {
            char name[64];
            assert_int_equal(slice_copy(desc->fields[skip].wire[HDR_LONG], name, sizeof name), 0);
            assert_contains(e.text, name);
            assert_contains(e.text, desc->name);
        }
    }
}

static void every_required_field_is_missed(void **state)
{
    (void)state;
#define HDR(name, ...) check_required(&hdr_desc_##name);
#include "proto/headers.def"
#undef HDR
}

static void descriptors_describe_their_structs(void **state)
{
    (void)state;
#define F(type, cname, wire_, wire_short, presence, def_)                                          \
    f = &d->fields[i++];                                                                           \
    assert_int_equal(f->kind, HDR_KIND_##type);                                                    \
    assert_slice_equal(f->wire[HDR_LONG], wire_);                                                  \
    assert_slice_equal(f->wire[HDR_SHORT], wire_short);                                            \
    assert_int_equal(f->def, def_);                                                                \
    assert_string_equal(f->required ? "REQ" : "OPT", #presence);
#define HDR(hdr, ...)                                                                              \
    {                                                                                              \
        const struct hdr_desc *const d = &hdr_desc_##hdr;                                          \
        const struct hdr_field *f = NULL;                                                          \
        size_t i = 0;                                                                              \
        __VA_ARGS__(void) f;                                                                       \
        assert_int_equal(d->n, i);                                                                 \
        assert_int_equal(d->size, sizeof(struct hdr_##hdr));                                       \
        assert_string_equal(d->name, #hdr);                                                        \
    }
#include "proto/headers.def"
#undef HDR
#undef F
    assert_int_equal(hdr_desc_send_message.fields[1].offset,
                     offsetof(struct hdr_send_message, topic));
    assert_int_equal(hdr_desc_send_message.fields[13].offset,
                     offsetof(struct hdr_send_message, broker_name));
}

static void numbers_that_are_none_are_named(void **state)
{
    static const struct {
        struct ext_field bad;
        const char *part;
    } cases[] = {{EXT("e", ""), "\"e\""},
                 {EXT("e", "1x"), "not a 32-bit decimal number"},
                 {EXT("e", "2147483648"), "outside the 32-bit range"},
                 {EXT("g", "9223372036854775808"), "outside the 64-bit range"},
                 {EXT("g", "\1\n"), "not a 64-bit decimal number"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct hdr_send_message h;
        struct ext_field ext[EXT_N(send_v2) + 1];
        struct err e = {0};
        memcpy(ext, send_v2, sizeof send_v2);
        ext[EXT_N(send_v2)] = cases[i].bad;
        assert_int_equal(hdr_decode(&hdr_desc_send_message, HDR_SHORT, ext, EXT_N(ext), &h, &e),
                         E_PROTO);
        assert_contains(e.text, cases[i].part);
    }
}

static void optional_defaults_are_left_out_of_the_wire(void **state)
{
    const struct hdr_send_message h = {.max_reconsume_times = -1, .producer_group = SLICE_LIT("")};
    char scratch[HDR_SCRATCH];
    struct slice text;
    (void)state;
    const struct hdr_field *const f = hdr_desc_send_message.fields;
    assert_true(hdr_field_text(&f[0], &h, scratch, &text)); /* an empty string is not a null one */
    assert_int_equal(text.n, 0);
    assert_false(hdr_field_text(&f[1], &h, scratch, &text));
    assert_true(hdr_field_text(&f[4], &h, scratch, &text)); /* required numbers are always there */
    assert_slice_equal(text, "0");
    assert_false(hdr_field_text(&f[11], &h, scratch, &text));
    assert_false(hdr_field_text(&f[12], &h, scratch, &text));
    assert_ptr_equal(hdr_missing(&hdr_desc_send_message, &h), &f[1]);
    const struct hdr_offset_resp r = {.offset = INT64_MIN};
    assert_true(hdr_field_text(&hdr_desc_offset_resp.fields[0], &r, scratch, &text));
    assert_slice_equal(text, "-9223372036854775808");
    assert_null(hdr_missing(&hdr_desc_offset_resp, &r));
}

static void dumps_are_one_safe_line(void **state)
{
    struct buf b;
    const struct hdr_pull_message h = {.consumer_group = SLICE_LIT("g"),
                                       .topic = SLICE_LIT("a b\n\"c"),
                                       .queue_id = 3,
                                       .queue_offset = 7};
    (void)state;
    buf_init(&b, 0);
    hdr_dump(&hdr_desc_pull_message, &h, &b);
    buf_char(&b, '\0');
    assert_contains(b.p, "consumerGroup=g topic=");
    assert_contains(b.p, " queueId=3 queueOffset=7 ");
    assert_null(strchr(b.p, '\n'));
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_name_columns_fill_the_same_struct),
        cmocka_unit_test(absent_fields_take_their_defaults),
        cmocka_unit_test(null_counts_as_absent_and_the_last_of_equal_names_counts),
        cmocka_unit_test(every_required_field_is_missed),
        cmocka_unit_test(descriptors_describe_their_structs),
        cmocka_unit_test(numbers_that_are_none_are_named),
        cmocka_unit_test(optional_defaults_are_left_out_of_the_wire),
        cmocka_unit_test(dumps_are_one_safe_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
