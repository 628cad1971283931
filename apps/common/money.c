/* Money arithmetic that refuses instead of wrapping. Pure; any thread.
 *
 * Everything that came from outside passes money_valid first; after that sums and products stay inside
 * [0, MONEY_MAX], four decimal digits below the end of int64, so SQL sums over many rows fit as well.
 */
#include "apps/common/money.h"

#include <stdio.h>

bool money_valid(int64_t cents)
{
    return cents >= 0 && cents <= MONEY_MAX;
}

static bool store_valid(int64_t v, int64_t *out)
{
    if (!money_valid(v))
        return false;
    *out = v;
    return true;
}

bool money_add(int64_t a, int64_t b, int64_t *out)
{
    return money_valid(a) && money_valid(b) && store_valid(a + b, out);
}

bool money_sub(int64_t a, int64_t b, int64_t *out)
{
    return money_valid(a) && money_valid(b) && store_valid(a - b, out);
}

bool money_mul(int64_t price, int64_t quantity, int64_t *out)
{
    int64_t v;
    return money_valid(price) && quantity >= 0 && !__builtin_mul_overflow(price, quantity, &v) &&
           store_valid(v, out);
}

void money_text(int64_t cents, char out[MONEY_TEXT_MAX])
{
    const uint64_t v = cents < 0 ? -(uint64_t)cents : (uint64_t)cents;
    (void)snprintf(out, MONEY_TEXT_MAX, "%s%llu.%02llu", cents < 0 ? "-" : "",
                   (unsigned long long)(v / 100), (unsigned long long)(v % 100));
}
