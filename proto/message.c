/* The message record: what the commit log holds and what consumers receive, byte for byte the same.
 *
 * Layout, big-endian. b and s are 0 when the born / store host is IPv4, 12 when it is IPv6.
 *
 *     at            bytes  field
 *     0             4      total size of the record, this field included
 *     4             4      magic: DAA320A7 (V1), DAA320AB (V2), CBD43194 (blank: end of a log file)
 *     8             4      CRC-32 of the stored body, sign bit cleared; 0 for an empty body
 *     12            4      queue id
 *     16            4      flag of the application
 *     20            8      queue offset                          set by the log (message_patch)
 *     28            8      physical offset of this record        set by the log
 *     36            4      sys flag; 0x10 and 0x20 say which hosts are IPv6
 *     40            8      born timestamp, ms
 *     48            8+b    born host: address, i32 port
 *     56+b          8      store timestamp, ms                   set by the log
 *     64+b          8+s    store host: address, i32 port
 *     72+b+s        4      reconsume times
 *     76+b+s        8      physical offset of the half message of a committed transaction, else 0
 *     84+b+s        4+n    body: i32 length, bytes
 *     88+b+s+n      1+t    topic: u8 length (V2: i16), bytes
 *     89+b+s+n+t    2+p    properties: i16 length, bytes (msgprops.c)
 *
 * The property string may end with a checksum of the record (enabledAppendPropCRC):
 *
 *     size-20       8      __CRC32#
 *     size-12       1      01
 *     size-11       10     CRC-32 of the bytes before size-20, sign bit cleared, in decimal, least
 *                          significant digit first, filled up with 0
 *     size-1        1      02
 *
 * It covers the fields of the log, so message_patch writes it, after them.
 *
 * V2 exists for topics longer than 127 bytes only, which are %RETRY% and %DLQ% names of long
 * groups; the Go and Node clients cannot read it.
 *
 * Happy path: message_prepare (lengths, version, host bits), message_encode into memory of that
 * size, later message_patch when the log knows the offsets. Reading: message_decode gives slices of
 * its input.
 *
 * Failure modes: message_decode also runs over damaged logs. It reads nothing outside its input,
 * accepts no negative length, and accepts a record only when all lengths add up to the total size
 * exactly. E_AGAIN (input ends before the record does), E_CORRUPT, E_NOTFOUND (blank record).
 * With MESSAGE_CHECK_CRC a zero byte within the last 20 bytes of the properties is damage as well:
 * it is what a torn write leaves of the checksum property, and no writer of text puts one there. So is the
 * right number in the place of the checksum under another name: a changed name must not switch the check off.
 *
 * Any thread; no state, no allocation. Source: MessageDecoder, MessageExtEncoder and
 * CommitLog (CRC32_RESERVED_LEN, checkMessageAndReturnSize) of 5.5.0. */
#include "proto/message.h"

#include "base/crc.h"

enum {
    AT_QUEUE_OFFSET = 20,
    AT_PHYS_OFFSET = 28,
    AT_SYS_FLAG = 36,
    AT_STORE_TIMESTAMP = 56, /* born host IPv4 */
    AT_BODY_SIZE = 84,       /* both hosts IPv4 */
    V6_EXTRA = 12,
    TOPIC_V1_MAX = 127,
    PROPERTY_END = 2,
    CRC_DIGITS = 10
};
static const char prop_crc_head[] = PROP_CRC32 "\x01";
_Static_assert(sizeof prop_crc_head - 1 + CRC_DIGITS + 1 == MESSAGE_PROP_CRC_SIZE, "checksum property");

static bool is_v2(const struct message *m)
{
    return m->topic.n > TOPIC_V1_MAX;
}

static size_t host_size(const struct host *h)
{
    return h->len == 16 ? 20 : 8;
}

/* Between properties without a last separator, as 4.x clients send them, and the checksum. */
static bool needs_separator(const struct message *m)
{
    return m->prop_crc && m->properties.n && m->properties.p[m->properties.n - 1] != PROPERTY_END;
}

size_t message_properties_size(const struct message *m)
{
    return m->properties.n + needs_separator(m) + (m->prop_crc ? MESSAGE_PROP_CRC_SIZE : 0);
}

int message_prepare(struct message *m, size_t *size)
{
    if (m->topic.n > MESSAGE_TOPIC_LONG_MAX || m->properties.n > MESSAGE_PROPERTIES_MAX ||
        message_properties_size(m) > MESSAGE_PROPERTIES_MAX)
        return E_TOOBIG;
    const size_t fixed = MESSAGE_SIZE_MIN - 16 + host_size(&m->born_host) + host_size(&m->store_host) +
                         m->topic.n + message_properties_size(m) + is_v2(m);
    if (m->body.n > INT32_MAX - fixed)
        return E_TOOBIG;
    m->magic = is_v2(m) ? MESSAGE_MAGIC_V2 : MESSAGE_MAGIC_V1;
    m->sys_flag &= ~(SYSFLAG_BORN_V6 | SYSFLAG_STORE_V6);
    if (m->born_host.len == 16)
        m->sys_flag |= SYSFLAG_BORN_V6;
    if (m->store_host.len == 16)
        m->sys_flag |= SYSFLAG_STORE_V6;
    m->total_size = (int32_t)(fixed + m->body.n);
    *size = fixed + m->body.n;
    return 0;
}

