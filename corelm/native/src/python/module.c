/* The Python module `corelm.native.kernels`. */
#include "args.h"
#include "../pool.h"

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
    return PyErr_Occurred() ? NULL : PyLong_FromLong(use_kernels(floats));
}

#define METHOD(name) {#name, (PyCFunction)(void (*)(void))py_##name, METH_FASTCALL, NULL},
static PyMethodDef methods[] = {
#define ROW_KERNEL(name, result, arguments) METHOD(name)
#define LAYER_KERNEL(name) METHOD(name)
#define MODULE_FUNCTION(name) METHOD(name)
#include "../kernels.def"
    {NULL, NULL, 0, NULL},
};

static int initialise(PyObject *module)
{
    if (!use_kernels(16)) {
        PyErr_SetString(PyExc_ImportError, "the processor has no AVX2 and FMA");
        return -1;
    }
    pool_prepare();
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
