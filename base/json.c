/* JSON of bodies and files: a rewrite of the peers' dialect, then jansson.
 *
 * Runs on: any thread; pure but for memory. Values are jansson's and counted by it.
 *
 * Happy path: `rewrite` walks the text once with a stack of brackets. If it meets nothing but RFC
 * 8259 it copies nothing and jansson parses the original. Otherwise the text goes to jansson with
 *     {0:"a"}                      as {"0":"a"}
 *     {{"queueId":1, "t":"x"}:3}   as {"{\"queueId\":1,\"t\":\"x\"}":3}
 * so a member named by an object is found under that object's compact text (json_parse it again to
 * read it). Members of the inner object keep the sender's order.
 *
 * Failure modes: E_PROTO with line and column of the original text (an error in the rewritten
 * one is traced back by running the rewrite again up to that byte); E_NOMEM. jansson itself
 * allows 2048 levels; the bound here is DEPTH_MAX, so neither parsing nor freeing can exhaust
 * the stack.
 *
 * Invariants: 1. nothing reads past text.n and no NUL is needed behind it; 2. an object used as a
 * name holds no further object used as a name: quoting would double its backslashes at every level;
 * so the rewritten text is less than three times as long as the original; 3. what `rewrite` does
 * not understand it passes on unchanged: jansson is the judge.
 *
 * Source: fastjson 1.2.83 as RocketMQ's RemotingSerializable uses it; writers here emit its member
 * order (sorted) and, for files, its pretty form (tabs, no blank behind ':'). */
#include "base/json.h"

#include <stdlib.h>

enum { DEPTH_MAX = 64 };

