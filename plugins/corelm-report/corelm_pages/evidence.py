"""The evidence for the verdict of a report, in plain sentences, from its document alone.

Neighbouring settings of a sweep are named as one run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from corelm.runs import printable
from corelm_pages.formats import DASH, NARROW, Format, Rounding, interval, number, with_interval
from corelm_report.document.content import Document, SamplerEntry, TemperatureFit
from corelm_report.document.figures import EXPECTED, GENERATED, SURPRISAL, TEACHER_FORCED
from corelm_report.document.lookup import Measurement, SettingRange, estimate, listed, runs, share
from corelm_report.document.parts import Interval, Simultaneous
from corelm_stats.conclusions import CONFIDENCE
from corelm_stats.estimates import FEWEST, STATED

LOOPING = 0.01
"""A sampler's share of looping texts is reported if its interval exceeds this; human text has
0.003."""
REPEATING = 0.1
"""A sampler's share of repeated 4-grams is reported if its interval exceeds this; human text has
0.004."""
NAMED = 8
"""The largest number of entries or runs of settings that a sentence names."""
MARGIN = 0.1
"""The difference of surprisal from human text, in nats per token, that counts as equivalent."""
TAIL = 1.0
"""The least excess of expected surprisal over human text, or over the model itself, to be
reported."""

Samplers = Sequence[SamplerEntry]


def evidence(document: Document) -> str:
    """Give the figures behind the verdict, with their intervals."""
    samplers = [entry for entry in document.samplers if not entry.error]
    parts = (
        _closest(document, samplers),
        _calibration(document),
        _best(document),
        _repeating(document, samplers),
        _looping(document, samplers),
        _straying(document, samplers),
    )
    return " ".join(filter(None, parts))


def compared_human(document: Document) -> Measurement | None:
    """Return the surprisal of human text, if the samplers' texts are compared with it."""
    human = document.human
    return estimate(human, SURPRISAL, GENERATED) if human and human.compared else None


def _closest(document: Document, samplers: Samplers) -> str:
    """Name the samplers that may be the closest to human text by surprisal."""
    human, chosen = compared_human(document), closest(document)
    if not human or not chosen:
        return ""
    some = runs(samplers, chosen)
    names, own = named_runs(some), _amount(number, human)
    nats = named([_span(number, run.entries, SURPRISAL, GENERATED) for run in some])
    if rivals(document) == 1:
        sentence = f"The texts of {names} have {nats} nats of surprisal per token, human text"
        sentence += f" {own}."
    else:
        claim = f"Only {names} may be" if len(chosen) == 1 else f"{names} cannot be told from"
        sentence = (
            f"{claim} the closest to human text by surprisal: {nats} against {own} nats per token "
            f"(at {CONFIDENCE}, with the error of human text)."
        )
    if document.too_few:
        sentence += (
            f" {named(document.too_few)} wrote fewer than {FEWEST} independent texts, too few for "
            "this comparison."
        )
    for unlike, many in ((document.too_short, "less than half"), (document.too_long, "over twice")):
        if unlike:
            sentence += f" Texts of {named(unlike)} have {many} as many tokens as human texts."
    return " ".join(filter(None, (sentence, _equivalent(document, samplers, chosen))))


def closest(document: Document) -> list[SamplerEntry]:
    """Return the samplers that may be closest to human text, among those with enough texts."""
    chosen = [entry for entry in document.samplers if entry.sampler in document.closest]
    people = document.human.generated_texts if document.human else None
    few_people = people and (people.units or STATED) < STATED
    if few_people:
        return []
    texts = [(entry, entry.generated_texts) for entry in chosen if _texts_used(entry) >= STATED]
    return [entry for entry, each in texts if each and (each.units or STATED) >= STATED]


def _texts_used(entry: SamplerEntry) -> int:
    """Return the number of texts of a sampler that have a token."""
    texts = entry.generated_texts
    return texts.texts_used.get(SURPRISAL, texts.n or 0) if texts else 0


def rivals(document: Document) -> int:
    """Return the number of samplers with enough texts that compare with human text."""
    left_out = {*document.too_few, *document.too_short, *document.too_long}
    measured = (each for each in document.samplers if each.sampler not in left_out)
    return sum(_texts_used(each) >= STATED for each in measured)


def named(names: Sequence[str], most: int = NAMED) -> str:
    """Join names; of many, only the first `most` and the number of the others."""
    return _named([(name, 1) for name in names], most)


def named_runs(some: Sequence[SettingRange], most: int = NAMED) -> str:
    """Join the names of runs; of many, only the first `most` and the number of other samplers."""
    return _named([(run.name, len(run.entries)) for run in some], most)


