#pragma once
/* Filling the broker table; reading it is in client_priv.h. Loop thread. */
#include "client/client_priv.h"
#include "proto/body.h"

/* Replaces the addresses of a broker; NULL when memory is out. */
struct broker *broker_apply(struct hp_client *c, const struct broker_data *data);
void brokers_sweep(struct hp_client *c); /* forgets those that no route and no cluster names */
void broker_free(void *b);
