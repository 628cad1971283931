/* Broker registration (103): the topic table and its data version.
 *
 * Plain form: JSON, {"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{..},
 * "topicConfigTable":{"T":{..}},..}}. 4.9 brokers leave out stateVersion, attributes and the
 * mapping members.
 *
 * Compressed form: zlib around
 *
 *     i32 length, data version as JSON
 *     i32 number of topics, each: i32 length, a topic line
 *     i32 length, filter server list as JSON
 *     from version 413 on: i32 number of queue mappings, each: i32 length, JSON     (not read here)
 *
 * A topic line is "name readNums writeNums perm filterType", then a blank and the attributes as
 * JSON unless the broker is too old to have any.
 *
 * It is turned into the tree of the plain form, and one function reads both. 5.5.0 sends the
 * compressed form while its header says the opposite (its own name server then refuses it), so the
 * first byte decides as well: 0x78 opens a zlib stream and never JSON.
 *
 * The inflated size is bounded by INFLATED_MAX, the size of the largest frame: a few kilobytes on
 * the wire could ask for gigabytes.
 *
 * Any thread. A register_body owns its tree and its topic array; all slices borrow from the tree.
 * Failure modes: E_PROTO (which member), E_TOOBIG (inflated size), E_NOMEM.
 * Source: RegisterBrokerBody, TopicConfig.decode of 5.5.0. */
#include <stdlib.h>
#include <zlib.h>

#include "proto/body_json.h"

enum { INFLATED_MAX = 16 * 1024 * 1024, INFLATE_STEP = 64 * 1024, ZLIB_FIRST_BYTE = 0x78 };

static const char what[] = "registration body";

static int read_topics(json_t *table, struct register_body *out, struct err *e)
{
    const char *name;
    json_t *t;
    const int rc = body_alloc(json_object_size(table), sizeof *out->topics, what, &out->topics, e);
    if (rc)
        return rc;
    json_object_foreach(table, name, t) {
        if (!json_is_object(t))
            return err_set(e, E_PROTO, "%s: topic \"%s\" is not an object", what, name);
        const int bad = topic_config_from_json(t, &out->topics[out->topic_n], e);
        if (bad)
            return err_wrap(e, bad, "%s: topic \"%s\"", what, name);
        out->topics[out->topic_n++].name = slice_str(name);
    }
    return 0;
}

/* Takes `root`, which *out owns also when this fails. */
static int read_tree(json_t *root, struct register_body *out, struct err *e)
{
    json_t *wrapper, *version, *table;
    *out = (struct register_body){.root = root};
    int rc = body_get_object(root, "topicConfigSerializeWrapper", what, &wrapper, e);
    if (!rc)
        rc = body_get_object(wrapper, "dataVersion", what, &version, e);
    if (!rc)
        rc = body_get_object(wrapper, "topicConfigTable", what, &table, e);
    if (!rc && !version)
        rc = err_set(e, E_PROTO, "%s: member \"dataVersion\" is missing", what);
    if (rc)
        return rc;
    out->version = data_version_from_json(version);
    return read_topics(table, out, e);
}

/* ---- the compressed form ---- */

static int inflate_all(z_stream *z, struct buf *out, struct err *e)
{
    int rc;
    do {
        if (out->n >= INFLATED_MAX)
            return err_set(e, E_TOOBIG, "%s: inflates to more than %d bytes", what, INFLATED_MAX);
        char *const p = buf_extend(out, INFLATE_STEP);
        if (!p)
            return err_set(e, buf_error(out), "%s: inflating", what);
        z->next_out = (Bytef *)p;
        z->avail_out = INFLATE_STEP;
        rc = inflate(z, Z_NO_FLUSH);
        out->n -= z->avail_out;
    } while (rc == Z_OK);
    return rc == Z_STREAM_END
               ? 0
               : err_set(e, E_PROTO, "%s: broken zlib stream (%s)", what, zError(rc));
}

static int inflate_body(struct slice body, struct buf *out, struct err *e)
{
    z_stream z = {.next_in = (Bytef *)(uintptr_t)body.p, .avail_in = (uInt)body.n};
    if (body.n > UINT32_MAX)
        return err_set(e, E_TOOBIG, "%s of %zu bytes", what, body.n);
    if (inflateInit(&z) != Z_OK)
        return err_set(e, E_NOMEM, "%s: inflating", what);
    const int rc = inflate_all(&z, out, e);
    inflateEnd(&z);
    return rc;
}

static struct slice read_block(struct reader *r)
{
    return reader_bytes(r, reader_be32(r));
}

