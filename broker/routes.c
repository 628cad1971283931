/* The route tables, from routes.def. */
#include "broker/handlers.h"

static const struct {
    struct route route;
    bool fast;
} rows[] = {
#define ROUTE(code, handler, class, fast) {{RC_##code, handler, class}, fast},
#include "broker/routes.def"
#undef ROUTE
};
static_assert(sizeof rows / sizeof *rows <= BROKER_ROUTES_MAX, "raise BROKER_ROUTES_MAX");

size_t broker_routes(bool fast, struct route out[BROKER_ROUTES_MAX])
{
    size_t n = 0;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (!fast || rows[i].fast)
            out[n++] = rows[i].route;
    return n;
}
