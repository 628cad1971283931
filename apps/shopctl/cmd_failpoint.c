/* failpoint: lists and arms the failure places of a running service through its internal port.
 *
 * Without a specification it prints every place with what it stands for and whether it is armed; with
 * one it arms them (apps/common/failpoint.h has the words) and prints the same. An address that is
 * not an internal port is told so in the error.
 */
#include "apps/shopctl/shopctl.h"

#include <stdio.h>

#include "apps/common/http_client.h"

static const struct app_option options[] = {{NULL, APP_TEXT, NULL, 0, 0, NULL, false}};

static int call_service(const char *base, const char *spec, struct http_answer *out,
                        struct app_error *e)
{
    char url[512];
    if ((size_t)snprintf(url, sizeof url, "%s/admin/failpoints", base) >= sizeof url)
        return app_fail(e, APP_E_CONFIG, "the URL is too long");
    json_t *const body = spec != NULL ? json_pack("{s:s}", "spec", spec) : NULL;
    const struct http_call call = {
        .method = spec != NULL ? "POST" : "GET", .url = url, .json = body, .timeout_ms = 5000};
    int rc = http_do(&call, out, e);
    json_decref(body);
    if (rc != 0)
        return rc;
    if (out->success)
        return 0;
    rc = app_fail(e, APP_E_CONFIG, "%s: HTTP %d %s", url, out->status,
                  out->status == 404 ? "(is this the internal port?)" : out->message);
    http_answer_free(out);
    return rc;
}

static int print_list(const json_t *list, struct app_error *e)
{
    static const struct ctl_column columns[] = {{"NAME", COL_LEFT},
                                                {"ARMED", COL_LEFT},
                                                {"HITS", COL_RIGHT},
                                                {"MEANING", COL_WRAP},
                                                {NULL, 0}};
    struct ctl_table *t;
    size_t i;
    json_t *fp;
    int rc = table_new(columns, &t, e);
    if (rc != 0)
        return rc;
    json_array_foreach((json_t *)list, i, fp)
    {
        char hits[24];
        (void)snprintf(hits, sizeof hits, "%lld",
                       (long long)json_integer_value(json_object_get(fp, "hits")));
        const char *const cells[] = {json_string_value(json_object_get(fp, "name")),
                                     json_is_true(json_object_get(fp, "armed")) ? "yes" : "", hits,
                                     json_string_value(json_object_get(fp, "meaning"))};
        if ((rc = table_row(t, cells, e)) != 0) {
            table_free(t);
            return rc;
        }
    }
    return table_print(t, NULL, e);
}

static int run(const struct ctl *c, struct app_error *e)
{
    struct http_answer answer;
    const char *const spec = c->n_args > 1 ? c->args[1] : NULL;
    int rc = call_service(c->args[0], spec, &answer, e);
    if (rc != 0)
        return rc;
    if (spec != NULL)
        printf("armed: %s\n", spec);
    else
        rc = print_list(json_object_get(answer.data, "failpoints"), e);
    http_answer_free(&answer);
    return rc;
}

const struct ctl_command ctl_failpoint = {
    .name = "failpoint",
    .arguments = "URL [SPEC]",
    .options = options,
    .args_min = 1,
    .args_max = 2,
    .run = run,
    .summary = "list a service's failure places (internal port), or arm them"};
