#pragma once
/* The message record: stored in the commit log, sent in pull bodies and check-backs, byte for byte the
 * same (wire protocol, section 2; proto/message.c opens with the byte table). Also the items of a
 * client-side batch, and the property string. */
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum {
    MESSAGE_MAGIC_V1 = (int32_t)0xDAA320A7, /* one-byte topic length */
    MESSAGE_MAGIC_V2 = (int32_t)0xDAA320AB, /* two-byte topic length: topic longer than 127 bytes */
    MESSAGE_MAGIC_BLANK = (int32_t)0xCBD43194 /* end of a commit log file */
};
enum {
    SYSFLAG_COMPRESSED = 0x1, SYSFLAG_MULTI_TAGS = 0x2, SYSFLAG_TX_MASK = 0xC, SYSFLAG_TX_NONE = 0,
    SYSFLAG_TX_PREPARED = 0x4, SYSFLAG_TX_COMMIT = 0x8, SYSFLAG_TX_ROLLBACK = 0xC,
    SYSFLAG_BORN_V6 = 0x10, SYSFLAG_STORE_V6 = 0x20, SYSFLAG_NEED_UNWRAP = 0x40,
    SYSFLAG_INNER_BATCH = 0x80, SYSFLAG_COMPRESSION_MASK = 0x700
};
enum { MESSAGE_PROPERTIES_MAX = 32767, MESSAGE_TOPIC_MAX = 127, MESSAGE_TOPIC_LONG_MAX = 255,
       MESSAGE_BLANK_SIZE = 8, MESSAGE_SIZE_MIN = 91,
       MESSAGE_PROP_CRC_SIZE = 20 /* the checksum property: name, 0x01, 10 digits, 0x02 */ };

struct host {
    uint8_t addr[16];
    uint8_t len; /* 4 or 16 */
    int32_t port;
};
int host_from_sockaddr(const struct sockaddr *sa, struct host *out); /* IPv4-mapped becomes IPv4 */
int host_parse(struct slice addr_port, struct host *out);            /* "10.0.0.1:10911", "[::1]:1" */
void host_text(const struct host *h, char out[64]);                  /* the same form back */

struct message {
    int32_t total_size, magic, body_crc, queue_id, flag;
    int64_t queue_offset, phys_offset;
    int32_t sys_flag;
    int64_t born_timestamp;
    struct host born_host;
    int64_t store_timestamp;
    struct host store_host;
    int32_t reconsume_times;
    int64_t prepared_offset;
    struct slice body, topic, properties;
    bool prop_crc; /* to encode: the record ends with the checksum property. false when decoded */
};

/* store_timestamp for sums and differences: at least 0, at most MESSAGE_TIME_MAX. A record without a checksum of
 * its own may hold any 64 bits there. */
#define MESSAGE_TIME_MAX (INT64_MAX / 2)
int64_t message_store_time(const struct message *m);

/* Bytes of the record's property string: with prop_crc the checksum, and a separator if one is
 * missing, come on top of m->properties. */
size_t message_properties_size(const struct message *m);
/* Bytes of the record that message_encode writes; sets sys_flag's host bits and magic from the hosts
 * and the topic. E_TOOBIG: topic over 255, properties over 32767, or a total over INT32_MAX. */
int message_prepare(struct message *m, size_t *size) HP_MUST_USE;
/* Writes exactly `size` bytes (from message_prepare), body_crc computed when m->body_crc < 0. The
 * digits of a checksum property are zeros until message_patch. */
void message_encode(const struct message *m, char *out, size_t size);
/* Sets the fields that only the log knows, in an encoded record, and after them the checksum of a
 * record that ends with the checksum property. */
void message_patch(char *record, int64_t queue_offset, int64_t phys_offset, int64_t store_timestamp);

enum {
    MESSAGE_CHECK_CRC = 1, /* of the body; and of the record when it ends with its checksum */
    MESSAGE_CHECK_BODY = 2 /* the same but for the record's own checksum */
};
/* Decodes the record at the start of `in`; slices borrow. Checks that all lengths agree with
 * total_size. E_AGAIN (in is shorter than the record says), E_CORRUPT (magic, lengths, CRC),
 * E_NOTFOUND (a blank record: total_size and magic are set). */
