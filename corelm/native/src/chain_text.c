/* Chains as text, one line each: the form's name and version, comments, the vocabulary, tokens that
 * are never drawn, stages, and an end. Numbers are whole decimals or Python's float.hex(), which any
 * locale reads the same and without rounding.
 *
 *     corelm chain 1
 *     # top_k(k=40) | xtc(probability=0.5, special=[13])
 *     vocabulary 50257
 *     never 0 2
 *     start 1
 *     stage top_k 40
 *     stage xtc 0x1.0000000000000p-1 0x1.999999999999ap-4 ids 13
 *     penalty 0x1.199999999999ap+0 0 0 64 0
 *     bias 11 0x1.8000000000000p+0 198 -0x1.0000000000000p+1
 *     end
 *
 * A penalty has the arguments of corelm_chain_penalty.
 */
#include "corelm_chain.h"
#include "stages.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_WORD = 40 }; /* characters: longer than any number or name */

/* What is left of the text, and the line that is being read. */
struct reader {
    const char *next, *end;
    size_t line;
    char word[MOST_WORD + 1], *error;
};

static int refuse(struct reader *reader, const char *expected)
{
    snprintf(reader->error, CORELM_ERROR_ROOM, "line %zu: expected %s, got '%s'", reader->line,
             expected, reader->word);
    return 0;
}

static int at_line_end(const struct reader *reader)
{
    return reader->next == reader->end || *reader->next == '\n';
}

/* Take the next word of the line, which is empty at its end; '?' stands for one that is too long, and
 * for characters that no word has. */
static const char *take_word(struct reader *reader)
{
    size_t length = 0;
    while (!at_line_end(reader) && *reader->next == ' ')
        reader->next++;
    while (!at_line_end(reader) && *reader->next != ' ' && length < MOST_WORD) {
        char letter = *reader->next++;
        reader->word[length++] = letter > ' ' && letter < 127 ? letter : '?';
    }
    if (!at_line_end(reader) && *reader->next != ' ')
        reader->word[0] = '?', length = 1;
    reader->word[length] = 0;
    return reader->word;
}

static int end_line(struct reader *reader)
{
    if (*take_word(reader))
        return refuse(reader, "the end of the line");
    if (reader->next == reader->end)
        return refuse(reader, "another line");
    reader->next++, reader->line++;
    return 1;
}

static int is_word(struct reader *reader, const char *word)
{
    return strcmp(reader->word, word) == 0;
}

static int digit_of(char letter)
{
    if (letter >= '0' && letter <= '9')
        return letter - '0';
    return letter >= 'a' && letter <= 'f' ? letter - 'a' + 10 : 16;
}

/* Read digits of a base below 2^53; NULL unless there is at least one. */
static const char *read_digits(const char *text, int base, double *number)
{
    const char *first = text;
    for (; digit_of(*text) < base && *number < 0x1p53 / 16; text++)
        *number = *number * base + digit_of(*text);
    return text == first || digit_of(*text) < base ? NULL : text;
}

/* Read what follows 0x: 1.8p-3, from (0 or 1) "." (up to 13 digits) "p" (+ or -) (digits). */
static int read_hex(const char *text, double *number)
{
    double exponent = 0, fraction = 0, whole = *text - '0';
    if ((*text != '0' && *text != '1') || text[1] != '.')
        return 0;
    const char *start = text + 2, *stop = read_digits(start, 16, &fraction);
    if (!stop || stop - start > 13 || *stop != 'p' || (stop[1] != '+' && stop[1] != '-'))
        return 0;
    const char *end = read_digits(stop + 2, 10, &exponent);
    if (!end || *end || exponent > 2000)
        return 0;
    fraction = ldexp(fraction, -4 * (int)(stop - start));
    *number = ldexp(whole + fraction, stop[1] == '-' ? -(int)exponent : (int)exponent);
    return 1;
}

static int read_number(struct reader *reader, double *number)
{
    const char *text = take_word(reader);
    int negative = *text == '-';
    text += negative;
    *number = 0;
    if (strcmp(text, "inf") == 0)
        *number = INFINITY;
    else if (text[0] == '0' && text[1] == 'x' ? !read_hex(text + 2, number)
                                              : !(text = read_digits(text, 10, number)) || *text)
        return refuse(reader, "a number");
    *number = negative ? -*number : *number;
    return 1;
}

/* Read ids up to the end of the line into new memory. */
static int read_ids(struct reader *reader, int64_t **ids, size_t *count)
{
    size_t room = 1; /* each id takes a space and a digit */
    for (const char *from = reader->next; from < reader->end && *from != '\n'; from++)
        room += *from == ' ';
    *count = 0, *ids = malloc(room * sizeof **ids);
    if (!*ids)
        return refuse(reader, "less: memory ran out");
    for (double id; !at_line_end(reader); (*ids)[(*count)++] = (int64_t)id)
        if (*count == room || !read_number(reader, &id))
            return 0;
        else if (!(id >= 0 && id < INT32_MAX && id == floor(id)))
            return refuse(reader, "an id");
    return 1;
}

static int read_never(struct reader *reader, corelm_chain *chain)
{
    int64_t *ids = NULL;
    size_t count = 0;
    int fits = read_ids(reader, &ids, &count);
    if (fits && !corelm_chain_never(chain, ids, count))
        fits = refuse(reader, "tokens of the vocabulary");
    free(ids);
    return fits;
}

