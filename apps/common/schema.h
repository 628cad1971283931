#pragma once
/* Applies the SQL files of apps/schema: in order, each in its own transaction, one process at a time
 * (advisory lock), recorded in kit.schema_version with a checksum.
 *   once        tables; a recorded file whose text has changed is an error: add a new file instead
 *   when changed  roles, views, functions: written so that they can run again */
#include "apps/common/db.h"

/* dir: the folder with the SQL files. The connection's role must own the database. Log: one line per
 * applied file. */
int schema_apply(struct db *db, const char *dir, struct app_error *e) APP_CHECK;
/* One more file, always run, in a transaction (seed_demo.sql). */
int schema_run_file(struct db *db, const char *path, struct app_error *e) APP_CHECK;
/* APP_E_CONFIG when the tables of `schema` are missing or older than this program. */
int schema_check(struct db *db, const char *schema, struct app_error *e) APP_CHECK;
