#pragma once
/* What a public hp_message holds. */
#include "halfpenny/message.h"

struct message_prop {
    char *name, *value;
};
struct hp_message {
    char *topic;
    char *body;
    size_t body_n;
    struct message_prop *props; /* in the order they were set; names are unique */
    size_t prop_n, prop_cap;
    int32_t flag;
    bool wait_store_ok;
};
const char *message_prop_get(const struct hp_message *m, const char *name); /* NULL when absent */
