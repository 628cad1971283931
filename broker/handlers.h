#pragma once
/* Every request handler of the broker (routes.def), and texts that several of them answer with. */
#include <assert.h>

#include "broker/broker.h"
#include "remoting/server.h"

#define ROUTE(code, handler, class, fast) void handler(struct req *r);
#include "broker/routes.def"
#undef ROUTE

#define FAQ "\nSee https://rocketmq.apache.org/docs/bestPractice/06FAQ for further details."

/* The routes of the main port, or of the fast one; returns how many. */
size_t broker_routes(bool fast, struct route out[BROKER_ROUTES_MAX]);

/* Copies a slice into the request's arena; false when memory is out (then r was answered). */
bool own_slice(struct req *r, struct slice *s) HP_MUST_USE;
