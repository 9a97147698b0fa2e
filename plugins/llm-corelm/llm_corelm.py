"""The models of corelm in LLM, with corelm's samplers as options."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import llm
from pydantic import Field

if TYPE_CHECKING:
    from corelm import LanguageModel

OPEN = "corelm"
"""The id of the model that opens any other model, by a name that `corelm.load` takes."""


class Options(llm.Options):
    """The options of every model."""

    sampler: str = Field(
        default="temperature(t=0.7)",
        description="A sampler of corelm, such as min_p(p=0.05) | temperature(t=0.8)",
    )
    seed: int | None = Field(
        default=None, description="The random seed; the same seed gives the same text"
    )
    length: int = Field(default=50, description="The largest number of tokens to draw")
    stop: str | list[str] | None = Field(default=None, description="End before this text")
    unknown: bool = Field(default=False, description="Allow [UNK] to be sampled")


class OpenOptions(Options):
    """The options of the model that opens any other."""

    model: str = Field(
        default="imdb", description="A name or a path for corelm, or SCHEME:PATH, as in gguf:FILE"
    )
    device: str | None = Field(default=None, description="The device of the model, such as cuda")
    dtype: str | None = Field(default=None, description="Its number format, such as bfloat16")


class CorelmModel(llm.Model):
    """A model of corelm, loaded when it writes its first text.

    Args:
        name: a name that `corelm.load` takes.
    """

    can_stream = True
    supports_conversation = False
    Options = Options

    def __init__(self, name: str) -> None:
        self.model_id = f"{OPEN}/{name}"
        self._name = name
        self._loaded: dict[tuple[Any, ...], LanguageModel] = {}

    def execute(
        self,
        prompt: llm.Prompt,
        stream: bool,
        response: llm.Response,
        conversation: llm.Conversation | None,
    ) -> Iterator[str]:
        """Yield the text that continues the prompt, as it is drawn.

        Raises:
            llm.ModelError: a request that corelm cannot meet; the message is one line.
        """
        from corelm import CorelmError

        if prompt.system:
            raise llm.ModelError("this model takes no system prompt: it continues the prompt")
        try:
            pieces = self._pieces(prompt, response)
            yield from pieces if stream else ["".join(pieces)]
        except CorelmError as error:
            raise llm.ModelError(str(error)) from error

    def _pieces(self, prompt: llm.Prompt, response: llm.Response) -> Iterator[str]:
        import corelm

        options, text = prompt.options, prompt.prompt
        sampler = corelm.sampler(options.sampler)
        # LLM logs the seed, so that texts without a seed in the options can be repeated too.
        seed = secrets.randbelow(2**32) if options.seed is None else options.seed
        response.response_json = {"sampler": str(sampler), "seed": seed}
        # The model that opens any other has these options.
        names = {"model": self._name, "device": None, "dtype": None}
        model = self._model(*(getattr(options, name, value) for name, value in names.items()))
        steps = corelm.stream(
            model, text, sampler=sampler, length=options.length, seed=seed,
            stop=options.stop or (), unknown=options.unknown,
        )  # fmt: skip
        drawn = 0
        for step in steps:
            drawn += 1
            yield step.text
        response.set_usage(input=len(model.vocabulary.encode(text)), output=drawn)

    def _model(self, name: str, device: str | None, dtype: str | None) -> LanguageModel:
        import corelm

        key = name, device, dtype
        if key not in self._loaded:
            self._loaded[key] = corelm.load(name, device=device, dtype=dtype)
        return self._loaded[key]


class OpenModel(CorelmModel):
    """The model that opens any other by `-o model NAME`: a plugin's, or one by its path."""

    Options = OpenOptions

    def __init__(self) -> None:
        super().__init__("imdb")
        self.model_id = OPEN


@llm.hookimpl
def register_models(register: Callable[[llm.Model], None]) -> None:
    """Register corelm's models by name; none is loaded."""
    from corelm.runs import NamedModel

    register(OpenModel())
    for name in [model.name for model in NamedModel.listed(own=True)]:
        register(CorelmModel(name))
