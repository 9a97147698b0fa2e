"""Turn the body of a request into jobs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from corelm import CorelmError
from corelm.abilities import render_chat
from corelm.runs import Strategy
from corelm_serve.answers import Call
from corelm_serve.constraints import has_masks, with_format, with_tools
from corelm_serve.errors import ApiError, as_api_error
from corelm_serve.models import ServedModel, find
from corelm_serve.requests.chat import ChatRequest
from corelm_serve.requests.completion import CompletionRequest
from corelm_serve.requests.strategy_cache import StrategyCache
from corelm_serve.scheduling.jobs import Event, Job
from corelm_serve.settings import Limits

Tell = Callable[[Job, Event], None]


def completion_call(
    body: Any,
    models: Mapping[str, ServedModel],
    limits: Limits,
    strategies: StrategyCache,
    tell: Tell,
) -> Call:
    """Return the jobs of a body of `POST /v1/completions`.

    Raises:
        ApiError: a request that cannot be met.
    """
    request, rest = CompletionRequest.read_part(body)
    request.check()
    served = find(models, request.model)
    strategy, notes = strategies.of(body, request, rest)
    strategy = with_format(strategy, request)
    prompts = request.prompts
    check_at_most("prompt", len(prompts), limits.prompts, "prompts")
    check_at_most("max_tokens", request.max_tokens, limits.length, "tokens")
    check_at_most("n", request.texts, limits.rows, "texts")
    ids = [served.ids(prompt) for prompt in prompts]
    seed = request.seed_or_fresh
    scored = request.echo and request.logprobs is not None
    shared: dict[str, Any] = {"n": request.texts, "seed": seed, "length": request.max_tokens}
    shared |= {"tables": request.logprobs, "scored": scored}
    measured = request.logprobs is not None or request.texts > request.n
    is_masked = has_masks(strategy)
    shared["measured"] = measured or is_masked
    jobs = [
        make_job(each, strategy, request, limits, tell, index=index, **shared)
        for index, each in enumerate(ids)
    ]
    check_work(jobs, limits)
    prepare_stages(strategy, served, ids[0])
    decode = served.model.vocabulary.decode
    texts = [
        prompt if isinstance(prompt, str) else decode(list(prompt)) if request.echo else ""
        for prompt in prompts
    ]
    options = request.stream_options
    return Call(
        served, strategy, seed, jobs, texts, request.n, request.stream,
        options is not None and options.include_usage, request.echo,
        is_masked=is_masked, notes=notes,
    )  # fmt: skip


def chat_call(
    body: Any,
    models: Mapping[str, ServedModel],
    limits: Limits,
    strategies: StrategyCache,
    tell: Tell,
) -> Call:
    """Return the job of a body of `POST /v1/chat/completions`.

    Raises:
        ApiError: a request that cannot be met, or a model without a chat template.
    """
    request, rest = ChatRequest.read_part(body)
    request.check()
    served = find(models, request.model)
    strategy, notes = strategies.of(body, request, rest)
    strategy, calls = with_tools(with_format(strategy, request), request, served)
    length = request.length(limits.length)
    check_at_most("max_tokens", length, limits.length, "tokens")
    check_at_most("n", request.n, limits.rows, "texts")
    described = [tool.document for tool in request.tools if request.tool_choice != "none"]
    try:
        messages = [message.document for message in request.messages]
        prompt = render_chat(served.model.vocabulary, messages, described)
    except CorelmError as error:
        raise as_api_error(error, "tools" if described else "messages") from error
    seed, is_masked = request.seed_or_fresh, has_masks(strategy)
    job = make_job(
        served.ids(prompt), strategy, request, limits, tell, n=request.n, seed=seed,
        length=length, tables=request.tables,
        measured=request.logprobs or is_masked,
    )  # fmt: skip
    check_work([job], limits)
    prepare_stages(strategy, served, job.ids)
    options = request.stream_options
    usage = options is not None and options.include_usage
    return Call(
        served,
        strategy,
        seed,
        [job],
        [prompt],
        request.n,
        request.stream,
        usage,
        is_chat=True,
        is_masked=is_masked,
        calls=calls,
        notes=notes,
    )


def prepare_stages(strategy: Strategy, served: ServedModel, ids: list[int]) -> None:
    """Prepare stages in advance, so that other texts needn't wait at the first token."""
    for part in strategy.sampler.parts():
        work = getattr(part, "prepare", None)  # of corelm-grammar's
        if callable(work):
            work(served.model.vocabulary, ids)


def make_job(
    ids: list[int], strategy: Strategy, request: Any, limits: Limits, tell: Tell, **settings: Any
) -> Job:
    """Return the job of one prompt."""
    check_at_most("prompt", len(ids), limits.prompt, "tokens")
    return Job(
        ids,
        strategy,
        endings=request.endings(),
        unknown=request.unknown,
        record=request.record,
        most_ids=limits.entries,
        streamed=request.stream,
        tell=tell,
        deadline=time.monotonic() + limits.seconds,
        **settings,
    )


def check_work(jobs: list[Job], limits: Limits) -> None:
    """Raise if the jobs of a request are together too much for one request."""
    check_at_most("prompt", sum(len(job.ids) for job in jobs), limits.total, "tokens in all")
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
