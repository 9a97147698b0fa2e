"""Write an explanation as tables that fit the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.console import RenderableType

from corelm.cli.output import blocks
from corelm.contracts.decoder import Decoder
from corelm.contracts.params import Parameter
from corelm.contracts.sampling import Sampler
from corelm.questions.explanation import ExplainedStage, ExplainedToken, Explanation
from corelm.text.printable import counted, one_line

NARROW = 60
"""Columns below which the figures of a stage are written under it instead of in a table."""
REST = "all others"
WORD, SHARE = 16, 8
"""The largest width of a word, and the width of a probability with the space before it."""
PARTS = 8
"""The most tokens of a word that are listed."""
PROMPT = 60
"""The number of characters of a prompt that are shown."""


class ExplanationPage:
    """An explanation as tables.

    Args:
        explanation: the explanation.
        width: the number of characters in a line.
    """

    def __init__(self, explanation: Explanation, width: int) -> None:
        self._explanation = explanation
        self._stages = explanation.stages
        self._width = width

    def blocks(self, trace: ExplainedToken | None, top: int) -> Iterator[RenderableType]:
        """Yield the stages, the likeliest tokens and the removed tokens.

        Args:
            trace: a token to show by itself.
            top: the number of likeliest tokens.
        """
        yield blocks.heading(_tail(self._explanation.prompt + self._explanation.after))
        yield blocks.line("")
        yield from blocks.section("stages", self._entropies())
        masks = list(self._masks())
        if masks:
            yield from blocks.section("constraints", *masks)
        likeliest = self._explanation.likeliest(top)
        if likeliest:
            yield from blocks.section("likeliest tokens", *self._tokens(likeliest))
        removed = list(self._removed(top))
        if removed:
            yield from blocks.section("removed", *removed)
        decoder = self._explanation.decoder
        if decoder:
            yield from blocks.section(str(decoder), *self._decoder(decoder))
        if trace:
            yield from self._path(trace)

    def _decoder(self, decoder: Decoder) -> Iterator[RenderableType]:
        """Yield the decoder's description, its candidates, and a note on its final choice."""
        yield blocks.line(decoder.description())
        considered = self._explanation.next_tokens
        if considered is not None:
            scores = [[self._word(token), f"{score:.3f}"] for token, score in considered.items()]
            yield blocks.figures(("", "score"), scores, widest=WORD)
        if decoder.is_ancestral:
            yield blocks.line("It draws each token with the probability after the last stage.")
            return
        unsaid = "" if considered is not None else ", and it does not say which it considers"
        yield blocks.line(
            "The stages are what its sampler does at this step. Which token it takes may depend on "
            f"the text that follows, which is not written here{unsaid}."
        )

    def _name(self, at: int) -> str:
        """Return the number and the name of a stage."""
        stage = self._stages[at]
        if stage.sampler is None:
            return "model"
        branch = f"{stage.branch}: " if stage.branch else ""
        return f"{at} {branch}{_short(stage.sampler)}"

    def _entropies(self) -> RenderableType:
        stages = list(enumerate(self._stages))
        if self._width < NARROW:  # a table would break its numbers into lines
            entries = (blocks.entry(self._name(at), (), self._facts(at)) for at, _ in stages)
            return blocks.several(part for entry in entries for part in entry)
        return blocks.figures(
            ("", "nats", "bits", "choices", "tokens", "mass"),
            ([self._name(at), *_figures(stage)] for at, stage in stages),
            faint=set(range(len(self._stages))) - set(self._active()),
        )

    def _active(self) -> list[int]:
        """Return the model and the stages that changed something."""
        return [at for at, stage in enumerate(self._stages) if at == 0 or stage.changed]

    def _facts(self, at: int) -> str:
        if at not in self._active():
            return "changes nothing"
        nats, bits, choices, tokens, mass = _figures(self._stages[at])
        return f"{nats} nats, {bits} bits, {choices} choices, {tokens} tokens, mass {mass}"

    def _masks(self) -> Iterator[RenderableType]:
        """Yield the mass of the model's distribution that each mask allows, and its cost."""
        for at, stage in enumerate(self._stages):
            if stage.allowed_mass is not None:
                cost = -math.log(stage.allowed_mass) if stage.allowed_mass else math.inf
                facts = f"allows {_share(stage.allowed_mass)} of the model's mass: {cost:.2f} nats"
                if stage.fell_back:
                    facts += "; the stages before kept none of it, so its likeliest token is left"
                yield from blocks.entry(self._name(at), (), facts)

    def _tokens(self, likeliest: Sequence[ExplainedToken]) -> Iterator[RenderableType]:
        """Yield the probabilities at the active stages, in as many columns as fit."""
        labels = [self._word(one.token, one.text) for one in likeliest]
        # A terminal of 80 columns has room for seven stages; longer chains get several tables.
        room = self._width - 2 - min(max(map(cell_len, [*labels, REST])), WORD)
        active, most = self._active(), max(room // SHARE, 1)
        for some in (active[i : i + most] for i in range(0, len(active), most)):
            yield blocks.figures(
                ["", *(str(at or "model") for at in some)],
                [
                    [label, *(_share(one.probabilities[at]) for at in some)]
                    for label, one in zip(labels, likeliest, strict=True)
                ]
                + [[REST, *(_share(_rest(likeliest, at)) for at in some)]],
                widest=WORD,
            )

    def _removed(self, top: int) -> Iterator[RenderableType]:
        for at, stage in enumerate(self._stages):
            if len(stage.removed_tokens):
                yield from blocks.entry(self._name(at), (), self._loss(at, top))

    def _loss(self, at: int, top: int) -> str:
        """Return the number of tokens that a stage removed, their mass, and the likeliest."""
        stage, before = self._stages[at], self._stages[at - 1].distribution
        count = len(stage.removed_tokens)
        words = [
            f"{self._word(token)} {_share(before[token])}"
            for token in stage.removed_tokens[:top].tolist()
        ]
        if words and count > len(words):
            words.append(f"{count - len(words):,} more")
        total = f"{counted(count, 'token')}, {_share(stage.removed_mass)}"
        return f"{total}: {', '.join(words)}" if words else total

    def _path(self, trace: ExplainedToken) -> Iterator[RenderableType]:
        rows = (
            [self._name(at), _share(trace.probabilities[at]), "-" if rank is None else f"{rank:,}"]
            for at in self._active()
            for rank in [trace.ranks[at]]
        )
        table = blocks.figures(("", "probability", "rank"), rows)
        title = self._word(trace.token, trace.text)
        lines = [self._end(trace), *([self._parts(trace)] if trace.parts else [])]
        yield from blocks.section(title, table, *map(blocks.line, lines))

    def _parts(self, trace: ExplainedToken) -> str:
        """Return the tokens that write a word, with the model's probability of each."""
        texts = [f"{one.text!r} {_share(one.probabilities[0])}" for one in trace.parts[:PARTS]]
        if rest := len(trace.parts) - len(texts):
            texts.append(f"{rest:,} more")
        return f"{counted(len(trace.parts), 'token')} for the word: {', '.join(texts)}"

    def _end(self, trace: ExplainedToken) -> str:
        if trace.removed_by is not None:
            return f"removed by {self._name(trace.removed_by)}"
        if trace.ranks[0] is None:
            return "can never be drawn"
        p = _share(trace.probabilities[-1])
        decoder = self._explanation.decoder
        if decoder is not None and not decoder.is_ancestral:
            return f"probability {p} after the last stage"
        return f"drawn with probability {p}"

    def _word(self, token: int, text: str | None = None) -> str:
        """Return a token as text: the end as [end], punctuation and symbols in quotes."""
        if token in self._explanation.vocabulary.ends:
            return "[end]"
        text = self._explanation.text_of(token) if text is None else text
        return one_line(text) if any(map(str.isalnum, text)) else repr(text.strip() or text)


def _tail(prompt: str) -> str:
    """Return the last words of a prompt."""
    text = one_line(prompt)
    end = text[-PROMPT:]
    if end != text:
        end = f"... {end.partition(' ')[2] or end}"
    return f"{end} ...".strip()


def _short(sampler: Sampler) -> str:
    """Return the expression of a sampler without parameters that have their default."""
    values_of = {p.name: getattr(sampler, p.name) for p in sampler.parameters()}
    defaults = {p.name: p.default for p in sampler.parameters()}
    changed = {name: value for name, value in values_of.items() if value != defaults[name]}
    values = [f"{name}={Parameter.written(value)}" for name, value in changed.items()]
    return f"{sampler.name}({', '.join(values)})" if values else sampler.name


def _figures(stage: ExplainedStage) -> tuple[str, ...]:
    return (
        f"{stage.entropy:.2f}",
        f"{stage.entropy_bits:.2f}",
        f"{stage.effective_choices:,.1f}",
        f"{stage.tokens_kept:,}",
        _share(stage.mass_kept),
    )


def _share(p: float) -> str:
    """Format a probability in at most six characters; 0 and 1 stand only for exact values."""
    if p in (0, 1):
        return "-" if p == 0 else "100%"
    if p < 0.0001:
        return f"{p:.0e}"
    return f"{p:.2%}" if p < 0.01 else f"{min(p, 0.999):.1%}"


def _rest(likeliest: Sequence[ExplainedToken], at: int) -> float:
    """Return the probability of all other tokens; rounding errors count as 0."""
    rest = 1 - sum(one.probabilities[at] for one in likeliest)
    return rest if rest > 1e-9 else 0
