/* broker.conf and namesrv.conf of any text (byte 0: 0 the broker's, 1 the name server's).
 *
 * A file is either taken or refused with words. What -p prints of a configuration is a file that makes
 * the same configuration, as long as its values are plain text. */
#include "broker/conf.h"
#include "namesrv/conf.h"
#include "tests/fuzz/fuzz_target.h"

union any_conf {
    struct broker_conf broker;
    struct namesrv_conf namesrv;
};

static void on_note(void *arg, const char *text)
{
    (void)arg;
    MQ_ASSERT(text && *text);
}

/* 0, or the error with its text in *e. */
static int load(const struct conf_table *t, struct slice text, union any_conf *c, struct err *e)
{
    struct props p;
    memset(c, 0, sizeof *c);
    MQ_ASSERT(!conf_defaults(t, c, e));
    int rc = props_parse(text, &p, e);
    if (rc == 0) {
        rc = conf_apply(t, c, &p, "any.conf", on_note, NULL, e);
        props_free(&p);
    }
    if (rc == 0 && t == &broker_conf_table && !c->broker.broker_ip1) /* else it asks the system: slow */
        rc = conf_set(t, c, "brokerIP1", "127.0.0.1", "any.conf", e);
    if (rc == 0 && t == &broker_conf_table)
        rc = broker_conf_finish(&c->broker, e);
    MQ_ASSERT(rc == 0 || e->text[0]);
    return rc;
}

static bool is_plain(struct slice text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((text.p[i] < ' ' && text.p[i] != '\n') || text.p[i] > '~' || text.p[i] == '\\')
            return false;
    return true;
}

static bool has_odd_value(struct slice text)
{
    struct slice line, key;
    while (slice_cut(&text, '\n', &line))
        if (slice_cut(&line, '=', &key) && line.n && (line.p[0] == ' ' || line.p[line.n - 1] == ' '))
            return true;
    return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static union any_conf c, again;
    struct buf text, text_again;
    struct err e = {0};
    if (!n)
        return 0;
    const struct conf_table *const t = data[0] % 2 ? &namesrv_conf_table : &broker_conf_table;
    buf_init(&text, 0);
    buf_init(&text_again, 0);
    if (load(t, slice_of((const char *)data + 1, n - 1), &c, &e) == 0) {
        conf_print(t, &c, &text);
        if (is_plain(buf_slice(&text)) && !has_odd_value(buf_slice(&text))) {
            MQ_ASSERT(load(t, buf_slice(&text), &again, &e) == 0);
            conf_print(t, &again, &text_again);
            MQ_ASSERT(slice_eq(buf_slice(&text), buf_slice(&text_again)));
            conf_free(t, &again);
        }
    }
    conf_free(t, &c);
    buf_free(&text);
    buf_free(&text_again);
    return 0;
}
