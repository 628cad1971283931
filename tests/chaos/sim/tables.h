#pragma once
/* The files of config/ with content made from a seed, loaded and saved by the broker's own code
 * without a broker around it. */
#include "broker/broker.h"
#include "broker/group.h"
#include "broker/offset.h"
#include "broker/topic.h"

struct tables {
    struct broker b; /* only what persist.c looks at */
    struct broker_conf conf;
};
/* Empty tables over <root>/config. E_NOMEM. */
int tables_init(struct tables *t, struct fs *fs, const char *root) HP_MUST_USE;
void tables_fini(struct tables *t);
int tables_fill(struct tables *t, const struct clock *clock, struct rng *rng, struct err *e) HP_MUST_USE;
int tables_save(struct tables *t, struct err *e) HP_MUST_USE;
int tables_load(struct tables *t, struct err *e) HP_MUST_USE;
/* The content of all three as text, for comparison; the caller frees. NULL: no memory. */
char *tables_text(struct tables *t);
