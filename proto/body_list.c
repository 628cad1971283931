/* Members of a consumer group (answer to 38): {"consumerIdList":["ip@instance",..]}.
 *
 * Any thread. The decoder gives an array that the caller frees, whose slices borrow from *root,
 * which the caller drops with json_decref. Failure modes: E_PROTO, E_NOMEM.
 * Source: GetConsumerListByGroupResponseBody. */
#include <stdlib.h>

#include "proto/body_json.h"
#include "proto/text.h"

static const char what[] = "consumer list";

int consumer_list_encode(const struct slice *ids, size_t n, struct buf *out)
{
    buf_str(out, "{\"consumerIdList\":[");
    for (size_t i = 0; i < n; i++) {
        buf_str(out, i ? "," : "");
        json_text_add(out, ids[i]);
    }
    buf_str(out, "]}");
    return buf_error(out);
}

static int read_ids(const json_t *root, struct slice **ids, size_t *n, struct err *e)
{
    const json_t *list;
    struct slice *found = NULL;
    size_t i;
    json_t *id;
    int rc = body_get_array(root, "consumerIdList", what, &list, e);
    if (!rc)
        rc = body_alloc(json_array_size(list), sizeof *found, what, &found, e);
    if (rc)
        return rc;
    json_array_foreach(list, i, id) {
        if (!json_is_string(id)) {
            free(found);
            return err_set(e, E_PROTO, "%s: consumerIdList[%zu] is not a string", what, i);
        }
        found[i] = json_slice(id);
    }
    *ids = found;
    *n = json_array_size(list);
    return 0;
}

int consumer_list_decode(struct slice body, json_t **root, struct slice **ids, size_t *n,
                         struct err *e)
{
    json_t *tree = NULL;
    int rc = body_parse(body, what, &tree, e);
    if (rc)
        return rc;
    rc = read_ids(tree, ids, n, e);
    if (rc)
        json_decref(tree);
    else
        *root = tree;
    return rc;
}