struct rewriter {
    const char *start, *p, *end;
    const char *copied; /* the original is in `out` up to here */
    struct buf out;     /* empty until the first rewrite */
    char stack[DEPTH_MAX];
    int depth;
    bool name_next; /* a member name may come here */
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Behind the string that starts at p, or the end if it has none. */
static const char *string_end(const char *p, const char *end)
{
    for (p++; p < end; p++) {
        if (*p == '\\' && p + 1 < end)
            p++;
        else if (*p == '"')
            return p + 1;
    }
    return end;
}

static int fail_at(struct slice text, size_t at, const char *why, struct err *e)
{
    size_t line = 1, column = 1;
    for (size_t i = 0; i < at && i < text.n; i++) {
        column++;
        if (text.p[i] == '\n') {
            line++;
            column = 1;
        }
    }
    return err_set(e, E_PROTO, "JSON line %zu, column %zu: %s", line, column, why);
}

static struct slice original(const struct rewriter *w)
{
    return slice_of(w->start, (size_t)(w->end - w->start));
}

static int fail_here(struct rewriter *w, const char *why, struct err *e)
{
    return fail_at(original(w), (size_t)(w->p - w->start), why, e);
}

static void copy_up_to(struct rewriter *w, const char *p)
{
    buf_add(&w->out, w->copied, (size_t)(p - w->copied));
    w->copied = p;
}

static void quote_integer_name(struct rewriter *w)
{
    const char *p = w->p + 1;
    while (p < w->end && *p >= '0' && *p <= '9')
        p++;
    copy_up_to(w, w->p);
    buf_char(&w->out, '"');
    copy_up_to(w, p);
    buf_char(&w->out, '"');
    w->p = p;
}

static void add_escaped(struct buf *out, const char *p, const char *end)
{
    for (; p < end; p++) {
        if (*p == '"' || *p == '\\')
            buf_char(out, '\\');
        buf_char(out, *p);
    }
}

/* Behind the object at w->p, or NULL (E_PROTO); only its brackets and names are looked at. */
static const char *find_object_end(struct rewriter *w, struct err *e)
{
    char stack[DEPTH_MAX];
    int depth = w->depth;
    bool name_next = false;
    for (const char *p = w->p; p < w->end; p++) {
        if (*p == '"') {
            p = string_end(p, w->end) - 1;
            name_next = false;
        } else if (*p == '{' || *p == '[') {
            const char *why = name_next             ? "an object as member name inside another one"
                              : depth == DEPTH_MAX ? "nested deeper than 64"
                                                   : NULL;
            if (why) {
                fail_here(w, why, e);
                return NULL;
            }
            stack[depth++] = *p;
            name_next = *p == '{';
        } else if (*p == '}' || *p == ']') {
            if (--depth == w->depth)
                return p + 1;
            name_next = false;
        } else if (*p == ',') {
            name_next = stack[depth - 1] == '{';
        } else if (!is_space(*p)) {
            name_next = false;
        }
    }
    fail_here(w, "the object used as a member name has no end", e);
    return NULL;
}

static int quote_object_name(struct rewriter *w, struct err *e)
{
    const char *object_end = find_object_end(w, e);
    if (!object_end)
        return E_PROTO;
    copy_up_to(w, w->p);
    buf_char(&w->out, '"');
    while (w->p < object_end) {
        const char *piece_end = *w->p == '"' ? string_end(w->p, object_end) : w->p + 1;
        if (!is_space(*w->p))
            add_escaped(&w->out, w->p, piece_end);
        w->p = piece_end;
    }
    buf_char(&w->out, '"');
    w->copied = w->p;
    return 0;
}

static int step(struct rewriter *w, struct err *e)
{
    char c = *w->p;
    if (is_space(c)) {
        w->p++;
        return 0;
    }
    bool name = w->name_next;
    w->name_next = false;
    if (c == '"') {
        w->p = string_end(w->p, w->end);
        return 0;
    }
    if (name && (c == '-' || (c >= '0' && c <= '9'))) {
        quote_integer_name(w);
        return 0;
    }
    if (name && c == '{')
        return quote_object_name(w, e);
    if (c == '{' || c == '[') {
        if (w->depth == DEPTH_MAX)
            return fail_here(w, "nested deeper than 64", e);
        w->stack[w->depth++] = c;
        w->name_next = c == '{';
    } else if (c == '}' || c == ']') {
        w->depth -= w->depth > 0;
    } else if (c == ',') {
        w->name_next = w->depth && w->stack[w->depth - 1] == '{';
    }
    w->p++;
    return 0;
}

/* Rewrites until the text ends or `out` holds out_max bytes. */
static int rewrite(struct rewriter *w, struct slice text, size_t out_max, struct err *e)
{
    *w = (struct rewriter){.start = text.p, .p = text.p, .end = text.p + text.n, .copied = text.p};
    buf_init(&w->out, 0);
    int rc = 0;
    while (!rc && w->p < w->end && w->out.n + (size_t)(w->p - w->copied) < out_max)
        rc = step(w, e);
    if (w->copied != text.p)
        copy_up_to(w, w->p);
    if (!rc && buf_error(&w->out))
        rc = err_set(e, buf_error(&w->out), "JSON: %s", err_text(buf_error(&w->out)));
    if (rc)
        buf_free(&w->out);
    return rc;
}

/* The byte of the original that stands at `at` in the rewritten text, or a little behind. */
static size_t trace_back(struct slice text, size_t at)
{
    struct rewriter w;
    if (rewrite(&w, text, at, NULL))
        return 0;
    buf_free(&w.out);
    return (size_t)(w.p - w.start);
}

int json_parse(struct slice text, json_t **out, struct err *e)
{
    struct rewriter w;
    json_error_t why;
    if (!text.n)
        return err_set(e, E_PROTO, "JSON line 1, column 1: the text is empty");
    int rc = rewrite(&w, text, SIZE_MAX, e);
    if (rc)
        return rc;
    struct slice strict = w.copied == text.p ? text : buf_slice(&w.out);
    json_t *j = json_loadb(strict.p, strict.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    buf_free(&w.out);
    if (j) {
        *out = j;
        return 0;
    }
    if (json_error_code(&why) == json_error_out_of_memory)
        return err_set(e, E_NOMEM, "JSON: %s", err_text(E_NOMEM));
    size_t at = why.position > 0 ? (size_t)why.position : 0;
    return fail_at(text, trace_back(text, at), why.text, e);
}

/* ---- writing ---- */

static int add_chunk(const char *p, size_t n, void *arg)
{
    struct buf *out = arg;
    buf_add(out, p, n);
    return buf_error(out);
}

struct tabber {
    struct buf *out;
    bool indent; /* within the blanks at the start of a line */
};

/* jansson indents with blanks only; no raw newline occurs elsewhere, so blanks behind one are
 * these. */
static int add_tabbed(const char *p, size_t n, void *arg)
{
    struct tabber *t = arg;
    for (size_t i = 0; i < n; i++) {
        t->indent = p[i] == '\n' || (t->indent && p[i] == ' ');
        buf_char(t->out, t->indent && p[i] == ' ' ? '\t' : p[i]);
    }
    return buf_error(t->out);
}

enum { WRITE_FLAGS = JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY };

int json_write(const json_t *j, struct buf *out)
{
    if (json_dump_callback(j, add_chunk, out, WRITE_FLAGS))
        return buf_error(out) ? buf_error(out) : E_NOMEM;
    return 0;
}

int json_write_indented(const json_t *j, struct buf *out)
{
    struct tabber t = {out, false};
    if (json_dump_callback(j, add_tabbed, &t, WRITE_FLAGS | JSON_INDENT(1)))
        return buf_error(out) ? buf_error(out) : E_NOMEM;
    return 0;
}

/* ---- tolerant getters ---- */

int64_t json_get_i64(const json_t *obj, const char *key, int64_t def)
{
    const json_t *v = json_object_get(obj, key);
    int64_t n;
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_INTEGER: return json_integer_value(v);
    case JSON_TRUE: return 1;
    case JSON_FALSE: return 0;
    case JSON_STRING:
        return slice_i64(slice_trim(slice_of(json_string_value(v), json_string_length(v))), &n)
                   ? def
                   : n;
    case JSON_REAL: {
        double d = json_real_value(v);
        return d >= -0x1p63 && d < 0x1p63 ? (int64_t)d : def;
    }
    default: return def;
    }
}

bool json_get_bool(const json_t *obj, const char *key, bool def)
{
    const json_t *v = json_object_get(obj, key);
    switch (v ? json_typeof(v) : JSON_NULL) {
    case JSON_TRUE: return true;
    case JSON_FALSE: return false;
    case JSON_INTEGER: return json_integer_value(v) != 0;
    case JSON_STRING: return slice_bool(slice_of(json_string_value(v), json_string_length(v)));
    default: return def;
    }
}

struct slice json_get_str(const json_t *obj, const char *key)
{
    const json_t *v = json_object_get(obj, key);
    return json_is_string(v) ? slice_of(json_string_value(v), json_string_length(v)) : SLICE_NULL;
}
