#pragma once
/* Hash map from byte strings to pointers, and from 64-bit keys to pointers. Open addressing, keys
 * copied in, values borrowed. Seeded hash (SipHash-like strength is needed: keys come from peers).
 * Not thread-safe. Iteration order is unspecified; removing the current entry while iterating is
 * allowed, inserting is not. */
#include "base/err.h"
#include "base/slice.h"

struct map; /* opaque */

struct map *map_new(void); /* NULL when memory is out */
void map_free(struct map *m, void (*value_free)(void *)); /* value_free may be NULL */
size_t map_count(const struct map *m);
void *map_get(const struct map *m, struct slice key); /* NULL when absent */
/* Inserts or replaces; *old (may be NULL) receives the replaced value or NULL. E_NOMEM. */
int map_put(struct map *m, struct slice key, void *value, void **old) HP_MUST_USE;
void *map_remove(struct map *m, struct slice key); /* the value, NULL when absent */

struct map_iter {
    size_t pos;
    struct slice key; /* valid until the map changes */
    void *value;
};
/* `struct map_iter it = {0}; while (map_next(m, &it)) ...` */
bool map_next(const struct map *m, struct map_iter *it);

/* Composite keys "a<sep>b": topic@group and the like, in a caller's scratch buffer. */
static inline struct slice map_key_i64(const int64_t *k) { return (struct slice){(const char *)k, sizeof *k}; }

uint64_t hash_bytes(struct slice s); /* the seeded hash the maps use */
