/* Signatures over parameter lists, and SHA-256. The only file of the apps that uses OpenSSL.
 *
 * Pure; any thread. The canonical text percent-encodes names and values before joining them, so a value
 * that contains '&' or '=' cannot imitate another list. The comparison takes the same time wherever the
 * texts differ. Keys and canonical texts are never logged.
 */
#include "apps/common/sign.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>

#define PARAMS_MAX 64

static int by_name_then_value(const void *a, const void *b)
{
    const struct sign_param *x = a, *y = b;
    const int c = strcmp(x->name, y->name);
    return c ? c : strcmp(x->value, y->value);
}

static char *put_encoded(char *p, const char *s)
{
    static const char hex[] = "0123456789ABCDEF";
    for (; *s; s++) {
        const unsigned char c = (unsigned char)*s;
        if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
            strchr("-._~", c)) {
            *p++ = (char)c;
        } else {
            *p++ = '%';
            *p++ = hex[c >> 4];
            *p++ = hex[c & 15];
        }
    }
    return p;
}

/* malloc'd; NULL when memory is out. sorted: n parameters without `sign`. */
static char *canonical_text(const struct sign_param *sorted, size_t n, size_t *len)
{
    size_t room = 1;
    for (size_t i = 0; i < n; i++)
        room += 3 * (strlen(sorted[i].name) + strlen(sorted[i].value)) + 2;
    char *text = malloc(room);
    if (!text)
        return NULL;
    char *p = text;
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            *p++ = '&';
        p = put_encoded(p, sorted[i].name);
        *p++ = '=';
        p = put_encoded(p, sorted[i].value);
    }
    *len = (size_t)(p - text);
    return text;
}

static void put_hex(const unsigned char *in, size_t n, char *out)
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex[in[i] >> 4];
        out[2 * i + 1] = hex[in[i] & 15];
    }
    out[2 * n] = '\0';
}

int sign_params(const char *key, const struct sign_param *v, size_t n, char out[SIGN_HEX_MAX],
                struct app_error *e)
{
    if (n > PARAMS_MAX)
        return app_fail(e, APP_E_INVALID, "%zu parameters to sign: at most %d", n, PARAMS_MAX);
    struct sign_param sorted[PARAMS_MAX];
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (strcmp(v[i].name, "sign") != 0)
            sorted[m++] = v[i];
    qsort(sorted, m, sizeof *sorted, by_name_then_value);
    size_t len;
    char *text = canonical_text(sorted, m, &len);
    if (!text)
        return app_fail(e, APP_E_NOMEM, "no memory for the text to sign");
    unsigned char mac[SHA256_DIGEST_LENGTH];
    unsigned int mac_len = sizeof mac;
    const void *ok =
        HMAC(EVP_sha256(), key, (int)strlen(key), (const unsigned char *)text, len, mac, &mac_len);
    free(text);
    if (!ok)
        return app_fail(e, APP_E_NOMEM, "HMAC-SHA256 failed");
    put_hex(mac, sizeof mac, out);
    return APP_OK;
}

bool sign_verify(const char *key, const struct sign_param *v, size_t n)
{
    const char *given = NULL;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(v[i].name, "sign") != 0)
            continue;
        if (given)
            return false; /* two signatures: whoever sends that plays games */
        given = v[i].value;
    }
    char expected[SIGN_HEX_MAX];
    return given && strlen(given) == SIGN_HEX_MAX - 1 &&
           sign_params(key, v, n, expected, NULL) == APP_OK &&
           CRYPTO_memcmp(given, expected, SIGN_HEX_MAX - 1) == 0;
}

void sign_sha256(const void *data, size_t len, unsigned char out[32])
{
    (void)SHA256(data, len, out);
}
