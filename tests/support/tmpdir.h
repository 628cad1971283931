#pragma once
/* Directories of tests: unique, under $TMPDIR (or /tmp), removed at the latest when the program
 * ends, kept and named on stderr when HALFPENNY_KEEP is set. */

/* A new empty directory. The path is owned by the helper and valid until tmpdir_remove or the end.
 * */
const char *tmpdir_new(const char *name);
void tmpdir_remove(const char *dir);
/* "dir/name" in a buffer that lives as long as the directory. */
const char *tmpdir_path(const char *dir, const char *name);
