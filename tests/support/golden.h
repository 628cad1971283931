#pragma once
/* The recorded conversations in tests/golden/frames: what Apache RocketMQ's servers and clients
 * said to each other, frame by frame. */
#include "base/err.h"
#include "base/slice.h"

#include <jansson.h>

struct golden_frame {
    struct slice bytes;      /* the whole frame, with its length word */
    const char *file;        /* "java-5.5.0-producer.bin" */
    int64_t offset, ms;      /* in the file; milliseconds since its first frame */
    int conn;                /* the same number = the same TCP connection */
    const char *from, *to;   /* "client", "broker", "namesrv", ... */
    const char *kind;        /* request, response, oneway, raw */
    int code;                /* of a response: the response code */
    int request_code;        /* the request's own, or the one a response answers; -1 for raw */
    int32_t opaque, flag;
    bool binary_header;
    const char *name;        /* of the request code; "" when unknown */
    const char *remark;      /* "" when none */
    const char *label;       /* the step of the recording */
    int body_len;
};

struct golden {
    struct golden_frame *frames; /* in the order of the index: by file, then as on the wire */
    size_t n;
    json_t *lines;               /* backs the strings */
    struct golden_blob *blobs; /* backs the bytes */
};

/* Reads the frames of all files whose name starts with prefix ("" = all) below
 * $HALFPENNY_SOURCE/tests/golden/frames (the current directory when unset). E_NOTFOUND when
 * there is none. */
int golden_load(const char *prefix, struct golden *out, struct err *e) HP_MUST_USE;
void golden_free(struct golden *g);
/* Any file below tests/golden, whole: "bodies/26-GET_BROKER_CONFIG-response.5.5.0.bin". The caller
 * frees. */
int golden_file(const char *name, char **out, size_t *n, struct err *e) HP_MUST_USE;
