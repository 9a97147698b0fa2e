"""The page of a report: one HTML file that loads nothing and runs one small script of its own.

Below the tables it has the playground, and the generated texts word by word, side by side.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from corelm.errors import ReportError
from corelm.runs import printable
from corelm_pages import tables
from corelm_pages.charts import charts, drawings
from corelm_pages.evidence import evidence
from corelm_pages.formats import MINUS, number, visible
from corelm_pages.overview import failed_metrics, seeds, targets
from corelm_pages.verdict import remarks, verdict
from corelm_report.document.content import Document
from corelm_report.document.figures import HUMAN
from corelm_report.document.lookup import against, share
from corelm_report.document.parts import TokenDetails
from corelm_stats.conclusions import EACH
from corelm_stats.estimates import STATED, bits

if TYPE_CHECKING:
    from markupsafe import Markup


FILES = {
    "css": ("shared.css", "page.css", "print.css"),
    "js": ("shared.js", "tables.js", "pictures.js", "playground.js"),
}
"""The files of the page's one style sheet and its one script, in their order."""


def page(document: Document) -> str:
    """Render the whole page of a report.

    Every string of the document is escaped. The page's policy allows one script, its own, by its
    checksum, and nothing can be loaded from anywhere.

    Args:
        document: the content of a report.

    Raises:
        ReportError: the logits to try samplers on cannot be read.
    """
    from markupsafe import Markup  # late: other forms of a report need no templates

    figures = tables.PageTables(document)
    by_name = figures.by_name()
    has_differences = any(entry.differences for entry in document.samplers)
    compared_with = "human text" if against(document) == HUMAN else against(document)
    return rendered(
        "page.html.jinja",
        "corelm_pages",
        FILES,
        document=document,
        header=document.header,
        summary=verdict(document),
        evidence=evidence(document),
        failed=[entry for entry in document.samplers if entry.error],
        against=compared_with if has_differences else "",
        compared=len(figures.p_values),
        rate=EACH,
        stated=STATED,
        tables=by_name,
        charts=list(charts(document)),
        # Markup is written unescaped: only corelm's own files, and drawings whose texts matplotlib
        # has escaped.
        plots={name: Markup(svg) for name, svg in drawings(document).items()},
        groups=text_groups(document),
        legend=list(surprisal_levels()),
        failed_metrics=failed_metrics(document),
        matched=targets(document),
        remarks=list(remarks(document)),
        seeds=seeds(document.header),
        playground=playground(document),
        plugins=[
            (stage.name, f"{plugin.distribution} {plugin.version}", plugin.entry_point)
            for entry in document.samplers
            for stage in entry.stages
            if (plugin := stage.plugin)
        ],
        # By the terms that define them, such as rep-n for rep-2.
        definitions={
            column.term or column.title: column
            for table in filter(None, by_name.values())
            for column in table.columns
        },
    )


def _formula(text: str) -> Markup:
    """Mark single letters of a formula as variables, and hyphens as minus signs."""
    from markupsafe import Markup, escape

    # Only between signs: the hyphen of a name such as rep-n is no minus.
    signs = re.sub(r"(?<![A-Za-z])-", MINUS, str(escape(text)))
    return Markup(re.sub(r"(?<![A-Za-z&;-])[A-Za-z](?![A-Za-z-])", r"<var>\g<0></var>", signs))


