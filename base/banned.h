#pragma once
/* Calls that must not appear. Nobody includes this file; tools/check/banned.sh reads the list:
 *   BANNED call use-instead
 *   BANNED-OUTSIDE place[,place...] call use-instead     (a place is a file or a folder with its /)
 * The apps stand on the public API alone, so their kit has a clock of its own. */
/* BANNED strcpy     slice_copy
 * BANNED strcat     buf_str
 * BANNED sprintf    snprintf or buf_printf
 * BANNED vsprintf   vsnprintf
 * BANNED gets       -
 * BANNED strtok     slice_cut
 * BANNED atoi       slice_i32
 * BANNED atol       slice_i64
 * BANNED atoll      slice_i64
 * BANNED rand       rng_below
 * BANNED random     rng_below
 * BANNED system     -
 * BANNED popen      -
 * BANNED alloca     -
 * BANNED gmtime     gmtime_r
 * BANNED localtime  localtime_r
 * BANNED-OUTSIDE base/,apps/common/timing.c,tests/chaos/shim.c time clock_wall
 * BANNED-OUTSIDE base/,apps/common/timing.c,tests/chaos/shim.c,bench/writepath.c clock_gettime clock_wall
 * BANNED-OUTSIDE base/,apps/common/timing.c,tests/chaos/shim.c gettimeofday clock_wall
 */
