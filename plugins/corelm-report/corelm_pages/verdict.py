"""The verdict of a report: two or three short sentences for a reader who has twenty seconds.

The module `evidence` has the figures behind each statement, and their intervals. Remarks qualify
the verdict: samplers that were compared at unequal entropy may differ in their texts for that
reason alone. And every scorer favours some samplers: bits per byte compare models with different
vocabularies, and a conclusion, a difference whose interval excludes 0, flips if two scorers give
opposite signs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from textwrap import wrap

from corelm.runs import printable
from corelm_pages.evidence import (
    NAMED,
    closest,
    compared_human,
    differing,
    named,
    named_runs,
    often,
    rivals,
    straying,
)
from corelm_pages.formats import number, quoted, with_interval
from corelm_report.document.content import Difference, Document, SamplerEntry
from corelm_report.document.figures import GENERATED, MEAN, SURPRISAL, TEACHER_FORCED
from corelm_report.document.lookup import against, estimate, listed, runs
from corelm_report.document.parts import Header
from corelm_stats.estimates import MANY, STATED

LINES, WIDTH = 3, 80
"""The most lines of a verdict in a terminal of this width."""


def verdict(document: Document) -> str:
    """Name the samplers that are closest to human text, too random, or repeat themselves.

    It names as many of them as fit in three lines, and counts them where even one is too long.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> report = corelm.compare(ToyModel(), ["greedy"], prompts="the", n=2, length=4)
        >>> print("\\n".join(report.summary.split(". ")))
        There are too few independent texts to tell whether greedy is too random
        Measured after the prompt "the" alone; nothing is compared with human text.
    """
    samplers = [entry for entry in document.samplers if not entry.error]
    if not samplers:
        return "Every sampler failed." if document.samplers else "No sampler was measured."
    scope = _scope(document)
    most = [*((n, n) for n in range(NAMED, 0, -1)), (1, 0), (0, 0), (-1, -1)]
    texts = [f"{_naming(*each, document, samplers)} {scope}." for each in most]
    lines = (len(wrap(text, WIDTH, break_on_hyphens=False)) for text in texts)
    return next((text for text, n in zip(texts, lines, strict=True) if n <= LINES), texts[-1])


def _naming(near: int, most: int, document: Document, samplers: list[SamplerEntry]) -> str:
    """Return the statements; each names up to `most` samplers or runs, the first one `near`."""
    failed = [entry.sampler for entry in document.samplers if entry.error]
    chosen = closest(document)
    said = (
        _closest(near, samplers, chosen) if rivals(document) > 1 else "",
        _failings(most, document, samplers),
        f"{named(failed, most)} failed." if failed else "",
        ("" if chosen else _missing(document, samplers)) or _unlike(most, document),
        _empty(most, samplers),
    )
    return " ".join(filter(None, said)) or _unremarkable(document, samplers)


def _unremarkable(document: Document, samplers: list[SamplerEntry]) -> str:
    """Say why no statement about a sampler is made."""
    alone = samplers[0].sampler if len(samplers) == 1 else ""
    if any(each.interval is None for each in document.excess):
        which = f"whether {alone}" if alone else "which sampler"
        return f"There are too few independent texts to tell {which} is too random."
    if alone and differing(document):
        return f"{alone} differs from human text."
    return f"{alone} does not stand out." if alone else "No sampler stands out."


def _missing(document: Document, samplers: list[SamplerEntry]) -> str:
    """Name the number of texts that it takes to tell which samplers are closest to human text."""
    human = compared_human(document)
    texts = [e.generated_texts for e in samplers if estimate(e, SURPRISAL, GENERATED)]
    unlike = len(document.too_short) + len(document.too_long)
    if human is None or len(samplers) - unlike < 2 or not texts:
        return ""
    header, people = document.header, document.human and document.human.generated_texts
    if human.interval is None or (people and (people.units or STATED) < STATED <= header.drawn):
        return f"It takes {STATED} human texts to tell which sampler is closest."
    # From 8 prompts on these are the independent units, not their texts.
    many = MANY <= len({*(header.clusters or header.prompts)}) < header.drawn
    units = ("clusters" if header.clusters else "prompts") if many else "texts"
    return f"It takes {STATED} {units} to tell which sampler is closest to human text."


def _unlike(most: int, document: Document) -> str:
    """Name the samplers whose texts are not at the positions of human text."""
    groups = (document.too_short, "short"), (document.too_long, "long")
    return " ".join(
        f"Texts of {named(unlike, most)} are too {size} to compare with human text."
        for unlike, size in groups
        if unlike
    )


def _closest(most: int, samplers: list[SamplerEntry], chosen: list[SamplerEntry]) -> str:
    """Name the samplers that are closest to human text."""
    if not chosen:
        return ""
    names = named_runs(runs(samplers, chosen), most)
    if len(chosen) == 1:
        return f"{names} is closest to human text."
    return f"{names} are closest to human text, and cannot be told apart."


def _failings(most: int, document: Document, samplers: list[SamplerEntry]) -> str:
    """Name the samplers that are too random, and those that repeat themselves."""
    repeated = {e.sampler for each in ("rep_4", "loops") for e in often(document, each)}
    clauses = []
    far = straying(document)
    random = {e.sampler for e in samplers if e.sampler in far and _is_random(e)}
    for chosen, one, several in (
        (random, "is too random", "are too random"),
        (far.keys() - random, "writes unlikely tokens", "write unlikely tokens"),
        (repeated, "repeats itself", "repeat themselves"),
    ):
        if chosen:
            some = runs(samplers, [entry for entry in samplers if entry.sampler in chosen])
            names = named_runs(some, most)
            clauses.append(f"{names} {one if len(chosen) == 1 else several}")
    return f"{'; '.join(clauses)}." if clauses else ""


def _is_random(entry: SamplerEntry) -> bool:
    """Return False if its entropy is below the model's own, so that another cause is behind it."""
    own = estimate(entry, MEAN, TEACHER_FORCED)
    model = estimate(entry, "model_entropy", TEACHER_FORCED)
    return own is None or model is None or own.value >= model.value


