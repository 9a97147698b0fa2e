/* Work that is spread over the cores by threads that stay awake for a moment. */
#ifndef CORELM_THREADS_H
#define CORELM_THREADS_H

#include <stdatomic.h>
#include <stddef.h>

/* Does some of the work, from `begin` to before `end`; parts run at the same time. */
typedef void (*part_of_work)(const void *job, size_t begin, size_t end);

/* Use this many cores from now on, at least one. */
void use_cores(int cores);

/* Do `count` things, `grain` at a time, on all cores; on this one alone where `worth` is 0. */
void spread(part_of_work work, const void *job, size_t count, size_t grain, int worth);

/* Work that another thread may do meanwhile, to which it is given once. */
struct errand {
    void (*work)(void *);
    void *job;
    int given, forks; /* whether it was, and in which process */
    atomic_int done;
};

/* Whoever begins an errand finishes it: does it where nobody has, helps where somebody is at it. */
void begin_errand(struct errand *);
void finish_errand(struct errand *);

#endif
