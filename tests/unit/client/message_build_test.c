/* client/message.c and client/message_build.c: refusals, and headers compared with recorded Java
 * requests. */
#include "tests/support/test.h"

#include <stdlib.h>

#include "client/message_build.h"
#include "client/message_priv.h"
#include "proto/command.h"
#include "proto/message.h"
#include "tests/support/golden.h"

static struct id_gen ids;

static int setup(void **state)
{
    (void)state;
    return id_gen_init(&ids, "192.0.2.2", 1, &clock_system);
}

static int teardown(void **state)
{
    (void)state;
    id_gen_fini(&ids);
    return 0;
}

static struct build_opts opts_for(const char *group)
{
    return (struct build_opts){
        .group = group, .max_message_size = 4 << 20, .compress_over = 4096, .ids = &ids};
}

/* --- against recordings --- */

struct recorded {
    struct golden g;
    char *bytes; /* of the frame, writable */
    struct command c;
};

/* The nth recorded request of a code whose body is this text. */
static void find_recorded(const char *file, int code, const char *body, struct recorded *out)
{
    struct err e = {0};
    assert_ok(golden_load(file, &out->g, &e), &e);
    for (size_t i = 0; i < out->g.n; i++) {
        const struct golden_frame *f = &out->g.frames[i];
        if (strcmp(f->kind, "request") != 0 || f->code != code || f->binary_header)
            continue;
        const uint32_t header_n = be32_get(f->bytes.p + 4) & 0xFFFFFF;
        if (!slice_eq_str(slice_of(f->bytes.p + 8 + header_n, f->bytes.n - 8 - header_n), body))
            continue;
        out->bytes = slice_dup(f->bytes);
        assert_ok(command_decode(out->bytes + 8, header_n, 0, &out->c, NULL, &e), &e);
        return;
    }
    fail_msg("no recorded request %d with body %s in %s", code, body, file);
}

static void recorded_free(struct recorded *r)
{
    free(r->bytes);
    golden_free(&r->g);
}

/* Encodes our header and decodes it again, as a broker sees it. */
static void encode_ours(const struct outgoing *o, const char *group, int32_t queue_id,
                        struct buf *bytes, struct command *c)
{
    struct hdr_send_message h;
    struct err e = {0};
    outgoing_header(o, slice_str(group), SLICE_LIT("broker-a"), queue_id, &h);
    const struct code_row *row = code_row_of(o->code);
    const struct command_out out = {
        .code = o->code, .desc = row->request, .names = row->names, .hdr = &h};
    buf_init(bytes, 0);
    assert_ok(command_encode(bytes, &out, o->body_bytes.n, &e), &e);
    const uint32_t header_n = be32_get(bytes->p + 4) & 0xFFFFFF;
    assert_ok(command_decode(bytes->p + 8, header_n, 0, c, NULL, &e), &e);
}

static void assert_same_field(const struct command *ours, const struct command *theirs,
                              const char *key)
{
    char want[256];
    const struct slice t = command_ext(theirs, key);
    assert_int_equal(slice_copy(t, want, sizeof want), 0);
    assert_slice_equal(command_ext(ours, key), want);
}

/* Every property they send we send, with the same value; the id is unique. */
static void assert_same_props(struct slice ours, struct slice theirs)
{
    struct props_iter it = {theirs};
    struct slice name, value;
    int n = 0, m = 0;
    for (; props_str_next(&it, &name, &value); n++) {
        char key[64], want[64];
        assert_int_equal(slice_copy(name, key, sizeof key), 0);
        assert_int_equal(slice_copy(value, want, sizeof want), 0);
        if (strcmp(key, PROP_UNIQ_KEY) == 0)
            assert_int_equal(props_str_get(ours, key).n, 32);
        else
            assert_slice_equal(props_str_get(ours, key), want);
    }
    it = (struct props_iter){ours};
    while (props_str_next(&it, &name, &value))
        m++;
    assert_int_equal(m, n);
}

static void compare(const struct outgoing *o, const char *group, const struct recorded *r)
{
    /* b topic, c, d template, e queue, f sysFlag, h flag, m batch, n broker; j and k only when not
     * default */
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f", "h", "n"};
    struct buf bytes;
    struct command c;
    int32_t queue;
    assert_int_equal(slice_i32(command_ext(&r->c, "e"), &queue), 0);
    encode_ours(o, group, queue, &bytes, &c);
    assert_int_equal(c.code, r->c.code);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_same_field(&c, &r->c, keys[i]);
    assert_int_equal(slice_bool(command_ext(&c, "m")), slice_bool(command_ext(&r->c, "m")));
    assert_null(command_ext(&c, "l").p);
    assert_same_props(command_ext(&c, "i"), command_ext(&r->c, "i"));
    buf_free(&bytes);
}

