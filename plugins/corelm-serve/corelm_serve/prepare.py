"""Turn the body of a request into jobs."""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import corelm
from corelm import CorelmError, Sampler
from corelm.abilities import FullVocabulary
from corelm.runs import Strategy, plugins
from corelm_serve.answers import Call
from corelm_serve.errors import ApiError, as_api_error
from corelm_serve.requests.chat import ChatRequest
from corelm_serve.requests.completion import CompletionRequest, TextRequest, strategy_of
from corelm_serve.requests.formats import Tool
from corelm_serve.requests.settings import SETTINGS
from corelm_serve.requests.trials import PLAIN, try_to_build
from corelm_serve.scheduling.jobs import Event, Job
from corelm_serve.scheduling.scheduler import Limits
from corelm_serve.service import ServedModel, find
from corelm_serve.tool_calls import CallFormat

ORDINARY = frozenset(
    (
        *("model", "prompt", "max_tokens", "n", "best_of", "seed", "stop", "stop_loop", "logprobs"),
        *("echo", "stream", "stream_options", "user", "unknown", "sampler", "decoder", "preset"),
        *("temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty"),
        *("logit_bias", "repetition_penalty", "min_tokens", "record"),
        *("tokens", "add_special_tokens", "return_token_strs"),
    )
)
"""Fields that need no child process, unless they hold an expression."""
MOST_CACHED = 256
"""The number of strategies that are kept."""
KEYS = ("sampler", "preset", "decoder", "n", *(set(SETTINGS) - {"logit_bias"}))
"""The fields of a plain body that decide its strategy."""
LONGEST = 512
"""Characters of a key, so that the cache takes little memory."""

NotedStrategy = tuple[Strategy, dict[str, Any]]
"""A strategy, and notes for the answer."""
PACKAGE = "corelm-grammar"

Tell = Callable[[Job, Event], None]


@dataclass(frozen=True)
class Shared:
    """The things that a request shares with others, and the place for its events.

    Attributes:
        models: the models by name.
        limits: the bounds.
        strategies: those of earlier requests.
        key: the strategy's among these, if it is known.
        tell: takes each event of its jobs.
        client: the address of the client.
    """

    models: Mapping[str, ServedModel]
    limits: Limits
    strategies: StrategyCache
    key: str | None
    tell: Tell
    client: str = ""

    def strategy_of(
        self, body: Any, request: TextRequest, rest: Mapping[str, Any]
    ) -> NotedStrategy:
        """Return the strategy of a body, and notes for the answer.

        Args:
            body: the body.
            request: the same body, read.
            rest: fields that the request doesn't declare.
        """
        return self.strategies.of(self.key or self.strategies.key_of(body), request, rest)


def completion_call(body: Any, shared: Shared) -> Call:
    """Return the jobs of a body of `POST /v1/completions`.

    Raises:
        ApiError: a request that cannot be met.
    """
    request, rest = CompletionRequest.read_part(body)
    request.check()
    served = find(shared.models, request.model)
    strategy, notes = shared.strategy_of(body, request, rest)
    strategy = with_format(strategy, request)
    prompts, limits = request.prompts, shared.limits
    check_at_most("prompt", len(prompts), limits.prompts, "prompts")
    decode = served.model.vocabulary.decode
    texts = [
        prompt if isinstance(prompt, str) else decode(list(prompt)) if request.echo else ""
        for prompt in prompts
    ]
    measured = request.logprobs is not None or request.texts > request.n
    settings = {
        "n": request.texts,
        "length": request.max_tokens,
        "tables": request.logprobs,
        "scored": request.echo and request.logprobs is not None,
        "measured": measured,
    }
    ids = [served.ids(prompt) for prompt in prompts]
    return _call(shared, request, served, strategy, ids, texts, settings, echo=request.echo,
                 notes=notes)  # fmt: skip


def chat_call(body: Any, shared: Shared) -> Call:
    """Return the job of a body of `POST /v1/chat/completions`.

    Raises:
        ApiError: a request that cannot be met, or a model without a chat template.
    """
    request, rest = ChatRequest.read_part(body)
    request.check()
    served = find(shared.models, request.model)
    strategy, notes = shared.strategy_of(body, request, rest)
    strategy, calls = with_tools(strategy, request, served)
    prompt = _rendered(request, served)
    settings = {
        "n": request.n,
        "length": request.length(shared.limits.length),
        "tables": request.tables,
        "measured": request.logprobs,
    }
    return _call(shared, request, served, strategy, [served.ids(prompt)], [prompt], settings,
                 is_chat=True, calls=calls, notes=notes)  # fmt: skip


