"""How objects show themselves in a notebook."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib import resources

import pytest

import corelm
from corelm.interop import DisplayableModel
from corelm.runs import markup, printable
from corelm.testing import ToyModel
from corelm.text.markup import SHADES, Passage, Word

HOSTILE = '<script>alert("x")</script> & \' "quoted"'
VOID = {"br"}


class Page(HTMLParser):
    """The tags, the attributes and the text of a piece of HTML, which must be well formed."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.titles: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(source)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.titles += [value or "" for name, value in attrs if name == "title"]
        assert {name for name, _ in attrs} <= {"style", "title"}
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


class Words(HTMLParser):
    """Return the text of a piece of HTML, without its tags."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(source)

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"


def shown(thing: object) -> Page:
    return Page(thing._repr_html_())  # type: ignore[attr-defined]


def test_a_generation_shows_its_text_with_a_card_for_each_word():
    [text] = corelm.generate(ToyModel(), "the", sampler="stochastic", length=6, seed=1)
    page = shown(text)
    assert page.text.startswith(f"the{text.text}")
    assert "sample 0, seed 1" in page.text
    pieces = list(text.pieces())
    assert len(page.titles) == len(pieces)
    assert f"surprisal {text.steps[0].model_surprisal:.2f} nats" in page.titles[0]


def test_a_stop_string_is_no_part_of_what_is_shown():
    [text] = corelm.generate(ToyModel(), "the", sampler="greedy", length=6, seed=1, stop="sat")
    assert "".join(piece for piece, _ in text.pieces()) == text.text == " cat "
    assert "sat" not in shown(text).text


def test_a_sampler_shows_its_stages():
    page = shown(corelm.sampler("top_p(p=0.9) | temperature(t=0.7)"))
    assert page.tags.count("tr") == 3
    assert "top_p(p=0.9)" in page.text
    assert "softmax temperature" in page.text or "Sharpen" in page.text


def test_an_explanation_shows_stages_and_tokens():
    explanation = corelm.explain(ToyModel(), "the", "top_k(k=3) | temperature(t=0.5)")
    page = shown(explanation)
    for stage in explanation.stages:
        assert f"{stage.entropy:.2f}" in page.text
    for one in explanation.likeliest():
        assert f"{one.probabilities[-1]:.1%}" in page.text


def test_a_model_shows_what_it_is():
    page = shown(corelm.load("imdb"))
    assert "imdb" in page.text
    assert "15,000 tokens" in page.text


def test_a_model_of_any_kind_shows_its_name_and_sizes():
    class Engine(DisplayableModel, ToyModel):
        pass

    assert "13 tokens" in shown(Engine()).text
    assert Engine()._repr_text_().splitlines()[0].strip() == "Engine"


def things():
    [text] = corelm.generate(ToyModel(), "the", sampler="stochastic", length=6, seed=1)
    chain = corelm.sampler("top_k(k=3) | temperature(t=0.5)")
    report = corelm.compare(ToyModel(), ["greedy"], prompts="the", n=2, length=3)
    return [text, chain, corelm.explain(ToyModel(), "the", chain), corelm.load("imdb"), report]


@pytest.mark.packages
def test_a_notebook_gets_html_and_a_terminal_text():
    for thing in things():
        bundle = thing._repr_mimebundle_()
        assert bundle.keys() == {"text/html", "text/plain"}
        assert bundle["text/html"] == thing._repr_html_()
        lines = bundle["text/plain"].splitlines()
        assert "<" not in lines[0]
        words = set(re.findall(r"\w+", Words(bundle["text/html"]).text))
        assert words >= set(re.findall(r"\w+", lines[-1].replace("\\", "")))


def test_a_terminal_is_sent_no_control_characters():
    evil = "\x1b]52;c;bHM=\x07"
    parts = [markup.Table([evil], [[evil]], evil), Passage(evil, [Word(evil, 1.0, evil)], evil)]
    for part in parts:
        assert "\x1b" not in part.text()
        assert "bHM=" in part.text()


def test_columns_of_numbers_end_at_one_place():
    table = markup.Table(["word", "p", "n"], [["a", 0.5, "10"], ["longer", 0.0625, "9"]])
    assert table.text().splitlines() == [
        "word        p   n", "a       50.0%  10", "longer   6.2%   9",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "source",
    [
        Passage(HOSTILE, [Word(HOSTILE, 9.0, HOSTILE)], HOSTILE).html(),
        markup.Table([HOSTILE], [[HOSTILE, 0.5]], HOSTILE).html(),
        corelm.Generation(HOSTILE, 0, 1, HOSTILE, [], "length", [])._repr_html_(),
    ],
    ids=["words", "table", "generation"],
)
def test_text_is_text(source):
    page = Page(source)
    assert "script" not in page.tags
    assert HOSTILE in page.text


def test_a_line_grows_with_surprisal_so_that_colour_alone_says_nothing():
    words = (Word("a", nats, "") for nats in (0.5, 2.0, 5.0, 9.0, 12.0, float("nan")))
    styles = [Passage("", [word], "").html() for word in words]
    assert [style.partition("border-bottom: ")[2].partition(" ")[0] for style in styles] == [
        "", "1px", "1.5px", "3.5px", "4.5px", "",
    ]  # fmt: skip


def test_shades_are_those_of_pages():
    css = resources.files("corelm.pages").joinpath("shared.css").read_text("utf-8")
    found = re.findall(r"\.s\d \{ --thick: ([\d.]+)px; --deep: ([\d.]+); \}", css)
    assert [(float(deep), float(thick)) for thick, deep in found] == [*SHADES[1:]]
    assert len(SHADES) == len(printable.SURPRISAL_SCALE.bounds) + 1


def test_bars_of_columns_that_differ_in_width_have_one_scale():
    page = markup.Table(["a", "a column with a long name"], [[0.188, 0.23]]).html()
    lengths = [float(length) for length in re.findall(r"/ ([\d.]+)em", page)]
    assert lengths == pytest.approx([6 * 0.188, 6 * 0.23], abs=0.01)


def test_a_list_of_texts_shows_them_and_counts_the_others():
    texts = corelm.generate(ToyModel(), "the", sampler="stochastic", length=4, n=23, seed=1)
    assert isinstance(texts, list)
    page = shown(texts)
    for text in texts[:20]:
        assert f"the{text.text}".strip() in page.text
    assert "and 3 more texts" in page.text
    assert str(texts) == texts._repr_text_()
    assert str(texts).count("seed 1") == 20


def test_an_explanation_is_printed_as_tables_without_arrays():
    explanation = corelm.explain(ToyModel(), "the", "top_k(k=3)")
    assert str(explanation) == explanation._repr_text_()
    assert str(explanation).startswith("the ...\nstage")
    assert repr(explanation) == (
        "Explanation(prompt='the', after='', sampler='top_k(k=3)', 2 stages)"
    )
