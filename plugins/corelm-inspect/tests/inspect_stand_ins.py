"""Stand-ins for the names of Inspect that corelm-inspect uses, for environments without it.

They have the fields of inspect_ai 0.3.285 and nothing behind them. Where Inspect is installed, the
tests run in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from types import ModuleType
from typing import Any

SETTINGS = (
    "best_of", "extra_body", "frequency_penalty", "logit_bias", "logprobs", "max_tokens",
    "modalities", "num_choices", "presence_penalty", "prompt_logprobs", "response_schema", "seed",
    "stop_seqs", "temperature", "top_k", "top_logprobs", "top_p",
)  # fmt: skip
GenerateConfig = make_dataclass("GenerateConfig", [(name, Any, None) for name in SETTINGS])


@dataclass
class ChatMessage:
    """A message of a role; `text` is its content."""

    content: str
    role: str = "user"
    model: str | None = None
    source: str | None = None

    @property
    def text(self) -> str:
        return self.content


class ChatMessageUser(ChatMessage):
    pass


class ChatMessageAssistant(ChatMessage):
    pass


@dataclass
class ChatMessageSystem(ChatMessage):
    role: str = "system"


@dataclass
class ToolInfo:
    name: str
    description: str


@dataclass
class Logprob:
    token: str
    logprob: float


@dataclass
class Logprobs:
    content: list[Logprob]


@dataclass
class ChatCompletionChoice:
    message: ChatMessage
    stop_reason: str
    logprobs: Logprobs | None = None


@dataclass
class ModelUsage:
    input_tokens: int
    output_tokens: int
    total_tokens: int


@dataclass
class ModelOutput:
    model: str
    choices: list[ChatCompletionChoice]
    usage: ModelUsage
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def completion(self) -> str:
        return self.choices[0].message.text


class ModelAPI:
    def __init__(self, model_name, base_url, api_key, api_key_vars, config):
        self.model_name = model_name


PROVIDERS: dict[str, type[ModelAPI]] = {}


def modelapi(name):
    return lambda cls: PROVIDERS.setdefault(name, cls)


class Model:
    """A model whose requests go to its provider as they are."""

    def __init__(self, api):
        self.api = api

    async def generate(self, input, tools=(), config=None):
        messages = [ChatMessageUser(input)] if isinstance(input, str) else input
        return await self.api.generate(messages, list(tools), "auto", config or GenerateConfig())


def get_model(name, memoize=True, **arguments):
    provider, _, model = name.partition("/")
    return Model(PROVIDERS[provider](model, **arguments))


def modules() -> dict[str, ModuleType]:
    """Return the modules of Inspect that corelm-inspect and its tests import, by name."""
    found = {
        name: ModuleType(name) for name in ("inspect_ai", "inspect_ai.model", "inspect_ai.tool")
    }
    vars(found["inspect_ai.model"]).update(globals())
    vars(found["inspect_ai.tool"]).update(ToolInfo=ToolInfo, ToolChoice=str)
    return found
