/* A main for fuzz targets where libFuzzer is not: replays inputs, and mutates them.
 *
 *   target [-runs=N] [-seed=S] [-max_len=N] [-timeout=SECONDS] PATH...
 *
 * Owns: the corpus in memory and the input that is being run.
 * Runs on: one thread.
 *
 * Happy path: every file named, and every file below every directory named, is given to
 * LLVMFuzzerTestOneInput once. With -runs=N it then makes N inputs: one of the corpus, changed
 * one to eight times (bits, bytes, numbers at their limits, inserted, removed, repeated and
 * swapped runs, pieces of other inputs), by the target's own LLVMFuzzerCustomMutator where it has one.
 * The same seed makes the same inputs.
 *
 * Failure modes: when the target dies (sanitizer, assertion, signal) or an input takes longer than
 * -timeout, the input is written to crash-<pid> or timeout-<pid> in $TMPDIR (or /tmp) and its name
 * printed; run the target with that name to see it again. No PATH, or one that cannot be read,
 * is an error: a fuzz test without inputs must not pass.
 *
 * Each input is handed over in a heap block of exactly its size, so that reading one byte too far
 * is seen by AddressSanitizer. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fs.h"
#include "base/rng.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max);
__attribute__((weak)) int LLVMFuzzerInitialize(int *argc, char ***argv);
__attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t n, size_t max,
                                                     unsigned seed);
__attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)(void));
const char *__ubsan_default_options(void);

struct input {
    char *p;
    size_t n;
};

static struct {
    struct input *items;
    size_t n, cap;
} corpus;

static struct {
    int64_t runs, seed, max_len, timeout_s;
} opt = {.seed = -1, .max_len = 65536, .timeout_s = 20};

/* ---- the current input, saved when the target dies ---- */

static struct slice current;
static char crash_path[512], timeout_path[512];

static void say(const char *text)
{
    if (write(STDERR_FILENO, text, strlen(text)) < 0)
        return;
}

static void save_current(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || (current.n && write(fd, current.p, current.n) < 0))
        return;
    close(fd);
    say("fuzz: the input was saved as ");
    say(path);
    say("\n");
}

static void on_death(void)
{
    save_current(crash_path);
}

static void on_signal(int sig)
{
    save_current(sig == SIGALRM ? timeout_path : crash_path);
    if (sig == SIGALRM)
        _exit(70);
    signal(sig, SIG_DFL);
    raise(sig);
}

/* UBSan's runtime has no death callback of its own beside ASan's: let it raise SIGABRT. */
const char *__ubsan_default_options(void)
{
    return "abort_on_error=1";
}

static void install_handlers(void)
{
    const char *dir = getenv("TMPDIR");
    snprintf(crash_path, sizeof crash_path, "%s/crash-%d", dir ? dir : "/tmp", (int)getpid());
    snprintf(timeout_path, sizeof timeout_path, "%s/timeout-%d", dir ? dir : "/tmp", (int)getpid());
    signal(SIGALRM, on_signal);
    signal(SIGABRT, on_signal);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(on_death);
    else
        signal(SIGSEGV, on_signal);
}

static void run_input(const char *p, size_t n)
{
    char *exact = malloc(n ? n : 1);
    MQ_ASSERT(exact);
    if (n)
        memcpy(exact, p, n);
    current = slice_of(exact, n);
    alarm((unsigned)opt.timeout_s);
    LLVMFuzzerTestOneInput((const uint8_t *)exact, n);
    alarm(0);
    current = SLICE_NULL;
    free(exact);
}

/* ---- the corpus ---- */

static int add_path(const char *path);

static int add_child(void *arg, const char *name)
{
    struct buf path;
    buf_init(&path, 0);
    buf_printf(&path, "%s/%s", (const char *)arg, name);
    char *p = buf_take(&path, NULL);
    MQ_ASSERT(p);
    int rc = name[0] == '.' ? 0 : add_path(p);
    free(p);
    return rc;
}

