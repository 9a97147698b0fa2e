"""The prompt, sampler and model that several commands begin from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from corelm.cli.choices import (
    Chat,
    Device,
    Dtype,
    Model,
    Preset,
    Prompt,
    PromptFile,
    SamplerChoice,
    prompt_for,
    read_prompt,
    sampler_of,
    with_chosen_options,
)
from corelm.cli.parameters import ParameterOptions, extended, own_flag, with_arguments
from corelm.contracts.language_model import LanguageModel
from corelm.contracts.params import Parameter
from corelm.contracts.sampling import Sampler
from corelm.registry.loading import MODEL
from corelm.registry.models import load

__all__ = ["Inputs", "with_choices"]


@dataclass(frozen=True)
class Inputs:
    """A prompt, a sampler and a model, as the command line names them.

    The fields are options of each command that has an argument `inputs`, but for `built`: the
    sampler and the decoder that the command line names, by "sampler" and "decoder".
    """

    prompt: Prompt = None
    sampler: SamplerChoice = None
    preset: Preset = None
    model: Model = MODEL
    device: Device = None
    dtype: Dtype = None
    prompt_file: PromptFile = None
    chat: Chat = False
    built: Mapping[str, Any] = field(default_factory=dict)

    def read(self) -> tuple[LanguageModel, Sampler, str]:
        """Return the model, the sampler and the prompt; note likely mistakes on standard error.

        Raises:
            CorelmError: a prompt that can't be read, an unknown sampler, a model that can't be
                loaded.
        """
        text = read_prompt(self.prompt, self.prompt_file)
        chosen = sampler_of(self.built, self.sampler, self.preset)
        model = load(self.model, device=self.device, dtype=self.dtype)
        return model, chosen, prompt_for(model, text, self.chat)


def with_choices(
    command: Callable[..., Any], parameters: Sequence[Parameter] = ()
) -> Callable[..., Any]:
    """Return a command with the options of the sampler and the decoder that it is called with.

    Args:
        command: a function of the command's name, whose argument `inputs` is an `Inputs`. Further
            arguments are its own options; `decoder` is the name of one.
        parameters: the options instead, for a command without a sampler: it gets their values in
            its argument `built`, by "settings" and by name.

    Raises:
        UsageError: an unknown sampler, decoder or option.
    """
    if parameters:
        names = {parameter.name: [own_flag(parameter.name)] for parameter in parameters}
        return extended(command, [ParameterOptions("settings", tuple(parameters), names)])
    own = inspect.signature(command, eval_str=True).parameters.values()
    named = inspect.signature(Inputs, eval_str=True).parameters.values()
    listed = [*named, *(parameter for parameter in own if parameter.name != "inputs")]

    @wraps(command)
    def called(**values: Any) -> Any:
        inputs = {parameter.name: values.pop(parameter.name) for parameter in named}
        return command(Inputs(**inputs), **values)

    arguments = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in listed]
    return with_chosen_options(with_arguments(called, arguments))
