"""Public names for trainers and exporters of corelm's own models: networks, tokens, files."""

from corelm.lazy import attach_stub

__getattr__, __dir__ = attach_stub(__name__)