static void a_send_header_says_what_java_says(void **state)
{
    (void)state;
    struct recorded r;
    struct outgoing o;
    const struct build_opts b = opts_for("fr_PID");
    const char *body = "\xe4\xbd\xa0\xe5\xa5\xbd, Gr\xc3\xbc\xc3\x9f" "e \xf0\x9f\x98\x80";
    find_recorded("java-5.5.0-producer.bin", RC_SEND_MESSAGE_V2, body, &r);
    hp_message *m = hp_message_new("fr_tags", body, strlen(body));
    assert_int_equal(hp_message_set_tag(m, "TagA"), 0);
    assert_int_equal(hp_message_set_keys(m, "k1 k2"), 0);
    assert_int_equal(hp_message_set_property(m, "city", "M\xc3\xbcnchen"), 0);
    assert_int_equal(hp_message_set_property(m, "n", "42"), 0);
    assert_int_equal(hp_message_set_flag(m, 7), 0);
    assert_int_equal(outgoing_build(&o, m, &b, NULL), 0);
    compare(&o, "fr_PID", &r);
    outgoing_fini(&o);
    hp_message_free(m);
    recorded_free(&r);
}

static void a_half_message_says_what_java_says(void **state)
{
    (void)state;
    struct recorded r;
    struct outgoing o;
    struct build_opts b = opts_for("fr_PID_tran");
    b.transaction = true;
    find_recorded("java-5.5.0-transaction.bin", RC_SEND_MESSAGE_V2, "commit", &r);
    hp_message *m = hp_message_new("fr_tran", "commit", 6);
    assert_int_equal(hp_message_set_tag(m, "tx"), 0);
    assert_int_equal(hp_message_set_keys(m, "key-commit"), 0);
    assert_int_equal(outgoing_build(&o, m, &b, NULL), 0);
    assert_int_equal(o.sys_flag, SYSFLAG_TX_PREPARED);
    compare(&o, "fr_PID_tran", &r);
    outgoing_fini(&o);
    hp_message_free(m);
    recorded_free(&r);
}

/* --- batch, compression --- */

static void a_batch_is_items_with_ids_of_their_own(void **state)
{
    (void)state;
    struct outgoing o;
    const struct build_opts b = opts_for("g");
    hp_message *m[3];
    for (int i = 0; i < 3; i++)
        m[i] = hp_message_new("T", "body", (size_t)i + 1);
    assert_int_equal(outgoing_build_batch(&o, (const hp_message *const *)m, 3, &b, NULL), 0);
    assert_int_equal(o.code, RC_SEND_BATCH_MESSAGE);
    assert_true(o.batch);
    struct slice rest = o.body_bytes;
    struct batch_item item;
    char ids_seen[4][64];
    int n = 0;
    while (rest.n && batch_next(&rest, &item, NULL) == 0) {
        assert_int_equal(item.body.n, n + 1);
        assert_int_equal(
            slice_copy(props_str_get(item.properties, PROP_UNIQ_KEY), ids_seen[n++], 64), 0);
    }
    assert_int_equal(n, 3);
    assert_int_equal(slice_copy(props_str_get(buf_slice(&o.props), PROP_UNIQ_KEY), ids_seen[3], 64),
                     0);
    assert_string_equal(o.unique_id, ids_seen[0]);
    for (int i = 0; i < 4; i++)
        for (int k = 0; k < i; k++)
            assert_string_not_equal(ids_seen[i], ids_seen[k]);
    outgoing_fini(&o);

    struct hp_error err = {0};
    assert_int_equal(hp_message_set_delay_level(m[1], 3), 0);
    assert_int_equal(outgoing_build_batch(&o, (const hp_message *const *)m, 3, &b, &err),
                     HP_E_INVALID);
    assert_contains(err.text, "message 1 of the batch has a delay level");
    assert_int_equal(outgoing_build_batch(&o, (const hp_message *const *)m, 0, &b, &err),
                     HP_E_INVALID);
    for (int i = 0; i < 3; i++)
        hp_message_free(m[i]);
}

