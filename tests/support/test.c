/* Assertions over the project's own types. They run on the thread of the test and leave it by
 * cmocka's longjmp; what they print is both values, at the place in the test. */
#include "tests/support/test.h"

#include <string.h>

void assert_code_at(int64_t rc, int code, const struct err *e, const char *what, const char *file,
                    int line)
{
    if (rc == code)
        return;
    print_error("%s:%d: %s\n  is %lld (%s), must be %d (%s); error text: %s\n", file, line, what,
                (long long)rc, err_name((int)rc), code, err_name(code),
                e && e->text[0] ? e->text : "-");
    _fail(file, line);
}

void assert_slice_at(struct slice got, struct slice want, const char *file, int line)
{
    if (slice_eq(got, want))
        return;
    print_error("%s:%d:\n  is      \"" SLICE_FMT "\" (%zu bytes)\n  must be \"" SLICE_FMT
                "\" (%zu bytes)\n",
                file, line, SLICE_ARG(got), got.n, SLICE_ARG(want), want.n);
    _fail(file, line);
}

void assert_contains_at(const char *text, const char *part, const char *file, int line)
{
    if (text && strstr(text, part))
        return;
    print_error("%s:%d:\n  \"%s\"\n  does not contain \"%s\"\n", file, line, text ? text : "(null)",
                part);
    _fail(file, line);
}
