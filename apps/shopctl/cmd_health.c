/* health: asks a service whether it is up, for health checks of containers and for operators.
 *
 * GET /healthz of either port; the service asks its database before it answers. Exit status 1 when it says
 * no, 2 when nobody answers in time: both are "unhealthy" to whoever looks at the status alone. */
#include "apps/shopctl/shopctl.h"

#include <stdio.h>
#include <string.h>

#include "apps/common/http_client.h"

static const struct app_option options[] = {
    {"timeout-ms", APP_INT, "3000", 10, 60000, "longest wait for the answer, milliseconds", false},
    {NULL, APP_TEXT, NULL, 0, 0, NULL, false},
};

static int run(const struct ctl *c, struct app_error *e)
{
    char url[512];
    const size_t n = strlen(c->args[0]);
    const char *const slash = n > 0 && c->args[0][n - 1] == '/' ? "" : "/";
    if ((size_t)snprintf(url, sizeof url, "%s%shealthz", c->args[0], slash) >= sizeof url)
        return app_fail(e, APP_E_CONFIG, "the URL is too long");
    const struct http_call call = {
        .method = "GET", .url = url, .timeout_ms = app_int(c->settings, "timeout-ms")};
    struct http_answer answer;
    const int rc = http_do(&call, &answer, e);
    if (rc != 0)
        return rc;
    const bool up = answer.status == 200;
    printf("%s: HTTP %d %.200s\n", url, answer.status, answer.body);
    http_answer_free(&answer);
    return up ? CTL_OK : CTL_FOUND;
}

const struct ctl_command ctl_health = {
    .name = "health",
    .arguments = "URL",
    .options = options,
    .args_min = 1,
    .args_max = 1,
    .run = run,
    .summary = "ask a service whether it is up, by either of its ports",
};
