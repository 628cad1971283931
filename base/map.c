/* Hash map from byte strings to pointers.
 *
 * Owns: two arrays and a copy of every key. Values are borrowed.
 * Runs on: one thread at a time.
 *
 *   slots:   [hash32|index+1] ...        open addressing, linear probing, a power of two, 3/4 full
 *                  |
 *   entries: [key|value] [key|value] ... dense, in no promised order
 *
 * Happy path: the keyed hash picks a slot; equal 32-bit tags are compared by key. Probing touches
 * only the 8-byte slots. Short keys (up to 16 bytes: numbers, brief names) live in the entry
 * itself.
 *
 * Removal leaves no tombstone: the slots behind the hole move up while they are not at home, and
 * the last entry moves into the removed entry's place. So a map that lives for months under
 * churn stays as fast as a fresh one. An iteration walks the entries from the end, therefore
 * removing the current entry moves only entries already seen.
 *
 * The hash is SipHash-1-3 with a key drawn from the operating system once per process: topics,
 * groups and client ids come from peers, who must not be able to choose keys that collide.
 *
 * Failure modes: E_NOMEM on growth; the map is then unchanged. At most 2^31 entries.
 *
 * Invariants: 1. every entry is referenced by exactly one slot; 2. count <= 3/4 of the slots, so a
 * probe always ends; 3. no empty slot lies between an entry's home and its slot. */
#include "base/map.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/rng.h"

enum { INLINE_MAX = 16, SLOTS_MIN = 16 };

struct slot {
    uint32_t tag;   /* low half of the hash */
    uint32_t entry; /* index + 1; 0 = empty */
};

struct entry {
    union {
        char near[INLINE_MAX];
        char *far;
    } key;
    size_t key_n;
    uint64_t hash;
    void *value;
};

struct map {
    struct slot *slots;
    struct entry *entries;
    uint32_t slots_n; /* 0 until the first insert */
    uint32_t n, cap;  /* entries used, allocated */
};

static uint64_t hash_key[2];
static pthread_once_t hash_once = PTHREAD_ONCE_INIT;

static void draw_hash_key(void)
{
    hash_key[0] = rng_seed_from_os();
    hash_key[1] = rng_seed_from_os();
}

