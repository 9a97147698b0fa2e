/* Read chains from the standard input and draw with them, for tests/interop/test_chain_library.py. Each is a
 * header of six numbers of 32 bits (the bytes of the text, the rows, their logits, a seed, the tokens
 * of a prompt, the drawn tokens after it), the text, float32 rows, and int64 tokens. Its answer: one byte, 0 for a refused text, 1 for a draw, 2 for a row that
 * is no distribution; then the reason, or for each row token, surprisal, entropy and logits. */
#include "corelm_chain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *room(size_t size)
{
    void *memory = malloc(size ? size : 1); /* of exactly this size: a sanitizer sees what is after */
    if (!memory)
        exit(1);
    return memory;
}

static void *take(size_t size)
{
    void *memory = room(size);
    if (fread(memory, 1, size, stdin) != size)
        exit(2);
    return memory;
}

static void refuse(const char *error)
{
    putchar(0);
    fwrite(error, 1, CORELM_ERROR_ROOM, stdout);
}

static void draw(corelm_chain *chain, const float *logits, size_t rows, uint64_t seed)
{
    const size_t vocabulary = corelm_chain_vocabulary(chain);
    double *uniforms = room(rows * 8), *surprisals = room(rows * 8), *entropies = room(rows * 8);
    int64_t *tokens = room(rows * 8);
    float *out = room(rows * vocabulary * 4);
    struct corelm_draws draws = {tokens, surprisals, entropies, out};
    corelm_stream stream;
    corelm_stream_start(&stream, seed, 3, 0);
    for (size_t i = 0; i < rows; i++)
        uniforms[i] = corelm_stream_next(&stream);
    putchar(corelm_chain_draw(chain, logits, rows, uniforms, &draws) ? 1 : 2);
    fwrite(tokens, 8, rows, stdout), fwrite(surprisals, 8, rows, stdout);
    fwrite(entropies, 8, rows, stdout), fwrite(out, 4, rows * vocabulary, stdout);
    free(uniforms), free(surprisals), free(entropies), free(tokens), free(out);
}

int main(void)
{
    uint32_t header[6];
    while (fread(header, sizeof header, 1, stdin) == 1) {
        char error[CORELM_ERROR_ROOM] = "", *text = take(header[0]);
        float *logits = take((size_t)header[1] * header[2] * 4);
        int64_t *tokens = take((size_t)(header[4] + header[5]) * 8);
        corelm_chain *chain = corelm_chain_read(text, header[0], error);
        for (size_t i = 0; chain && i < header[4] + header[5]; i++)
            corelm_chain_accept(chain, tokens[i], i >= header[4]);
        corelm_chain *clone = chain ? corelm_chain_clone(chain) : NULL;
        corelm_chain_free(chain);
        if (clone && corelm_chain_vocabulary(clone) == header[2])
            draw(clone, logits, header[1], header[3]);
        else
            refuse(error);
        corelm_chain_free(clone), free(tokens), free(logits), free(text);
    }
    return 0;
}
