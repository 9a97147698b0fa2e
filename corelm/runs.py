"""Public names for programs that generate many texts: reports, servers, harnesses, engines.

A sampler, a decoder or a metric needs `corelm` and `corelm.filters` alone. Some names are modules:
what belongs to one matter is used with its name, as in `scaling.Job` and `printable.one_line`. Each
lists its public names.
"""

from corelm.lazy import attach_stub

__getattr__, __dir__ = attach_stub(__name__)