static uint64_t rotl(uint64_t x, int k)
{
    return x << k | x >> (64 - k);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

/* SipHash-1-3 (Aumasson and Bernstein): one round a word, three to finish. */
uint64_t hash_bytes(struct slice s)
{
    pthread_once(&hash_once, draw_hash_key);
    uint64_t v[4] = {hash_key[0] ^ 0x736f6d6570736575u, hash_key[1] ^ 0x646f72616e646f6du,
                     hash_key[0] ^ 0x6c7967656e657261u, hash_key[1] ^ 0x7465646279746573u};
    uint64_t last = (uint64_t)s.n << 56;
    for (; s.n >= 8; s.p += 8, s.n -= 8) {
        uint64_t word;
        memcpy(&word, s.p, 8);
        sip_word(v, word);
    }
    for (size_t i = 0; i < s.n; i++)
        last |= (uint64_t)(unsigned char)s.p[i] << (8 * i);
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct slice key_of(const struct entry *en)
{
    return slice_of(en->key_n <= INLINE_MAX ? en->key.near : en->key.far, en->key_n);
}

static void free_key(struct entry *en)
{
    if (en->key_n > INLINE_MAX)
        free(en->key.far);
}

/* The slot that holds the key, or the empty one where it would go. Needs slots. */
static uint32_t probe(const struct map *m, struct slice key, uint64_t hash)
{
    uint32_t mask = m->slots_n - 1, at = (uint32_t)(hash >> 32) & mask;
    for (; m->slots[at].entry; at = (at + 1) & mask)
        if (m->slots[at].tag == (uint32_t)hash &&
            slice_eq(key_of(&m->entries[m->slots[at].entry - 1]), key))
            break;
    return at;
}

/* The slot that refers to an entry known to be there. */
static uint32_t slot_of_entry(const struct map *m, uint32_t index)
{
    uint32_t mask = m->slots_n - 1, at = (uint32_t)(m->entries[index].hash >> 32) & mask;
    while (m->slots[at].entry != index + 1)
        at = (at + 1) & mask;
    return at;
}

struct map *map_new(void)
{
    return calloc(1, sizeof(struct map));
}

void map_free(struct map *m, void (*value_free)(void *))
{
    if (!m)
        return;
    for (uint32_t i = 0; i < m->n; i++) {
        free_key(&m->entries[i]);
        if (value_free)
            value_free(m->entries[i].value);
    }
    free(m->entries);
    free(m->slots);
    free(m);
}

size_t map_count(const struct map *m)
{
    return m->n;
}

void *map_get(const struct map *m, struct slice key)
{
    if (!m->n)
        return NULL;
    uint32_t entry = m->slots[probe(m, key, hash_bytes(key))].entry;
    return entry ? m->entries[entry - 1].value : NULL;
}

static int grow_slots(struct map *m)
{
    uint32_t slots_n = m->slots_n ? m->slots_n * 2 : SLOTS_MIN;
    struct slot *slots = slots_n ? calloc(slots_n, sizeof *slots) : NULL;
    if (!slots)
        return E_NOMEM;
    for (uint32_t i = 0; i < m->n; i++) {
        uint32_t at = (uint32_t)(m->entries[i].hash >> 32) & (slots_n - 1);
        while (slots[at].entry)
            at = (at + 1) & (slots_n - 1);
        slots[at] = (struct slot){(uint32_t)m->entries[i].hash, i + 1};
    }
    free(m->slots);
    m->slots = slots;
    m->slots_n = slots_n;
    return 0;
}

static int grow_entries(struct map *m)
{
    uint32_t cap = m->cap ? m->cap * 2 : SLOTS_MIN / 2;
    struct entry *entries = cap ? reallocarray(m->entries, cap, sizeof *entries) : NULL;
    if (!entries)
        return E_NOMEM;
    m->entries = entries;
    m->cap = cap;
    return 0;
}

static int copy_key(struct entry *en, struct slice key)
{
    en->key_n = key.n;
    if (key.n <= INLINE_MAX) {
        if (key.n)
            memcpy(en->key.near, key.p, key.n);
        return 0;
    }
    en->key.far = slice_dup(key);
    return en->key.far ? 0 : E_NOMEM;
}

int map_put(struct map *m, struct slice key, void *value, void **old)
{
    uint64_t hash = hash_bytes(key);
    if (old)
        *old = NULL;
    if (m->n) {
        uint32_t entry = m->slots[probe(m, key, hash)].entry;
        if (entry) {
            if (old)
                *old = m->entries[entry - 1].value;
            m->entries[entry - 1].value = value;
            return 0;
        }
    }
    if (m->n >= m->slots_n / 4 * 3 && grow_slots(m))
        return E_NOMEM;
    if (m->n == m->cap && grow_entries(m))
        return E_NOMEM;
    struct entry *en = &m->entries[m->n];
    if (copy_key(en, key))
        return E_NOMEM;
    en->hash = hash;
    en->value = value;
    m->slots[probe(m, key, hash)] = (struct slot){(uint32_t)hash, ++m->n};
    return 0;
}

/* Empties a slot and moves those behind it up, so that invariant 3 holds again. */
static void close_hole(struct map *m, uint32_t hole)
{
    uint32_t mask = m->slots_n - 1;
    for (uint32_t at = (hole + 1) & mask; m->slots[at].entry; at = (at + 1) & mask) {
        uint32_t home = (uint32_t)(m->entries[m->slots[at].entry - 1].hash >> 32) & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            m->slots[hole] = m->slots[at];
            hole = at;
        }
    }
    m->slots[hole] = (struct slot){0, 0};
}

void *map_remove(struct map *m, struct slice key)
{
    if (!m->n)
        return NULL;
    uint32_t at = probe(m, key, hash_bytes(key));
    if (!m->slots[at].entry)
        return NULL;
    uint32_t index = m->slots[at].entry - 1, last = m->n - 1;
    void *value = m->entries[index].value;
    close_hole(m, at);
    free_key(&m->entries[index]);
    if (index != last) {
        m->slots[slot_of_entry(m, last)].entry = index + 1;
        m->entries[index] = m->entries[last];
    }
    m->n = last;
    return value;
}

/* pos is the index of the current entry plus one; 0 before the first step. */
bool map_next(const struct map *m, struct map_iter *it)
{
    if (it->pos == 1 || !m->n)
        return false;
    it->pos = it->pos ? it->pos - 1 : m->n;
    const struct entry *en = &m->entries[it->pos - 1];
    it->key = key_of(en);
    it->value = en->value;
    return true;
}
