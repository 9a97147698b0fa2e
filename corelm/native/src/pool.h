/* Work spread over the processor's cores by threads that stay awake for a moment. */
#ifndef CORELM_POOL_H
#define CORELM_POOL_H

#include <stdatomic.h>
#include <stddef.h>

enum { MAX_CORES = 64 };

/* Do items `begin` to `end` (exclusive) of a job; chunks run at the same time. */
typedef void (*chunk_function)(const void *job, size_t begin, size_t end);

/* Register the fork handlers. Called once, when the module is loaded. */
void pool_prepare(void);

/* Use this many cores from now on. Surplus workers end. */
void pool_use_cores(int cores);

/* Do `count` items, `grain` at a time, on all cores; on this one alone unless `parallel`. */
void parallel_for(chunk_function, const void *job, size_t count, size_t grain, int parallel);

/* Work that a worker may do in the background. Every submitted task must be waited for, or
 * cancelled, by its owner, before its memory goes. */
struct async_task {
    void (*run)(void *);
    void *job;
    int queued, process; /* whether a worker may take it, and the process it was queued in */
    atomic_int done;
};

void async_submit(struct async_task *);

/* Return once the task is done. Runs it here if no worker has started it. */
void async_wait(struct async_task *);

/* Drop the task if no worker has started it, else wait until it is done. */
void async_cancel(struct async_task *);

#endif