static void bodies_are_compressed_from_the_threshold_on_and_only_if_that_helps(void **state)
{
    (void)state;
    static char text[5000];
    memset(text, 'x', sizeof text);
    static const struct {
        size_t n, over;
        bool compressed;
    } cases[] = {{4095, 4096, false}, {4096, 4096, true}, {5000, SIZE_MAX, false}, {8, 1, false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outgoing o;
        struct build_opts b = opts_for("g");
        b.compress_over = cases[i].over;
        hp_message *m = hp_message_new("T", cases[i].n == 8 ? "q8#kZ!v2" : text, cases[i].n);
        assert_int_equal(outgoing_build(&o, m, &b, NULL), 0);
        assert_int_equal(o.sys_flag, cases[i].compressed ? SYSFLAG_COMPRESSED : 0);
        assert_true(cases[i].compressed ? o.body_bytes.n < cases[i].n
                                        : o.body_bytes.n == cases[i].n);
        outgoing_fini(&o);
        hp_message_free(m);
    }
}

/* --- refusals --- */

static void messages_that_brokers_would_refuse_are_refused_here(void **state)
{
    (void)state;
    static char big[20];
    static const struct {
        const char *topic;
        size_t n;
        bool delayed;
        int code;
        const char *says;
    } cases[] = {
        {"T", 0, false, HP_E_INVALID, "empty"},
        {"", 1, false, HP_E_INVALID, "topic"},
        {"a/../b", 1, false, HP_E_INVALID, "topic"},
        {"SCHEDULE_TOPIC_XXXX", 1, false, HP_E_INVALID, "system topic"},
        {"T", 17, false, HP_E_TOO_BIG, "17 bytes"},
        {"T", 16, true, HP_E_INVALID, "delayed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct outgoing o;
        struct hp_error err = {0};
        struct build_opts b = opts_for("g");
        b.max_message_size = 16;
        b.transaction = cases[i].delayed;
        hp_message *m = hp_message_new(cases[i].topic, big, cases[i].n);
        if (cases[i].delayed)
            assert_int_equal(hp_message_set_delay_level(m, 1), 0);
        assert_int_equal(outgoing_build(&o, m, &b, &err), cases[i].code);
        assert_contains(err.text, cases[i].says);
        hp_message_free(m);
    }
}

static void properties_over_the_limit_are_refused(void **state)
{
    (void)state;
    static char value[32800];
    struct outgoing o;
    struct hp_error err = {0};
    const struct build_opts b = opts_for("g");
    memset(value, 'v', sizeof value - 1);
    hp_message *m = hp_message_new("T", "x", 1);
    assert_int_equal(hp_message_set_property(m, "p", value), 0);
    assert_int_equal(outgoing_build(&o, m, &b, &err), HP_E_TOO_BIG);
    assert_contains(err.text, "32767");
    hp_message_free(m);
}

static void setters_refuse_what_the_protocol_cannot_carry(void **state)
{
    (void)state;
    hp_message *m = hp_message_new("T", "x", 1);
    assert_int_equal(hp_message_set_tag(m, "a\x01" "b"), HP_E_INVALID);
    assert_int_equal(hp_message_set_keys(m, "a\x02"), HP_E_INVALID);
    assert_int_equal(hp_message_set_keys(m, ""), HP_E_INVALID);
    assert_int_equal(hp_message_set_property(m, "TAGS", "x"), HP_E_INVALID);
    assert_int_equal(hp_message_set_property(m, "UNIQ_KEY", "x"), HP_E_INVALID);
    assert_int_equal(hp_message_set_property(m, "", "x"), HP_E_INVALID);
    assert_int_equal(hp_message_set_property(m, NULL, "x"), HP_E_INVALID);
    assert_int_equal(hp_message_set_delay_level(m, -1), HP_E_INVALID);
    assert_int_equal(m->prop_n, 0);
    assert_int_equal(hp_message_set_delay_level(m, 3), 0);
    assert_int_equal(hp_message_set_tag(m, "a"), 0);
    assert_int_equal(hp_message_set_tag(m, "b"), 0);
    assert_string_equal(message_prop_get(m, "TAGS"), "b");
    assert_int_equal(hp_message_set_delay_level(m, 0), 0);
    assert_null(message_prop_get(m, "DELAY"));
    assert_int_equal(m->prop_n, 1);
    hp_message_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_send_header_says_what_java_says),
        cmocka_unit_test(a_half_message_says_what_java_says),
        cmocka_unit_test(a_batch_is_items_with_ids_of_their_own),
        cmocka_unit_test(bodies_are_compressed_from_the_threshold_on_and_only_if_that_helps),
        cmocka_unit_test(messages_that_brokers_would_refuse_are_refused_here),
        cmocka_unit_test(properties_over_the_limit_are_refused),
        cmocka_unit_test(setters_refuse_what_the_protocol_cannot_carry),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