static char *put32(char *p, int32_t v)
{
    be32_put(p, (uint32_t)v);
    return p + 4;
}

static char *put64(char *p, int64_t v)
{
    be64_put(p, (uint64_t)v);
    return p + 8;
}

static char *put_bytes(char *p, struct slice s)
{
    if (s.n)
        memcpy(p, s.p, s.n);
    return p + s.n;
}

static char *put_host(char *p, const struct host *h)
{
    const size_t n = h->len == 16 ? 16 : 4;
    memcpy(p, h->addr, n);
    return put32(p + n, h->port);
}

/* The checksum property at p, 20 bytes. */
static char *put_prop_crc(char *p, uint32_t crc)
{
    p = put_bytes(p, slice_of(prop_crc_head, sizeof prop_crc_head - 1));
    for (int i = 0; i < CRC_DIGITS; i++, crc /= 10)
        *p++ = (char)('0' + crc % 10);
    *p++ = PROPERTY_END;
    return p;
}

void message_encode(const struct message *m, char *out, size_t size)
{
    char *p = out;
    p = put32(p, m->total_size);
    p = put32(p, m->magic);
    p = put32(p, m->body_crc < 0 ? (int32_t)crc32_body(m->body) : m->body_crc);
    p = put32(p, m->queue_id);
    p = put32(p, m->flag);
    p = put64(p, m->queue_offset);
    p = put64(p, m->phys_offset);
    p = put32(p, m->sys_flag);
    p = put64(p, m->born_timestamp);
    p = put_host(p, &m->born_host);
    p = put64(p, m->store_timestamp);
    p = put_host(p, &m->store_host);
    p = put32(p, m->reconsume_times);
    p = put64(p, m->prepared_offset);
    p = put32(p, (int32_t)m->body.n);
    p = put_bytes(p, m->body);
    if (is_v2(m))
        *p++ = (char)(m->topic.n >> 8);
    *p++ = (char)m->topic.n;
    p = put_bytes(p, m->topic);
    be16_put(p, (uint16_t)message_properties_size(m));
    p = put_bytes(p + 2, m->properties);
    if (needs_separator(m))
        *p++ = PROPERTY_END;
    if (m->prop_crc)
        p = put_prop_crc(p, 0);
    MQ_ASSERT((size_t)(p - out) == size);
}

static bool is_prop_crc(const char *p)
{
    return !memcmp(p, prop_crc_head, sizeof prop_crc_head - 1) &&
           p[MESSAGE_PROP_CRC_SIZE - 1] == PROPERTY_END;
}

bool message_has_prop_crc(const struct message *m)
{
    return m->properties.n >= MESSAGE_PROP_CRC_SIZE &&
           is_prop_crc(m->properties.p + m->properties.n - MESSAGE_PROP_CRC_SIZE);
}

/* -1: not ten digits. */
static int64_t read_prop_crc(const char *p)
{
    const char *const digits = p + sizeof prop_crc_head - 1;
    int64_t v = 0;
    for (int i = CRC_DIGITS; i-- > 0;) {
        if (digits[i] < '0' || digits[i] > '9')
            return -1;
        v = v * 10 + (digits[i] - '0');
    }
    return v;
}

/* Of a record that message_encode made. */
static size_t properties_length(const char *record)
{
    const uint32_t flags = be32_get(record + AT_SYS_FLAG);
    size_t at = AT_BODY_SIZE;
    at += flags & SYSFLAG_BORN_V6 ? V6_EXTRA : 0u;
    at += flags & SYSFLAG_STORE_V6 ? V6_EXTRA : 0u;
    at += 4 + be32_get(record + at);
    const bool v2 = (int32_t)be32_get(record + 4) == MESSAGE_MAGIC_V2;
    at += v2 ? 2u + be16_get(record + at) : 1u + (uint8_t)record[at];
    return be16_get(record + at);
}

void message_patch(char *record, int64_t queue_offset, int64_t phys_offset, int64_t store_timestamp)
{
    const bool born_v6 = be32_get(record + AT_SYS_FLAG) & SYSFLAG_BORN_V6;
    be64_put(record + AT_QUEUE_OFFSET, (uint64_t)queue_offset);
    be64_put(record + AT_PHYS_OFFSET, (uint64_t)phys_offset);
    be64_put(record + AT_STORE_TIMESTAMP + (born_v6 ? V6_EXTRA : 0), (uint64_t)store_timestamp);
    const size_t covered = be32_get(record) - MESSAGE_PROP_CRC_SIZE;
    /* The end of a body, the topic and short properties can look like it, too. */
    if (is_prop_crc(record + covered) && properties_length(record) >= MESSAGE_PROP_CRC_SIZE)
        put_prop_crc(record + covered, crc32_body(slice_of(record, covered)));
}

