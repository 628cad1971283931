/* The instance's options.
 *
 * The client id is "<ip>@<instance>[@<unit>]". Two live clients with one id break rebalancing (the
 * broker lists the id twice, both take the same share), so the default instance name holds process
 * id and a nanosecond clock reading, as Java's does. The address in it is for people; it is the one
 * this host uses towards the first name server, found by connecting a UDP socket (nothing is sent).
 *
 * Sources: ClientConfig.buildMQClientId, NameServerAddressUtils (5.5.0). */
#include "client/options.h"

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "base/buf.h"
#include "base/clock.h"
#include "client/error.h"

enum { DEFAULT_PERIOD_MS = 30000, DEFAULT_TIMEOUT_MS = 3000, NAME_SERVERS_MAX = 64 };

static int check_address(struct slice a, struct hp_error *err)
{
    int32_t port;
    size_t colon = a.n;
    while (colon > 0 && a.p[colon - 1] != ':')
        colon--;
    if (colon < 2 || slice_i32(slice_of(a.p + colon, a.n - colon), &port) || port < 1 ||
        port > 65535)
        return error_set(err, HP_E_INVALID,
                         "name server address \"" SLICE_FMT "\" is not host:port", SLICE_ARG(a));
    return 0;
}

static int split_addresses(struct client_settings *s, const char *text, struct hp_error *err)
{
    struct slice rest = slice_str(text), item;
    s->name_servers = calloc(NAME_SERVERS_MAX, sizeof *s->name_servers);
    if (!s->name_servers)
        return error_set(err, HP_E_NOMEM, "out of memory for a client");
    while (slice_cut(&rest, ';', &item)) {
        item = slice_trim(item);
        if (!item.n)
            continue;
        const int rc = check_address(item, err);
        if (rc)
            return rc;
        if (s->name_server_n == NAME_SERVERS_MAX)
            return error_set(err, HP_E_INVALID, "more than %d name servers", NAME_SERVERS_MAX);
        if (!(s->name_servers[s->name_server_n] = slice_dup(item)))
            return error_set(err, HP_E_NOMEM, "out of memory for a client");
        s->name_server_n++;
    }
    if (!s->name_server_n)
        return error_set(
            err, HP_E_INVALID,
            "no name server address: set namesrv_addr or the environment NAMESRV_ADDR");
    return 0;
}

/* The local address of a UDP socket connected to "host:port"; false when there is none. */
static bool local_address(const char *addr, char *out, size_t cap)
{
    char host[256];
    const char *colon = strrchr(addr, ':');
    struct slice name = slice_of(addr, (size_t)(colon - addr));
    if (name.n > 1 && name.p[0] == '[')
        name = slice_of(name.p + 1, name.n - 2);
    if (slice_copy(name, host, sizeof host))
        return false;
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
    if (getaddrinfo(host, colon + 1, &hints, &found))
        return false;
    struct sockaddr_storage self;
    socklen_t n = sizeof self;
    const int fd = socket(found->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool ok = fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) == 0 &&
                    getsockname(fd, (struct sockaddr *)&self, &n) == 0 &&
                    uv_ip_name((struct sockaddr *)&self, out, cap) == 0;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(found);
    return ok;
}

static bool is_name(const char *text)
{
    return *text && strlen(text) <= 128 && !strpbrk(text, "@/\"\\\r\n\t ");
}

static int build_id(struct client_settings *s, const struct hp_client_options *o,
                    struct hp_error *err)
{
    char ip[64] = "127.0.0.1", instance[64];
    if (!o->client_ip)
        local_address(s->name_servers[0], ip, sizeof ip);
    snprintf(instance, sizeof instance, "%d#%lld", (int)getpid(),
             (long long)clock_mono_ns(&clock_system));
    const char *name = o->instance_name ? o->instance_name : instance;
    if (o->client_ip && !is_name(o->client_ip))
        return error_set(err, HP_E_INVALID,
                         "client_ip is empty, longer than 128 or holds blanks, quotes, '/' or '@'");
    if (!is_name(name) || (o->unit_name && !is_name(o->unit_name)))
        return error_set(err, HP_E_INVALID,
                         "%s is empty, longer than 128 or holds blanks, quotes, '/' or '@'",
                         is_name(name) ? "unit_name" : "instance_name");
    struct buf b;
    buf_init(&b, 0);
    buf_printf(&b, "%s@%s", o->client_ip ? o->client_ip : ip, name);
    if (o->unit_name)
        buf_printf(&b, "@%s", o->unit_name);
    s->ip = slice_dup(slice_str(o->client_ip ? o->client_ip : ip));
    s->client_id = buf_take(&b, NULL);
    buf_printf(&b, "%s@%s", o->client_ip ? o->client_ip : ip, o->instance_name ? name : "DEFAULT");
    s->stable_id = buf_take(&b, NULL);
    return s->ip && s->client_id && s->stable_id
               ? 0
               : error_set(err, HP_E_NOMEM, "out of memory for a client");
}

static int check_times(const struct hp_client_options *o, struct hp_error *err)
{
    if (o->route_refresh_ms < 0)
        return error_set(err, HP_E_INVALID, "route_refresh_ms is negative");
    if (o->heartbeat_ms < 0)
        return error_set(err, HP_E_INVALID, "heartbeat_ms is negative");
    if (o->heartbeat_ms > 100000)
        return error_set(err, HP_E_INVALID,
                         "heartbeat_ms is over 100000: brokers forget a client after 120 s");
    if (o->request_timeout_ms < 0)
        return error_set(err, HP_E_INVALID, "request_timeout_ms is negative");
    return 0;
}

int settings_init(struct client_settings *s, const struct hp_client_options *o,
                  struct hp_error *err)
{
    static const struct hp_client_options none = {0};
    *s = (struct client_settings){0};
    if (!o)
        o = &none;
    const char *text = o->namesrv_addr ? o->namesrv_addr : getenv("NAMESRV_ADDR");
    int rc = check_times(o, err);
    if (!rc)
        rc = split_addresses(s, text ? text : "", err);
    if (!rc)
        rc = build_id(s, o, err);
    if (rc) {
        settings_fini(s);
        return rc;
    }
    s->route_refresh_ms = o->route_refresh_ms ? o->route_refresh_ms : DEFAULT_PERIOD_MS;
    s->heartbeat_ms = o->heartbeat_ms ? o->heartbeat_ms : DEFAULT_PERIOD_MS;
    s->request_timeout_ms = o->request_timeout_ms ? o->request_timeout_ms : DEFAULT_TIMEOUT_MS;
    return 0;
}

void settings_fini(struct client_settings *s)
{
    for (size_t i = 0; i < s->name_server_n; i++)
        free(s->name_servers[i]);
    free(s->name_servers);
    free(s->client_id);
    free(s->stable_id);
    free(s->ip);
    *s = (struct client_settings){0};
}
