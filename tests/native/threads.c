/* Use the pool and the kernels from several threads at once, for the thread sanitizer, which does
 * not understand the locks of the interpreter. `.ci/sanitize` compiles and runs it. Ends with 0 if
 * every thread gets the results of a thread alone. */
#include "ahead.h"
#include "pass.h"
#include "pool.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALLERS = 3, ROUNDS = 150, BATCH = 24, VOCABULARY = 3000, WIDTH = 64, TIME = 4 };

static const struct kernels *in_use = &kernels_of_8;

const struct kernels *active_kernels(void) { return in_use; }

static float logits[BATCH * VOCABULARY], expected[BATCH * VOCABULARY];
static float table[WIDTH * WIDTH], panels[WIDTH * WIDTH];
static float expected_outputs[BATCH * TIME * WIDTH];
static const struct logits rows = {logits, BATCH, VOCABULARY};
static struct node nodes[3];
static size_t widths[] = {0, WIDTH, WIDTH, WIDTH};
static const struct graph graph = {nodes, widths, 3, 4};
static struct node head_node;
static size_t head_widths[] = {WIDTH, WIDTH};
static const struct graph head = {&head_node, head_widths, 1, 2};
static const double uniforms[TIME * BATCH]; /* 0: the first token of each row */
static int64_t expected_tokens[TIME * BATCH];
static int64_t window[BATCH * TIME];
static atomic_int failures, ended;

static void fail(const char *what)
{
    fprintf(stderr, "%s differs\n", what);
    atomic_fetch_add(&failures, 1);
}

/* One run of a network on memory of its own. */
struct network {
    float *cache, *outputs;
    enum status status;
};

static void run_network(void *job)
{
    struct network *network = job;
    struct step step = {
        .window = window, .window_row = TIME, .kv_cache = network->cache, .batch = BATCH,
        .added = TIME, .time = TIME, .layers = 1, .keys_and_values = 1, .kv_heads = 2,
        .context = TIME, .size = WIDTH / 2,
    };
    network->status = run_graph(&graph, &step, NULL, BATCH * TIME, network->outputs);
}

static struct network new_network(void)
{
    return (struct network){
        .cache = calloc(BATCH * TIME * WIDTH, sizeof(float)),
        .outputs = calloc(BATCH * TIME * WIDTH, sizeof(float)),
    };
}

static void free_network(struct network *network)
{
    free(network->cache);
    free(network->outputs);
}

static void check_rows(void);

/* Draw as many tokens as fit the window; the task, if there is one, does it in the background. */
static size_t draw_tokens(struct async_task *task, int is_wanted, int64_t *tokens)
{
    float *cache = calloc(BATCH * TIME * WIDTH, sizeof(float));
    float *states = malloc(BATCH * WIDTH * sizeof(float)), *drawn = malloc(BATCH * WIDTH * sizeof(float));
    int64_t own_window[BATCH * TIME] = {0};
    double surprisals[TIME * BATCH];
    struct window_pass passes = {
        .reader = &graph, .head = &head, .window = own_window, .states = states,
        .step = {.window = own_window, .window_row = TIME, .kv_cache = cache, .batch = BATCH,
                 .added = 1, .time = 1, .layers = 1, .keys_and_values = 1, .kv_heads = 2,
                 .context = TIME, .size = WIDTH / 2},
    };
    struct corelm_pass pass = {
        .next = next_of_window, .state = &passes, .batch = BATCH, .vocabulary = WIDTH,
        .count = TIME,
    };
    struct ahead ahead = {
        .pass = &pass, .count = TIME,
        .sample = {.logits = {NULL, BATCH, WIDTH}, .uniforms = uniforms, .tokens = tokens,
                   .surprisals = surprisals},
    };
    for (size_t i = 0; i < TIME; i++)
        ahead.logits[i] = ahead.results[i] = drawn; /* nobody reads them */
    if (task) {
        int64_t times[BATCH]; /* all rows have one length, which makes no difference */
        for (size_t row = 0; row < BATCH; row++)
            times[row] = 1;
        passes.times = times, passes.step.times = times;
        task->run = draw_ahead, task->job = &ahead;
        async_submit(task);
        check_rows();
        atomic_store(&ahead.is_cancelled, !is_wanted);
        is_wanted ? async_wait(task) : async_cancel(task);
    } else {
        draw_ahead(&ahead);
    }
    free(cache), free(states), free(drawn);
    return atomic_load(&ahead.drawn);
}

