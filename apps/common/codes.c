/* The table of business codes (codes.def) and its three look-ups. Pure; any thread. */
#include "apps/common/codes.h"

#include <stddef.h>

struct code {
    int number, http;
    const char *name, *text;
};

static const struct code table[] = {
#define CODE(name, number, http, text) {(number), (http), #name, text},
#include "apps/common/codes.def"
#undef CODE
};

static const struct code *find(int number)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].number == number)
            return &table[i];
    return NULL;
}

const char *code_text(int code)
{
    const struct code *c = find(code);
    return c ? c->text : "unknown code";
}

const char *code_name(int code)
{
    const struct code *c = find(code);
    return c ? c->name : "UNKNOWN";
}

int code_http(int code)
{
    const struct code *c = find(code);
    return c ? c->http : 500;
}
