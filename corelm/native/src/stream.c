/* NumPy's default generator: PCG64 (O'Neill 2014), seeded by its SeedSequence. */
#include "stream.h"

enum { POOL = 4, WORDS = 8, LONGEST_KEY = 3 };

struct hash {
    uint32_t multiplier, step;
};

static uint32_t hashed(struct hash *hash, uint32_t word)
{
    word ^= hash->multiplier;
    hash->multiplier *= hash->step;
    word *= hash->multiplier;
    return word ^ word >> 16;
}

static uint32_t mixed(uint32_t a, uint32_t b)
{
    uint32_t word = 0xca01f9ddu * a - 0x4973f715u * b;
    return word ^ word >> 16;
}

/* Append a number, as many words as it needs. */
static size_t append_words(uint32_t *words, size_t count, uint64_t number)
{
    words[count++] = (uint32_t)number;
    if (number >> 32)
        words[count++] = (uint32_t)(number >> 32);
    return count;
}

/* The words of the key: the prompt, unless it is the first one. The words of the entropy don't say
 * where a number ends, so the upper half of a large seed makes a key that is longer than others. */
static size_t make_key(uint32_t *key, uint64_t seed, uint64_t prompt)
{
    if (!(seed >> 32))
        return prompt ? append_words(key, 0, prompt) : 0;
    key[0] = (uint32_t)prompt, key[1] = (uint32_t)(prompt >> 32), key[2] = (uint32_t)(seed >> 32);
    return LONGEST_KEY;
}

/* The state that a SeedSequence of seed, sample and prompt generates. */
static void generate_state(uint64_t seed, uint64_t sample, uint64_t prompt, uint32_t state[WORDS])
{
    uint32_t entropy[POOL] = {(uint32_t)seed}, pool[POOL], key[LONGEST_KEY];
    append_words(entropy, 1, sample);
    size_t key_words = make_key(key, seed, prompt);
    struct hash mix = {0x43b0d7e5u, 0x931e8875u}, out = {0x8b51f9ddu, 0x58f38dedu};
    for (int i = 0; i < POOL; i++)
        pool[i] = hashed(&mix, entropy[i]);
    for (int from = 0; from < POOL; from++)
        for (int to = 0; to < POOL; to++)
            if (from != to)
                pool[to] = mixed(pool[to], hashed(&mix, pool[from]));
    for (size_t word = 0; word < key_words; word++)
        for (int to = 0; to < POOL; to++)
            pool[to] = mixed(pool[to], hashed(&mix, key[word]));
    for (int i = 0; i < WORDS; i++)
        state[i] = hashed(&out, pool[i % POOL]);
}

/* a * b, the upper half first. */
static void multiply(uint64_t a, uint64_t b, uint64_t product[2])
{
    uint64_t low = (a & UINT32_MAX) * (b & UINT32_MAX), high = (a >> 32) * (b >> 32);
    uint64_t left = (a >> 32) * (b & UINT32_MAX), right = (a & UINT32_MAX) * (b >> 32);
    uint64_t middle = (low >> 32) + (left & UINT32_MAX) + (right & UINT32_MAX);
    product[0] = high + (left >> 32) + (right >> 32) + (middle >> 32);
    product[1] = (middle << 32) | (low & UINT32_MAX);
}

static void add(uint64_t number[2], const uint64_t other[2])
{
    number[1] += other[1];
    number[0] += other[0] + (number[1] < other[1]);
}

/* state * multiplier + increment, modulo 2^128 */
static void step(struct stream *stream)
{
    const uint64_t multiplier[2] = {0x2360ed051fc65da4u, 0x4385df649fccf645u};
    uint64_t product[2], *state = stream->state;
    multiply(state[1], multiplier[1], product);
    product[0] += state[0] * multiplier[1] + state[1] * multiplier[0];
    state[0] = product[0], state[1] = product[1];
    add(state, stream->increment);
}

void start_stream(struct stream *stream, uint64_t seed, uint64_t sample, uint64_t prompt)
{
    uint32_t words[WORDS];
    uint64_t numbers[POOL];
    generate_state(seed, sample, prompt, words);
    for (int i = 0; i < POOL; i++)
        numbers[i] = words[2 * i] | (uint64_t)words[2 * i + 1] << 32;
    stream->increment[0] = numbers[2] << 1 | numbers[3] >> 63;
    stream->increment[1] = numbers[3] << 1 | 1;
    stream->state[0] = stream->state[1] = 0;
    step(stream);
    add(stream->state, numbers);
    step(stream);
}

double next_uniform(struct stream *stream)
{
    step(stream);
    uint64_t both = stream->state[0] ^ stream->state[1];
    unsigned turn = (unsigned)(stream->state[0] >> 58);
    uint64_t bits = both >> turn | both << (-turn & 63);
    return (double)(bits >> 11) * 0x1p-53;
}