def _rendered(request: ChatRequest, served: ServedModel) -> str:
    """Return the messages of a request as its model's chat template writes them."""
    described = [tool.document for tool in request.tools if request.tool_choice != "none"]
    try:
        messages = [message.document for message in request.messages]
        return FullVocabulary(served.model.vocabulary).render_chat(messages, described)
    except CorelmError as error:
        raise as_api_error(error, "tools" if described else "messages") from error


def _call(
    shared: Shared,
    request: TextRequest,
    served: ServedModel,
    strategy: Strategy,
    ids: Sequence[list[int]],
    prompts: list[str],
    settings: dict[str, Any],
    **more: Any,
) -> Call:
    """Return a request with its jobs.

    Args:
        shared: the things that all requests share.
        request: the request.
        served: its model.
        strategy: its sampler and decoder.
        ids: the ids of each prompt.
        prompts: the text of each.
        settings: those of the jobs.
        more: other attributes of the call.
    """
    limits, is_masked = shared.limits, strategy.sampler.has_masks
    check_at_most("max_tokens", settings["length"], limits.length, "tokens")
    check_at_most("n", settings["n"], limits.rows, "texts")
    settings |= {"seed": request.seed_or_fresh, "measured": settings["measured"] or is_masked}
    check_at_most("prompt", max(map(len, ids)), limits.prompt, "tokens")
    check_at_most("prompt", sum(map(len, ids)), limits.total, "tokens in all")
    if not settings.get("scored"):  # each token of a prompt is scored in its own window
        last = request.truncate_prompt_tokens
        ids = [fit(each, served.context_length or limits.prompt, last) for each in ids]
    endings, deadline = request.endings(), time.monotonic() + limits.seconds
    jobs = [
        Job(
            each, strategy, index=index, endings=endings, deadline=deadline, tell=shared.tell,
            unknown=request.unknown, record=request.record, most_ids=limits.entries,
            streamed=request.stream, client=shared.client, **settings,
        )
        for index, each in enumerate(ids)
    ]  # fmt: skip
    check_work(jobs, limits)
    # In advance, so that other texts needn't wait at the first token.
    for part in strategy.sampler.parts():
        work = getattr(part, "prepare", None)  # of corelm-grammar's
        if callable(work):
            work(served.model.vocabulary, ids[0])
    options = request.stream_options
    usage = options is not None and options.include_usage
    return Call(served, strategy, settings["seed"], jobs, prompts, request.n, request.stream,
                usage, is_masked=is_masked, **more)  # fmt: skip


def fit(ids: list[int], length: int, last: int | None) -> list[int]:
    """Cut a prompt as `truncate_prompt_tokens` says; raise if the model can't see it all."""
    if last:
        ids = ids[-(length if last == -1 else last) :]
    if len(ids) > length:
        message = f"the prompt has {len(ids):,} tokens, and the model attends to {length:,}; "
        message += "shorten it, or keep its end with truncate_prompt_tokens"
        raise ApiError(message, param="prompt", code="context_length_exceeded")
    return ids


def check_work(jobs: list[Job], limits: Limits) -> None:
    """Raise if a request exceeds the limits on prompt, generated or log-probability totals."""
    check_at_most("n", sum(job.n * job.length for job in jobs), limits.total, "tokens in all")
    entries = sum(
        job.n * (job.length + len(job.ids) * job.scored) * (1 + job.tables)
        for job in jobs
        if job.tables is not None
    )
    entries += sum(7 * job.n * job.length for job in jobs if job.record is not None)
    check_at_most("logprobs", entries, limits.entries, "numbers in all")


def check_at_most(name: str, value: int, largest: int, things: str) -> None:
    """Raise if a value exceeds the server's limit per request."""
    if value > largest:
        message = f"{name} may have at most {largest:,} {things} here, not {value:,}"
        raise ApiError(message, param=name, code="too_large")


# ---- strategies ----


def is_plain(body: Any) -> bool:
    """Return True if nothing in a body of a completion can need a child process, or wait."""
    if not isinstance(body, dict) or "prompt" not in body or not body.keys() <= ORDINARY:
        return False
    for name in ("sampler", "decoder"):
        text = body.get(name)
        if text and not (isinstance(text, str) and PLAIN.fullmatch(text)):
            return False
    return True


