/* The brokers an instance knows: names, clusters and addresses by id (0 is the master).
 *
 * They come with route answers (every topic's route names its brokers) and, for transaction
 * producers, with the cluster information of a name server, because a check-back may come from a
 * broker whose topics this process has not used yet. A broker that no cached route names any more
 * is forgotten.
 *
 * Runs on: the loop. */
#include "client/brokers.h"

#include <stdlib.h>

#include "base/json.h"

static void addrs_free(struct broker *b)
{
    for (size_t i = 0; i < b->addr_n; i++)
        free(b->addrs[i].addr);
    free(b->addrs);
    b->addrs = NULL;
    b->addr_n = 0;
}

void broker_free(void *p)
{
    struct broker *b = p;
    addrs_free(b);
    free(b->name);
    free(b->cluster);
    free(b);
}

static struct broker *broker_get_or_new(struct hp_client *c, struct slice name,
                                        struct slice cluster)
{
    struct broker *b = map_get(c->routes.brokers, name);
    if (b)
        return b;
    b = calloc(1, sizeof *b);
    if (!b)
        return NULL;
    b->name = slice_dup(name);
    b->cluster = slice_dup(cluster);
    if (!b->name || !b->cluster || map_put(c->routes.brokers, name, b, NULL)) {
        broker_free(b);
        return NULL;
    }
    return b;
}

static int by_id(const void *a, const void *b)
{
    const struct broker_addr_entry *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

struct broker *broker_apply(struct hp_client *c, const struct broker_data *data)
{
    struct broker *b = broker_get_or_new(c, data->broker_name, data->cluster);
    if (!b)
        return NULL;
    struct broker_addr_entry *addrs = calloc(data->addr_n + 1, sizeof *addrs);
    if (!addrs)
        return NULL;
    size_t n = 0;
    for (size_t i = 0; i < data->addr_n; i++) {
        addrs[n] = (struct broker_addr_entry){data->addrs[i].id, slice_dup(data->addrs[i].addr)};
        if (addrs[n].addr)
            n++;
    }
    qsort(addrs, n, sizeof *addrs, by_id);
    addrs_free(b);
    b->addrs = addrs;
    b->addr_n = n;
    return b;
}

void brokers_sweep(struct hp_client *c)
{
    struct map_iter it = {0};
    while (map_next(c->routes.brokers, &it))
        ((struct broker *)it.value)->marked = false;
    struct map_iter rt = {0};
    while (map_next(c->routes.routes, &rt)) {
        const struct route *r = rt.value;
        for (size_t i = 0; i < r->broker_n; i++) {
            struct broker *b = map_get(c->routes.brokers, slice_str(r->brokers[i]));
            if (b)
                b->marked = true;
        }
    }
    struct map_iter out = {0};
    while (map_next(c->routes.brokers, &out)) {
        struct broker *b = out.value;
        if (b->marked || b->from_cluster_info)
            continue;
        map_remove(c->routes.brokers, out.key);
        broker_free(b);
    }
}

const struct broker *broker_of(const struct hp_client *c, const char *name)
{
    return map_get(c->routes.brokers, slice_str(name));
}

const char *broker_address(const struct broker *b, int64_t id)
{
    for (size_t i = 0; b && i < b->addr_n; i++)
        if (b->addrs[i].id == id)
            return b->addrs[i].addr;
    return NULL;
}

const char *broker_any_address(const struct broker *b)
{
    return b && b->addr_n ? b->addrs[0].addr : NULL;
}

/* One member of brokerAddrTable. */
static int apply_entry(struct hp_client *c, const json_t *entry, struct err *e)
{
    const json_t *addrs = json_object_get(entry, "brokerAddrs");
    struct broker_data data = {.cluster = json_get_str(entry, "cluster"),
                               .broker_name = json_get_str(entry, "brokerName")};
    if (!data.broker_name.p || !json_is_object(addrs))
        return err_set(e, E_PROTO,
                       "cluster information: a broker without brokerName or brokerAddrs");
    data.addrs = calloc(json_object_size(addrs) + 1, sizeof *data.addrs);
    if (!data.addrs)
        return E_NOMEM;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)addrs, key, value)
    {
        int64_t id;
        if (slice_i64(slice_str(key), &id) == 0 && json_is_string(value))
            data.addrs[data.addr_n++] = (struct broker_addr){
                id, slice_of(json_string_value(value), json_string_length(value))};
    }
    struct broker *b = broker_apply(c, &data);
    free(data.addrs);
    if (!b)
        return E_NOMEM;
    b->from_cluster_info = true;
    return 0;
}

static void unmark_cluster(struct hp_client *c)
{
    struct map_iter it = {0};
    while (map_next(c->routes.brokers, &it))
        ((struct broker *)it.value)->from_cluster_info = false;
}

void cluster_info_done(struct hp_client *c)
{
    if (c->routes.cluster_info_wanted)
        return;
    unmark_cluster(c);
    brokers_sweep(c);
}

int cluster_info_apply(struct hp_client *c, struct slice body, struct err *e)
{
    json_t *root;
    int rc = json_parse(body, &root, e);
    if (rc)
        return rc;
    unmark_cluster(c);
    json_t *table = json_object_get(root, "brokerAddrTable"), *entry;
    const char *key;
    json_object_foreach(table, key, entry)
    {
        rc = apply_entry(c, entry, e);
        if (rc)
            break;
    }
    json_decref(root);
    brokers_sweep(c);
    return rc;
}