def _empty(most: int, samplers: list[SamplerEntry]) -> str:
    """Count the texts without a token, which have no figures, of the samplers that wrote some."""
    texts = {e.sampler: e.generated_texts for e in samplers if e.generated_texts}
    drawn = {name: each.n or 0 for name, each in texts.items()}
    empty = {
        name: drawn[name] - each.texts_used.get(SURPRISAL, drawn[name])
        for name, each in texts.items()
    }
    some = [name for name, each in empty.items() if each]
    if not some:
        return ""
    if len(some) <= most + 1:
        counts = [f"{empty[n]:,} of {printable.counted(drawn[n], 'text')} of {n}" for n in some]
        return f"{listed(counts)} {'is' if sum(empty.values()) == 1 else 'are'} empty."
    every = sum(drawn[name] for name in some)
    return f"{sum(empty.values()):,} of {every:,} texts of {named(some, most)} are empty."


def _scope(document: Document) -> str:
    """Name the texts that the verdict is about, and the human text that they are compared with."""
    human = document.human
    if human is None:
        people = "; nothing is compared with human text"
    elif human.same_places:
        people = ", compared with human text at the same positions"
    elif human.compared:
        people = ", compared with human text that begins differently"
    else:
        people = "; texts are not compared with human text, which begins differently"
    return f"{_population(document.header)}{people}"


def _population(header: Header) -> str:
    count = len(header.prompts)
    prompt = "message" if (header.settings or {}).get("chat") else "prompt"
    if header.beginnings:
        return f"Measured on {printable.counted(count, 'beginning')} {header.beginnings}"
    if count != 1:
        return f"Measured after {printable.counted(count, prompt)}"
    return f"Measured after the {prompt} {quoted(header.prompts[0])} alone"


