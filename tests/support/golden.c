/* Reader of the recorded conversations.
 *
 * Owns: the parsed index lines and the content of every .bin file, until golden_free; frames borrow
 * from both. Runs on: any thread; a struct golden belongs to one.
 *
 * Layout: frames/index.jsonl has a JSON object a line (file, offset, length, ms, conn, dir, kind,
 * code, opaque, flag, requestCode, name, header, bodyLength, remark, label); frames/NAME.bin has
 * the frames of one conversation back to back.
 *
 * Failure modes: a missing file (E_NOTFOUND), an index line that is no object or points outside its
 * file (E_CORRUPT, with the line). */
#include "tests/support/golden.h"

#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"

struct golden_blob {
    struct golden_blob *next;
    const char *file;
    char *p;
    size_t n;
};

int golden_file(const char *name, char **out, size_t *n, struct err *e)
{
    const char *top = getenv("HALFPENNY_SOURCE");
    struct buf path;
    buf_init(&path, 0);
    buf_printf(&path, "%s/tests/golden/%s", top ? top : ".", name);
    char *p = buf_take(&path, NULL);
    int rc = p ? fs_read_all(&fs_real, p, 1 << 30, out, n, e)
               : err_set(e, E_NOMEM, "golden file %s", name);
    free(p);
    return rc;
}

static int load_blob(struct golden *g, const char *file, const struct golden_blob **out,
                     struct err *e)
{
    for (struct golden_blob *b = g->blobs; b; b = b->next)
        if (strcmp(b->file, file) == 0) {
            *out = b;
            return 0;
        }
    struct golden_blob *b = calloc(1, sizeof *b);
    struct buf name;
    buf_init(&name, 0);
    buf_printf(&name, "frames/%s", file);
    char *path = buf_take(&name, NULL);
    int rc = b && path ? golden_file(path, &b->p, &b->n, e) : err_set(e, E_NOMEM, "golden frames");
    free(path);
    if (rc) {
        free(b);
        return rc;
    }
    b->file = file;
    b->next = g->blobs;
    g->blobs = b;
    *out = b;
    return 0;
}

/* A string member as a C string; jansson keeps a NUL behind it. */
static const char *text(const json_t *line, const char *key)
{
    struct slice s = json_get_str(line, key);
    return s.p ? s.p : "";
}

/* "client->broker-a" into its two ends: the arrow's first byte becomes the NUL of the sender. */
static void split_direction(const json_t *line, struct golden_frame *f)
{
    f->from = text(line, "dir");
    char *arrow = strstr(f->from, "->");
    f->to = arrow ? arrow + 2 : "";
    if (arrow)
        *arrow = '\0';
}

static int read_frame(struct golden *g, json_t *line, struct golden_frame *f, struct err *e)
{
    const struct golden_blob *b;
    int64_t offset = json_get_i64(line, "offset", -1), length = json_get_i64(line, "length", -1);
    int rc = load_blob(g, text(line, "file"), &b, e);
    if (rc)
        return rc;
    if (offset < 0 || length < 0 || offset > (int64_t)b->n - length)
        return err_set(e, E_CORRUPT, "%s has no frame at %lld of %lld bytes", b->file,
                       (long long)offset, (long long)length);
    *f = (struct golden_frame){
        .bytes = slice_of(b->p + offset, (size_t)length),
        .file = b->file,
        .offset = offset,
        .ms = json_get_i64(line, "ms", 0),
        .conn = (int)json_get_i64(line, "conn", 0),
        .kind = text(line, "kind"),
        .code = (int)json_get_i64(line, "code", -1),
        .request_code = (int)json_get_i64(line, "requestCode", json_get_i64(line, "code", -1)),
        .opaque = (int32_t)json_get_i64(line, "opaque", 0),
        .flag = (int32_t)json_get_i64(line, "flag", 0),
        .binary_header = slice_eq_str(json_get_str(line, "header"), "ROCKETMQ"),
        .name = text(line, "name"),
        .remark = text(line, "remark"),
        .label = text(line, "label"),
        .body_len = (int)json_get_i64(line, "bodyLength", 0),
    };
    split_direction(line, f);
    return 0;
}

static int add_line(struct golden *g, struct slice line_text, const char *prefix, size_t *cap,
                    struct err *e)
{
    json_t *line;
    int rc = json_parse(line_text, &line, e);
    if (rc)
        return rc;
    if (!slice_starts(json_get_str(line, "file"), slice_str(prefix))) {
        json_decref(line);
        return 0;
    }
    if (g->n == *cap) {
        *cap = *cap ? *cap * 2 : 256;
        struct golden_frame *frames = reallocarray(g->frames, *cap, sizeof *frames);
        if (frames)
            g->frames = frames;
        if (!frames) {
            json_decref(line);
            return err_set(e, E_NOMEM, "golden frames");
        }
    }
    if (json_array_append_new(g->lines, line))
        return err_set(e, E_NOMEM, "golden frames");
    rc = read_frame(g, line, &g->frames[g->n], e);
    g->n += !rc;
    return rc;
}

int golden_load(const char *prefix, struct golden *out, struct err *e)
{
    char *index;
    size_t n, cap = 0;
    *out = (struct golden){.lines = json_array()};
    int rc = out->lines ? golden_file("frames/index.jsonl", &index, &n, e)
                        : err_set(e, E_NOMEM, "golden frames");
    if (rc) {
        golden_free(out);
        return rc;
    }
    struct slice rest = slice_of(index, n), line_text;
    for (int line = 1; !rc && slice_cut(&rest, '\n', &line_text); line++) {
        rc = line_text.n ? add_line(out, line_text, prefix, &cap, e) : 0;
        if (rc)
            err_wrap(e, rc, "frames/index.jsonl:%d", line);
    }
    free(index);
    if (!rc && !out->n)
        rc = err_set(e, E_NOTFOUND, "no golden frames whose file starts with '%s'", prefix);
    if (rc)
        golden_free(out);
    return rc;
}

void golden_free(struct golden *g)
{
    for (struct golden_blob *b = g->blobs, *next; b; b = next) {
        next = b->next;
        free(b->p);
        free(b);
    }
    free(g->frames);
    json_decref(g->lines);
    *g = (struct golden){0};
}
