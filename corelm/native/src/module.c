/* The Python module `corelm.native.kernels`. */
#include "args.h"
#include "pool.h"

#include <stdatomic.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static _Atomic(const struct kernels *) active = &kernels_of_8;

const struct kernels *active_kernels(void)
{
    /* A call that still sees the other width returns the same bits. */
    return atomic_load_explicit(&active, memory_order_relaxed);
}

#if defined(__x86_64__)
/* Return the floats of the widest vectors that processor and operating system have: 16, 8 or 0.
 * Not by `__builtin_cpu_supports`: built by zig, it says no to everything. */
static int vector_width(void)
{
    unsigned a, b, c, d, saved, unused;
    const unsigned two = bit_FMA | bit_OSXSAVE, ymm = 0x6, zmm = 0xe6;
    const unsigned five = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;

    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & two) != two)
        return 0;
    __asm__("xgetbv" : "=a"(saved), "=d"(unused) : "c"(0));
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(b & bit_AVX2) || (saved & ymm) != ymm)
        return 0;
    return (b & five) == five && (saved & zmm) == zmm ? 16 : 8;
}
#endif

static const struct kernels *widest(void)
{
#if defined(__x86_64__)
    if (vector_width() == 16)
        return &kernels_of_16;
#endif
    return &kernels_of_8;
}

static int use_vector_width(long floats)
{
    const struct kernels *kernels = floats >= 16 ? widest() : &kernels_of_8;
    kernels->prepare();
    atomic_store(&active, kernels);
    return kernels == &kernels_of_8 ? 8 : 16;
}

/* (cores) */
PyObject *py_use_cores(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (!expect_arguments("use_cores", count, 1))
        return NULL;
    long cores = PyLong_AsLong(args[0]);
    if (PyErr_Occurred())
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    pool_use_cores(cores < 1 ? 1 : cores > MAX_CORES ? MAX_CORES : (int)cores);
    Py_END_ALLOW_THREADS
    return Py_NewRef(Py_None);
}

/* (floats in a vector, at most): how many there are */
PyObject *py_use_vector_width(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (!expect_arguments("use_vector_width", count, 1))
        return NULL;
    long floats = PyLong_AsLong(args[0]);
    return PyErr_Occurred() ? NULL : PyLong_FromLong(use_vector_width(floats));
}

#define METHOD(name) {#name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL, NULL},
static PyMethodDef methods[] = {
#define ROW_KERNEL(name, result, arguments) METHOD(name)
#define LAYER_KERNEL(name) METHOD(name)
#define MODULE_FUNCTION(name) METHOD(name)
#include "kernels.def"
    {NULL, NULL, 0, NULL},
};

static int initialise(PyObject *module)
{
#if defined(__x86_64__) /* every processor with AVX2 has F16C */
    if (vector_width() == 0) {
        PyErr_SetString(PyExc_ImportError, "the processor has no AVX2 and FMA");
        return -1;
    }
#endif
    pool_prepare();
    use_vector_width(16);
    if (PyModule_AddIntConstant(module, "PANEL", PANEL) < 0)
        return -1;
    return PyModule_AddIntConstant(module, "MOST_STAGES", MOST_STAGES);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, initialise},
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "kernels", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit_kernels(void) { return PyModuleDef_Init(&module); }
