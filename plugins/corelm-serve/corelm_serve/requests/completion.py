"""The body of `POST /v1/completions`, and the sampler and the decoder that a body asks for."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

from corelm import Decoder, Sampler
from corelm.errors import UsageError
from corelm.runs import Endings, Expression, Strategy
from corelm_serve.errors import ApiError, as_api_error
from corelm_serve.requests.fields import (
    DOCUMENT,
    FLAG,
    Kind,
    Request,
    by_token,
    either,
    field,
    list_of,
    nested,
    number,
    one_of,
    one_or_more,
    text,
    whole,
)
from corelm_serve.requests.formats import ResponseFormat
from corelm_serve.requests.settings import (
    ENGINE,
    ENGINES,
    SETTINGS,
    asks_for_nothing,
    is_neutral,
    preset_of,
    read_settings,
)
from corelm_serve.requests.trials import UNCHANGED, try_expression, try_to_build
from corelm_serve.scoring import FIGURES, SETS

NUMBERS = random.Random()
"""Numbers for seeds and ids, which are no secrets: to ask the system for some gives the interpreter
away to the thread of the model, in each request."""
ENDINGS = Endings()
"""What ends most texts: nothing but their end token and their length."""
LONGEST_EXPRESSION = 4_096
MOST_STAGES = 32
"""The most samplers and decoders in one expression, nested ones included."""
LARGEST_IN_DECODER = 64
"""The largest whole number in a decoder, such as the width of a beam: it multiplies the work."""
MOST_WITH_DECODER = 8
"""The most texts per prompt for a decoder other than ancestral sampling."""
LARGEST_SEED = 2**63 - 1
MOST_IDS, MOST_PROMPTS = 2**19, 2**16
"""Bounds that a body of 1 MiB cannot exceed; `Limits` has the real ones."""

ID = whole(0, 2**31)
PROMPT = either(
    "a text, a list of token ids, or a list of texts or of lists of token ids",
    text(),
    list_of(ID, MOST_IDS, 1),
    list_of(text(), MOST_PROMPTS, 1),
    list_of(list_of(ID, MOST_IDS), MOST_PROMPTS, 1),
)


def new_id() -> str:
    """Return a new name of a request or an answer."""
    return f"{NUMBERS.getrandbits(128):032x}"


def _no_number(value: Any) -> None:
    """Read false as None."""
    if value is not False:
        raise ValueError


FALSE = Kind("false", {"const": False}, _no_number)


@dataclass(frozen=True, kw_only=True)
class StreamOptions(Request):
    """Options of a streamed answer."""

    include_usage: bool = field(FLAG, "send the usage in a last event", False)
    include_obfuscation: bool = field(
        FLAG, "taken for compatibility: events have their own lengths", False
    )


@dataclass(frozen=True, kw_only=True)
class TextRequest(Request):
    """A request for texts of a model: OpenAI's fields, and corelm's own."""

    model: str = field(text(256, 1), "a name of `GET /v1/models`", required=True)
    temperature: float | None = field(number(0), "softmax temperature; 0 is greedy; default 1")
    top_p: float | None = field(number(0, 1), "keep the likeliest tokens of this probability")
    presence_penalty: float | None = field(
        number(-2, 2), "subtracted from the logit of each token that was drawn"
    )
    frequency_penalty: float | None = field(
        number(-2, 2), "the same for each time that it was drawn"
    )
    logit_bias: dict[str, float] | None = field(
        by_token(number(-100, 100), 1_024, "token ids, each with a number from -100 to 100"),
        "numbers to add to logits, by token id",
    )
    min_p: float | None = field(
        number(0, 1), "keep tokens with this share of the largest probability"
    )
    top_k: int | None = field(
        whole(-1, 2**31), "keep this many likeliest tokens; 0 and -1 keep all"
    )
    repetition_penalty: float | None = field(
        number(0), "divides the logits of tokens of the prompt and the text"
    )
    thinking_token_budget: int | None = field(
        whole(-1, 2**31), "after `<think>` and this many tokens, `</think>` comes; -1: no limit"
    )
    repetition_detection: dict[str, int] | None = field(
        DOCUMENT,
        "end where a phrase of min_pattern_size to max_pattern_size tokens has come min_count "
        "times in a row; needs the plugin corelm-break-loop",
    )
    min_tokens: int | None = field(whole(0, 2**31), "no end before this number of tokens")
    sampler: str | None = field(
        text(LONGEST_EXPRESSION, 1),
        "a sampler of corelm, such as `min_p(p=0.05) | temperature(t=0.8)`; excludes the fields "
        "above, `preset` and `engine`",
    )
    preset: str | None = field(
        text(100, 1), "sample as another engine does by default: a name of `corelm presets`"
    )
    engine: str | None = field(
        one_of(*ENGINES),
        "the engine whose settings the other fields are, with its defaults and its order",
    )
    decoder: str | None = field(
        text(LONGEST_EXPRESSION, 1),
        "a decoder of corelm, such as `beam(width=4)`; default: ancestral",
    )
    stop: Any = field(
        one_or_more(text(256, 1), 16, "a text of 1 to 256 characters, or a list of at most 16"),
        "texts that end the answer, which excludes them",
    )
    stop_regex: Any = field(
        one_or_more(text(256, 1), 4, "a regular expression of 1 to 256 characters, or at most 4"),
        "regular expressions that end the answer in the same way",
    )
    stop_loop: int | None = field(
        whole(2, 1_000), "end when the last phrase has occurred this often in a row"
    )
    banned_strings: Any = field(
        one_or_more(text(256, 1), 64, "a text of 1 to 256 characters, or a list of at most 64"),
        "texts that must not appear; needs the plugin corelm-backtrack",
    )
    response_format: ResponseFormat | None = field(
        nested(ResponseFormat), "the JSON that the text must be; needs the plugin corelm-grammar"
    )
    record: str | None = field(
        one_of(FIGURES, SETS),
        "return what a trainer needs of each token, a row of `corelm.rollouts/1`; `sets` has also "
        "the ids that could be drawn",
    )
    seed: int | None = field(
        whole(-1, LARGEST_SEED),
        "decides the random numbers; default, and -1: a fresh one, which the answer has",
    )
    unknown: bool = field(FLAG, "allow [UNK] to be drawn", False)
    n: int = field(whole(1, 64), "texts for each prompt", 1)
    stream: bool = field(FLAG, "send the text as it is drawn, as server-sent events", False)
    stream_options: StreamOptions | None = field(nested(StreamOptions), "options of the stream")
    truncate_prompt_tokens: int | None = field(
        whole(-1, 2**31),
        "keep this many last tokens of the prompt; -1: as many as the model attends to; 0: all",
    )
    user: str | None = field(text(4_096), "taken for compatibility, and not kept")
    safety_identifier: str | None = field(text(4_096), "the newer name of user")
    prompt_cache_key: str | None = field(text(4_096), "taken for compatibility, and not kept")
    request_id: str | None = field(text(4_096), "vLLM's; the header x-request-id is kept")
    session_id: str | None = field(text(4_096), "taken for compatibility, and not kept")

    @property
    def seed_or_fresh(self) -> int:
        """The seed, or a fresh one."""
        return NUMBERS.getrandbits(32) if self.seed in (None, -1) else self.seed

    def endings(self) -> Endings:
        """Return what ends a text before its length."""
        if not (self.stop or self.stop_regex or self.stop_loop):
            return ENDINGS  # to make one takes as long as to read the rest of a body
        if self.stop_regex:
            try_to_build("stop_regex", "patterns", self.stop_regex)
        try:
            return Endings.of(self.stop or (), self.stop_regex or (), self.stop_loop)
        except UsageError as error:
            raise as_api_error(error, "stop_regex" if self.stop_regex else "stop") from None

    def check(self) -> None:
        """Raise if fields contradict each other."""
        if self.stream_options is not None and not self.stream:
            raise excluded("stream_options needs stream", "stream_options")


UNUSED = {
    "store": "nothing is kept",
    "metadata": "nothing is kept",
    "service_tier": "there is one",
}
"""OpenAI's fields for its own service, which are ignored, each with the reason."""


