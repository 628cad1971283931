#pragma once
/* What hp_client_options says, checked and completed. Any thread. */
#include "halfpenny/types.h"

struct client_settings {
    char **name_servers; /* "host:port" */
    size_t name_server_n;
    char *client_id, *ip;
    char *stable_id; /* the same after a restart of the process: names the broadcast offset files */
    int64_t route_refresh_ms, heartbeat_ms, request_timeout_ms;
};
/* May resolve the first name server's name, so it may block. On failure nothing is left to free. */
int settings_init(struct client_settings *s, const struct hp_client_options *o,
                  struct hp_error *err) HP_CHECK;
void settings_fini(struct client_settings *s);
