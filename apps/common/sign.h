#pragma once
/* Signatures of the payment provider's callbacks, and hashes of requests.
 *
 * Canonical text: every parameter except `sign`, sorted by name, as name=value joined by '&', names and
 * values percent-encoded (unreserved characters stay), so that no two parameter lists share a text.
 * sign = lower-case hex of HMAC-SHA256(key, canonical text). */
#include "apps/common/error.h"
#include <stddef.h>

struct sign_param {
    const char *name, *value;
};
#define SIGN_HEX_MAX 65

/* At most 64 parameters. */
int sign_params(const char *key, const struct sign_param *v, size_t n, char out[SIGN_HEX_MAX],
                struct app_error *e) APP_CHECK;
/* Compares the `sign` parameter in constant time; false also when it is missing or the list is too long. */
bool sign_verify(const char *key, const struct sign_param *v, size_t n);
void sign_sha256(const void *data, size_t len, unsigned char out[32]);
