"""The layout of the live page: what is in view, what moves, and what can be seen and reached."""

from itertools import pairwise, product

import pytest
from browsers import PATIENCE
from pages import pause, position, settled, until, write_to_the_end
from serve_client import served

import corelm

pytestmark = pytest.mark.slow

CHAIN = "top_k(k=4) | temperature(t=0.5) | min_p(p=0.1)"
LAPTOP = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 400, "height": 800}, "has_touch": True}
LANDSCAPE = {"viewport": {"width": 800, "height": 400}, "has_touch": True, "is_mobile": True}
BOX = "s => document.querySelector(s).getBoundingClientRect().toJSON()"


def box(page, selector):
    return page.evaluate(BOX, selector)


@pytest.mark.parametrize("chain", ["temperature(t=0.7)", corelm.presets()["llama.cpp"]])
def test_text_chain_and_bars_are_in_view_on_a_laptop(opened, chain):
    page = opened({"sampler": chain}, **LAPTOP)
    page.click("#draw")
    settled(page)
    assert page.evaluate("scrollY") == 0
    assert box(page, "#columns")["bottom"] <= 800
    assert box(page, "#words")["bottom"] <= 800
    assert box(page, "#text")["right"] < box(page, "#next")["left"]  # beside each other


def test_two_chains_stand_side_by_side_with_headings_in_order(opened):
    sides = [{"sampler": "top_k(k=4)"}, {"sampler": "uniform"}]
    page = opened({"compare": True, "sides": sides})
    settled(page)
    for width, chain in ((1280, "greedy"), (900, "stochastic")):
        page.set_viewport_size({"width": width, "height": 800})
        one, other = box(page, "#panel"), box(page, "#panel-b")
        assert one["top"] == other["top"] >= box(page, "#text")["bottom"]
        assert one["right"] < other["left"]
        page.fill("#expression-b", chain)
        page.wait_for_selector(f"#cards-b [data-name={chain}]")
        assert page.is_visible("#cards [data-name=top_k]")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    levels = page.eval_on_selector_all(
        "h1, h2, h3, h4", "all => all.filter(e => !e.closest('dialog')).map(e => +e.tagName[1])"
    )
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_a_phone_shows_the_column_that_is_drawn_from_and_words_are_drawn_by_touch(opened):
    page = opened({"sampler": CHAIN}, **PHONE)
    head, last = box(page, "#columns thead th"), box(page, "#columns thead th:last-child")
    assert head["right"] - 1 <= last["left"] < last["right"] <= 401
    page.evaluate("document.querySelector('.wide').scrollLeft = 0")  # as by swiping
    pause(page, 200)
    model = box(page, "#columns thead th:nth-child(2)")
    assert head["right"] - 1 <= model["left"] < model["right"] <= 401
    page.tap("#draw")
    position(page, 2)
    page.tap("#columns tbody tr:nth-child(2) button")
    position(page, 3)


def test_a_phone_held_across_shows_text_and_distribution(opened):
    page = opened({"sampler": CHAIN}, **LANDSCAPE)
    assert box(page, "#words")["top"] < 300
    assert box(page, "#columns tbody tr:nth-child(2)")["bottom"] <= 400
    assert box(page, "#text")["right"] < box(page, "#next")["left"]


INK = """() => {
  const ink = (element) => {
    const range = document.createRange();
    range.selectNodeContents(element);
    return range.getBoundingClientRect();
  };
  const words = [...document.querySelectorAll("#words .word")];
  return words.slice(1).flatMap((word, at) => {
    if (!/^[.,!?]$/.test(word.textContent)) return [];
    const [before, mark] = [ink(words[at]), ink(word)];
    return [[mark.left - before.right, mark.bottom - before.bottom]];
  });
}"""


def test_a_mark_of_punctuation_stays_at_its_word_on_a_phone(browser):
    with served({"imdb": corelm.load("imdb")}, "a-token") as address:
        page = browser.new_page(**PHONE)
        page.set_default_timeout(PATIENCE)
        page.goto(f"{address}/play?token=a-token")
        page.wait_for_selector("#columns tbody tr")
        write_to_the_end(page)
        for width in range(360, 420, 3):
            page.set_viewport_size({"width": width, "height": 800})
            places = page.evaluate(INK)
            assert len(places) > 3
            assert [place for place in places if max(map(abs, place)) >= 1] == [], width
        page.close()


