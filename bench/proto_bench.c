/* What one message costs in the protocol layer: decoding a recorded send request, its typed header,
 * and encoding the answer.
 *
 *   proto_bench [ROUNDS]
 *
 * Prints nanoseconds for each step, the median of 9 runs of ROUNDS (default 200000). Decoding
 * changes its input, so each round works on a fresh copy; the cost of the copy is measured alone
 * and taken off. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "proto/body.h"
#include "proto/command.h"
#include "proto/json_header.h"
#include "proto/message.h"

static const char request_text[] = "{\"code\":310,\"extFields\":{\"a\":\"fr_PID3\",\"b\":\"fr_"
                                   "tags\",\"c\":\"TBW102\",\"d\":\"4\",\"e\":\"0\","
                                   "\"f\":\"0\",\"g\":\"1795254004301\",\"h\":\"0\",\"i\":"
                                   "\"a\\u00010\\u0002KEYS\\u0001f0\\u0002UNIQ_KEY"
                                   "\\u0001C0000202452A4E0E2F2A6912424D0018\\u0002WAIT\\u0001true\\"
                                   "u0002TAGS\\u0001TagA\\u0002\",\"j\":\"0\","
                                   "\"k\":\"false\",\"m\":\"false\",\"n\":\"broker-a\"},\"flag\":0,"
                                   "\"language\":\"JAVA\",\"opaque\":253,"
                                   "\"serializeTypeCurrentRPC\":\"JSON\",\"version\":513}";

static char text[sizeof request_text];
static struct command command;
static struct hdr_send_message hdr;
static struct buf out;
static int64_t sink; /* keeps results alive */

static void copy(void)
{
    memcpy(text, request_text, sizeof text);
    __asm__ volatile("" : : "r"(text) : "memory");
}

static void scan(void)
{
    copy();
    sink += command_decode(text, sizeof text - 1, COMMAND_JSON, &command, NULL, NULL);
}

static void parse_with_jansson(void)
{
    buf_clear(&out);
    sink += json_header_parse(SLICE_LIT(request_text), &command, &out, NULL);
}

static void decode_header(void)
{
    sink += hdr_decode(&hdr_desc_send_message, HDR_SHORT, command.ext, command.ext_n, &hdr, NULL);
}

static void encode_answer(void)
{
    const struct hdr_send_message_resp resp = {
        .msg_id = SLICE_LIT("7F000001000078BF00000000000068B2"),
        .queue_id = 1,
        .queue_offset = 123456,
        .transaction_id = SLICE_LIT("C00002027C3500000000691569b80001"),
        .region = SLICE_LIT("DefaultRegion"),
        .trace_on = SLICE_LIT("true")};
    const struct command_out answer = {.opaque = 253,
                                       .flag = COMMAND_FLAG_RESPONSE,
                                       .desc = &hdr_desc_send_message_resp,
                                       .hdr = &resp};
    buf_clear(&out);
    sink += command_encode(&out, &answer, 0, NULL);
}

static void encode_request(void)
{
    const struct command_out request = {.code = RC_SEND_MESSAGE_V2,
                                        .opaque = 253,
                                        .desc = &hdr_desc_send_message,
                                        .names = HDR_SHORT,
                                        .hdr = &hdr};
    buf_clear(&out);
    sink += command_encode(&out, &request, 1024, NULL);
}

static void encode_record(void)
{
    static char body[1024];
    struct message m = {.body_crc = 0,
                        .born_host = {.len = 4},
                        .store_host = {.len = 4},
                        .body = {body, sizeof body},
                        .topic = hdr.topic,
                        .properties = hdr.properties};
    size_t size;
    buf_clear(&out);
    sink += message_prepare(&m, &size);
    message_encode(&m, buf_extend(&out, size), size);
}

static void decode_record(void)
{
    struct message m;
    sink += message_decode(buf_slice(&out), 0, &m, NULL);
    sink += tags_code(m.properties);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median_ns(void (*step)(void), int64_t rounds)
{
    enum { RUNS = 9 };
    double ns[RUNS];
    for (int run = 0; run < RUNS; run++) {
        const int64_t began = clock_mono_ns(&clock_system);
        for (int64_t i = 0; i < rounds; i++)
            step();
        ns[run] = (double)(clock_mono_ns(&clock_system) - began) / (double)rounds;
    }
    qsort(ns, RUNS, sizeof *ns, compare);
    return ns[RUNS / 2];
}

int main(int argc, char **argv)
{
    int64_t rounds = 200000;
    if (argc > 2 || (argc == 2 && (slice_i64(slice_str(argv[1]), &rounds) || rounds <= 0))) {
        fprintf(stderr, "usage: %s [ROUNDS]   ROUNDS: a positive number, default 200000\n",
                argv[0]);
        return 2;
    }
    buf_init(&out, 0);
    const double copying = median_ns(copy, rounds);
    printf("header of %zu bytes, %lld rounds, median of 9 runs\n", sizeof text - 1,
           (long long)rounds);
    printf("%-34s %8.0f ns\n", "decode JSON header (scanner)", median_ns(scan, rounds) - copying);
    printf("%-34s %8.0f ns\n", "decode JSON header (jansson)",
           median_ns(parse_with_jansson, rounds / 20 + 1));
    scan();
    printf("%-34s %8.0f ns\n", "typed send header", median_ns(decode_header, rounds));
    printf("%-34s %8.0f ns\n", "encode answer to a send", median_ns(encode_answer, rounds));
    printf("%-34s %8.0f ns\n", "encode send request", median_ns(encode_request, rounds));
    printf("%-34s %8.0f ns\n", "encode record, 1 KB (without CRC)",
           median_ns(encode_record, rounds));
    printf("%-34s %8.0f ns\n", "decode record and tag hash", median_ns(decode_record, rounds));
    buf_free(&out);
    return 0;
}
