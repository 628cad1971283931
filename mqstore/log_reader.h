#pragma once
/* Records of a stopped store's log, wherever in its files they stand. One thread. */
#include "mqstore/site.h"
#include "mqstore/window.h"

struct log_reader {
    const struct site *s;
    struct window w;
    int file; /* index of the open one, -1: none */
};
void log_reader_init(struct log_reader *r, const struct site *s, size_t ahead);
void log_reader_fini(struct log_reader *r);
/* Bytes of the log from pos on, within its file; *left: to the end that the file should have. E_NOTFOUND:
 * no file holds pos. */
int log_reader_bytes(struct log_reader *r, int64_t pos, size_t want, struct slice *out, int64_t *left,
                     struct err *e) HP_MUST_USE;
/* record_judge on what stands at pos; slices of m live until the next call. BAD: e says why, its code is
 * E_IO when the disk is to blame, E_NOTFOUND outside the log's files. */
enum record_kind log_reader_record(struct log_reader *r, int64_t pos, struct message *m, int64_t *left,
                                   struct err *e);
/* The first whole record at or behind `from`, wherever; -1: there is none. Bytes that cannot be read are
 * passed over. */
int64_t log_reader_find(struct log_reader *r, int64_t from);
