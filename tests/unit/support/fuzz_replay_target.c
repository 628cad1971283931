/* A fuzz target to test tests/support/fuzz_replay.c with: it counts and sums up its inputs, and
 * dies of those that say so. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static unsigned long inputs, sum;

static void tell(void)
{
    printf("target: inputs=%lu sum=%lu\n", inputs, sum);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return atexit(tell);
}

static int says(const uint8_t *data, size_t n, const char *word)
{
    return n >= strlen(word) && memcmp(data, word, strlen(word)) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    inputs++;
    for (size_t i = 0; i < n; i++)
        sum = sum * 31 + data[i];
    if (says(data, n, "abort"))
        abort();
    if (says(data, n, "crash"))
        *(volatile char *)(uintptr_t)inputs = 1;
    if (says(data, n, "align")) /* UBSan sees this one first */
        *(volatile int *)(uintptr_t)inputs = 1;
    while (says(data, n, "hang"))
        __asm__ volatile("");
    return 0;
}
