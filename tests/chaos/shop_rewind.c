/* shop_rewind BROKER N GROUP@TOPIC...: sets consumer groups back by N messages in each queue, over the wire,
 * as an operator would with the groups stopped; prints how many messages will be delivered again.
 *
 * One blocking connection. For each queue the group's offset is asked for (14) and set (15): a queue
 * that the group never read is left alone, none goes below its first message. The caller sees to it that
 * no member of the group runs: it would write its own offset over ours.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/hdr.h"
#include "tests/support/mq/peer.h"
#include "tests/support/test.h"

enum { QUEUES = 64 };

/* -1: the group has none. */
static int64_t offset_of(struct peer *p, struct slice group, struct slice topic, int32_t queue)
{
    const struct hdr_query_consumer_offset ask = {
        .consumer_group = group, .topic = topic, .queue_id = queue};
    const struct command *const c = peer_call(p, RC_QUERY_CONSUMER_OFFSET, &ask, SLICE_NULL);
    struct hdr_offset_resp r;
    struct err e;
    if (c->code != RESP_SUCCESS)
        return -1;
    assert_ok(hdr_decode(&hdr_desc_offset_resp, HDR_LONG, c->ext, c->ext_n, &r, &e), &e);
    return r.offset;
}

static int64_t rewind_group(struct peer *p, struct slice group, struct slice topic, int64_t n)
{
    int64_t sum = 0;
    for (int32_t queue = 0; queue < QUEUES; queue++) {
        const int64_t at = offset_of(p, group, topic, queue);
        if (at <= 0)
            continue;
        const int64_t to = at > n ? at - n : 0;
        const struct hdr_update_consumer_offset set = {
            .consumer_group = group, .topic = topic, .queue_id = queue, .commit_offset = to};
        assert_int_equal(peer_call(p, RC_UPDATE_CONSUMER_OFFSET, &set, SLICE_NULL)->code,
                         RESP_SUCCESS);
        assert_int_equal(offset_of(p, group, topic, queue), to);
        sum += at - to;
    }
    return sum;
}

int main(int argc, char **argv)
{
    char *end;
    const int64_t n = argc > 3 ? strtoll(argv[2], &end, 10) : 0;
    if (argc < 4 || n <= 0 || *end != '\0') {
        fprintf(stderr, "usage: shop_rewind HOST:PORT N GROUP@TOPIC...\n");
        return 2;
    }
    struct peer p;
    int64_t sum = 0;
    peer_open(&p, argv[1]);
    for (int i = 3; i < argc; i++) {
        struct slice topic = slice_str(argv[i]), group;
        slice_cut(&topic, '@', &group);
        if (topic.p == NULL || topic.n == 0 || group.n == 0) {
            fprintf(stderr, "shop_rewind: %s is not GROUP@TOPIC\n", argv[i]);
            return 2;
        }
        sum += rewind_group(&p, group, topic, n);
    }
    peer_close(&p);
    printf("%" PRId64 "\n", sum);
    return 0;
}
