#pragma once
/* Money: int64 cents. Arithmetic refuses what does not fit instead of wrapping. */
#include "apps/common/error.h"

#define MONEY_MAX                                                                                  \
    INT64_C(1000000000000000) /* 10^13 in the currency: far below any overflow of a sum */

bool money_valid(int64_t cents); /* 0 <= cents <= MONEY_MAX */
/* false when an operand or the result is outside [0, MONEY_MAX]. */
bool money_add(int64_t a, int64_t b, int64_t *out);
bool money_sub(int64_t a, int64_t b, int64_t *out);
bool money_mul(int64_t price, int64_t quantity, int64_t *out);
#define MONEY_TEXT_MAX 32
void money_text(int64_t cents, char out[MONEY_TEXT_MAX]); /* "-12.05" */
