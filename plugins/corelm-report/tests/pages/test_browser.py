"""The page of a report in a real browser: with mouse and keyboard, on a telephone, on paper."""

from __future__ import annotations

import base64
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import TELEPHONE, chromium, overflow
from documents import BACKWARDS, EVIL, hostile, playground, report_of, visible

import corelm

pytestmark = pytest.mark.slow
playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright")


CONTRASTS = """() => {
  // Whatever a colour is written as, one pixel of it has red, green, blue and opacity.
  const pixel = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const seen = {};
  const parts = (colour) => (seen[colour] ??= (() => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  })());
  const over = (top, below) => below.map((x, i) => (i < 3 ? x + (top[i] - x) * top[3] : 1));
  const colour = (element) => parts(getComputedStyle(element).backgroundColor);
  const ground = (element) =>
    element ? over(colour(element), ground(element.parentElement)) : [255, 255, 255, 1];
  const light = (colour) => {
    const linear = (x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.slice(0, 3).map((x) => linear(x / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const below = ground(element);
    const own_colour = element instanceof SVGElement ? style.fill : style.color;
    const letters = over(parts(own_colour), below);
    const [a, b] = [light(letters), light(below)].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), element.outerHTML.slice(0, 120)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def large(made: dict[str, Any]) -> dict[str, Any]:
    """The report with a distribution over a vocabulary of the usual size, with some ties."""
    logits = np.random.default_rng(0).normal(0, 3, 14_998).round(2)
    return made | {"try_it": playground(-np.sort(-logits - logits.max()).astype("<f4"))}


@pytest.fixture(scope="module")
def written(large: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "a report.html"
    path.write_text(report_of(large).to_html(), encoding="utf-8", newline="\n")
    return path


def tip(word: Any) -> Any:
    return word.locator("> span")


def words(tab: Any, text: int = 1) -> Any:
    """The words of one of the visible texts."""
    return tab.locator(".words").nth(text).locator("> span")


SETTINGS = [
    {},
    {"t": "0.5"},
    {"t": "0"},
    {"t": "2"},
    {"k": "12"},
    {"k": "0"},
    {"p": "0.9"},
    {"p": "0"},
    {"m": "0.05"},
    {"m": "1"},
    {"t": "1.5", "k": "15", "p": "0.95", "m": "0.02"},
    {"t": "0.75", "p": "0.8", "m": "0.05"},
]


def test_the_sliders_reshape_the_distribution_as_corelm_does(opened, large):
    tab = opened()
    logits = np.frombuffer(base64.b64decode(large["try_it"]["logits"]), "<f4")
    seen = set()
    for setting in SETTINGS:
        tab.locator("#try button[type=reset]").click()
        for name, value in setting.items():
            tab.locator(f"#{name}").fill(value)
        expression = tab.locator("#expression").input_value()
        assert len(expression.split(" | ")) == max(len(setting), 1)
        q = corelm.sampling_distribution(corelm.sampler(expression), logits)
        shown = float(tab.locator("#entropy").inner_text())
        assert shown == pytest.approx(float(corelm.entropy(q)), abs=1e-3), expression
        assert f" {np.count_nonzero(q):,} of 14,998 tokens" in tab.locator("#more").inner_text()
        assert bars(tab) == [share(float(p)) for p in q[:20]], expression
        seen.add(tuple(bars(tab)))
    assert len(seen) >= len(SETTINGS) - 3  # four of them leave one token


def share(p: float) -> str:
    """A probability as the page writes it."""
    if p < 0.01:
        return "<0.01%" if 0 < p < 0.0001 else f"{100 * p:.2f}%" if p else "0"
    return "100%" if p == 1 else f"{min(100 * p, 99.9):.1f}%"


def bars(tab: Any) -> list[str]:
    return tab.locator(".bars tbody tr > :nth-child(3)").all_inner_texts()


def test_the_bars_have_the_lengths_of_their_numbers(opened):
    tab = opened(reduced_motion="reduce")
    tab.locator("#t").fill("0.5")
    widths = [box.bounding_box()["width"] for box in tab.locator(".bars i").all()[:5]]
    numbers = [float(text.rstrip("%")) for text in bars(tab)[:5]]
    for width, number in zip(widths, numbers, strict=True):
        assert width / widths[0] == pytest.approx(number / numbers[0], abs=0.02)


def test_removed_tokens_are_crossed_out(opened):
    tab = opened()
    tab.locator("#k").fill("2")
    rows = tab.locator(".bars tbody tr")
    lines = [
        row.locator("th").evaluate("e => getComputedStyle(e).textDecorationLine")
        for row in rows.all()[:5]
    ]
    assert lines == ["none"] * 3 + ["line-through"] * 2
    assert tab.locator("#expression").input_value() == "top_k(k=3)"


def test_a_slider_obeys_the_keyboard_and_says_its_value(opened):
    tab = opened()
    tab.locator("#t").focus()
    tab.keyboard.press("ArrowLeft")
    assert tab.locator("#expression").input_value() == "temperature(t=0.95)"
    assert tab.locator("#t").get_attribute("aria-valuetext") == "0.95"
    assert tab.locator("#t-value").inner_text() == "0.95"
    assert tab.get_by_role("slider", name="temperature").get_attribute("id") == "t"


def test_pointing_at_a_word_shows_its_figures_and_the_likeliest_in_its_place(opened, made):
    tab = opened()
    token = made["samplers"][1]["texts"][0]["tokens"][2]
    word = words(tab).nth(2)
    assert not tip(word).is_visible()
    word.hover()
    said = tip(word).inner_text()
    assert f"rank {token['rank']}" in said
    assert f"p {share(token['p'])}, q {share(token['q'])}" in said
    for other, p in token["alternatives"]:
        assert f"{other.strip()}\t{share(p)}" in said
    tab.mouse.move(0, 0)
    assert not tip(word).is_visible()


def test_the_keyboard_reaches_every_word(opened):
    tab = opened()
    tab.locator("#texts summary").first.focus()
    tab.keyboard.press("Tab")
    first = words(tab, 0)
    assert tip(first.nth(0)).is_visible()
    for place in (1, 2, 3):
        tab.keyboard.press("ArrowRight")
        assert tip(first.nth(place)).is_visible()
        assert not tip(first.nth(place - 1)).is_visible()
    tab.keyboard.press("End")
    assert tip(first.last).is_visible()
    tab.keyboard.press("Escape")
    assert not tip(first.last).is_visible()
    first.last.focus()
    tab.keyboard.press("Tab")
    assert tip(words(tab, 1).nth(0)).is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_telephone_shows_it_without_scrolling_sideways(opened, scheme):
    tab = opened(viewport=TELEPHONE, color_scheme=scheme)
    assert not overflow(tab)
    for text in (0, 1, 2):
        for word in words(tab, text).all():
            word.focus()
            box = tip(word).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 400
            assert not overflow(tab)
    for button in tab.locator(":is(h2, h3) > .unfold:visible").all():
        button.click()  # the other pictures are closed
    for svg in tab.locator("svg:visible").all():
        assert svg.bounding_box()["width"] <= 400


def test_headings_explain_themselves_to_mouse_keyboard_and_finger(opened):
    tab = opened(java_script_enabled=False)
    term = tab.locator(".term").first
    assert term.evaluate("each => each.firstChild.textContent") == "entropy"
    assert not tip(term).is_visible()
    term.hover()
    assert "q ln q" in tip(term).inner_text()
    assert "nats" in tip(term).inner_text()
    tab.mouse.move(0, 0)
    tab.locator(".wide").first.focus()
    tab.keyboard.press("Tab")
    assert tip(term).is_visible()
    finger = opened(viewport=TELEPHONE, has_touch=True)
    for button in finger.locator("caption button").all():
        button.tap()  # only the first table is open
    for each in finger.locator(".term:visible").all():
        each.tap()
        box = tip(each).bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 400
        assert not overflow(finger)
    finger.mouse.move(0, 0)
    finger.keyboard.press("Escape")
    playwright.expect(finger.locator(".term > span:visible")).to_have_count(0)


@pytest.mark.parametrize(("size", "screens"), [({"width": 1280, "height": 900}, 1), (TELEPHONE, 2)])
def test_the_first_picture_is_on_the_first_screens(opened, size, screens):
    box = opened(viewport=size).locator("figure svg").first.bounding_box()
    assert box["y"] + box["height"] <= screens * size["height"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_letter_stands_out_from_its_ground(opened, scheme):
    tab = opened(color_scheme=scheme)
    words(tab).nth(2).focus()
    found = tab.evaluate(CONTRASTS)
    assert len(found) > 200
    assert [text for contrast, text in found if contrast < 4.5] == []
    grounds = {text for _, text in found if "<text" in text}
    assert len(grounds) > 40


@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing(opened, width):
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="pip install axe-playwright-python"
    )
    tab = opened(viewport={"width": width, "height": 900})
    found = axe.Axe().run(tab).response["violations"]
    assert [(each["id"], each["nodes"][0]["html"]) for each in found] == []


def test_light_and_dark_are_opposites(opened):
    grounds = {}
    for scheme in ("light", "dark"):
        tab = opened(color_scheme=scheme)
        grounds[scheme] = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert grounds == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 25, 27)"}


def test_without_javascript_only_the_sliders_are_missing(opened, made):
    tab = opened(java_script_enabled=False)
    for section in tab.locator("section").all():
        assert section.is_visible()
    assert not tab.locator("#try form").is_visible()
    assert "need JavaScript" in tab.locator("#try noscript").inner_text()
    assert tab.locator(".bars tbody tr").count() == 20
    word = words(tab).nth(2)
    word.hover()
    assert tip(word).is_visible()
    tab.mouse.move(0, 0)
    word.focus()
    assert tip(word).is_visible()
    summary = tab.locator("#texts summary").nth(1)
    summary.click()
    assert tab.locator("#texts details").nth(1).locator(".words").first.is_visible()


def test_reduced_motion_is_respected(opened):
    moving = "getComputedStyle(document.querySelector('.bars i')).transitionDuration"
    assert opened().evaluate(moving) == "0.12s"
    assert opened(reduced_motion="reduce").evaluate(moving) == "0s"


def test_paper_has_no_sliders_and_is_white(opened):
    tab = opened(color_scheme="light")
    tab.emulate_media(media="print")
    assert not tab.locator("#try form").is_visible()
    for control in ("nav", ".controls", ".menu", ".screen"):
        assert not tab.locator(control).first.is_visible()
    assert tab.locator(".bars").is_visible()
    assert not tab.locator("#texts details").nth(1).is_visible()


@pytest.mark.parametrize("width", [703, 725], ids=["A4", "letter"])  # upright, less its margins
def test_tables_fit_on_paper(opened, width):
    tab = opened(viewport={"width": width, "height": 1000})
    tab.locator("#differences").check()
    tab.emulate_media(media="print")
    assert not overflow(tab)
    for table in tab.locator(".wide").all():
        assert table.evaluate("each => each.scrollWidth <= each.clientWidth")


def test_malicious_strings_do_nothing(opened, made, tmp_path):
    path = tmp_path / "evil.html"
    path.write_text(report_of(hostile(made)).to_html(), encoding="utf-8", newline="\n")
    tab = opened(path, viewport=TELEPHONE)
    asked = []
    tab.on("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    assert not overflow(tab)
    assert tab.locator("script").count() == 1
    assert tab.locator("img").count() == 0
    assert visible(EVIL + BACKWARDS) in tab.locator("article h4").first.text_content()
    failed, warning = (tab.locator(".note li").nth(place).text_content() for place in (0, 1))
    assert failed.startswith(visible(EVIL + BACKWARDS) + ": ")
    assert warning == visible(EVIL)
    words(tab, 0).first.focus()
    assert tip(words(tab, 0).first).is_visible()
    # A model's title is the last part of its name, and a formula begins with a backslash.
    end = visible(EVIL + BACKWARDS).rpartition("\\")[2]
    assert tab.evaluate("document.title") == f"Entropy comparison report: {end}"
    assert asked == []


def test_the_expression_can_be_copied(opened):
    tab = opened(permissions=["clipboard-read", "clipboard-write"])
    tab.locator("#p").fill("0.9")
    tab.locator("#copy").click()
    playwright.expect(tab.locator("#copy")).to_have_text("Copied")
    assert tab.evaluate("navigator.clipboard.readText()") == "top_p(p=0.9)"


def test_a_missing_browser_is_a_failure_where_it_is_required(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setenv("CORELM_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="Debian"):
        chromium()
    monkeypatch.delenv("CORELM_REQUIRE_BROWSER")
    with pytest.raises(pytest.skip.Exception, match=re.escape("package chromium")):
        chromium()
