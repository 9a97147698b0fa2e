"""Run work in several processes or on several machines, and record what its results depend on."""

from corelm.lazy import attach_stub

__getattr__, __dir__ = attach_stub(__name__)
