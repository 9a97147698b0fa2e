/* A pool of threads with one job at a time.
 *
 * Between two decoding steps there are a few hundred microseconds, less than it takes to wake a
 * sleeping thread. So an idle worker first spins (SPIN_NS), then yields its core to others
 * (YIELD_NS), and only then sleeps on a condition variable. Where the last job was longer ago than
 * that, as between two steps of an engine, which has threads of its own, it sleeps after spinning.
 *
 * Locks: `caller` is held by the thread whose job is running, for as long as it runs; another
 * caller that finds it taken does its job alone. `sleep` guards the condition variable. The fork
 * handlers take both in that order, so that a child starts with no job running.
 */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>

enum { SPINS = 64, SPINS_BEFORE_YIELD = 10000 };
static const long SPIN_NS = 50000, YIELD_NS = 1000000;

static struct {
    pthread_mutex_t caller, sleep;
    pthread_cond_t wake;
    atomic_uint generation; /* changes with each job, task and change of the number of cores */
    atomic_int open;        /* whether the job may still be joined */
    atomic_int inside;      /* workers that are looking at the job or working on it */
    atomic_int sleeping;    /* workers on the condition variable */
    atomic_int cores, workers;
    atomic_int process;      /* changes in every forked child */
    /* Chunks taken from the front; from the back in the upper half. One number, so that two threads
     * that meet in the middle never take the same chunk. */
    _Atomic uint64_t taken;
    _Atomic(struct async_task *) task; /* that nobody has started */
    /* The job, written by the holder of `caller` before it is opened. */
    chunk_function work;
    const void *job;
    size_t count, grain, chunks;
} pool = {
    .caller = PTHREAD_MUTEX_INITIALIZER,
    .sleep = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
    .cores = 1,
};

static _Thread_local int is_worker;

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static void relax_or_yield(int spins)
{
    if (spins < SPINS_BEFORE_YIELD)
        relax();
    else
        sched_yield();
}

static long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

/* Workers take chunks from the back, the caller from the front. So a row tends to stay with one
 * core from one job to the next, and in its cache. */
static void take_chunks(void)
{
    for (;;) {
        uint64_t taken = atomic_fetch_add(&pool.taken, is_worker ? (uint64_t)1 << 32 : 1);
        size_t front = (uint32_t)taken, back = taken >> 32;
        if (front + back >= pool.chunks)
            return;
        size_t begin = (is_worker ? pool.chunks - 1 - back : front) * pool.grain;
        size_t end = begin + pool.grain;
        pool.work(pool.job, begin, end < pool.count ? end : pool.count);
    }
}

static void sleep_until_change(unsigned generation)
{
    pthread_mutex_lock(&pool.sleep);
    atomic_fetch_add(&pool.sleeping, 1);
    while (atomic_load(&pool.generation) == generation)
        pthread_cond_wait(&pool.wake, &pool.sleep);
    atomic_fetch_sub(&pool.sleeping, 1);
    pthread_mutex_unlock(&pool.sleep);
}

static void wait_for_change(unsigned generation)
{
    static _Thread_local long last; /* how long this worker waited before */
    long began = now_ns(), waited = 0, patience = last > YIELD_NS ? SPIN_NS : YIELD_NS;
    while (atomic_load(&pool.generation) == generation) {
        if (waited > patience)
            sleep_until_change(generation);
        else if (waited > SPIN_NS)
            sched_yield();
        else
            for (int i = 0; i < SPINS && atomic_load(&pool.generation) == generation; i++)
                relax();
        waited = now_ns() - began;
    }
    last = waited;
}

/* Either this thread sees that the job is closed, or the thread that closes it sees it inside. */
static void join_job(void)
{
    atomic_fetch_add(&pool.inside, 1);
    if (atomic_load(&pool.open))
        take_chunks();
    atomic_fetch_sub(&pool.inside, 1);
}

static void run_task(void)
{
    struct async_task *task = atomic_exchange(&pool.task, NULL);
    if (!task)
        return;
    task->run(task->job);
    atomic_store(&task->done, 1); /* its owner may free it from here on */
}

/* Count this worker out, and return 1, if there are more workers than cores need. */
static int should_end(void)
{
    int workers = atomic_load(&pool.workers);
    while (workers > atomic_load(&pool.cores) - 1)
        if (atomic_compare_exchange_weak(&pool.workers, &workers, workers - 1))
            return 1;
    return 0;
}

