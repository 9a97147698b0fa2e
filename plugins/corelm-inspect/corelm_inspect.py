"""The models of corelm in Inspect, with corelm's samplers."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from zlib import crc32

import anyio.to_thread
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelOutput,
    ModelUsage,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

import corelm
from corelm import Generation, RandomStream, from_settings
from corelm.abilities import FullVocabulary
from corelm.errors import UsageError
from corelm.runs import ContinuousBatch, Endings, Strategy, Texts

LENGTH = 256
"""The largest number of tokens of a task that states none."""
SETTINGS = (
    "temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "logit_bias",
)  # fmt: skip
"""Settings of a task that describe a sampler; vLLM's settings have these names too."""
REFUSED = ("best_of", "top_logprobs", "prompt_logprobs", "response_schema", "modalities")
"""Settings that change the result, and that corelm has no counterpart for."""
REASONS = {"length": "max_tokens", "end": "stop", "stop": "stop", "loop": "stop"}
"""Inspect's stop reason for each finish reason of corelm."""


@modelapi(name="corelm")
class CorelmAPI(ModelAPI):
    """A model that corelm opens, with any of its samplers.

    With a seed, the texts of an evaluation do not depend on the order in which Inspect asks for
    them: the k-th request with the same prompt, such as an epoch, is sample k of that prompt.

    Args:
        model_name: a name or a path that `corelm.load` takes.
        base_url, api_key, config: as Inspect passes them.
        sampler: an expression, which may end in a decoder; by default a task's settings decide.
        seed: decides the random numbers; a task's own seed has precedence.
        device: the device of the model.
        dtype: its number format.

    Raises:
        CorelmError: a name, an expression or a number that corelm doesn't have.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - Inspect's own default
        sampler: str | Sequence[str] | None = None,
        seed: int | None = None,
        device: str | None = None,
        dtype: str | None = None,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config)
        # Inspect's command line splits a value at its commas.
        joined = sampler if sampler is None or isinstance(sampler, str) else ",".join(sampler)
        self._strategy = None if joined is None else Strategy.of(joined)
        self._model = corelm.load(model_name, device=device, dtype=dtype)
        self._seed = RandomStream.fresh_seed() if seed is None else seed
        self._asked: Counter[tuple[str, int]] = Counter()
        self._lock = threading.Lock()  # a model runs one pass at a time

    async def generate(
        self,
        input: list[ChatMessage],
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """Return the texts that answer messages, or continue a single one.

        Raises:
            CorelmError: tools, or settings that corelm doesn't have.
        """
        if tools:
            raise UsageError("corelm's models call no tools; leave the task's tools out")
        texts, samples = self._request(_prompt(self._model.vocabulary, input), config)
        written = await anyio.to_thread.run_sync(self._write, texts, samples)
        return self._output(texts, written, bool(config.logprobs))

    def max_tokens(self) -> int:
        """Return the largest number of tokens of a task that states none."""
        return LENGTH

    def max_connections(self) -> int:
        """Return the number of concurrent requests: 1, as the model answers one after the other."""
        return 1

    def _request(self, prompt: str, config: GenerateConfig) -> tuple[Texts, range]:
        """Return the texts to write, and the indices of their next samples."""
        way = _strategy(config, self._strategy)
        seed = self._seed if config.seed is None else config.seed
        texts = Texts(
            prompt, way, config.max_tokens or LENGTH, config.num_choices or 1, seed,
            Endings.of(config.stop_seqs or ()), prompt_index=crc32(prompt.encode()),
        )  # fmt: skip
        first = self._asked[prompt, seed]
        self._asked[prompt, seed] += texts.n
        return texts, range(first, first + texts.n)

    def _write(self, texts: Texts, samples: range) -> list[Generation]:
        with self._lock:
            [ended] = ContinuousBatch.in_order(self._model, [(texts, samples)], measured=True)
        if ended.error:
            raise ended.error
        return ended.open_texts.generations()

    def _output(self, texts: Texts, written: list[Generation], logprobs: bool) -> ModelOutput:
        read = len(self._model.vocabulary.encode(texts.prompt))
        drawn = sum(len(text.tokens) for text in written)
        return ModelOutput(
            model=self.model_name,
            choices=[self._choice(text, logprobs) for text in written],
            usage=ModelUsage(input_tokens=read, output_tokens=drawn, total_tokens=read + drawn),
            metadata={
                "sampler": str(texts.strategy),
                "seed": texts.seed,
                "samples": [text.sample for text in written],
                "prompt_index": texts.prompt_index,
            },
        )

    def _choice(self, text: Generation, logprobs: bool) -> ChatCompletionChoice:
        content = [Logprob(token=s.text, logprob=-s.model_surprisal) for s in text.steps]
        return ChatCompletionChoice(
            message=ChatMessageAssistant(
                content=text.text, model=self.model_name, source="generate"
            ),
            stop_reason=REASONS.get(text.finish_reason, "unknown"),
            logprobs=Logprobs(content=content) if logprobs else None,
        )


def _prompt(vocabulary: corelm.Vocabulary, messages: list[ChatMessage]) -> str:
    """Render messages with the chat template; without one, return a single message unchanged."""
    if getattr(vocabulary, "chat_template", None) is None and len(messages) == 1:
        return messages[0].text
    return FullVocabulary(vocabulary).render_chat(
        [{"role": message.role, "content": message.text} for message in messages]
    )


def _strategy(config: GenerateConfig, own: Strategy | None) -> Strategy:
    """Return the sampler of a request: `sampler` in `extra_body`, the model's, or the settings'.

    Raises:
        UsageError: settings that corelm doesn't have, or that contradict a sampler.
    """
    extra = dict(config.extra_body or {})
    own = Strategy.of(extra.pop("sampler")) if "sampler" in extra else own
    strangers = [name for name in REFUSED if getattr(config, name) is not None] + [*extra]
    if strangers:
        raise UsageError(f"corelm has no {', '.join(strangers)}; leave it out of the settings")
    settings = {name: value for name in SETTINGS if (value := getattr(config, name)) is not None}
    if own is not None and settings:
        raise UsageError(
            f"the task samples with {', '.join(settings)} and the model with {own}: leave out one"
        )
    if own is not None:
        return own
    if "logit_bias" in settings:
        settings["logit_bias"] = {
            str(token): bias for token, bias in settings["logit_bias"].items()
        }
    return Strategy(from_settings(settings, "vllm").sampler)