def remarks(document: Document) -> Iterator[str]:
    """Yield a remark on unequal entropy, and one on scorers if there is a second one."""
    yield from _randomness(document)
    if rows := conclusions([document]):
        yield flips(rows)


def _randomness(document: Document) -> Iterator[str]:
    """Yield a sentence that names the samplers that differ both in their texts and in entropy.

    Other settings of the sampler compared with are left out: they are compared to see the effect of
    its parameter.
    """
    name = against(document)
    other = next((each for each in document.samplers if each.sampler == name), None)
    if other is None:
        return
    unequal = [e for e in document.samplers if e.name != other.name and _differs(e)]
    if not unequal:
        return
    differences = [e.differences.teacher_forced[MEAN] for e in unequal if e.differences]
    differences.sort(key=lambda each: abs(each.value or 0))
    apart = [_size(each) for each in (differences[0], differences[-1])]
    names = listed([entry.sampler for entry in unequal])
    yield (
        f"{names} {'differs' if len(unequal) == 1 else 'differ'} from {name} in entropy, by "
        f"{' to '.join(dict.fromkeys(apart))} nats, so "
        "differences of their texts may be those of randomness: compare at equal entropy "
        "(--match entropy=...) before you call one better."
    )


def _size(difference: Difference) -> str:
    """Format the size of a difference, with the digits that its interval supports."""
    return with_interval(number, abs(difference.value or 0), difference.ci95)[0]


def _differs(entry: SamplerEntry) -> bool:
    """Return True if both the entropy and the surprisal of the texts differ beyond chance."""
    if entry.differences is None:
        return False
    entropy = entry.differences.teacher_forced.get(MEAN)
    texts = entry.differences.generated_texts.get(SURPRISAL)
    return all(
        each is not None and each.ci95 is not None and not each.ci95[0] <= 0 <= each.ci95[1]
        for each in (entropy, texts)
    )


OWN, SECOND = "bits_per_byte", "scorer_bits_per_byte"
"""The figure under the model that wrote the texts, and under the second scorer."""
Conclusions = dict[str, dict[str, Difference]]
"""The difference of each sampler in bits per byte, under each scorer."""


def conclusions(documents: Iterable[Document]) -> Conclusions:
    """Collect the conclusions of reports on the same texts, each under its own second scorer."""
    rows: Conclusions = {}
    for document in documents:
        scorers, second = {document.header.model.name: OWN}, document.header.second_scorer
        if second:
            scorers.setdefault(second.name, SECOND)
        for entry in document.samplers:
            texts = entry.differences.generated_texts if entry.differences else {}
            for scorer, figure in scorers.items():
                each = texts.get(figure)
                if each is not None and each.value is not None:
                    rows.setdefault(entry.sampler, {}).setdefault(scorer, each)
    return {sampler: row for sampler, row in rows.items() if len(row) > 1}


def flips(rows: Conclusions) -> str:
    """Name the samplers whose conclusion flips with the scorer, in a sentence."""
    names = listed([sampler for sampler, row in rows.items() if _flips(row)])
    scorer = f"the scorer: {names}" if names else "no scorer"
    return f"Conclusions on bits per byte flip with {scorer}."


def _flips(row: dict[str, Difference]) -> bool:
    """Return True if two scorers give differences of opposite signs."""
    ends = [each.ci95 for each in row.values() if each.ci95]
    return any(low > 0 for low, _ in ends) and any(high < 0 for _, high in ends)


def table_of(rows: Conclusions) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the headings and rows of a table of conclusions, those that flip marked."""
    names = list(dict.fromkeys(name for row in rows.values() for name in row))
    cells = [
        (sampler, *(_cell(row.get(name)) for name in names), "flips" if _flips(row) else "")
        for sampler, row in rows.items()
    ]
    return ["sampler", *names, ""], cells


def _cell(difference: Difference | None) -> str:
    if difference is None:
        return "none"
    text, ends = with_interval(number, difference.value or 0, difference.ci95, difference=True)
    return f"{text} ({ends})" if ends else text