def rendered(template: str, package: str, files: Mapping[str, Iterable[str]], **values: Any) -> str:
    """Render a page that loads nothing; every string is escaped.

    Args:
        template: the name of its template.
        package: the package whose folder `template` has the template and the page's own files; all
            pages share others.
        files: the names of the files of its one style sheet, `css`, and its one script, `js`.
        values: what the template shows.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    def read(name: str) -> str:
        own = package, "template"
        home, folder = ("corelm", "pages") if name.startswith("shared.") else own
        return resources.files(home).joinpath(folder, name).read_text("utf-8").strip()

    environment = Environment(
        loader=FunctionLoader(read),
        autoescape=True,
        undefined=StrictUndefined,  # a misspelt name raises instead of leaving a gap
        trim_blocks=True,
        lstrip_blocks=True,
        # Every string of the document, but not Markup, which is a subclass of str.
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    environment.filters |= {"number": number, "share": share, "bits": bits, "formula": _formula}
    texts = {kind: "\n\n".join(map(read, names)) for kind, names in files.items()}
    # A Content-Security-Policy allows a script or a style sheet by its checksum.
    digests = {kind: hashlib.sha256(text.encode()).digest() for kind, text in texts.items()}
    return environment.get_template(template).render(
        hashes={
            kind: f"sha256-{base64.b64encode(each).decode()}" for kind, each in digests.items()
        },
        **{kind: Markup(text) for kind, text in texts.items()},
        **values,
    )


BARS = 20
"""The number of likeliest tokens that have a bar."""


@dataclass(frozen=True)
class Playground:
    """The playground's distribution before the script changes it.

    Attributes:
        prompt: the text that the next token follows.
        logits: the logits of all tokens that can be drawn, in falling order, as float32 in base64.
        size: the number of tokens that can be drawn.
        bars: the likeliest tokens: text, probability, the bar's length in percent of the longest.
        entropy: in nats.
    """

    prompt: str
    logits: str
    size: int
    bars: Sequence[tuple[str, str, float]]
    entropy: float

    @property
    def greatest(self) -> float:
        """The largest possible entropy: all tokens are equally likely."""
        return math.log(self.size)

    @property
    def place(self) -> float:
        """The position of the entropy between 0 and the largest one, in percent."""
        return tables.place(self.entropy, self.greatest)


def playground(document: Document) -> Playground | None:
    """Return the distribution to try samplers on, or None if the report has none.

    Raises:
        ReportError: its logits cannot be read.
    """
    content = document.try_it
    if content is None:
        return None
    logits = _logits(content.logits)
    # A page that is written again needs no sampler: NumPy alone starts sooner.
    below = logits.astype(np.float64) - logits[0]
    total = np.exp(below).sum()
    p = np.exp(below) / total
    words = content.words[: min(BARS, len(logits))]
    # Relative to the likeliest token, as the bars compare tokens; the text has the shares.
    bars = [
        (shown_token(word), share(float(p[i])), round(float(100 * p[i] / p[0]), 1))
        for i, word in enumerate(words)
    ]
    entropy = float(np.log(total) - p @ below)
    return Playground(content.prompt, content.logits, len(logits), bars, entropy)


def _logits(encoded: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Decode the logits, which must be finite and must not rise."""
    try:
        logits = np.frombuffer(base64.b64decode(encoded, validate=True), "<f4")
    except (binascii.Error, ValueError) as error:
        raise ReportError(
            f"try_it.logits of the report: expected float32 in base64: {error}"
        ) from error
    if not len(logits) or not np.isfinite(logits).all() or (np.diff(logits) > 0).any():
        raise ReportError(
            "try_it.logits of the report: expected finite numbers in falling order, at least one"
        )
    return logits


EXPLAINED = 40
"""The number of texts on a page, at most, whose words have their figures.

They take 14 kB a text of 50 tokens: a page with all texts of 20 samplers would have almost 2 MB.
"""

SPACES = str.maketrans({"\n": "⏎", "\r": "⏎", "\t": "⇥", " ": "␣"})


@dataclass(frozen=True)
class ShownWord:
    """One token of a text.

    Attributes:
        space: the white space before it.
        text: the token itself; white space is shown as a sign.
        level: how surprising it was, from 0 to the number of `printable.SURPRISAL_SCALE.bounds`.
        about: its figures in two lines.
        likely: the likeliest tokens in its place, one a line, with a tab before the share.
    """

    space: str
    text: str
    level: int
    about: str
    likely: str


@dataclass(frozen=True)
class ShownText:
    """One text of one sampler; it has no words if the sampler failed."""

    sampler: str
    words: Sequence[ShownWord] = ()

    @property
    def is_right_to_left(self) -> bool:
        """True if its first letter belongs to a script that is written from right to left."""
        letters = map(unicodedata.bidirectional, "".join(each.text for each in self.words))
        return next((kind for kind in letters if kind in ("L", "R", "AL")), "L") != "L"


