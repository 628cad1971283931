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
 *
 * Any thread; no state, no allocation. Source: MessageDecoder, MessageExtEncoder and
 * CommitLog.checkMessageAndReturnSize of 5.5.0. */
#include "proto/message.h"

#include "base/crc.h"

enum {
    AT_QUEUE_OFFSET = 20,
    AT_PHYS_OFFSET = 28,
    AT_SYS_FLAG = 36,
    AT_STORE_TIMESTAMP = 56, /* born host IPv4 */
    V6_EXTRA = 12,
    TOPIC_V1_MAX = 127
};

static bool is_v2(const struct message *m)
{
    return m->topic.n > TOPIC_V1_MAX;
}

static size_t host_size(const struct host *h)
{
    return h->len == 16 ? 20 : 8;
}

int message_prepare(struct message *m, size_t *size)
{
    if (m->topic.n > MESSAGE_TOPIC_LONG_MAX || m->properties.n > MESSAGE_PROPERTIES_MAX)
        return E_TOOBIG;
    const size_t fixed = MESSAGE_SIZE_MIN - 16 + host_size(&m->born_host) +
                         host_size(&m->store_host) + m->topic.n + m->properties.n + is_v2(m);
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
    be16_put(p, (uint16_t)m->properties.n);
    p = put_bytes(p + 2, m->properties);
    MQ_ASSERT((size_t)(p - out) == size);
}

void message_patch(char *record, int64_t queue_offset, int64_t phys_offset, int64_t store_timestamp)
{
    const bool born_v6 = be32_get(record + AT_SYS_FLAG) & SYSFLAG_BORN_V6;
    be64_put(record + AT_QUEUE_OFFSET, (uint64_t)queue_offset);
    be64_put(record + AT_PHYS_OFFSET, (uint64_t)phys_offset);
    be64_put(record + AT_STORE_TIMESTAMP + (born_v6 ? V6_EXTRA : 0), (uint64_t)store_timestamp);
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
    if ((flags & MESSAGE_CHECK_CRC) && m.body.n && crc32_body(m.body) != (uint32_t)m.body_crc)
        return err_set(e, E_CORRUPT, "record: body checksum %08X, stored is %08X",
                       crc32_body(m.body), (uint32_t)m.body_crc);
    *out = m;
    return 0;
}
