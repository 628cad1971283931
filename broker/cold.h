#pragma once
/* Work for a request that may wait for the disk, off the network loops. */
#include "remoting/server.h"

/* The request's loop: runs work(r) on a worker thread, then then(r) on the loop again, where it is
 * answered. The caller has owned or dropped the input; work() may use what lies in the arena or
 * req_user, and the store's reads. E_NOMEM: neither will run, the caller answers. */
int cold_run(struct req *r, void (*work)(struct req *r), void (*then)(struct req *r)) HP_MUST_USE;