def test_forced_colors_keep_the_marks_of_surprisal(opened):
    page = opened({"sampler": "uniform", "model": "cats"}, forced_colors="active")
    write_to_the_end(page)
    marks = page.eval_on_selector_all(
        "#words .word",
        """all => all.map(e => [e.className.match(/s(\\d)/)[1],
             parseFloat(getComputedStyle(e).borderBottomWidth)])""",
    )
    widths = {int(shade): width for shade, width in marks}
    assert len(widths) >= 2
    assert [widths[shade] for shade in sorted(widths)] == sorted(widths.values())
    assert widths[0] == 0 < max(widths.values())


def test_words_lie_over_the_bars_that_scroll_behind_them(opened):
    page = opened({"sampler": CHAIN}, viewport={"width": 500, "height": 800})
    page.evaluate("document.querySelector('.wide').scrollLeft = 30")
    over = page.evaluate(
        """() => [...document.querySelectorAll("#columns tbody th")].map(th => {
             th.scrollIntoView({ block: "center", behavior: "instant" });
             const { left, top, height } = th.getBoundingClientRect();
             return th.contains(document.elementFromPoint(left + 60, top + height / 2));
           })"""
    )
    assert all(over)


def test_the_mark_of_the_next_word_keeps_clear_of_the_bars(opened):
    page = opened({"prompt": "the", "sampler": "stochastic"}, **LAPTOP)
    page.evaluate("document.querySelector('.drawn .take').textContent = 'extraordinarily'")
    mark, bar = box(page, ".drawn small"), box(page, ".drawn .bar")
    assert mark["right"] <= bar["left"]


def test_the_focus_stays_when_a_word_is_taken(opened):
    page = opened({"sampler": "stochastic", "model": "cats"})
    page.locator("#columns tbody button").nth(3).focus()
    page.keyboard.press("Enter")
    position(page, 2)
    assert page.evaluate("document.activeElement.matches('#columns .take')")
    page.locator(".word").first.click()
    page.wait_for_selector("#alternatives li button:not(.current)")
    page.locator("#alternatives li button:not(.current)").first.focus()
    page.keyboard.press("Enter")
    settled(page)
    pause(page, 50)
    assert page.evaluate("document.activeElement.matches('.word')")


def test_one_press_of_an_arrow_changes_a_whole_number(opened):
    page = opened({"sampler": "top_k(k=1)"})
    page.focus("#cards input[type=range]")
    page.keyboard.press("ArrowRight")
    until(page, "document.getElementById('expression').value === 'top_k(k=2)'")
    page.keyboard.press("ArrowLeft")
    until(page, "document.getElementById('expression').value === 'top_k(k=1)'")


LUMINANCE = """() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number)
      .map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const of = (selector) =>
    light(getComputedStyle(document.querySelector(selector)).backgroundColor);
  return [of("#columns .bar"), of("body")];
}"""


def test_bars_have_a_contrast_of_three_to_one_also_in_forced_colors(opened):
    page = opened({"sampler": CHAIN})
    for scheme, colors in product(("light", "dark"), ("none", "active")):
        page.emulate_media(color_scheme=scheme, forced_colors=colors)
        dark, light = sorted(page.evaluate(LUMINANCE))
        assert (light + 0.05) / (dark + 0.05) >= 3, (scheme, colors)


@pytest.mark.parametrize("phone", [PHONE, LANDSCAPE])
def test_targets_on_a_phone_are_24_pixels_wide_and_high(opened, phone):
    page = opened({"sampler": CHAIN, "model": "cats"}, **phone)
    write_to_the_end(page)
    page.click("#cards .open")
    page.locator(".word").nth(2).tap()
    page.wait_for_selector("#alternatives li button")
    card = box(page, "#alternatives")
    assert 0 <= card["left"] < card["right"] <= phone["viewport"]["width"]
    small = page.eval_on_selector_all(
        "button, select, textarea, input",
        """all => all.filter(e => e.checkVisibility()).map(e => [e.outerHTML.slice(0, 80),
             e.getBoundingClientRect().width, e.getBoundingClientRect().height])
             .filter(([, width, height]) => width < 23.9 || height < 23.9)""",
    )
    assert small == []


def test_nothing_shifts_when_the_page_loads_or_a_note_comes(opened):
    page = opened({"sampler": "temperature(t=0.7) | greedy"}, **LAPTOP)
    before = box(page, "#columns")["top"]
    until(page, "document.getElementById('chain-notes').textContent")
    assert box(page, "#columns")["top"] == before
    shift = page.evaluate(
        """() => new Promise(done => new PerformanceObserver((list) =>
             done(list.getEntries().reduce((sum, each) => sum + each.value, 0)))
             .observe({ type: "layout-shift", buffered: true })
             ?? setTimeout(() => done(0), 500))"""
    )
    assert shift < 0.1
