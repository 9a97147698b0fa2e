"""Further checks of an engine: seeds, batches, and the log-probabilities it reports.

Each check returns a sentence that opens with `yes`, `no` or the finding itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

import corelm
from corelm import Context, Sampler
from corelm_probe.engine import Engine, EngineError, Settings, checked, is_random
from corelm_probe.hypotheses import chain_of, name_of
from corelm_probe.models import MODELS, ProbeModel

LENGTH = 100
"""The length of a text in tokens: two texts of this length are never equal by chance."""
TOLERANCE = 2e-3
"""The largest difference in nats that float32, or rounding to four digits, explains."""

SEED, NEIGHBOURS, LOGPROBS = (
    "a seed repeats its text",
    "neighbours in a batch change nothing",
    "reported log-probabilities",
)


def run_checks(
    engine: Engine, settings: Settings, chain: Sampler, model: ProbeModel, seed: int
) -> Mapping[str, str]:
    """Return the answer to each question.

    Raises:
        EngineError: the engine fails.
    """
    answers = {
        SEED: seed_repeats(engine, settings, chain, model, seed),
        NEIGHBOURS: neighbours_change_nothing(engine, settings, seed),
    }
    if engine.reports_logprobs:
        answers[LOGPROBS] = whose_logprobs(engine, settings, chain, model, seed)
    return answers


def seed_repeats(
    engine: Engine, settings: Settings, chain: Sampler, model: ProbeModel, seed: int
) -> str:
    """Compare two texts with the same seed, and a third with another seed."""
    if not is_random(chain, model):
        return "not tested: with these settings most texts are equal"
    first, again, other = (
        checked(engine.draw([1], settings, 1, number, LENGTH), (1, LENGTH), engine.name)
        for number in (seed, seed, seed + 1)
    )
    if not np.array_equal(first, again):
        return "no: the seed is ignored, or something else decides too"
    if np.array_equal(first, other):
        return "no: every seed gives the same text"
    return "yes"


def neighbours_change_nothing(engine: Engine, settings: Settings, seed: int) -> str:
    """Compare the text of a seed alone with the same text at every place of a batch."""
    prompts = [[token] * 4 for token in (1, 2, 3, 4, 5)]
    together = _batch(engine, prompts, settings, seed)
    alone = np.concatenate([_batch(engine, [prompt], settings, seed) for prompt in prompts])
    differ = int((together != alone).any(axis=1).sum())
    if differ == 0:
        return "yes"
    if np.array_equal(together, _batch(engine, prompts, settings, seed)):
        return f"no: {differ} of {len(prompts)} texts differ from those drawn alone"
    return f"no: {differ} of {len(prompts)} texts differ, and the same batch has other texts again"


def whose_logprobs(
    engine: Engine, settings: Settings, chain: Sampler, model: ProbeModel, seed: int
) -> str:
    """Compare the reported log-probabilities with the model's and those after each stage."""
    prompt = [3, 1, 2]
    try:
        tokens, reported = engine.logprobs(prompt, settings, seed, LENGTH)
    except EngineError as error:
        return f"none: {error}"
    if len(tokens) != len(reported) or not tokens:
        return f"unknown: {len(reported)} log-probabilities of {len(tokens)} tokens"
    values = np.asarray(reported, dtype=np.float64)
    for owner, part, of_model in _owners(chain, model):
        expected = _logprobs(part, of_model, prompt, tokens)
        if np.allclose(values, expected, atol=TOLERANCE):
            return owner
    exact = _logprobs(chain_of(()), model, prompt, tokens)
    return (
        f"neither the model's nor the sampler's: up to {np.abs(values - exact).max():.3g} nats off"
    )


def _owners(chain: Sampler, model: ProbeModel) -> Iterator[tuple[str, Sampler, ProbeModel]]:
    """Yield whose log-probabilities an engine may report, the likeliest first."""
    stages = chain.active_stages
    for count in (0, len(stages), *range(1, len(stages))):
        yield _owner(stages, count), chain_of(stages[:count]), model
    for stage in stages:
        if name_of(stage) == "temperature":
            yield "the model's, divided by the temperature alone", stage, model
    for other in MODELS.values():
        for part in (chain_of(()), chain):
            yield f"those of the model {other.name}: is it the draft?", part, other


def _owner(stages: Sequence[Sampler], count: int) -> str:
    if count == 0:
        return "the model's" + ("" if stages else ", which are the sampler's here")
    if count == len(stages):
        return "the sampler's, after all settings"
    return f"those after {name_of(stages[count - 1])}, before {name_of(stages[count])}"


def _logprobs(
    chain: Sampler, model: ProbeModel, prompt: Sequence[int], tokens: Sequence[int]
) -> NDArray[np.float64]:
    """Return the log-probability of each token of a text under a chain."""
    values = []
    for i, token in enumerate(tokens):
        context = Context.of([[*prompt, *tokens[:i]]], prompt_length=len(prompt))
        logits = chain(model.logits(context.tokens), context)
        values.append(corelm.log_softmax(np.asarray(logits, dtype=np.float64))[0, token])
    return np.array(values)


def _batch(
    engine: Engine, prompts: Sequence[Sequence[int]], settings: Settings, seed: int
) -> NDArray[np.int64]:
    drawn = engine.draw_batch(prompts, settings, seed, LENGTH)
    return checked(drawn, (len(prompts), LENGTH), engine.name)
