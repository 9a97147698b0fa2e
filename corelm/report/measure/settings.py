"""What a report is asked for: all that decides what it says."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from corelm.errors import UsageError
from corelm.language_model import LanguageModel
from corelm.model.corpus import read_texts
from corelm.model.paths import home
from corelm.params import Parameter, Rule
from corelm.plugins.expressions import built_in, read_stages
from corelm.plugins.expressions import sampler as read_sampler
from corelm.plugins.lint import notes
from corelm.report.document.provenance import release_of
from corelm.report.measure.defaults import LENGTH, PROMPT, SEED, N
from corelm.report.measure.free_parameter import FreeParameter
from corelm.sampler import Sampler

CONTEXTS = 32
"""Texts on whose positions the samplers are compared, at most."""
DEFAULT = ("greedy", *(f"temperature(t={t})" for t in (0.2, 0.5, 0.7, 1.0, 1.5)), "uniform",
           "top_p(p=0.9)")  # fmt: skip
MATCHED = ("temperature", "top_p", "min_p", "typical")
"""The samplers where none are named: to compare, and to match."""

Match = float | str | None
"""Nats, or `human`."""
NUMBERS = {name: Parameter(name, int, None, Rule(ge=least)) for name, least in
           (("n", 1), ("length", 1), ("seed", 0))}  # fmt: skip


@dataclass(frozen=True)
class Candidate:
    """One sampler of a report.

    Attributes:
        sampler: what is measured; where it is to be matched, one of its kind.
        open: where it is to be matched, the expression that leaves the parameter open.
    """

    sampler: Sampler
    open: str | None = None

    @property
    def row(self) -> str:
        """What its row is called before anything is measured."""
        return str(self.sampler) if self.open is None else self.open


@dataclass(frozen=True)
class Reference:
    """Texts that people wrote: the human row, and the contexts of all others."""

    texts: tuple[str, ...]
    description: str


@dataclass(frozen=True)
class Settings:
    """What a report is asked for; `settings` makes one.

    Attributes:
        model: the language model.
        model_name: what it is called.
        candidates: the samplers.
        prompts: what their texts go on from.
        n: how many texts for each prompt.
        length: tokens in a text at most.
        seed: decides all luck.
        reference: human texts, where there are any.
        match: the mean entropy in nats that candidates are matched to, or that of people.
        warnings: what is worth knowing about these settings.
    """

    model: LanguageModel
    model_name: str
    candidates: tuple[Candidate, ...]
    prompts: tuple[str, ...]
    n: int
    length: int
    seed: int
    reference: Reference | None
    match: Match
    warnings: tuple[str, ...] = ()

    @property
    def sha256(self) -> str | None:
        """The checksum of the model's manifest; None for a model without one."""
        checksum = manifest_of(self.model).get("checksum")
        return checksum if isinstance(checksum, str) else None

    def as_json(self) -> dict[str, Any]:
        """All that decides what the report says, for a journal to know it again."""
        reference = self.reference and [self.reference.description, _digest(self.reference.texts)]
        return {
            "corelm": version("corelm"),
            "numpy": np.__version__,
            "model": [self.model_name, self.sha256 or self._fingerprint()],
            "samplers": [[c.row, *map(release_of, c.sampler.stages)] for c in self.candidates],
            "prompts": list(self.prompts),
            "n": self.n,
            "length": self.length,
            "seed": self.seed,
            "reference": reference,
            "match_entropy": self.match,
        }

    def _fingerprint(self) -> str:
        """What a model without a checksum says after the first prompt, as a checksum."""
        ids = np.array([self.model.vocabulary.encode(self.prompts[0])], dtype=np.int64)
        said = np.asarray(self.model.next_token_distribution(ids))
        return hashlib.sha256(said.tobytes()).hexdigest()


