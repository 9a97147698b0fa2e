/* A pool of threads with one job at a time. Between two steps of decoding there are some hundred
 * microseconds, less than it takes to wake a thread. So a thread that has nothing to do looks for
 * a new job for a moment, then lets others go first, and sleeps after a millisecond. */
#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <time.h>

enum { MOST = 64, SPINS = 64 };
static const long KEEN = 50000, AWAKE = 1000000; /* nanoseconds */

static struct {
    pthread_mutex_t caller, sleep;
    pthread_cond_t wake;
    atomic_uint number;   /* of the job; changes with each */
    atomic_int open;      /* whether it may still be joined */
    atomic_int inside;    /* threads that are at it */
    atomic_int sleeping;  /* threads to be woken */
    _Atomic uint64_t taken; /* parts from the front, and from the back in its upper half */
    part_of_work work;
    const void *job;
    size_t count, grain, parts;
    int cores, threads, forks;
    _Atomic(struct errand *) errand; /* that nobody has begun */
} pool = {
    .caller = PTHREAD_MUTEX_INITIALIZER,
    .sleep = PTHREAD_MUTEX_INITIALIZER,
    .wake = PTHREAD_COND_INITIALIZER,
    .cores = 1,
};

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

static long nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000L + now.tv_nsec;
}

static _Thread_local int serves;

/* Threads of the pool take parts from the back, others from the front: so a row stays with a core
 * from one job to the next, and in its cache. */
static void take_parts(void)
{
    for (;;) {
        uint64_t taken = atomic_fetch_add(&pool.taken, serves ? (uint64_t)1 << 32 : 1);
        size_t front = (uint32_t)taken, back = taken >> 32;
        if (front + back >= pool.parts)
            return;
        size_t begin = (serves ? pool.parts - 1 - back : front) * pool.grain;
        size_t end = begin + pool.grain;
        pool.work(pool.job, begin, end < pool.count ? end : pool.count);
    }
}

static void sleep_until(unsigned seen)
{
    pthread_mutex_lock(&pool.sleep);
    atomic_fetch_add(&pool.sleeping, 1);
    while (atomic_load(&pool.number) == seen)
        pthread_cond_wait(&pool.wake, &pool.sleep);
    atomic_fetch_sub(&pool.sleeping, 1);
    pthread_mutex_unlock(&pool.sleep);
}

static void wait_for_job(unsigned seen)
{
    long began = nanoseconds(), waited = 0;
    while (atomic_load(&pool.number) == seen) {
        if (waited > AWAKE)
            sleep_until(seen);
        else if (waited > KEEN)
            sched_yield();
        else
            for (int i = 0; i < SPINS && atomic_load(&pool.number) == seen; i++)
                relax();
        waited = nanoseconds() - began;
    }
}

/* Either this thread sees that the job is closed, or whoever closes it sees it inside. */
static void join_job(void)
{
    atomic_fetch_add(&pool.inside, 1);
    if (atomic_load(&pool.open))
        take_parts();
    atomic_fetch_sub(&pool.inside, 1);
}

static void run_errand(void)
{
    struct errand *errand = atomic_exchange(&pool.errand, NULL);
    if (!errand)
        return;
    errand->work(errand->job);
    atomic_store(&errand->done, 1); /* from here on it may be gone */
}

static void *serve(void *unused)
{
    (void)unused;
    unsigned seen = 0;
    serves = 1;
    for (;;) {
        wait_for_job(seen);
        seen = atomic_load(&pool.number);
        run_errand();
        join_job();
    }
    return NULL;
}

/* A forked process has none of its parent's threads, and has to do itself what they were at. */
static void forget_threads(void)
{
    pool.forks++;
    atomic_store(&pool.errand, NULL);
    pool.threads = 0;
    atomic_store(&pool.open, 0);
    atomic_store(&pool.inside, 0);
    atomic_store(&pool.sleeping, 0);
    pthread_mutex_init(&pool.caller, NULL);
    pthread_mutex_init(&pool.sleep, NULL);
    pthread_cond_init(&pool.wake, NULL);
}

static void start_threads(void)
{
    static int prepared = 0;
    if (!prepared)
        prepared = !pthread_atfork(NULL, NULL, forget_threads);
    while (pool.threads < pool.cores - 1) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, serve, NULL) != 0) {
            pool.cores = pool.threads + 1; /* as many as there may be */
            return;
        }
        pthread_detach(thread);
        pool.threads++;
    }
}

/* Something is there to do. */
static void call_threads(void)
{
    atomic_fetch_add(&pool.number, 1);
    if (atomic_load(&pool.sleeping)) {
        pthread_mutex_lock(&pool.sleep);
        pthread_cond_broadcast(&pool.wake);
        pthread_mutex_unlock(&pool.sleep);
    }
}

void use_cores(int cores) { pool.cores = cores < 1 ? 1 : cores > MOST ? MOST : cores; }

void spread(part_of_work work, const void *job, size_t count, size_t grain, int worth)
{
    if (!worth || pool.cores == 1 || count <= grain || pthread_mutex_trylock(&pool.caller) != 0) {
        work(job, 0, count);
        return;
    }
    start_threads();
    pool.work = work, pool.job = job, pool.count = count, pool.grain = grain;
    pool.parts = (count + grain - 1) / grain;
    atomic_store(&pool.taken, 0);
    atomic_store(&pool.open, 1);
    call_threads();
    take_parts();
    atomic_store(&pool.open, 0);
    for (int spins = 0; atomic_load(&pool.inside); spins++)
        spins < 10000 ? relax() : (void)sched_yield();
    pthread_mutex_unlock(&pool.caller);
}

void begin_errand(struct errand *errand)
{
    struct errand *none = NULL;
    errand->given = 0, errand->forks = pool.forks;
    atomic_store(&errand->done, 0);
    if (pool.cores == 1 || pthread_mutex_trylock(&pool.caller) != 0)
        return;
    start_threads();
    int threads = pool.threads;
    pthread_mutex_unlock(&pool.caller); /* which whoever runs the errand may soon want */
    errand->given = threads && atomic_compare_exchange_strong(&pool.errand, &none, errand);
    if (errand->given)
        call_threads();
}

void finish_errand(struct errand *errand)
{
    struct errand *mine = errand;
    if (!errand->given || errand->forks != pool.forks ||
        atomic_compare_exchange_strong(&pool.errand, &mine, NULL)) {
        errand->work(errand->job);
        return;
    }
    unsigned joined = atomic_load(&pool.number) - 1; /* what is going on may still be joined */
    for (int spins = 0; !atomic_load(&errand->done); spins++) {
        unsigned number = atomic_load(&pool.number);
        if (number != joined)
            join_job(), joined = number, spins = 0;
        else
            spins < 10000 ? relax() : (void)sched_yield();
    }
}
