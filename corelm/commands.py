"""Public names that a command is built with: application, options, output, exit codes.

Some are modules, such as `blocks` and `messages`; each lists its public names.
"""

from corelm.lazy import attach_stub

__getattr__, __dir__ = attach_stub(__name__)