def settings(
    model: LanguageModel,
    model_name: str,
    samplers: Iterable[str | Sampler] | None = None,
    *,
    prompts: str | Sequence[str] = PROMPT,
    n: int | str = N,
    length: int | str = LENGTH,
    seed: int | str = SEED,
    reference: Any = None,
    match: Match = None,
) -> Settings:
    """Check what is asked for, numbers as text too, and fill in what is not.

    Raises:
        UsageError: something that cannot be done.
        DataError: a reference that cannot be read.
    """
    candidates, warnings = _once(_candidates(samplers, match))
    asked = {"n": n, "length": length, "seed": seed}
    numbers = {name: NUMBERS[name].convert(value) for name, value in asked.items()}
    texts = (prompts,) if isinstance(prompts, str) else tuple(dict.fromkeys(prompts))
    if not texts:
        raise UsageError("a report needs at least one prompt")
    wanted = max(CONTEXTS, numbers["n"] * len(texts))
    return Settings(
        model,
        model_name,
        candidates,
        texts,
        reference=_reference(reference, model, wanted),
        match=_target(match),
        warnings=(*warnings, *_notes(candidates)),
        **numbers,
    )


def _candidates(samplers: Iterable[str | Sampler] | None, match: Match) -> list[Candidate]:
    if samplers is None:
        samplers = [*map(built_in, DEFAULT)] if match is None else _names(MATCHED)
    given = [samplers] if isinstance(samplers, (str, Sampler)) else list(samplers)
    if not given:
        raise UsageError("a report needs at least one sampler")
    return [_candidate(each, match is not None) for each in given]


def _candidate(given: str | Sampler, matching: bool) -> Candidate:
    """A sampler that says all its parameters stays as it is; one that leaves one out is matched."""
    sampler = read_sampler(given)
    if not matching or isinstance(given, Sampler) or _says_all(given, sampler):
        return Candidate(sampler)
    FreeParameter.of(given)  # refuses one that leaves several open
    return Candidate(sampler, given.strip())


def _says_all(expression: str, sampler: Sampler) -> bool:
    written = zip(read_stages(expression), sampler.stages, strict=True)
    return all(len(v) + len(named) == len(s.parameters()) for (_, v, named), s in written)


def _names(samplers: Iterable[str]) -> list[str]:
    """Return the names of built-in samplers: full ones where other plugins offer the same."""
    return [built_in(name).name for name in samplers]


def _once(candidates: list[Candidate]) -> tuple[tuple[Candidate, ...], tuple[str, ...]]:
    """Each sampler once, and a warning for those that came again."""
    kept = {candidate.row: candidate for candidate in reversed(candidates)}
    rows = list(dict.fromkeys(candidate.row for candidate in candidates))
    several = [row for row in rows if sum(c.row == row for c in candidates) > 1]
    warnings = tuple(f"{row} was named more than once; it is measured once" for row in several)
    return tuple(kept[row] for row in rows), warnings


def _notes(candidates: Iterable[Candidate]) -> list[str]:
    """What is likely a mistake in a chain."""
    return [note for candidate in candidates for note in notes(candidate.sampler)]


def _target(match: Match) -> Match:
    if match is None or match == "human":
        return match
    try:
        target = float(match)
    except (TypeError, ValueError):
        raise UsageError(
            f"the entropy to match is a number of nats or human, not {match!r}"
        ) from None
    if not 0 <= target < math.inf:
        raise UsageError(f"the entropy to match is at least 0 nats, not {target:g}")
    return target


def _reference(given: Any, model: LanguageModel, count: int) -> Reference | None:
    """The texts that were given; else the reviews that the model has not seen, if they are here."""
    if given is None:
        path = home() / "data" / "aclImdb" / "test"
        corpus = manifest_of(model).get("training")
        if not isinstance(corpus, Mapping) or corpus.get("corpus") != "imdb" or not path.is_dir():
            return None
        return Reference(tuple(read_texts(path, count)), "IMDB reviews that the model has not seen")
    if isinstance(given, (str, Path)):
        return Reference(tuple(read_texts(Path(given), count)), f"texts of {Path(given).name}")
    texts = tuple(given)
    if not all(isinstance(text, str) for text in texts) or not any(map(str.strip, texts)):
        raise UsageError("the reference is the path of texts, or the texts themselves")
    return Reference(texts[:count], f"{len(texts[:count])} texts given")


def manifest_of(model: LanguageModel) -> Mapping[str, Any]:
    """What the bundle of a model says of it; empty for a model that has none."""
    manifest = getattr(model, "manifest", None)
    return manifest if isinstance(manifest, Mapping) else {}


def _digest(texts: Sequence[str]) -> str:
    """One checksum of several texts."""
    whole = hashlib.sha256()
    for text in texts:
        whole.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return whole.hexdigest()