def _named(some: Sequence[tuple[str, int]], most: int) -> str:
    names = [name for name, _ in some]
    if len(names) <= most + 1:
        return listed(names)
    chosen = names[: max(most, 0)]
    others = sum(n for _, n in some[len(chosen) :])
    counted = f"{others} others" if chosen else printable.counted(others, "sampler")
    return listed([*chosen, counted])


def _calibration(document: Document) -> str:
    """State the maximum-likelihood temperature of human text, and its meaning for the model."""
    fit = document.human.temperature if document.human else None
    if fit is None:
        return ""
    if fit.t is None:
        return _beyond(fit, document.curve.t)
    temperature = f"maximum-likelihood temperature of human text is {'about ' * fit.estimated}"
    sentence = f"The {temperature}{_with_interval(fit.t, fit.t_ci95, apart_from=(1.0,))}"
    if fit.estimated:
        return f"{sentence}, estimated from human surprisal on other texts."
    return f"{sentence}{_verdict(fit)}."


def _with_interval(value: float, ends: Interval | None, apart_from: Sequence[float] = ()) -> str:
    """Format a figure and its interval, with enough digits to be told from what it excludes."""
    text, between = with_interval(number, value, ends, apart_from=apart_from)
    return f"{text} (95% interval {between.replace(DASH, ' to ') or NARROW})" if ends else text


def _beyond(fit: TemperatureFit, temperatures: Sequence[float]) -> str:
    """Explain why there is no maximum-likelihood temperature."""
    if fit.beyond != "above":
        return "The maximum-likelihood temperature of human text is not determined."
    return (
        "In this sample human text is more surprising to the model than a token drawn at a "
        f"temperature of {number(max(temperatures))}, the highest one that was tried"
        f"{_verdict(fit)}."
    )


def _verdict(fit: TemperatureFit) -> str:
    """State whether the model is over- or underconfident, if that is beyond chance."""
    if fit.verdict:
        return f": the model is {fit.verdict} (at {CONFIDENCE})"
    if fit.t_ci95 is None:
        return ""
    low, high = fit.t_ci95
    if low <= 1 <= high:
        return ", which includes the model's own, 1"
    return f"; at {CONFIDENCE} it cannot be told from the model's own, 1"


def _best(document: Document) -> str:
    """State each swept sampler's best setting, and its corrected figure."""
    swept = {entry.name for entry in document.samplers if entry.sweep}
    sentences = []
    for best in document.best:
        if best.name in swept and best.ci95:
            nats = _with_interval(best.corrected, best.ci95)
            sentences.append(
                f"Of {best.tried} settings of {best.name}, {best.sampler} comes nearest to human "
                f"text in this sample, with {nats} nats, corrected for the choice."
            )
    return " ".join(sentences)


def _equivalent(document: Document, samplers: Samplers, closest: Samplers) -> str:
    """Name the closest samplers that differ from human text by less, or more, than `MARGIN`.

    An interval with an end on each side of the margin proves neither. The intervals are
    simultaneous for all samplers of the report, as the named ones were chosen among them.
    """
    intervals = {each.sampler: each.interval for each in document.simultaneous if each.interval}
    ends = {each.sampler: intervals[each.sampler] for each in closest if each.sampler in intervals}
    inside = {name: each for name, each in ends.items() if max(map(abs, each)) < MARGIN}
    beyond = {name: ends[name] for name in differing(document) if name in ends}
    unclear = {name: each for name, each in ends.items() if name not in inside | beyond}
    within = f"human text in mean surprisal within {number(MARGIN)} nats"
    sentences = []
    for group, sentence in (
        (inside, "{names} {is_} equivalent to " + within),
        (beyond, "{names} {differs} from human text in mean surprisal by more than "
         f"{number(MARGIN)} nats"),
        (unclear, "Whether {names} {is_} equivalent to " + within + " cannot be told"),
    ):  # fmt: skip
        if group:
            some = runs(samplers, [each for each in closest if each.sampler in group])
            text = sentence.format(
                names=named_runs(some),
                is_=_singular([*group], "is", "are"),
                differs=_singular([*group], "differs", "differ"),
            )
            sentences.append(f"{text} ({_of_differences(group.values(), len(intervals))}).")
    return " ".join(sentences)


def differing(document: Document) -> list[str]:
    """Return the samplers that differ from human text in mean surprisal by more than `MARGIN`."""
    ends = {each.sampler: each.interval for each in document.simultaneous if each.interval}
    return [name for name, (low, high) in ends.items() if low > MARGIN or high < -MARGIN]


def _of_differences(ends: Collection[Interval], rows: int) -> str:
    """Format the interval of a difference, or the range of several."""
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    word = _singular(ends, "interval of the difference", "intervals of the differences, together")
    rounding = Rounding.by_interval(number, (low + high) / 2, low, high, (-MARGIN, MARGIN))
    between = interval(rounding.text, low, high).replace(DASH, " to ")
    return f"{word}: {between or rounding.text(low)}, {_at_once(rows)}"


