/* Small texts from peers (byte 0: which): names, addresses, message ids, subscriptions, properties. */
#include <stdlib.h>

#include "proto/message.h"
#include "proto/names.h"
#include "proto/subscription.h"
#include "tests/fuzz/fuzz_target.h"

static void fuzz_names(struct slice s)
{
    struct err e = {0};
    if (topic_name_check(s, &e) == 0) /* it becomes a directory */
        MQ_ASSERT(s.n >= 1 && s.n <= MESSAGE_TOPIC_LONG_MAX && !memchr(s.p, '/', s.n) && !memchr(s.p, '.', s.n));
    else
        MQ_ASSERT(e.code == E_INVAL && e.text[0]);
    e.text[0] = '\0';
    if (group_name_check(s, &e))
        MQ_ASSERT(e.code == E_INVAL && e.text[0]);
    (void)topic_is_system(s);
    (void)topic_send_forbidden(s);
}

static void fuzz_host(struct slice s)
{
    struct host h, again;
    char text[64];
    if (host_parse(s, &h))
        return;
    host_text(&h, text);
    MQ_ASSERT(host_parse(slice_str(text), &again) == 0);
    MQ_ASSERT(again.len == h.len && again.port == h.port && !memcmp(again.addr, h.addr, h.len));
}

static void fuzz_message_id(struct slice s)
{
    struct host h, again;
    int64_t phys, phys_again;
    char id[MSG_ID_MAX];
    if (offset_msg_id_parse(s, &h, &phys))
        return;
    offset_msg_id(&h, phys, id);
    MQ_ASSERT(slice_eq_nocase(slice_str(id), s));
    MQ_ASSERT(offset_msg_id_parse(slice_str(id), &again, &phys_again) == 0 && phys_again == phys);
}

static void fuzz_subscription(struct slice s)
{
    struct subscription sub;
    struct err e = {0};
    struct slice text = s, type;
    if (!slice_cut(&text, '\n', &type) || !text.p) {
        text = s;
        type = SLICE_LIT("TAG");
    }
    if (subscription_init(&sub, SLICE_LIT("T"), text, type, 1, &e)) {
        MQ_ASSERT(e.code == E_INVAL && e.text[0]);
        return;
    }
    /* Codes are made of the text as it came, the tags end at a zero byte: JSON of a broker may have one. */
    const bool has_zero = text.n && memchr(text.p, 0, text.n);
    for (size_t i = 0; i < sub.tag_n && !has_zero; i++) {
        const struct slice tag = slice_str(sub.tags[i]);
        MQ_ASSERT(tag.n && subscription_match_tag(&sub, tag));
        MQ_ASSERT(subscription_match_code(&sub, java_string_hash(tag)));
    }
    for (size_t i = 1; i < sub.tag_n; i++)
        MQ_ASSERT(sub.codes[i - 1] <= sub.codes[i]);
    subscription_fini(&sub);
}

/* What can be read is written again and read the same. */
static void fuzz_properties(struct slice s)
{
    struct props_iter it = {s};
    struct slice name, value;
    struct buf out;
    buf_init(&out, 0);
    while (props_str_next(&it, &name, &value)) {
        MQ_ASSERT(name.n && value.n && !memchr(value.p, 2, value.n));
        char *const text = slice_dup(name);
        MQ_ASSERT(text);
        if (!memchr(name.p, 0, name.n) && !memchr(value.p, 1, value.n)) {
            MQ_ASSERT(props_str_add(&out, text, value) == 0);
            MQ_ASSERT(slice_eq(props_str_get(buf_slice(&out), text), value));
        }
        free(text);
    }
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    if (!n)
        return 0;
    const struct slice s = slice_of((const char *)data + 1, n - 1);
    switch (data[0] % 5) {
    case 0: fuzz_names(s); break;
    case 1: fuzz_host(s); break;
    case 2: fuzz_message_id(s); break;
    case 3: fuzz_subscription(s); break;
    case 4: fuzz_properties(s); break;
    }
    return 0;
}
