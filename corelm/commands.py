"""Public names that a command is built with: application, options, output, exit codes."""

import importlib
import typing

from corelm.cli.exit_codes import DONE as DONE
from corelm.cli.exit_codes import FAILED as FAILED
from corelm.cli.exit_codes import PARTLY_FAILED as PARTLY_FAILED
from corelm.cli.options.choices import Device as Device
from corelm.cli.options.choices import Dtype as Dtype
from corelm.cli.options.choices import Model as Model
from corelm.cli.options.choices import Preset as Preset
from corelm.cli.options.choices import Prompt as Prompt
from corelm.cli.options.choices import PromptFile as PromptFile
from corelm.cli.options.choices import SamplerChoice as SamplerChoice
from corelm.cli.options.choices import Scheduler as Scheduler
from corelm.cli.options.choices import Workers as Workers
from corelm.cli.options.choices import loaded as loaded
from corelm.cli.options.choices import sampler_of as sampler_of
from corelm.cli.options.choices import with_choices as with_choices
from corelm.cli.options.completion import metric_names as metric_names
from corelm.cli.options.completion import model_names as model_names
from corelm.cli.options.completion import preset_names as preset_names
from corelm.cli.options.completion import sampler_names as sampler_names
from corelm.cli.options.parameters import Options as Options
from corelm.cli.options.parameters import extended as extended
from corelm.cli.options.parameters import flag as flag
from corelm.cli.options.prescan import arguments_of as arguments_of
from corelm.cli.options.prompt import prompt_for as prompt_for
from corelm.cli.options.prompt import read_prompt as read_prompt
from corelm.cli.options.prompt import read_prompts as read_prompts
from corelm.cli.options.prompt import text_argument as text_argument
from corelm.cli.output import messages as messages
from corelm.cli.output.product import Output as Output
from corelm.cli.output.product import product as product
from corelm.cli.output.progress import bar_moves as bar_moves
from corelm.cli.output.progress import bars_of as bars_of
from corelm.cli.output.progress import stages as stages
from corelm.cli.text_values import TextCommand as TextCommand
from corelm.cli.text_values import TextGroup as TextGroup
from corelm.cli.text_values import application as application
from corelm.registry.leftovers import Leftovers as Leftovers

if typing.TYPE_CHECKING:
    from corelm.cli.output import blocks as blocks

__all__ = [
    "DONE",
    "FAILED",
    "PARTLY_FAILED",
    "Device",
    "Dtype",
    "Leftovers",
    "Model",
    "Options",
    "Output",
    "Preset",
    "Prompt",
    "PromptFile",
    "SamplerChoice",
    "Scheduler",
    "TextCommand",
    "TextGroup",
    "Workers",
    "application",
    "arguments_of",
    "bar_moves",
    "bars_of",
    "blocks",
    "extended",
    "flag",
    "loaded",
    "messages",
    "metric_names",
    "model_names",
    "preset_names",
    "product",
    "prompt_for",
    "read_prompt",
    "read_prompts",
    "sampler_names",
    "sampler_of",
    "stages",
    "text_argument",
    "with_choices",
]


def __getattr__(name: str) -> typing.Any:
    if name == "blocks":  # rich takes a tenth of a second, which `corelm --help` does without
        return importlib.import_module("corelm.cli.output.blocks")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