def _at_once(rows: int) -> str:
    every = "both rows" if rows == 2 else f"all {rows} rows"
    return f"at {CONFIDENCE} for {every} at once" if rows > 1 else f"at {CONFIDENCE}"


def often(document: Document, figure: str) -> list[Simultaneous]:
    """Return the shares of the samplers that repeat themselves, `rep_4`, or end in `loops`.

    The interval must be above the usual share: 1 in 64 texts may be far less in the next texts, and
    a share of too few texts for an interval says nothing about them.
    """
    least = {"rep_4": REPEATING, "loops": LOOPING}[figure]
    shares = (each for each in document.shares if each.figure == figure)
    return [each for each in shares if each.interval and each.interval[0] >= least]


def straying(document: Document) -> dict[str, float]:
    """Return the samplers from the tail, each with the lower end of its excess of surprisal."""
    ends = {each.sampler: each.interval for each in document.excess if each.interval}
    return {name: low for name, (low, _) in ends.items() if low > TAIL}


def _repeating(document: Document, samplers: Samplers) -> str:
    """Name the samplers that often repeat a phrase of four tokens."""
    shares = often(document, "rep_4")
    verb = _singular(shares, "repeats itself", "repeat themselves")
    return f"{_listed_shares(samplers, shares, 'of 4-grams')} {verb}." if shares else ""


def _looping(document: Document, samplers: Samplers) -> str:
    """Name the samplers whose texts end in loops."""
    shares = often(document, "loops")
    if not shares:
        return ""
    verb = _singular(shares, "ends", "end")
    word = _singular(shares, "the interval begins", "the intervals begin")
    rows = sum(each.figure == "loops" for each in document.shares)
    names = _listed_shares(samplers, shares, "of texts")
    return f"{names} {verb} in loops ({word} at {_begin(share, shares)}, {_at_once(rows)})."


def _begin(form: Format, rows: Sequence[Simultaneous], above: Sequence[float] = ()) -> str:
    """Format the least lower end of intervals, with the digits that its interval supports."""
    least = min(
        (each for each in rows if each.interval), key=lambda each: (each.interval or [0])[0]
    )
    low, high = least.interval or (0.0, 0.0)
    return Rounding.by_interval(form, least.value, low, high, above).text(low)


def _listed_shares(samplers: Samplers, shares: Sequence[Simultaneous], of: str) -> str:
    """Name samplers with their shares, neighbouring settings of a sweep as one."""
    names, figure = {each.sampler for each in shares}, shares[0].figure
    some = runs(samplers, [entry for entry in samplers if entry.sampler in names])
    return named(
        [f"{run.name} ({_span(share, run.entries, figure, GENERATED)} {of})" for run in some]
    )


def _straying(document: Document, samplers: Samplers) -> str:
    """Name the samplers whose tokens surprise the model much more than human words do.

    On contexts that are not human text, they are compared with the model's own tokens.
    """
    lows = straying(document)
    far = [entry for entry in samplers if entry.sampler in lows]
    if not far:
        return ""
    groups, rows = runs(samplers, far), [e for e in document.excess if e.sampler in lows]
    nats = [_span(number, run.entries, EXPECTED, TEACHER_FORCED) for run in groups]
    verb = "samples" if len(far) == 1 else "sample"
    word = _singular(lows, "the interval begins", "the intervals begin")
    return (
        f"{listed([run.name for run in groups])} {verb} from the tail "
        f"(expected surprisal {listed(nats)} nats, {_usual(document, far[0])}; {word} "
        f"{_begin(number, rows, (TAIL,))} nats above it, {_at_once(len(document.excess))})."
    )


def _usual(document: Document, entry: SamplerEntry) -> str:
    """Name the surprisal that the excess is above: of human words, or of the model's own tokens."""
    fit = document.human.temperature if document.human else None
    if fit is None or fit.estimated:
        return f"the model's own {_span(number, [entry], 'model_entropy', TEACHER_FORCED)}"
    rounding = Rounding.by_interval(number, fit.surprisal, *(fit.ci95 or (None, None)))
    return f"human words there {rounding.text(fit.surprisal)}"


def _span(form: Format, entries: Samplers, figure: str, view: str) -> str:
    """Format the range of a figure over entries, or its only value, as the tables do."""
    measured = filter(None, (estimate(entry, figure, view) for entry in entries))
    rising = sorted(measured, key=lambda each: each.value)
    return " to ".join(dict.fromkeys(_amount(form, each) for each in rising[:1] + rising[-1:]))


def _amount(form: Format, each: Measurement) -> str:
    return Rounding.by_interval(form, each.value, each.low, each.high).text(each.value)


def _singular(names: Collection[object], one: str, several: str) -> str:
    return one if len(names) == 1 else several
