#pragma once
/* A small store with something in every file, on a fixture's disk: for the tests of tools that read and
 * repair stores. Failed expectations end the test. */
#include "tests/support/store_fixture.h"

enum { SAMPLE_RECORDS = 400 };

struct sample_record {
    char *bytes; /* as in the log */
    int32_t size, queue_id;
    int64_t phys, queue_offset;
    bool in_queue;
    const char *topic;
};
struct sample {
    struct sample_record records[SAMPLE_RECORDS];
};

/* On an initialised fixture: opens it, appends SAMPLE_RECORDS records (three topics, tags, keys, bodies,
 * delayed and rolled back ones, with and without a checksum) over several log, queue and index files,
 * writes tables to config/, and leaves the store open with everything indexed. */
void sample_fill(struct store_fixture *f, struct sample *s);
void sample_free(struct sample *s);
/* Whether record i can be read at its queue offset, byte for byte; records without a unit by their place. */
bool sample_readable(struct store_fixture *f, const struct sample *s, int i);
int sample_at(const struct sample *s, int64_t phys); /* the record that holds this byte; -1: none */
void sample_index_all(struct store_fixture *f);

/* Damage, past the store. Paths are below the store's root. */
void sample_flip(struct store_fixture *f, const char *path, int64_t at, unsigned char mask);
void sample_resize(struct store_fixture *f, const char *path, int64_t size);
void sample_remove(struct store_fixture *f, const char *path);
void sample_put(struct store_fixture *f, const char *path, int64_t at, const void *p, size_t n);
/* The name of index file i, ascending, in a static buffer. */
const char *sample_index_file(struct store_fixture *f, int i);