static int add_file(const char *path)
{
    struct input in;
    struct err e;
    if (fs_read_all(&fs_real, path, 1 << 30, &in.p, &in.n, &e)) {
        fprintf(stderr, "fuzz: %s\n", e.text);
        return 2;
    }
    if (corpus.n == corpus.cap) {
        corpus.cap = corpus.cap ? corpus.cap * 2 : 64;
        corpus.items = reallocarray(corpus.items, corpus.cap, sizeof *corpus.items);
        MQ_ASSERT(corpus.items);
    }
    corpus.items[corpus.n++] = in;
    return 0;
}

static int add_path(const char *path)
{
    struct fs_stat st;
    struct err e;
    if (fs_real.stat(&fs_real, path, &st, &e)) {
        fprintf(stderr, "fuzz: %s\n", e.text);
        return 2;
    }
    return st.is_dir ? fs_real.list(&fs_real, path, add_child, (void *)(uintptr_t)path, &e)
                     : add_file(path);
}

static int by_content(const void *a, const void *b)
{
    const struct input *x = a, *y = b;
    size_t n = x->n < y->n ? x->n : y->n;
    int order = n ? memcmp(x->p, y->p, n) : 0;
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

/* ---- mutation ---- */

static struct rng rng;

static size_t below(size_t n)
{
    return (size_t)rng_below(&rng, n);
}

static void insert(struct buf *b, size_t at, const char *p, size_t n)
{
    if (b->n + n > (size_t)opt.max_len || !buf_extend(b, n))
        return;
    memmove(b->p + at + n, b->p + at, b->n - n - at);
    memcpy(b->p + at, p, n);
}

static void remove_run(struct buf *b)
{
    if (!b->n)
        return;
    size_t at = below(b->n), n = 1 + below(b->n - at < 64 ? b->n - at : 64);
    memmove(b->p + at, b->p + at + n, b->n - at - n);
    b->n -= n;
}

/* A number where lengths and counts break: limits, off by one, the real length of the input. */
static void set_number(struct buf *b)
{
    static const uint64_t edges[] = {
        0,         1,        0x7f,       0x80,       0xff,       0x7fff,    0x8000,
        0xffff,    0xffffff, 0x7fffffff, 0x80000000, 0xffffffff, INT64_MAX, (uint64_t)INT64_MIN,
        UINT64_MAX};
    size_t width = (size_t)1 << below(4), pick = below(sizeof edges / sizeof *edges + 1);
    uint64_t v = pick < sizeof edges / sizeof *edges ? edges[pick] : b->n - 3 + below(7);
    if (b->n < width)
        return;
    size_t at = below(b->n - width + 1);
    for (size_t i = 0; i < width; i++)
        b->p[at + i] = (char)(v >> 8 * (width - 1 - i));
}

static void insert_text(struct buf *b)
{
    static const char *const words[] = {
        "{",     "}",       "[",    "]",        "\"", ":",
        ",",     "\\u0000", "null", "-1",       "0",  "99999999999999999999",
        "1e999", "\n",      "=",    "\xff\xfe", "\1", "\2"};
    const char *word = words[below(sizeof words / sizeof *words)];
    insert(b, below(b->n + 1), word, strlen(word));
}

static void repeat_run(struct buf *b)
{
    char run[256];
    if (!b->n)
        return;
    size_t at = below(b->n), n = 1 + below(b->n - at < sizeof run ? b->n - at : sizeof run);
    memcpy(run, b->p + at, n);
    insert(b, below(b->n + 1), run, n);
}

static void splice_piece(struct buf *b)
{
    const struct input *other = &corpus.items[below(corpus.n)];
    if (!other->n)
        return;
    size_t at = below(other->n), n = 1 + below(other->n - at < 1024 ? other->n - at : 1024);
    if (below(2) || b->n < n)
        insert(b, below(b->n + 1), other->p + at, n);
    else
        memcpy(b->p + below(b->n - n + 1), other->p + at, n);
}

static void mutate(struct buf *b)
{
    size_t at = b->n ? below(b->n) : 0;
    char byte = (char)below(256);
    switch (below(9)) {
    case 0:
        if (b->n)
            b->p[at] ^= (char)(1 << below(8));
        break;
    case 1:
        if (b->n)
            b->p[at] = byte;
        break;
    case 2: insert(b, below(b->n + 1), &byte, 1); break;
    case 3: remove_run(b); break;
    case 4: set_number(b); break;
    case 5: insert_text(b); break;
    case 6: repeat_run(b); break;
    case 7: splice_piece(b); break;
    case 8: b->n = b->n ? below(b->n + 1) : 0; break;
    }
}

/* What a target's own mutator calls for the plain part of its work. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t n, size_t max)
{
    struct buf b;
    buf_init(&b, 0);
    buf_reserve(&b, 1);
    buf_add(&b, data, n);
    mutate(&b);
    MQ_ASSERT(!buf_error(&b));
    n = b.n < max ? b.n : max;
    if (n)
        memcpy(data, b.p, n);
    buf_free(&b);
    return n;
}

static void mutate_as_target_likes(struct buf *b)
{
    const size_t n = b->n, max = n + 4096;
    if (!LLVMFuzzerCustomMutator) {
        mutate(b);
    } else if (buf_extend(b, max - n)) {
        b->n = LLVMFuzzerCustomMutator((uint8_t *)b->p, n, max, (unsigned)below(UINT32_MAX));
        MQ_ASSERT(b->n <= max);
    }
}

static void run_mutations(void)
{
    struct buf b;
    buf_init(&b, 0);
    for (int64_t i = 0; i < opt.runs; i++) {
        const struct input *from = &corpus.items[below(corpus.n)];
        buf_clear(&b);
        buf_reserve(&b, 1);
        buf_add(&b, from->p, from->n < (size_t)opt.max_len ? from->n : (size_t)opt.max_len);
        for (size_t k = 1 + below(8); k > 0; k--)
            mutate_as_target_likes(&b);
        MQ_ASSERT(!buf_error(&b));
        run_input(b.p, b.n);
    }
    buf_free(&b);
}

/* ---- the program ---- */

static bool option(const char *arg, const char *name, int64_t *out)
{
    size_t n = strlen(name);
    if (strncmp(arg, name, n))
        return false;
    if (slice_i64(slice_str(arg + n), out) || *out < 0) {
        fprintf(stderr, "fuzz: %s: expected a number\n", arg);
        exit(2);
    }
    return true;
}

static int read_arguments(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (option(argv[i], "-runs=", &opt.runs) || option(argv[i], "-seed=", &opt.seed) ||
            option(argv[i], "-max_len=", &opt.max_len) ||
            option(argv[i], "-timeout=", &opt.timeout_s))
            continue;
        if (argv[i][0] == '-') {
            fprintf(stderr, "fuzz: unknown option %s\n", argv[i]);
            return 2;
        }
        int rc = add_path(argv[i]);
        if (rc)
            return rc;
    }
    if (!corpus.n) {
        fprintf(stderr,
                "usage: %s [-runs=N] [-seed=S] [-max_len=N] [-timeout=SECONDS] FILE|DIRECTORY...\n"
                "no input was found\n",
                argv[0]);
        return 2;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    int rc = read_arguments(argc, argv);
    if (rc)
        return rc;
    install_handlers();
    /* Directories list in any order; the same seed must make the same inputs. */
    qsort(corpus.items, corpus.n, sizeof *corpus.items, by_content);
    for (size_t i = 0; i < corpus.n; i++)
        run_input(corpus.items[i].p, corpus.items[i].n);
    if (opt.seed < 0)
        opt.seed = (int64_t)(rng_seed_from_os() >> 1);
    rng_seed(&rng, (uint64_t)opt.seed);
    int64_t began = clock_mono(&clock_system);
    printf("fuzz: %zu inputs replayed", corpus.n);
    if (opt.runs) {
        printf(", now %lld mutations with -seed=%lld\n", (long long)opt.runs, (long long)opt.seed);
        fflush(stdout);
        run_mutations();
        printf("fuzz: %lld mutations in %lld ms", (long long)opt.runs,
               (long long)(clock_mono(&clock_system) - began));
    }
    printf("\n");
    for (size_t i = 0; i < corpus.n; i++)
        free(corpus.items[i].p);
    free(corpus.items);
    return 0;
}
