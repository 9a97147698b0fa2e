"""Public names that a command is built with: application, options, output, exit codes.

Some are modules, such as `options` and `blocks`; each lists its public names.
"""

import importlib
import typing

from corelm.cli.exit_codes import ExitCode as ExitCode
from corelm.cli.options import choices as options
from corelm.cli.options import completion as completion
from corelm.cli.options import parameters as parameters
from corelm.cli.options import prompt as prompt_input
from corelm.cli.options.inputs import Inputs as Inputs
from corelm.cli.options.inputs import with_choices as with_choices
from corelm.cli.output import messages as messages
from corelm.cli.output import progress as progress
from corelm.cli.output.product import Output as Output
from corelm.cli.output.product import product as product
from corelm.cli.text_values import TextCommand as TextCommand
from corelm.cli.text_values import TextGroup as TextGroup
from corelm.cli.text_values import application as application
from corelm.registry.leftovers import Leftovers as Leftovers

if typing.TYPE_CHECKING:
    from corelm.cli.output import blocks as blocks

__all__ = [
    "ExitCode",
    "Inputs",
    "Leftovers",
    "Output",
    "TextCommand",
    "TextGroup",
    "application",
    "blocks",
    "completion",
    "messages",
    "options",
    "parameters",
    "product",
    "progress",
    "prompt_input",
    "with_choices",
]


def __getattr__(name: str) -> typing.Any:
    if name == "blocks":  # rich takes a tenth of a second, which `corelm --help` does without
        return importlib.import_module("corelm.cli.output.blocks")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