@dataclass(frozen=True)
class SampleGroup:
    """The texts that all samplers wrote after one prompt with the same random numbers.

    Attributes:
        prompt: the prompt.
        sample: the index of the texts.
        texts: one text of each sampler.
        explained: True if the words of these texts have their figures.
    """

    prompt: str
    sample: int
    texts: Sequence[ShownText]
    explained: bool


def text_groups(document: Document) -> list[SampleGroup]:
    """Return the texts by prompt and sample, the samplers in the order of the report.

    The first samples of each prompt have word figures: as many as fit, at least one.
    """
    by_prompt: dict[tuple[str, int], dict[int, ShownText]] = {}
    for place, entry in enumerate(document.samplers):
        for text in entry.texts:
            if not text.tokens:
                continue  # one of the texts that the report keeps without details
            words = [word(token) for token in text.tokens]
            words[0] = replace(words[0], space="")
            written = ShownText(entry.sampler, words)
            by_prompt.setdefault((text.prompt, text.sample), {})[place] = written
    failed = {
        place: ShownText(entry.sampler)
        for place, entry in enumerate(document.samplers)
        if entry.error
    }
    prompts = {prompt for prompt, _ in by_prompt}
    most = max(1, EXPLAINED // max(1, len(prompts) * len(document.samplers)))
    earlier: Counter[str] = Counter()
    made = []
    for (prompt, sample), texts in by_prompt.items():
        # Failed samplers too, so that a sampler has the same place in every group.
        every = [text for _, text in sorted((failed | texts).items())]
        made.append(SampleGroup(prompt, sample, every, explained=earlier[prompt] < most))
        earlier[prompt] += 1
    return made


def word(token: TokenDetails) -> ShownWord:
    """Turn a token of the document into a word of the page.

    Example:
        >>> film = {"token": " film", "rank": 2, "p": 0.25, "q": 0.5, "entropy": 1.0}
        >>> word(film | {"alternatives": [[" movie", 0.5], [" film", 0.25]]})
        ShownWord(space=' ', text='film', level=0, about='surprisal 1.39, rank 2\\np 25.0%, q \
50.0%, entropy 1.00', likely='movie\\t50.0%\\nfilm\\t25.0%')
    """
    whole = visible(token["token"])
    text = whole.lstrip()
    surprisal = -math.log(token["p"]) if token["p"] > 0 else math.inf
    rank = token["rank"] or "unknown"
    about = (
        f"surprisal {number(surprisal)}, rank {rank}\n"
        f"p {share(token['p'])}, q {share(token['q'])}, entropy {number(token['entropy'])}"
    )
    likely = "\n".join(f"{shown_token(word)}\t{share(p)}" for word, p in token["alternatives"])
    level = printable.SURPRISAL_SCALE.level(surprisal)
    return ShownWord(
        whole[: len(whole) - len(text)], text or shown_token(whole), level, about, likely
    )


def shown_token(token: str) -> str:
    """Write a token on one line, without its leading space unless it is all spaces.

    Example:
        >>> shown_token(" film"), shown_token(" "), shown_token("a\\nb")
        ('film', '␣', 'a⏎b')
    """
    token = visible(token)
    return (token.strip(" ") or token).translate(SPACES)


def surprisal_levels() -> Iterator[tuple[int, str]]:
    """Yield each level of surprisal with its range.

    Example:
        >>> list(surprisal_levels())[1]
        (1, '2 to 4')
    """
    yield 0, f"below {printable.SURPRISAL_SCALE.bounds[0]}"
    for level, (low, high) in enumerate(pairwise(printable.SURPRISAL_SCALE.bounds), 1):
        yield level, f"{low} to {high}"
    yield len(printable.SURPRISAL_SCALE.bounds), f"{printable.SURPRISAL_SCALE.bounds[-1]} or more"
