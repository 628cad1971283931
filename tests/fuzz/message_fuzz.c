/* Records back to back, as in a damaged commit log or a pull body (first byte: flags). A record
 * that decodes lies inside its input, and is written again byte for byte unless it has a form we
 * never write. */
#include <stdlib.h>

#include "proto/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool canonical(const struct message *m)
{
    return m->body_crc >= 0 && (m->magic == MESSAGE_MAGIC_V2) == (m->topic.n > MESSAGE_TOPIC_MAX) &&
           m->topic.n <= MESSAGE_TOPIC_LONG_MAX;
}

/* Whatever the fields hold: with a checksum of its own the record is whole. */
static void check_sealed(struct message m)
{
    size_t size;
    m.body_crc = -1;
    m.prop_crc = true;
    if (message_prepare(&m, &size))
        return; /* no room for 20 more bytes of properties */
    char *const out = malloc(size);
    MQ_ASSERT(out);
    message_encode(&m, out, size);
    message_patch(out, 4, 5, 6);
    struct message sealed;
    MQ_ASSERT(message_decode(slice_of(out, size), MESSAGE_CHECK_CRC, &sealed, NULL) == 0);
    MQ_ASSERT(message_has_prop_crc(&sealed) && sealed.store_timestamp == 6);
    free(out);
}

static void check_record(struct slice in, struct message m)
{
    size_t size;
    MQ_ASSERT(m.total_size >= MESSAGE_SIZE_MIN && (size_t)m.total_size <= in.n);
    MQ_ASSERT(m.properties.p + m.properties.n == in.p + m.total_size);
    (void)tags_code(m.properties);
    if (!canonical(&m))
        return;
    MQ_ASSERT(message_prepare(&m, &size) == 0);
    char *const out = malloc(size);
    MQ_ASSERT(out);
    message_encode(&m, out, size);
    MQ_ASSERT(memcmp(out, in.p, size) == 0);
    message_patch(out, 1, 2, 3);
    struct message patched;
    MQ_ASSERT(message_decode(slice_of(out, size), 0, &patched, NULL) == 0);
    MQ_ASSERT(patched.queue_offset == 1 && patched.phys_offset == 2 &&
              patched.store_timestamp == 3);
    MQ_ASSERT(slice_eq(patched.topic, m.topic) && slice_eq(patched.body, m.body));
    MQ_ASSERT(slice_eq(patched.topic, m.topic) && slice_eq(patched.body, m.body));
    free(out);
    check_sealed(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct message m;
    struct err e;
    if (!n)
        return 0;
    struct slice rest = slice_of((const char *)data + 1, n - 1);
    int rc;
    while ((rc = message_decode(rest, data[0] & MESSAGE_CHECK_CRC, &m, &e)) == 0) {
        check_record(rest, m);
        rest = slice_of(rest.p + m.total_size, rest.n - (size_t)m.total_size);
    }
    MQ_ASSERT(rc == E_AGAIN || rc == E_CORRUPT || rc == E_NOTFOUND);

    /* the property string alone */
    static const char *const drop[] = {PROP_TAGS, NULL};
    const struct slice props = slice_of((const char *)data + 1, n - 1);
    struct buf copy;
    buf_init(&copy, 0);
    props_str_copy_without(&copy, props, drop);
    MQ_ASSERT(!props_str_get(buf_slice(&copy), PROP_TAGS).p);
    MQ_ASSERT(
        slice_eq(props_str_get(buf_slice(&copy), PROP_KEYS), props_str_get(props, PROP_KEYS)));
    buf_free(&copy);
    return 0;
}
