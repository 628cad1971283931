#pragma once
/* The kit's own failpoint table (failpoints.def); a service's looks the same. */
#include "apps/common/failpoint.h"

enum kit_failpoint {
#define FAILPOINT_DEF(id, name, meaning) id,
#include "apps/common/failpoints.def"
#undef FAILPOINT_DEF
    KIT_FP_COUNT
};
extern struct failpoint kit_failpoints[KIT_FP_COUNT];