static struct host read_host(struct reader *r, bool v6)
{
    struct host h = {.len = v6 ? 16 : 4};
    const struct slice addr = reader_bytes(r, h.len);
    if (addr.p)
        memcpy(h.addr, addr.p, h.len);
    h.port = (int32_t)reader_be32(r);
    return h;
}

/* A run with a 16-bit length, which the other side reads as signed: a negative one spoils the
 * reader. */
static struct slice read_short_run(struct reader *r)
{
    const uint16_t n = reader_be16(r);
    if (n > INT16_MAX)
        r->bad = true;
    return reader_bytes(r, n);
}

static void read_fields(struct reader *r, struct message *m)
{
    m->total_size = (int32_t)reader_be32(r);
    m->magic = (int32_t)reader_be32(r);
    m->body_crc = (int32_t)reader_be32(r);
    m->queue_id = (int32_t)reader_be32(r);
    m->flag = (int32_t)reader_be32(r);
    m->queue_offset = (int64_t)reader_be64(r);
    m->phys_offset = (int64_t)reader_be64(r);
    m->sys_flag = (int32_t)reader_be32(r);
    m->born_timestamp = (int64_t)reader_be64(r);
    m->born_host = read_host(r, m->sys_flag & SYSFLAG_BORN_V6);
    m->store_timestamp = (int64_t)reader_be64(r);
    m->store_host = read_host(r, m->sys_flag & SYSFLAG_STORE_V6);
    m->reconsume_times = (int32_t)reader_be32(r);
    m->prepared_offset = (int64_t)reader_be64(r);
    m->body = reader_bytes(r, reader_be32(r)); /* less than 2^31: the record is */
    m->topic = m->magic == MESSAGE_MAGIC_V2 ? read_short_run(r) : reader_bytes(r, reader_u8(r));
    m->properties = read_short_run(r);
    m->prop_crc = false;
}

int64_t message_store_time(const struct message *m)
{
    const int64_t ts = m->store_timestamp;
    return ts < 0 ? 0 : ts > MESSAGE_TIME_MAX ? MESSAGE_TIME_MAX : ts;
}

static int check_crcs(const char *record, const struct message *m, bool whole_too, struct err *e)
{
    const uint32_t body = crc32_body(m->body);
    if (m->body.n && body != (uint32_t)m->body_crc)
        return err_set(e, E_CORRUPT, "record: body checksum %08X, stored is %08X", body,
                       (uint32_t)m->body_crc);
    const char *const end = m->properties.p + m->properties.n;
    const size_t tail = m->properties.n < MESSAGE_PROP_CRC_SIZE ? m->properties.n : MESSAGE_PROP_CRC_SIZE;
    if (tail && memchr(end - tail, 0, tail))
        return err_set(e, E_CORRUPT, "record: a zero byte near the end of the properties");
    const bool sealed = message_has_prop_crc(m);
    const int64_t stored =
        m->properties.n < MESSAGE_PROP_CRC_SIZE ? -1 : read_prop_crc(end - MESSAGE_PROP_CRC_SIZE);
    if (!whole_too || (!sealed && stored < 0))
        return 0;
    const uint32_t whole = crc32_body(slice_of(record, (size_t)m->total_size - MESSAGE_PROP_CRC_SIZE));
    if (!sealed && stored == whole)
        return err_set(e, E_CORRUPT, "record: it ends with its checksum, whose name is damaged");
    if (sealed && stored != whole)
        return err_set(e, E_CORRUPT, "record: checksum %u, stored is %lld", whole, (long long)stored);
    return 0;
}

int message_decode(struct slice in, int flags, struct message *out, struct err *e)
{
    if (in.n < MESSAGE_BLANK_SIZE)
        return err_set(e, E_AGAIN, "record: %zu bytes left, size and magic need 8", in.n);
    const uint32_t total = be32_get(in.p);
    const int32_t magic = (int32_t)be32_get(in.p + 4);
    if (magic == MESSAGE_MAGIC_BLANK) {
        *out = (struct message){.total_size = (int32_t)total, .magic = magic};
        return err_set(e, E_NOTFOUND, "blank record of %d bytes", (int32_t)total);
    }
    if (magic != MESSAGE_MAGIC_V1 && magic != MESSAGE_MAGIC_V2)
        return err_set(e, E_CORRUPT, "record: magic %08X", (uint32_t)magic);
    if (total < MESSAGE_SIZE_MIN || total > INT32_MAX)
        return err_set(e, E_CORRUPT, "record: impossible size %d", (int32_t)total);
    if (in.n < total)
        return err_set(e, E_AGAIN, "record: %zu bytes left of %u", in.n, total);
    struct reader r = reader_of(slice_of(in.p, total));
    struct message m;
    read_fields(&r, &m);
    if (r.bad || reader_left(&r))
        return err_set(e, E_CORRUPT, "record: the lengths inside do not add up to its size %u",
                       total);
    const bool checked = flags & (MESSAGE_CHECK_CRC | MESSAGE_CHECK_BODY);
    const int rc = checked ? check_crcs(in.p, &m, flags & MESSAGE_CHECK_CRC, e) : 0;
    if (!rc)
        *out = m;
    return rc;
}