/* "name readNums writeNums perm filterType [attributesJSON]" to the object of the plain form. */
static int topic_line(struct slice line, json_t *table, struct err *e)
{
    struct topic_config t = {0};
    struct slice read_nums, write_nums, perm, attributes;
    json_t *parsed = NULL;
    const struct slice whole = line;
    const bool ok = slice_cut(&line, ' ', &t.name) && t.name.n &&
                    slice_cut(&line, ' ', &read_nums) && slice_cut(&line, ' ', &write_nums) &&
                    slice_cut(&line, ' ', &perm) && slice_cut(&line, ' ', &t.filter_type) &&
                    !slice_i32(read_nums, &t.read_queue_nums) &&
                    !slice_i32(write_nums, &t.write_queue_nums) && !slice_i32(perm, &t.perm);
    if (!ok)
        return err_set(e, E_PROTO,
                       "%s: topic entry \"" SLICE_FMT "\" is not \"name read write perm filter\"",
                       what, (int)(whole.n < 80 ? whole.n : 80), whole.p);
    attributes = line;
    if (attributes.n && json_parse(attributes, &parsed, NULL) == 0 && json_is_object(parsed))
        t.attributes = parsed; /* unreadable attributes are dropped, as in Java */
    json_t *const j = topic_config_to_json(&t);
    json_decref(parsed);
    if (!j || json_object_setn_new(table, t.name.p, t.name.n, j))
        return err_set(e, E_PROTO, "%s: topic entry is no text, or memory is out", what);
    return 0;
}

/* Fills version and table of the (still empty) plain form. */
static int read_blocks(struct slice in, json_t *wrapper, json_t *table, struct err *e)
{
    struct reader r = reader_of(in);
    json_t *version = NULL;
    const struct slice text = read_block(&r);
    int rc = r.bad ? E_PROTO : json_parse(text, &version, e);
    if (rc || json_object_set_new(wrapper, "dataVersion", version))
        return err_set(e, rc ? rc : E_NOMEM,
                       "%s: data version of the compressed form is unreadable", what);
    const uint32_t n = reader_be32(&r);
    for (uint32_t i = 0; i < n && !r.bad; i++) {
        const struct slice line = read_block(&r);
        rc = r.bad ? 0 : topic_line(line, table, e);
        if (rc)
            return rc;
    }
    read_block(&r); /* filter servers: a removed feature */
    return r.bad ? err_set(e, E_PROTO, "%s: compressed form is cut off", what) : 0;
}

static int tree_of_compressed(struct slice body, json_t **root, struct err *e)
{
    json_t *const wrapper = json_object(), *const table = json_object();
    struct buf inflated;
    buf_init(&inflated, 0);
    int rc = inflate_body(body, &inflated, e);
    if (!rc)
        rc = read_blocks(buf_slice(&inflated), wrapper, table, e);
    buf_free(&inflated);
    if (rc) {
        json_decref(wrapper);
        json_decref(table);
        return rc;
    }
    *root = json_pack("{s:o}", "topicConfigSerializeWrapper", wrapper);
    if (!*root || json_object_set_new(wrapper, "topicConfigTable", table)) {
        json_decref(*root);
        return err_set(e, E_NOMEM, "%s", what);
    }
    return 0;
}

int register_body_decode(struct slice body, bool compressed, int32_t sender_version,
                         struct register_body *out, struct err *e)
{
    (void)sender_version; /* tells only whether queue mappings follow, which are not read */
    const bool zlib = compressed || (body.n && (unsigned char)body.p[0] == ZLIB_FIRST_BYTE);
    struct register_body b = {0};
    json_t *root = NULL;
    int rc = zlib ? tree_of_compressed(body, &root, e) : body_parse(body, what, &root, e);
    if (rc)
        return rc;
    rc = read_tree(root, &b, e);
    if (rc)
        register_body_free(&b);
    else
        *out = b;
    return rc;
}

void register_body_free(struct register_body *b)
{
    free(b->topics);
    json_decref(b->root);
    *b = (struct register_body){0};
}

int register_body_encode(const struct topic_config *topics, size_t n, struct data_version v,
                         struct buf *out)
{
    json_t *const table = json_object();
    for (size_t i = 0; i < n; i++) {
        if (json_object_setn_new(table, topics[i].name.p, topics[i].name.n,
                                 topic_config_to_json(&topics[i]))) {
            json_decref(table);
            return E_NOMEM;
        }
    }
    return body_write(json_pack("{s:[],s:{s:o,s:o,s:o,s:{},s:{}}}", "filterServerList",
                                "topicConfigSerializeWrapper", "dataVersion",
                                data_version_to_json(v), "mappingDataVersion",
                                data_version_to_json((struct data_version){0}), "topicConfigTable",
                                table, "topicQueueMappingDetailMap", "topicQueueMappingInfoMap"),
                      out);
}
