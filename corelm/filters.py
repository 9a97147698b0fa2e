"""The toolkit for authors of filters, penalties and other samplers.

Functions on logits take arrays of NumPy, torch, JAX or any other library that follows the array API
standard, and return arrays of the same library. A sampler made of them and of operators is portable
in the same way. Where it needs a function of the library, `array_namespace(logits)` has it.

The functions that read single tokens, such as `token_counts`, return NumPy arrays, as the context
is; `in_library_of` takes such an array to the library of the logits.
"""

from corelm.lazy import attach_stub

__getattr__, __dir__ = attach_stub(__name__)
