#pragma once
/* The state of every half message, by its offset in the half queue.
 *
 * Offsets only grow, most are decided soon, and a few stay undecided for long; so states are kept in
 * chunks, and a chunk whose halves are all decided costs one pointer. Not thread-safe. */
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum tx_state { TX_UNDECIDED, TX_DECIDING /* claimed by one decision in progress */, TX_DECIDED };

struct tx_window {
    int64_t base; /* everything below is decided; a multiple of the chunk size */
    struct tx_chunk **chunks;
    size_t n, cap; /* chunks in use */
};

int tx_window_init(struct tx_window *w, int64_t low) HP_MUST_USE; /* all below `low` is decided */
void tx_window_free(struct tx_window *w);
enum tx_state tx_window_get(const struct tx_window *w, int64_t offset);
/* DECIDED is final: setting anything after it is a bug. E_NOMEM. */
int tx_window_set(struct tx_window *w, int64_t offset, enum tx_state s) HP_MUST_USE;
int64_t tx_window_low(const struct tx_window *w); /* the lowest offset that is not decided */
