"""The toolkit for adapters of other engines: a sampler in an engine's loop, a session on its model.

It also reads tokenizers and chat templates, finds models on this machine, names the version of an
engine that works (`requirements`), and imports TensorFlow without its messages.
"""

from corelm.lazy import attach_stub

__getattr__, __dir__ = attach_stub(__name__)