static void *worker(void *unused)
{
    (void)unused;
    unsigned generation = 0;
    is_worker = 1;
    while (!should_end()) {
        wait_for_change(generation);
        generation = atomic_load(&pool.generation);
        run_task();
        join_job();
    }
    return NULL;
}

static void before_fork(void)
{
    pthread_mutex_lock(&pool.caller);
    pthread_mutex_lock(&pool.sleep);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&pool.sleep);
    pthread_mutex_unlock(&pool.caller);
}

/* The child has none of its parent's threads: no workers, nobody asleep or inside, and a task
 * that a worker had started has to be done again by its owner. */
static void after_fork_in_child(void)
{
    atomic_fetch_add(&pool.process, 1);
    atomic_store(&pool.task, NULL);
    atomic_store(&pool.workers, 0);
    atomic_store(&pool.inside, 0);
    atomic_store(&pool.sleeping, 0);
    pthread_cond_init(&pool.wake, NULL); /* the old one still counts the parent's sleepers */
    pthread_mutex_unlock(&pool.sleep);
    pthread_mutex_unlock(&pool.caller);
}

static void register_fork_handlers(void)
{
    pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

void pool_prepare(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, register_fork_handlers);
}

/* Called with `caller` held. */
static void start_workers(void)
{
    while (atomic_load(&pool.workers) < atomic_load(&pool.cores) - 1) {
        pthread_t thread;
        atomic_fetch_add(&pool.workers, 1);
        if (pthread_create(&thread, NULL, worker, NULL) != 0) {
            atomic_store(&pool.cores, atomic_fetch_sub(&pool.workers, 1)); /* make do with these */
            return;
        }
        pthread_detach(thread);
    }
}

static void wake_workers(void)
{
    atomic_fetch_add(&pool.generation, 1);
    if (atomic_load(&pool.sleeping)) {
        pthread_mutex_lock(&pool.sleep);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.sleep);
    }
}

void pool_use_cores(int cores)
{
    atomic_store(&pool.cores, cores);
    if (atomic_load(&pool.workers) > cores - 1)
        wake_workers(); /* so that surplus ones end */
}

void parallel_for(chunk_function work, const void *job, size_t count, size_t grain, int parallel)
{
    if (!parallel || atomic_load(&pool.cores) == 1 || count <= grain ||
        pthread_mutex_trylock(&pool.caller) != 0) {
        work(job, 0, count);
        return;
    }
    start_workers();
    pool.work = work, pool.job = job, pool.count = count, pool.grain = grain;
    pool.chunks = (count + grain - 1) / grain;
    atomic_store(&pool.taken, 0);
    atomic_store(&pool.open, 1);
    wake_workers();
    take_chunks();
    atomic_store(&pool.open, 0);
    /* Workers inside still have chunks, and read the job, which is on this thread's stack. */
    for (int spins = 0; atomic_load(&pool.inside); spins++)
        relax_or_yield(spins);
    pthread_mutex_unlock(&pool.caller);
}

void async_submit(struct async_task *task)
{
    struct async_task *none = NULL;
    task->queued = 0, task->process = atomic_load(&pool.process);
    atomic_store(&task->done, 0);
    if (atomic_load(&pool.cores) == 1 || pthread_mutex_trylock(&pool.caller) != 0)
        return; /* all cores are busy: the owner does the task itself when it waits */
    start_workers();
    int workers = atomic_load(&pool.workers);
    pthread_mutex_unlock(&pool.caller); /* the worker that runs the task will want it */
    task->queued = workers && atomic_compare_exchange_strong(&pool.task, &none, task);
    if (task->queued)
        wake_workers();
}

/* Return 1 if no worker has the task, and make sure that none takes it. */
static int take_back(struct async_task *task)
{
    struct async_task *expected = task;
    return !task->queued || task->process != atomic_load(&pool.process) ||
           atomic_compare_exchange_strong(&pool.task, &expected, NULL);
}

/* Wait for the worker that runs the task; meanwhile help with the jobs that the task starts. */
static void wait_for_worker(struct async_task *task)
{
    unsigned joined = atomic_load(&pool.generation) - 1; /* the running job can still be joined */
    for (int spins = 0; !atomic_load(&task->done); spins++) {
        unsigned generation = atomic_load(&pool.generation);
        if (generation != joined)
            join_job(), joined = generation, spins = 0;
        else
            relax_or_yield(spins);
    }
}

void async_wait(struct async_task *task)
{
    if (take_back(task))
        task->run(task->job);
    else
        wait_for_worker(task);
}

void async_cancel(struct async_task *task)
{
    if (!take_back(task))
        wait_for_worker(task);
}