static void prepare(void)
{
    for (size_t i = 0; i < BATCH * VOCABULARY; i++)
        logits[i] = (float)((i * 2654435761u >> 7) % 10007) / 500;
    for (size_t i = 0; i < WIDTH * WIDTH; i++)
        table[i] = panels[i] = (float)((i * 40503u >> 3) % 101) / 101 - 0.5f;
    for (size_t i = 0; i < BATCH * TIME; i++)
        window[i] = (int64_t)(i % WIDTH);
    nodes[0] = (struct node){.layer = EMBED, .output = 1};
    nodes[0].embed = (struct embed_args){
        .tokens = table, .positions = table, .vocabulary = WIDTH, .width = WIDTH};
    nodes[1] = (struct node){.layer = ATTEND, .inputs = {1, 1}, .input_count = 2, .output = 2};
    nodes[1].attend.heads = 2;
    nodes[2] = (struct node){.layer = MULTIPLY, .inputs = {2}, .input_count = 1, .output = 3};
    nodes[2].multiply = (struct multiply_args){
        .panels = panels, .inputs = WIDTH, .units = WIDTH, .activation = GELU};
    kernels_of_8.prepare();
    struct top_p_args args = {rows, 0.9, expected};
    kernels_of_8.top_p(&args);
    struct network network = new_network();
    run_network(&network);
    memcpy(expected_outputs, network.outputs, sizeof expected_outputs);
    free_network(&network);
    head_node = (struct node){.layer = MULTIPLY, .inputs = {0}, .input_count = 1, .output = 1};
    head_node.multiply = nodes[2].multiply;
    if (draw_tokens(NULL, 1, expected_tokens) != TIME)
        fail("the number of tokens");
}

static void check_rows(void)
{
    float *out = malloc(sizeof expected);
    struct top_p_args args = {rows, 0.9, out};
    if (active_kernels()->top_p(&args) != OK || memcmp(out, expected, sizeof expected) != 0)
        fail("top_p");
    struct rows_are_valid_args valid = {rows};
    if (active_kernels()->rows_are_valid(&valid) != OK)
        fail("rows_are_valid");
    free(out);
}

/* Every third task is cancelled. */
static void check_network(int round)
{
    struct network network = new_network();
    struct async_task task = {.run = run_network, .job = &network};
    async_submit(&task);
    check_rows();
    if (round % 3 == 0)
        async_cancel(&task);
    else
        async_wait(&task);
    if (round % 3 && memcmp(network.outputs, expected_outputs, sizeof expected_outputs) != 0)
        fail("the network");
    free_network(&network);
}

/* Every third run of draws is cancelled: what was drawn is right. */
static void check_draws(int round)
{
    int64_t tokens[TIME * BATCH];
    struct async_task task = {.queued = 0};
    size_t drawn = draw_tokens(&task, round % 3 != 0, tokens);
    if ((round % 3 && drawn != TIME) ||
        memcmp(tokens, expected_tokens, drawn * BATCH * sizeof *tokens) != 0)
        fail("the tokens");
}

static void *call(void *unused)
{
    (void)unused;
    for (int round = 0; round < ROUNDS; round++)
        check_network(round), check_draws(round);
    atomic_fetch_add(&ended, 1);
    return NULL;
}

int main(void)
{
    pthread_t callers[CALLERS];
    pool_prepare();
    prepare();
    pool_use_cores(3);
    for (int i = 0; i < CALLERS; i++)
        pthread_create(&callers[i], NULL, call, NULL);
    for (int cores = 1; atomic_load(&ended) < CALLERS; cores = cores % 4 + 1) {
        pool_use_cores(cores);
        check_rows();
    }
    for (int i = 0; i < CALLERS; i++)
        pthread_join(callers[i], NULL);
    pool_use_cores(1);
    return atomic_load(&failures) != 0;
}
