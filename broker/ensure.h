#pragma once
/* Topics and groups that a request needs: created on the service loop while the request waits.
 *
 * Network loops never touch files. A handler that misses a topic or a group parks its request here;
 * the service loop creates, writes the files of config once for everything of its turn, tells the
 * name servers, and the handler runs again from the start on the request's loop. */
#include "broker/topic.h"
#include "remoting/server.h"

struct ensure {
    const struct topic_spec *topics; /* names may borrow from the request */
    size_t topic_n;
    const struct slice *groups;
    size_t group_n;
    bool lenient; /* a topic or group that cannot be created is skipped: heartbeats */
};
/* Takes r. again(r) runs on r's loop when everything exists; when something cannot be created
 * (limit, bad name) r is answered here with code and reason (unless lenient), so again() never
 * loops. Groups alone, and what a heartbeat needs, exist also while their file cannot be written. Slices of req_command(r) taken before are invalid afterwards. */
void ensure_then(struct req *r, const struct ensure *what, void (*again)(struct req *r));

/* The same for a send to the missing topic what->topics[0], which keeps its place: until it is through,
 * ensure_behind holds back what the connection sends to that topic after it. */
void ensure_topic_then(struct req *r, const struct ensure *what, void (*again)(struct req *r));
/* Takes r when an earlier send of its connection waits for this topic: again(r) runs when that one is
 * through, in the order of arrival. False: nothing waits, r is still the caller's. */
bool ensure_behind(struct req *r, struct slice topic, void (*again)(struct req *r));
