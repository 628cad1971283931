#pragma once
/* What every cmocka test needs: cmocka with the headers it wants before it, and assertions that
 * print both values of the project's own types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/slice.h"

/* rc must be 0; prints its name and e's text (e may be NULL). */
#define assert_ok(rc, e) assert_code_at((rc), 0, (e), #rc, __FILE__, __LINE__)
/* rc must be the given E_*. */
#define assert_code(rc, code, e) assert_code_at((rc), (code), (e), #rc, __FILE__, __LINE__)
#define assert_slice_equal(s, str) assert_slice_at((s), slice_str(str), __FILE__, __LINE__)
/* text must contain part. */
#define assert_contains(text, part) assert_contains_at((text), (part), __FILE__, __LINE__)

void assert_code_at(int64_t rc, int code, const struct err *e, const char *what, const char *file, int line);
void assert_slice_at(struct slice got, struct slice want, const char *file, int line);
void assert_contains_at(const char *text, const char *part, const char *file, int line);