int message_decode(struct slice in, int flags, struct message *out, struct err *e) HP_MUST_USE;

/* Does a decoded record end with the checksum property? */
bool message_has_prop_crc(const struct message *m);

/* Property string: name 0x01 value 0x02 ... The last 0x02 may be missing; of equal names the last
 * one wins; entries with an empty name or value are skipped (Java). */
struct slice props_str_get(struct slice props, const char *name); /* SLICE_NULL when absent */
/* The same for n names in one walk: values[i] belongs to names[i]. */
void props_str_get_all(struct slice props, const struct slice *names, size_t n, struct slice *values);
struct props_iter { struct slice rest; };
bool props_str_next(struct props_iter *it, struct slice *name, struct slice *value);
/* Appends name/value with the trailing 0x02; adds a missing separator before it. The value must not
 * hold 0x01 or 0x02 (E_INVAL). */
int props_str_add(struct buf *out, const char *name, struct slice value);
/* Copies `props` without the named properties (a NULL-terminated list), always with trailing 0x02. */
void props_str_copy_without(struct buf *out, struct slice props, const char *const *names);

/* One item of a batch body (section 2.5). Cuts it off *rest. E_PROTO. */
struct batch_item { int32_t flag; struct slice body, properties; };
int batch_next(struct slice *rest, struct batch_item *out, struct err *e) HP_MUST_USE;
void batch_add(struct buf *out, const struct batch_item *item);

/* java.lang.String.hashCode over the UTF-16 units of UTF-8 text; bad UTF-8 counts as U+FFFD. */
int32_t java_string_hash(struct slice utf8);
/* The consume queue's tagsCode: hash of TAGS sign-extended, 0 without a tag. */
int64_t tags_code(struct slice props);

/* Ids. offsetMsgId: upper-case hex of address, port, physical offset: 32 or 56 characters + NUL. */
enum { MSG_ID_MAX = 57 };
void offset_msg_id(const struct host *h, int64_t phys_offset, char out[MSG_ID_MAX]);
int offset_msg_id_parse(struct slice id, struct host *h, int64_t *phys_offset); /* E_INVAL */

/* Property names (MessageConst). */
#define PROP_KEYS "KEYS"
#define PROP_TAGS "TAGS"
#define PROP_WAIT "WAIT"
#define PROP_DELAY "DELAY"
#define PROP_RETRY_TOPIC "RETRY_TOPIC"
#define PROP_REAL_TOPIC "REAL_TOPIC"
#define PROP_REAL_QID "REAL_QID"
#define PROP_TRAN_MSG "TRAN_MSG"
#define PROP_PGROUP "PGROUP"
#define PROP_UNIQ_KEY "UNIQ_KEY"
#define PROP_MSG_REGION "MSG_REGION"
#define PROP_TRACE_ON "TRACE_ON"
#define PROP_CLUSTER "CLUSTER"
#define PROP_POP_CK "POP_CK"
#define PROP_ORIGIN_MESSAGE_ID "ORIGIN_MESSAGE_ID"
#define PROP_RECONSUME_TIME "RECONSUME_TIME"
#define PROP_MAX_RECONSUME_TIMES "MAX_RECONSUME_TIMES"
#define PROP_TRANSACTION_ID "__transactionId__"
#define PROP_TRAN_PREPARED_QUEUE_OFFSET "TRAN_PREPARED_QUEUE_OFFSET"
#define PROP_TRANSACTION_CHECK_TIMES "TRANSACTION_CHECK_TIMES"
#define PROP_CHECK_IMMUNITY "CHECK_IMMUNITY_TIME_IN_SECONDS"
#define PROP_TIMER_DELAY_SEC "TIMER_DELAY_SEC"
#define PROP_TIMER_DELAY_MS "TIMER_DELAY_MS"
#define PROP_TIMER_DELIVER_MS "TIMER_DELIVER_MS"
#define PROP_MIN_OFFSET "MIN_OFFSET"
#define PROP_MAX_OFFSET "MAX_OFFSET"
#define PROP_CRC32 "__CRC32#" /* the checksum property: what the log adds, nobody else */
