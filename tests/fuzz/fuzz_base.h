#pragma once
/* A store that nothing is wrong with: the ground on which targets damage one kind of file. It has
 * three log files, the queues and B-0, keys k0 to k4, and was stopped in order. */
#include "tests/fuzz/fuzz_store.h"

enum { FUZZ_BASE_RECORDS_MAX = 36, FUZZ_BASE_KEYS = 5 };

/* FUZZ_BASE_LARGE: each queue and the index have two files. FUZZ_BASE_SMALL: a third of the records, each
 * three times as long, for targets that damage neither: they run twice as fast on it. */
enum fuzz_base { FUZZ_BASE_SMALL, FUZZ_BASE_LARGE };

/* Once, after fuzz_store_init: builds it. */
void fuzz_base_init(enum fuzz_base which);
/* The disk holds it, and nothing else. The options have the index on. */
void fuzz_base_restore(struct store_opts *o);
const struct fuzz_model *fuzz_base_model(void); /* the queues that its log makes */
struct slice fuzz_base_file(const char *path);  /* as it is in the base; empty when it is not */

/* Indexes what is not indexed yet; it must come to an end. */
void fuzz_base_index(struct store *st);
/* Asks for every key: each answer must name only records that carry the key, and each once; with
 * `complete` all of them, in log order. Returns a hash of the answers. */
uint64_t fuzz_base_query(struct store *st, bool complete);
