#pragma once
/* The groups of an instance, in the words of a heartbeat. Loop thread. */
#include "client/client_priv.h"

int groups_encode(struct hp_client *c, struct buf *out) HP_MUST_USE;
