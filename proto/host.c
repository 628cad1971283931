/* Addresses as records carry them: 4 or 16 bytes and a port.
 *
 * Pure conversions between `struct host`, socket addresses and the text "10.0.0.1:10911" or
 * "[2001:db8::1]:10911"; any thread. An IPv4 peer of a dual-stack socket arrives as ::ffff:a.b.c.d
 * and is stored as IPv4, because old clients read four bytes only.
 *
 * Failure modes: E_INVAL for text that is no numeric address with a port in 0..65535 (names are not
 * resolved here), and for socket families other than the two. Invariant: len is 4 or 16. */
#include "proto/message.h"

#include <arpa/inet.h>
#include <stdio.h>

static const uint8_t v4_mapped[12] = {[10] = 0xFF, [11] = 0xFF};

int host_from_sockaddr(const struct sockaddr *sa, struct host *out)
{
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)sa;
        *out = (struct host){.len = 4, .port = ntohs(in->sin_port)};
        memcpy(out->addr, &in->sin_addr, 4);
        return 0;
    }
    if (sa->sa_family != AF_INET6)
        return E_INVAL;
    const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)sa;
    const uint8_t *bytes = in6->sin6_addr.s6_addr;
    const bool mapped = memcmp(bytes, v4_mapped, sizeof v4_mapped) == 0;
    *out = (struct host){.len = mapped ? 4 : 16, .port = ntohs(in6->sin6_port)};
    memcpy(out->addr, bytes + (mapped ? 12 : 0), out->len);
    return 0;
}

int host_parse(struct slice addr_port, struct host *out)
{
    const char *const colon = addr_port.n ? memrchr(addr_port.p, ':', addr_port.n) : NULL;
    if (!colon)
        return E_INVAL;
    struct slice addr = slice_of(addr_port.p, (size_t)(colon - addr_port.p));
    const struct slice port = slice_of(colon + 1, addr_port.n - addr.n - 1);
    struct host h = {.len = 4};
    if (slice_i32(port, &h.port) || h.port < 0 || h.port > 65535)
        return E_INVAL;
    if (addr.n >= 2 && addr.p[0] == '[' && addr.p[addr.n - 1] == ']') {
        addr = slice_of(addr.p + 1, addr.n - 2);
        h.len = 16;
    }
    char text[INET6_ADDRSTRLEN];
    if (slice_copy(addr, text, sizeof text) ||
        inet_pton(h.len == 4 ? AF_INET : AF_INET6, text, h.addr) != 1)
        return E_INVAL;
    *out = h;
    return 0;
}

void host_text(const struct host *h, char out[64])
{
    char addr[INET6_ADDRSTRLEN] = "";
    inet_ntop(h->len == 16 ? AF_INET6 : AF_INET, h->addr, addr, sizeof addr);
    snprintf(out, 64, h->len == 16 ? "[%s]:%d" : "%s:%d", addr, h->port);
}
