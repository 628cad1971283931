#pragma once
/* A directory of the operating system for runs that need fs_real: in memory when /dev/shm is there,
 * else in TMPDIR. One at a time. */
const char *scratch_new(void);  /* empty; ends the program when there is none to be had */
void scratch_remove(void);
