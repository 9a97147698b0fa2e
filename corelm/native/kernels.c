/* The Python module. */
#include "arguments.h"
#include "kernels.h"
#include "threads.h"

static PyObject *py_use_cores(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (!wants(count, 1))
        return NULL;
    long cores = PyLong_AsLong(args[0]);
    if (PyErr_Occurred())
        return NULL;
    use_cores((int)(cores < 1 ? 1 : cores > 64 ? 64 : cores));
    return Py_NewRef(Py_None);
}

const struct kernels *kernels = &kernels_of_8;

/* Those for sixteen floats, where the processor has what they take; else those for eight. */
static const struct kernels *widest(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return &kernels_of_16;
#endif
    return &kernels_of_8;
}

static int use_lanes(long most)
{
    kernels = most >= 16 ? widest() : &kernels_of_8;
    return kernels == &kernels_of_8 ? 8 : 16;
}

/* At most so many floats in a vector; returns how many there are. */
static PyObject *py_use_lanes(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    (void)self;
    if (!wants(count, 1))
        return NULL;
    long most = PyLong_AsLong(args[0]);
    return PyErr_Occurred() ? NULL : PyLong_FromLong(use_lanes(most));
}

#define KERNEL(name) {#name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL, NULL}
static PyMethodDef methods[] = {
    KERNEL(pack),
    KERNEL(multiply),
    KERNEL(normalise),
    KERNEL(plan),
    KERNEL(run),
    KERNEL(begin),
    KERNEL(wait),
    KERNEL(admit),
    KERNEL(judge),
    KERNEL(sharpen),
    KERNEL(nucleus),
    KERNEL(draw),
    KERNEL(surprisals),
    KERNEL(entropies),
    KERNEL(figures),
    KERNEL(moments),
    KERNEL(greedy),
    KERNEL(keep),
    KERNEL(largest),
    KERNEL(deviations),
    KERNEL(typical),
    KERNEL(use_cores),
    KERNEL(use_lanes),
    {NULL, NULL, 0, NULL},
};

static int can_run(PyObject *module)
{
#if defined(__x86_64__) /* every processor with AVX2 has F16C */
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) {
        PyErr_SetString(PyExc_ImportError, "the processor has no AVX2 and FMA");
        return -1;
    }
#endif
    use_lanes(16);
    return PyModule_AddIntConstant(module, "PANEL", PANEL);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, can_run}, {0, NULL}};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "kernels", .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit_kernels(void) { return PyModuleDef_Init(&module); }