class StrategyCache:
    """The strategies of plain requests, the least recently used ones dropped first.

    Samplers and decoders are immutable, so requests may share them.
    """

    def __init__(self) -> None:
        self._strategies: OrderedDict[str, NotedStrategy] = OrderedDict()

    @staticmethod
    def key_of(body: Any) -> str | None:
        """Return the settings of a plain body as a text; None for other bodies."""
        if not is_plain(body) or body.get("logit_bias"):
            return None
        # A text, since 1, 1.0 and True are equal keys.
        key = repr([body.get(name) for name in KEYS])
        return key if len(key) <= LONGEST else None

    def knows(self, key: str | None) -> bool:
        """Return True if the strategy of a body with this key needn't be built."""
        return key in self._strategies

    def of(self, key: str | None, request: TextRequest, rest: Mapping[str, Any]) -> NotedStrategy:
        """Return the strategy of a body as `strategy_of` does.

        Args:
            key: the body's.
            request: the body, read.
            rest: fields that the request doesn't declare.
        """
        noted = self._strategies.get(key) if key and not rest else None
        if noted is None:
            noted = strategy_of(request, dict(rest))
        if key:
            # Several threads may be here: each call is one operation of the dictionary.
            self._strategies.pop(key, None)
            self._strategies[key] = noted
            if len(self._strategies) > MOST_CACHED:
                self._strategies.popitem(last=False)
        return noted


# ---- masks, made by corelm-grammar ----


def with_format(strategy: Strategy, request: TextRequest) -> Strategy:
    """Return a strategy whose texts have the request's `response_format`.

    Raises:
        ApiError: a schema that can't be followed, or no corelm-grammar.
    """
    schema = request.response_format.schema if request.response_format is not None else None
    if schema is None:
        return strategy
    text = json.dumps(schema, ensure_ascii=False)
    return _constrained(strategy, "json_schema", "response_format", schema=text, formats=True)


def with_tools(
    strategy: Strategy, request: ChatRequest, served: ServedModel
) -> tuple[Strategy, CallFormat | None]:
    """Return a strategy whose texts have the request's format or call its tools, and the calls'.

    Raises:
        ApiError: tools that can't be offered, or no corelm-grammar.
    """
    tools = request.callable_tools
    if not tools:
        return with_format(strategy, request), None
    schema = request.response_format.schema if request.response_format is not None else None
    form = CallFormat.of(getattr(served.model.vocabulary, "chat_template", None) or "")
    optional = request.tool_choice in (None, "auto")
    if schema is not None and optional and not form.begin:
        message = (
            "response_format excludes tools here: this model's calls are JSON without a mark; "
        )
        message += "set tool_choice to none or required"
        raise ApiError(message, param="response_format", code="excluded_field")
    several = request.parallel_tool_calls and (optional or request.tool_choice == "required")
    grammar = form.grammar(tools, optional=optional, several=several, schema=schema)
    try:
        return _constrained(strategy, "lark", "tools", grammar=grammar), form
    except ApiError:
        _check_schemas(tools)
        raise


def _check_schemas(tools: Sequence[Tool]) -> None:
    """Raise an error that names the tool whose schema is at fault, if one is by itself."""
    for tool in tools:
        function = tool.function
        try:
            corelm.sampler("json_schema", schema=json.dumps(function.schema), formats=True)
        except CorelmError as error:
            message = f"parameters of {function.name}: {error}"
            raise ApiError(message, param="tools", code="invalid_value") from error


def _constrained(strategy: Strategy, name: str, param: str, **parameters: Any) -> Strategy:
    """Put a mask before a strategy, so that it acts on the model's own distribution.

    Where the chain has masks of its own, the mask also comes last: the last one is never broken.
    """
    if name not in {offer.name for offer in plugins.registry().offers("corelm_samplers")}:
        message = f"{param} needs the package {PACKAGE}: pip install {PACKAGE}"
        raise ApiError(message, param=param, code="unsupported")
    try_to_build(param, "sampler", name, parameters)
    try:
        mask: Sampler = corelm.sampler(name, **parameters)
    except CorelmError as error:
        raise as_api_error(error, param) from error
    chain = mask | strategy.sampler
    return Strategy(chain | mask if strategy.sampler.has_masks else chain, strategy.decoder)
