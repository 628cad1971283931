#pragma once
/* A name server: one loop thread, one port, one route table. Several may run in one process. */
#include "base/clock.h"
#include "namesrv/conf.h"

struct namesrv; /* opaque */

/* Listens and serves when this returns. E_EXISTS: the port is taken. conf is only read here. */
int namesrv_open(struct namesrv **out, const struct namesrv_conf *conf, const struct clock *clock,
                 struct err *e) HP_MUST_USE;
int namesrv_port(const struct namesrv *n);
void namesrv_close(struct namesrv *n); /* any thread but its own; returns when everything is gone */
