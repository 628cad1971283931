#pragma once
/* One order from its request to its end: see placing.c. */
#include "model/search.h"

extern const struct search_model placing_model;
