"""Public names that a command is built with: application, options, output, exit codes.

Some are modules, such as `blocks` and `messages`; each lists its public names.
"""

import typing

from corelm.lazy import on_first_use

if typing.TYPE_CHECKING:
    from corelm.cli.applications import ExitCode as ExitCode
    from corelm.cli.applications import application as application
    from corelm.cli.options.choices import read_text as read_text
    from corelm.cli.options.inputs import Inputs as Inputs
    from corelm.cli.options.inputs import with_choices as with_choices
    from corelm.cli.options.parameters import offered_names as offered_names
    from corelm.cli.output import blocks as blocks
    from corelm.cli.output import streams as messages
    from corelm.cli.output.streams import Output as Output
    from corelm.registry.leftovers import Leftovers as Leftovers

__all__ = [
    "ExitCode",
    "Inputs",
    "Leftovers",
    "Output",
    "application",
    "blocks",
    "messages",
    "offered_names",
    "read_text",
    "with_choices",
]

_HOMES = {
    "ExitCode": "corelm.cli.applications:ExitCode",
    "Inputs": "corelm.cli.options.inputs:Inputs",
    "Leftovers": "corelm.registry.leftovers:Leftovers",
    "Output": "corelm.cli.output.streams:Output",
    "application": "corelm.cli.applications:application",
    "blocks": "corelm.cli.output.blocks",
    "messages": "corelm.cli.output.streams",
    "offered_names": "corelm.cli.options.parameters:offered_names",
    "read_text": "corelm.cli.options.choices:read_text",
    "with_choices": "corelm.cli.options.inputs:with_choices",
}
"""The module of each name, imported on first use: rich alone takes a tenth of a second."""

__getattr__ = on_first_use(__name__, _HOMES)
