"""Explain one next token: what each stage of a sampler does to its distribution."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from corelm.abilities.optional import FullVocabulary
from corelm.contracts.chain_stages import StageResult, apply
from corelm.contracts.context import Context, ContextBuilder, protect
from corelm.contracts.decoder import Decoder
from corelm.contracts.language_model import StatelessModel, Vocabulary
from corelm.contracts.sampling import Mask, Sampler
from corelm.contracts.step import mass_of
from corelm.decoding.draws import RandomStream
from corelm.decoding.state import Decoding, DecodingTask
from corelm.errors import UsageError
from corelm.filters import TokenNames, subtract_max
from corelm.lazy import cached_property
from corelm.numerics.distributions import Array, entropy_of_logits, log_softmax, softmax
from corelm.numerics.filters import in_falling_order, likeliest_tokens, rank
from corelm.registry.expressions import sampler as read_sampler
from corelm.registry.models import as_model
from corelm.text.markup import Displayable, Table


@dataclass(frozen=True, eq=False)
class ExplainedStage:
    """A distribution on the way from the model to the draw. Its arrays are read-only.

    Attributes:
        sampler: the sampler that returned it; None for the model's own distribution.
        logits: (vocabulary,) as the sampler returned them; minus infinity means never.
        before: the stage before; None for the model's.
        mass_kept: the model's probability of all tokens that can still be drawn.
        changed: True if the stage changed the distribution.
        branch: the sampler and the parameter that chose this stage for the context, such as
            `phase outside`; empty for a stage that always acts.
        allowed_mass: for a mask, the model's probability of all tokens that it allows; None for
            the other stages.
        fell_back: True if the stages before a mask kept nothing that it allows, so that the
            model's likeliest allowed token was left.
    """

    sampler: Sampler | None
    logits: Array
    before: ExplainedStage | None = None
    mass_kept: float = 1.0
    changed: bool = False
    branch: str = ""
    allowed_mass: float | None = None
    fell_back: bool = False

    def __post_init__(self) -> None:
        protect(self, "logits")

    @cached_property
    def distribution(self) -> NDArray[np.float64]:
        """(vocabulary,) probabilities."""
        probabilities = np.zeros(self.logits.shape)
        # Most stages leave few tokens of a large vocabulary.
        probabilities[self.possible] = softmax(self.logits[self.possible].astype(np.float64))
        return probabilities

    @cached_property
    def surprisals(self) -> NDArray[np.float64]:
        """(vocabulary,) the surprisal of each token in nats."""
        return -log_softmax(self.logits.astype(np.float64))

    @cached_property
    def possible(self) -> NDArray[np.bool_]:
        """(vocabulary,) mask: the tokens that can be drawn."""
        return np.asarray(self.logits > -np.inf)

    @cached_property
    def entropy(self) -> float:
        """The entropy in nats."""
        return float(entropy_of_logits(self.logits))

    @property
    def entropy_bits(self) -> float:
        """The entropy in bits."""
        return self.entropy / math.log(2)

    @property
    def effective_choices(self) -> float:
        """The number of equally likely tokens with this entropy: its exponential."""
        return math.exp(self.entropy)

    @property
    def tokens_kept(self) -> int:
        """The number of tokens that can be drawn."""
        return int(np.count_nonzero(self.possible))

    @cached_property
    def removed(self) -> NDArray[np.bool_]:
        """(vocabulary,) mask: the tokens that this stage removed."""
        before = self if self.before is None else self.before
        return before.possible & ~self.possible

    @cached_property
    def removed_tokens(self) -> NDArray[np.int64]:
        """(tokens,) ids that this stage removed, the most likely first."""
        before = self if self.before is None else self.before
        tokens = in_falling_order(before.logits, np.flatnonzero(self.removed))
        tokens.flags.writeable = False
        return tokens

    @cached_property
    def removed_mass(self) -> float:
        """The probability before this stage of the tokens that it removed."""
        return 0.0 if self.before is None else float(self.before.distribution[self.removed].sum())

    def likeliest(self, n: int) -> NDArray[np.int64]:
        """Return the n most likely tokens in falling order, the lowest id first on ties."""
        return likeliest_tokens(self.logits, n)

    def with_stages(self, trace: Iterable[StageResult]) -> tuple[ExplainedStage, ...]:
        """Return the model's distribution, which this is, then the result of each stage.

        Args:
            trace: the results of the stages for this row alone.
        """
        stages = [self]
        for result in trace:
            before, logits = stages[-1], result.logits[0]
            allowed_mass = None
            if isinstance(result.stage, Mask) and not result.stage.is_neutral:
                allowed = result.allowed
                allowed_mass = 1.0 if allowed is None else mass_of(allowed[0], self.distribution)
            stage = ExplainedStage(
                result.stage,
                logits,
                before,
                mass_kept=mass_of(np.asarray(logits > -np.inf), self.distribution),
                # Relative to the largest logit: a constant added to a row changes no probability.
                changed=not np.array_equal(subtract_max(before.logits), subtract_max(logits)),
                branch=result.branch,
                allowed_mass=allowed_mass,
                fell_back=result.fell_back is not None and bool(result.fell_back[0]),
            )
            stages.append(stage)
        return tuple(stages)

    def rank(self, token: int) -> int | None:
        """Return the rank of a token, 1 for the most likely, the lowest id first on ties.

        None if the token cannot be drawn.
        """
        return rank(self.logits, token) if self.possible[token] else None

    @cached_property
    def ranked_tokens(self) -> NDArray[np.int64]:
        """(tokens_kept,) ids, the most likely first, the lowest id first on ties."""
        return in_falling_order(self.logits, np.flatnonzero(self.possible))


@dataclass(frozen=True)
class ExplainedToken:
    """One token on its way through the stages, or all that write one word.

    Attributes:
        token: its id; of several tokens, the likeliest.
        text: the text that it would add.
        probabilities: its probability after each stage, the model's first.
        ranks: its rank after each stage, 1 for the most likely; None if it cannot be drawn.
        removed_by: the index of the stage that removed it; None if it can be drawn in the end, or
            never could.
        parts: the trace of each token, if the word has several, the model's likeliest first. The
            probabilities are then sums, and the ranks the best.
    """

    token: int
    text: str
    probabilities: tuple[float, ...]
    ranks: tuple[int | None, ...]
    removed_by: int | None
    parts: tuple[ExplainedToken, ...] = ()


@dataclass(frozen=True, eq=False)
class Explanation(Displayable):
    """The way from the model's distribution to the one that the next token is drawn from.

    Attributes:
        prompt: the prompt.
        tokens: the ids of the prompt and of the text after it.
        sampler: the sampler or chain.
        stages: the model's own distribution, then one for each sampler of the chain; a choice
            between samplers is replaced by the sampler that acts in this context.
        vocabulary: the vocabulary of the ids.
        decoder: the decoder around the sampler; None for ancestral sampling.
        next_tokens: the tokens that the decoder considers and their scores, the best first; None
            without such a decoder.
        after: the text that was drawn after the prompt, before this token.
        seed: the random seed of this text; None if it was given, or is empty.
    """

    prompt: str
    tokens: tuple[int, ...]
    sampler: Sampler
    stages: tuple[ExplainedStage, ...]
    vocabulary: Vocabulary
    decoder: Decoder | None = None
    next_tokens: Mapping[int, float] | None = None
    after: str = ""
    seed: int | None = None

    def trace(self, token: int | str) -> ExplainedToken:
        """Trace a token, or all tokens that write a word here, through the stages.

        Args:
            token: an id or a word.

        Raises:
            UsageError: there is no such token, or no single token writes the word here.
        """
        names = TokenNames(self.vocabulary, len(self.vocabulary))
        alone = names.alone(token)
        _, here = names.completing([token], np.array([self.tokens], dtype=np.int64))
        ids = alone.intersection(here.tolist()) or alone  # a suffix is a word nowhere here
        traces = sorted(map(self._trace, ids), key=lambda one: -one.probabilities[0])
        return traces[0] if len(traces) == 1 else _together(traces)

    def _trace(self, i: int) -> ExplainedToken:
        removals = (at for at, stage in enumerate(self.stages) if i in stage.removed_tokens)
        return ExplainedToken(
            i,
            self.text_of(i),
            tuple(float(stage.distribution[i]) for stage in self.stages),
            tuple(stage.rank(i) for stage in self.stages),
            next(removals, None),
        )

    def likeliest(self, n: int = 10) -> list[ExplainedToken]:
        """Return the n most likely tokens of the model and the n most likely in the end.

        They are ranked by the model: n to 2 n tokens, unless fewer can be drawn.
        """
        model, end = self.stages[0], self.stages[-1]
        tokens = {*model.ranked_tokens[:n].tolist(), *end.ranked_tokens[:n].tolist()}
        places = {token: model.rank(token) or math.inf for token in tokens}
        return [self._trace(token) for token in sorted(places, key=places.__getitem__)]

    def __str__(self) -> str:
        return self._repr_text_()

    def __repr__(self) -> str:  # without arrays of the vocabulary's length
        place = f"prompt={self.prompt!r}, after={self.after!r}, sampler={str(self.sampler)!r}"
        return f"Explanation({place}, {len(self.stages)} stages)"

    def _parts(self) -> list[Table]:
        """Return the tables to display: the stages, then the likeliest tokens."""
        places = [at for at, stage in enumerate(self.stages) if not at or stage.changed]
        names = [str(self.stages[at].sampler or "model") for at in places]
        stages = [
            [name, f"{stage.entropy:.2f}", f"{stage.entropy_bits:.2f}",
             f"{stage.effective_choices:.1f}", f"{stage.tokens_kept:,}", f"{stage.mass_kept:.1%}"]
            for name, stage in zip(names, (self.stages[at] for at in places), strict=True)
        ]  # fmt: skip
        tokens: list[list[str | float]] = [
            [one.text.strip() or repr(one.text), *(one.probabilities[at] for at in places)]
            for one in self.likeliest()
        ]
        headers = ["stage", "nats", "bits", "choices", "tokens", "mass"]
        return [
            Table(headers, stages, f"{self.prompt}{self.after} ..."),
            Table(["token", *names], tokens),
        ]

    def text_of(self, token: int) -> str:
        """Return the text that a token would add after the prompt."""
        # Decoded with the prompt, which decides spaces, capitals and partial characters.
        whole = self.vocabulary.decode([*self.tokens, token])
        return FullVocabulary(self.vocabulary).text_or_bytes(token, whole[len(self._before) :])

    @cached_property
    def _before(self) -> str:
        return self.vocabulary.decode(self.tokens)


def _together(traces: Sequence[ExplainedToken]) -> ExplainedToken:
    """Return the trace of a word that several tokens write, the likeliest first."""
    probabilities = tuple(map(sum, zip(*(one.probabilities for one in traces), strict=True)))
    ranks = zip(*(one.ranks for one in traces), strict=True)
    removals = [one.removed_by for one in traces if one.removed_by is not None]
    return replace(
        traces[0],
        probabilities=probabilities,
        ranks=tuple(min(filter(None, at), default=None) for at in ranks),
        removed_by=None if probabilities[-1] else max(removals, default=None),
        parts=tuple(traces),
    )


def explain(
    model: StatelessModel | str | os.PathLike[str],
    prompt: str,
    sampler: Sampler | str,
    *,
    decoder: Decoder | None = None,
    unknown: bool = False,
    after: str | Sequence[int] = "",
    step: int = 0,
    seed: int | None = None,
) -> Explanation:
    """Measure what each stage of a sampler does to the distribution of one next token.

    By default it is the first token after the prompt. Samplers that depend on the tokens drawn so
    far, such as `mirostat`, show their effect after some tokens, given as a text or newly drawn.

    Args:
        model: the language model, or the name of one as `load` takes it.
        prompt: the prompt.
        sampler: a sampler, a registered name or an expression.
        decoder: a decoder whose candidates for the next token are listed. Its final choice may
            depend on the rest of the text, so it is not explained.
        unknown: allow [UNK] to be sampled.
        after: a text whose tokens count as drawn after the prompt, or the ids of these tokens. One
            that the sampler can't draw has no surprisal.
        step: the number of tokens to draw after the prompt, instead.
        seed: the random seed of these; by default a fresh one, which the explanation has.

    Raises:
        SamplerError: a stage raised, or its result is not a distribution.
        UsageError: the expression cannot be read, a stage cannot work with this model, or the text
            ends before its token `step`.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> chain = "temperature(t=0.5) | greedy"
        >>> explanation = corelm.explain(ToyModel(), "the", chain)
        >>> [round(stage.entropy, 3) for stage in explanation.stages]
        [1.352, 0.932, 0.0]
        >>> [stage.tokens_kept for stage in explanation.stages]
        [11, 11, 1]
        >>> dog = explanation.trace("dog")
        >>> dog.ranks, str(explanation.stages[dog.removed_by].sampler)
        ((2, 2, None), 'greedy')
        >>> corelm.explain(ToyModel(), "the", "mirostat(tau=2)", step=3, seed=1).after
        ' dog saw the'
    """
    model = as_model(model)
    ids = np.array(FullVocabulary(model.vocabulary).prompt_ids(prompt), dtype=np.int64)
    chain = read_sampler(sampler)
    if step < 0 or (step and after):
        raise UsageError(f"step must be at least 0, and 0 with a text after, not {step}")
    if decoder is not None and (step or after):
        raise UsageError("after and step explain a sampler: leave out the decoder")
    seed = (RandomStream.fresh_seed() if seed is None else seed) if step else None
    task = DecodingTask(model, ids, chain, RandomStream(seed or 0, (0,)), max(step, 1), unknown)
    decoding = task.start()
    for at in range(step):
        if decoding.is_end(decoding.draw().tokens).any():
            raise UsageError(f"the text ends after {at} tokens; explain a step up to {at}")
        decoding.advance()
    if isinstance(after, str):
        read = FullVocabulary(model.vocabulary).prompt_ids
        drawn = read(prompt + after)[len(ids) :] if after else []
    else:
        names = TokenNames(model.vocabulary, len(model.vocabulary))
        drawn = [i for token in after for i in names.ids(token)]
    context = _read(decoding, chain, drawn) if drawn else decoding.context
    trace: list[StageResult] = []
    model_logits = decoding.model_logits()
    apply(chain, model_logits, context, trace)
    stages = ExplainedStage(None, model_logits[0]).with_stages(trace)
    tokens = tuple(context.tokens[0].tolist())
    decode = model.vocabulary.decode
    written = (
        after if after and isinstance(after, str) else decode(tokens)[len(decode(ids.tolist())) :]
    )
    # Last, since a decoder may write into its prompt.
    considered = None if decoder is None else decoder.next_tokens(task)
    return Explanation(
        prompt, tokens, chain, stages, model.vocabulary, decoder, considered, written, seed
    )


def _read(decoding: Decoding, chain: Sampler, tokens: Sequence[int]) -> Context:
    """Append tokens as if the sampler had drawn them; return the context after them."""
    builder = ContextBuilder.of(decoding.context, len(tokens))
    for token in tokens:
        drawn = np.array([token])
        model_logits = decoding.model_logits()
        logits = apply(chain, model_logits, builder.context)
        builder.append_drawn(drawn, logits, model_logits)
        decoding.session.extend(drawn)
    return builder.context