def excluded(message: str, param: str) -> ApiError:
    """Return the error for a field that another one excludes."""
    return ApiError(message, param=param, code="excluded_field")


@dataclass(frozen=True, kw_only=True)
class CompletionRequest(TextRequest):
    """Texts that continue a prompt."""

    refused: ClassVar[dict[str, str]] = {
        **UNUSED,
        "suffix": "these models continue a text, and can't fill a gap in it",
    }

    prompt: Any = field(PROMPT, "the text to continue, or several", required=True)
    max_tokens: int = field(whole(0, 2**31), "tokens to draw at most", 16)
    best_of: int | None = field(
        whole(1, 64),
        "texts to write for each prompt; the n with the largest mean log-probability are returned",
    )
    logprobs: int | None = field(
        either("a whole number from 0 to 20, or false", whole(0, 20), FALSE),
        "return log-probabilities of each token, and of this many others",
    )
    echo: bool = field(FLAG, "begin the answer with the prompt", False)

    @property
    def prompts(self) -> list[str | tuple[int, ...]]:
        """The prompts, each a text or its ids."""
        if isinstance(self.prompt, str) or isinstance(self.prompt[0], int):
            return [self.prompt]
        return list(self.prompt)

    @property
    def texts(self) -> int:
        """The number of texts that are written for each prompt."""
        return self.n if self.best_of is None else self.best_of

    def check(self) -> None:
        """Raise if fields contradict each other."""
        if self.best_of is not None and self.best_of < self.n:
            message = f"best_of must be at least n, which is {self.n}, not {self.best_of}"
            raise ApiError(message, param="best_of", code="invalid_value")
        if self.stream and self.texts > self.n:
            message = "best_of can't be streamed: the best texts are known when all are complete"
            raise excluded(message, "best_of")
        super().check()


# ---- samplers and decoders ----


