#pragma once
/* Memory that runs out when a test says so. The linker sends every malloc, calloc, realloc,
 * reallocarray, strdup and free of this program through here (--wrap); libraries of the system keep
 * theirs. One thread. */
#include <stdbool.h>
#include <stdint.h>

/* From now on the nth allocation inside alloc_hook_enter .. leave fails (0: none does). */
void alloc_hook_arm(int64_t nth);
bool alloc_hook_fired(void);
/* Only what runs between the two is hit: the harness itself never lacks memory. */
void alloc_hook_enter(void);
void alloc_hook_leave(void);
int64_t alloc_hook_outstanding(void); /* allocations that were not freed */
