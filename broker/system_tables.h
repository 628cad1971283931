#pragma once
/* What every broker has: system topics, built-in groups; and topics found in the store only. */
#include "base/err.h"

struct broker;

/* Main thread, after the config files were loaded and the store is open, before the loops run. */
int system_tables_complete(struct broker *b, struct err *e) HP_MUST_USE;
