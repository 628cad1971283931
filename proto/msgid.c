/* Ids and hashes that both ends of the protocol compute.
 *
 * offsetMsgId: upper-case hex of store address (4 or 16 bytes), port (4) and physical offset (8).
 * It is the msgId of a send answer, and clients hand it back in transactions, send-backs and views,
 * so that the record is found without an index.
 *
 * Tag hash: String.hashCode, which runs over UTF-16 units; hashing the UTF-8 bytes would agree for
 * ASCII only. The consume queue stores it sign-extended to 64 bits.
 *
 * Pure functions; any thread. Failure: E_INVAL for an id that is not 32 or 56 hex digits. */
#include "proto/message.h"

#include "proto/text.h"

enum { OFFSET_BYTES = 12 /* port and physical offset */ };

void offset_msg_id(const struct host *h, int64_t phys_offset, char out[MSG_ID_MAX])
{
    static const char hex[] = "0123456789ABCDEF";
    uint8_t raw[16 + OFFSET_BYTES];
    const size_t addr_n = h->len == 16 ? 16 : 4;
    memcpy(raw, h->addr, addr_n);
    be32_put(raw + addr_n, (uint32_t)h->port);
    be64_put(raw + addr_n + 4, (uint64_t)phys_offset);
    char *p = out;
    for (size_t i = 0; i < addr_n + OFFSET_BYTES; i++) {
        *p++ = hex[raw[i] >> 4];
        *p++ = hex[raw[i] & 0xF];
    }
    *p = '\0';
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return -1;
}

int offset_msg_id_parse(struct slice id, struct host *h, int64_t *phys_offset)
{
    uint8_t raw[16 + OFFSET_BYTES];
    const size_t addr_n = id.n == 2 * (4 + OFFSET_BYTES) ? 4 : 16;
    if (id.n != 2 * (addr_n + OFFSET_BYTES))
        return E_INVAL;
    for (size_t i = 0; i < id.n / 2; i++) {
        const int high = hex_digit(id.p[2 * i]), low = hex_digit(id.p[2 * i + 1]);
        if (high < 0 || low < 0)
            return E_INVAL;
        raw[i] = (uint8_t)(high * 16 + low);
    }
    *h = (struct host){.len = (uint8_t)addr_n, .port = (int32_t)be32_get(raw + addr_n)};
    memcpy(h->addr, raw, addr_n);
    *phys_offset = (int64_t)be64_get(raw + addr_n + 4);
    return 0;
}

int32_t java_string_hash(struct slice utf8)
{
    const char *p = utf8.p, *const end = utf8.n ? utf8.p + utf8.n : utf8.p;
    uint32_t hash = 0;
    while (p < end) {
        if ((signed char)*p >= 0) { /* ASCII: the unit is the byte */
            hash = hash * 31 + (unsigned char)*p++;
            continue;
        }
        uint32_t cp;
        p += utf8_step(p, end, &cp);
        if (cp == UTF8_BAD)
            cp = 0xFFFD;
        if (cp >= 0x10000) {
            hash = hash * 31 + 0xD800 + ((cp - 0x10000) >> 10);
            cp = 0xDC00 + ((cp - 0x10000) & 0x3FF);
        }
        hash = hash * 31 + cp;
    }
    return (int32_t)hash;
}

int64_t tags_code(struct slice props)
{
    return java_string_hash(props_str_get(props, PROP_TAGS));
}
