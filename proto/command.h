#pragma once
/* A remoting command: the header of a frame, JSON or binary (wire protocol, section 1).
 *
 * Shape of a frame: i32 length of what follows | i32 (type << 24 | header length) | header | body. */
#include "proto/hdr.h"

enum { COMMAND_JSON = 0, COMMAND_ROCKETMQ = 1 };            /* serialize type */
enum { COMMAND_FLAG_RESPONSE = 1, COMMAND_FLAG_ONEWAY = 2 };

enum request_code {
#define CODE(name, number, req, names, resp) RC_##name = (number),
#include "proto/codes.def"
#undef CODE
};
struct code_row {
    int32_t code;
    const char *name;
    const struct hdr_desc *request;
    enum hdr_names names;
    const struct hdr_desc *response;
};
const struct code_row *code_row_of(int32_t code); /* NULL when unknown; O(1) */

enum response_code { /* Source: ResponseCode, RemotingSysResponseCode of 5.5.0 */
    RESP_SUCCESS = 0, RESP_SYSTEM_ERROR = 1, RESP_SYSTEM_BUSY = 2, RESP_REQUEST_CODE_NOT_SUPPORTED = 3,
    RESP_FLUSH_DISK_TIMEOUT = 10, RESP_SLAVE_NOT_AVAILABLE = 11, RESP_FLUSH_SLAVE_TIMEOUT = 12,
    RESP_MESSAGE_ILLEGAL = 13, RESP_SERVICE_NOT_AVAILABLE = 14, RESP_VERSION_NOT_SUPPORTED = 15,
    RESP_NO_PERMISSION = 16, RESP_TOPIC_NOT_EXIST = 17, RESP_PULL_NOT_FOUND = 19,
    RESP_PULL_RETRY_IMMEDIATELY = 20, RESP_PULL_OFFSET_MOVED = 21, RESP_QUERY_NOT_FOUND = 22,
    RESP_SUBSCRIPTION_PARSE_FAILED = 23, RESP_SUBSCRIPTION_NOT_EXIST = 24,
    RESP_SUBSCRIPTION_NOT_LATEST = 25, RESP_SUBSCRIPTION_GROUP_NOT_EXIST = 26,
    RESP_FILTER_DATA_NOT_EXIST = 27, RESP_FILTER_DATA_NOT_LATEST = 28, RESP_INVALID_PARAMETER = 29,
    RESP_CONSUMER_NOT_ONLINE = 206, RESP_ILLEGAL_OPERATION = 604, RESP_GO_AWAY = 1500
};

enum { /* LanguageCode ordinals */
    LANGUAGE_JAVA = 0, LANGUAGE_CPP = 1, LANGUAGE_OTHER = 7, LANGUAGE_GO = 9
};
enum { MQ_VERSION_OURS = 513 /* V5_5_0: what we say in requests and answers */, MQ_VERSION_4_9_4 = 401,
       MQ_VERSION_3_4_9 = 121, MQ_VERSION_5_3_1 = 475 };

enum { COMMAND_EXT_MAX = 64, COMMAND_HEADER_MAX = 1 << 20, FRAME_MAX = 16 * 1024 * 1024 };

struct command {
    int32_t code;
    int32_t opaque;
    int32_t flag;
    int32_t version;
    uint8_t language; /* ordinal; unknown names give LANGUAGE_OTHER */
    uint8_t type;     /* COMMAND_JSON or COMMAND_ROCKETMQ, as received */
    struct slice remark;
    struct slice body;
    size_t ext_n;
    struct ext_field ext[COMMAND_EXT_MAX];
};

/* Decodes one header. The bytes are unescaped in place, so they must be writable and outlive *out,
 * whose slices point into them. *out->body is left alone.
 * JSON: a one-pass scanner takes what real clients send; anything else falls back to jansson, whose
 * strings are then copied into `spill` (a caller's buffer that lives as long, one for each command,
 * since appending may move it; may be NULL: then the odd form is refused). E_PROTO (with position),
 * E_TOOBIG (more than COMMAND_EXT_MAX fields). */
int command_decode(char *header, size_t n, uint8_t type, struct command *out, struct buf *spill,
                   struct err *e) HP_MUST_USE;

struct slice command_ext(const struct command *c, const char *key); /* SLICE_NULL when absent */

/* What to encode. hdr may be NULL. extra: ext fields without a descriptor (hook fields, tests). */
struct command_out {
    int32_t code, opaque, flag;
    uint8_t type;
    struct slice remark; /* null: left out */
    const struct hdr_desc *desc;
    enum hdr_names names;
    const void *hdr;
    const struct ext_field *extra;
    size_t extra_n;
};
/* Appends length word, header word and header of a frame whose body of body_len bytes the caller adds.
 * language CPP, version MQ_VERSION_OURS, members sorted and null members left out, as Java writes.
 * E_TOOBIG (frame over FRAME_MAX), E_NOMEM. */
int command_encode(struct buf *out, const struct command_out *c, size_t body_len, struct err *e) HP_MUST_USE;