def strategy_of(request: TextRequest, rest: dict[str, Any]) -> tuple[Strategy, dict[str, Any]]:
    """Return the sampler and the decoder that a request asks for, and notes for the answer.

    Args:
        request: the request.
        rest: fields that it does not declare; settings of another engine, or mistakes.

    Raises:
        ApiError: fields that exclude each other, that are unknown or have no counterpart, or an
            expression that cannot be used.
    """
    values = {name: getattr(request, name) for name in SETTINGS} | rest
    settings = {
        name: value
        for name, value in values.items()
        # What changes nothing implies no engine and no defaults.
        if not (value is None or asks_for_nothing(name, value))
        and not (request.engine is None and is_neutral(name, value))
    }
    _check_one_way(request, settings)
    with Sampler.refuse_local():
        (sampler, decoder), notes = _sampler(request, settings)
        decoder = _decoder(request, decoder)
    chosen = Strategy(sampler, decoder)
    _check_size(chosen, request.n)
    return chosen, notes


def _check_one_way(request: TextRequest, settings: dict[str, Any]) -> None:
    """Raise if a request names its sampler in two ways."""
    ways = [name for name in ("sampler", "preset") if getattr(request, name) is not None]
    ways += [*settings][:1] or (["engine"] if request.engine else [])
    if len(ways) > 1:
        name = ways[1]
        if name not in {each.name for each in request.fields()}:
            raise request.unknown_field(name, SETTINGS)
        raise ApiError(
            f"{ways[0]} excludes {name}: put it into the expression, such as "
            '"top_p(p=0.9) | temperature(t=0.7)"',
            param=name,
            code="excluded_field",
        )


def _sampler(request: TextRequest, settings: dict[str, Any]) -> tuple[Strategy, dict[str, Any]]:
    if request.sampler is not None:
        return _expression(request.sampler, "sampler"), {}
    if request.preset is not None:
        return Strategy(preset_of(request.preset)), {}
    if not settings and request.engine is None:  # with no engine's defaults
        return Strategy(Expression.built_in(UNCHANGED)), {}
    read = read_settings(request, request.engine, settings)
    notes: dict[str, Any] = {} if read.engine == ENGINE else {"engine": read.engine}
    if read.idle:  # for example a temperature in transformers, which is greedy without do_sample
        notes["without_effect"] = list(read.idle)
    return Strategy(read.sampler), notes


def _expression(text: str, param: str) -> Strategy:
    try_expression(text, param)
    try:
        return Strategy.of(text)
    except Exception as error:
        raise as_api_error(error, param) from error


def _decoder(request: TextRequest, written: Decoder | None) -> Decoder | None:
    """Return the decoder; None for ancestral sampling."""
    ways = [request.decoder is not None, bool(request.banned_strings), written is not None]
    if sum(ways) > 1:
        raise ApiError(
            "give one decoder: in sampler, decoder or banned_strings",
            param="decoder" if request.decoder else "banned_strings",
            code="excluded_field",
        )
    if request.banned_strings:
        banned = request.banned_strings
        words = (banned,) if isinstance(banned, str) else tuple(banned)
        written = _expression(f"backtrack(banned={words!r})", "banned_strings").decoder
    elif request.decoder is not None:
        written = _one_decoder(request.decoder)
    if written is None or written == Strategy.of("corelm:ancestral").decoder:
        return None
    return written


def _one_decoder(text: str) -> Decoder:
    strategy = _expression(text, "decoder")
    if len(strategy.stages) != 1 or strategy.decoder is None:
        message = "decoder must be one decoder, such as beam(width=4); samplers go in sampler"
        raise ApiError(message, param="decoder", code="invalid_value")
    return strategy.decoder


def with_decoder(sampler: Sampler, text: str) -> Strategy:
    """Return a sampler with the decoder of an expression.

    Raises:
        ApiError: no such decoder, or one that would do too much work.
    """
    with Sampler.refuse_local():
        chosen = Strategy(sampler, _one_decoder(text))
    _check_size(chosen, 1)
    return chosen


def _check_size(chosen: Strategy, n: int) -> None:
    """Raise if a chain is too long, or a decoder would do too much work for each token."""
    stages = [
        *chosen.sampler.parts(),
        *(chosen.decoder.parts() if chosen.decoder else ()),
    ]
    if len(stages) > MOST_STAGES:
        message = f"a request has at most {MOST_STAGES} samplers, not {len(stages)}"
        raise ApiError(message, param="sampler", code="too_large")
    if chosen.decoder is None:
        return
    for parameter in chosen.decoder.parameters():
        value = getattr(chosen.decoder, parameter.name)
        if parameter.type is int and value > max(parameter.default, LARGEST_IN_DECODER):
            raise ApiError(
                f"{parameter.name} of {chosen.decoder.name} must be at most "
                f"{LARGEST_IN_DECODER} here, not {value}",
                param="decoder",
                code="too_large",
            )
    if n > MOST_WITH_DECODER:
        message = f"n must be at most {MOST_WITH_DECODER} with a decoder, not {n}"
        raise ApiError(message, param="n", code="too_large")