/* The name of a kernel, its numbers, and perhaps "ids" and a list. */
static int read_stage_line(struct reader *reader, corelm_chain *chain)
{
    char kernel[MOST_WORD + 1];
    double numbers[MAX_PARAMETERS];
    int64_t *ids = NULL;
    size_t number_count = 0, id_count = 0;
    memcpy(kernel, take_word(reader), sizeof kernel);
    while (!at_line_end(reader)) {
        struct reader before = *reader;
        if (strcmp(take_word(reader), "ids") == 0)
            break;
        *reader = before;
        if (number_count == MAX_PARAMETERS || !read_number(reader, numbers + number_count++))
            return refuse(reader, "fewer numbers, or 'ids'");
    }
    int fits = !is_word(reader, "ids") || read_ids(reader, &ids, &id_count);
    if (fits && !corelm_chain_add(chain, kernel, numbers, number_count, ids, id_count)) {
        snprintf(reader->error, CORELM_ERROR_ROOM, "line %zu: %.150s", reader->line,
                 corelm_chain_error(chain));
        fits = 0;
    }
    free(ids);
    return fits;
}

/* Pairs of an id and a number. */
static int read_bias(struct reader *reader, corelm_chain *chain)
{
    size_t room = 1, count = 0; /* each number takes a space and a digit */
    double id = 0;
    int fits = 1;
    for (const char *from = reader->next; from < reader->end && *from != '\n'; from++)
        room += *from == ' ';
    int64_t *ids = malloc(room * sizeof *ids);
    double *biases = malloc(room * sizeof *biases);
    if (!ids || !biases)
        fits = refuse(reader, "less: memory ran out");
    while (fits && count < room && !at_line_end(reader)) {
        fits = read_number(reader, &id) && read_number(reader, &biases[count]);
        if (fits && !(id >= 0 && id < INT32_MAX && id == floor(id) && isfinite(biases[count])))
            fits = refuse(reader, "pairs of an id and a finite number");
        ids[count++] = fits ? (int64_t)id : 0;
    }
    if (fits && !corelm_chain_bias(chain, ids, biases, count))
        fits = refuse(reader, "a bias of a chain with room");
    free(ids), free(biases);
    return fits;
}

static int read_penalty(struct reader *reader, corelm_chain *chain)
{
    enum { LAST = 3, COUNT = 5 };
    double numbers[COUNT];
    for (int i = 0; i < COUNT; i++) {
        if (!read_number(reader, numbers + i))
            return 0;
        int is_count = numbers[i] >= 0 && numbers[i] <= INT32_MAX && numbers[i] == floor(numbers[i]);
        if (i == LAST && !is_count)
            return refuse(reader, "how many of the last tokens count");
    }
    return corelm_chain_penalty(chain, numbers[0], numbers[1], numbers[2], (size_t)numbers[LAST],
                                numbers[LAST + 1] != 0) ||
           refuse(reader, "a penalty of a chain with room");
}

static int read_start(struct reader *reader, corelm_chain *chain)
{
    double token;
    if (!read_number(reader, &token))
        return 0;
    if (!(token >= 0 && token < INT32_MAX && token == floor(token)))
        return refuse(reader, "an id");
    corelm_chain_start_token(chain, (int64_t)token);
    return 1;
}

static int read_header(struct reader *reader, double *vocabulary)
{
    static const char header[] = "corelm chain 1\n";
    const size_t length = sizeof header - 1;
    take_word(reader);
    reader->next -= strlen(reader->word);
    if ((size_t)(reader->end - reader->next) < length || memcmp(reader->next, header, length))
        return refuse(reader, "'corelm chain 1'");
    reader->next += length, reader->line++;
    while (reader->next < reader->end && *reader->next == '#') {
        const char *end = memchr(reader->next, '\n', (size_t)(reader->end - reader->next));
        reader->next = end ? end + 1 : reader->end, reader->line++;
    }
    if (strcmp(take_word(reader), "vocabulary"))
        return refuse(reader, "'vocabulary'");
    return read_number(reader, vocabulary) && end_line(reader);
}

/* The lines after the vocabulary's. */
static int read_lines(struct reader *reader, corelm_chain *chain)
{
    static const struct {
        const char *word;
        int (*read)(struct reader *, corelm_chain *);
    } lines[] = {{"never", read_never}, {"start", read_start}, {"stage", read_stage_line},
                 {"bias", read_bias},   {"penalty", read_penalty}};
    const size_t kinds = sizeof lines / sizeof *lines;
    for (;;) {
        size_t kind = 0;
        take_word(reader);
        if (is_word(reader, "end"))
            return end_line(reader) && (reader->next == reader->end || refuse(reader, "no more"));
        while (kind < kinds && !is_word(reader, lines[kind].word))
            kind++;
        if (kind == kinds)
            return refuse(reader, "'never', 'start', 'stage', 'bias', 'penalty' or 'end'");
        if (!lines[kind].read(reader, chain) || !end_line(reader))
            return 0;
    }
}

corelm_chain *corelm_chain_read(const char *text, size_t length, char error[CORELM_ERROR_ROOM])
{
    struct reader reader = {.next = text, .end = text + length, .line = 1, .error = error};
    double vocabulary;
    if (!read_header(&reader, &vocabulary))
        return NULL;
    int is_size = vocabulary >= 1 && vocabulary < INT32_MAX && vocabulary == floor(vocabulary);
    corelm_chain *chain = is_size ? corelm_chain_new((size_t)vocabulary) : NULL;
    if (!chain)
        snprintf(error, CORELM_ERROR_ROOM, "no chain for rows of %g logits: %s", vocabulary,
                 is_size ? "memory ran out, or the processor has too few instructions"
                         : "expected 1 to 2^31 - 2");
    if (chain && read_lines(&reader, chain))
        return chain;
    corelm_chain_free(chain);
    return NULL;
}
