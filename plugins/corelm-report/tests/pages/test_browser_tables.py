"""The tables and the pictures of the page in a real browser: sort, filter, fold, switch, save."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browsers import TELEPHONE, overflow
from documents import report_of

import corelm
from corelm.testing import ToyModel

pytestmark = pytest.mark.slow
WIDE = {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def swept() -> dict[str, Any]:
    """A report of a sweep of 20 settings and two other samplers, with human text."""
    return corelm.compare(
        ToyModel(),
        ["greedy", "temperature(t=0.1..2.0/20)", "uniform"],
        prompts="the",
        n=32,
        length=8,
        reference=[
            *("the cat sat on the mat", "the dog sat", "the cat ran", "the mat", "the dog ran"),
            *("the cat sat", "the dog sat on the cat", "the mat sat", "the cat", "the dog"),
        ],
        against="uniform",
    ).to_dict()


@pytest.fixture(scope="module")
def written(swept: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "a sweep.html"
    path.write_text(report_of(swept).to_html(), encoding="utf-8", newline="\n")
    return path


def names(tab: Any, table: int = 2) -> list[str]:
    """The names of the visible rows of a table, without headings of sweeps."""
    rows = tab.locator(".figures").nth(table).locator("tbody tr:not(.sweep):visible th bdi")
    return [text.strip() for text in rows.all_inner_texts()]


def sampler(entry: dict[str, Any]) -> str:
    return str(entry["sampler"])


def test_a_click_on_a_heading_sorts_and_the_third_returns_to_the_order_of_the_report(opened, swept):
    tab = opened(viewport=WIDE)
    before = names(tab)
    assert before == ["human text", *map(sampler, swept["samplers"])]
    term = tab.locator(".figures").nth(2).locator(".term").first
    term.click()
    assert sorted(names(tab)) == sorted(before)
    cells = tab.locator(".figures").nth(2).locator("tbody tr:not(.sweep, .human):visible")
    shown = cells.locator("td:nth-child(2)").all_inner_texts()
    numbers = [float(re.match(r"[\d.]+", text)[0]) for text in shown]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == len(swept["samplers"])
    column = tab.locator(".figures").nth(2).locator("th[aria-sort]")
    assert column.get_attribute("aria-sort") == "descending"
    assert not tab.locator(".figures").nth(2).locator(".sweep").is_visible()
    term.click()
    assert column.get_attribute("aria-sort") == "ascending"
    assert names(tab)[1] in ("greedy", "temperature(t=0.1)")
    term.click()
    assert names(tab) == before
    assert column.count() == 0


def test_the_keyboard_sorts(opened):
    tab = opened(viewport=WIDE)
    term = tab.locator(".figures").nth(2).locator(".term").first
    term.focus()
    tab.keyboard.press("Enter")
    assert names(tab)[1] == "uniform"
    tab.keyboard.press(" ")
    assert names(tab)[-1] == "uniform"


def test_a_filter_keeps_rows_and_texts_with_all_parts(opened):
    tab = opened(viewport=WIDE)
    field = tab.get_by_label("Filter samplers")
    field.fill("temp 1.5")
    for table in range(4):
        shown = names(tab, table)
        assert [name for name in shown if name != "human text"] == ["temperature(t=1.5)"]
    assert tab.locator("article:visible h4").all_inner_texts() == ["temperature(t=1.5)"]
    assert tab.locator("#filter output").inner_text() == "1 of 22"
    field.fill("nothing like it")
    assert tab.locator("#filter output").inner_text() == "0 of 22"
    assert not tab.locator(".sweep:visible").count()
    field.fill("")
    assert len(names(tab)) == 23
    field.press("Enter")
    assert tab.url.endswith(".html")


def test_a_sweep_folds_by_mouse_and_by_keyboard(opened):
    tab = opened(viewport=WIDE)
    button = tab.get_by_role("button", name="temperature(t=0.1..2.0/20) 20 settings").nth(2)
    button.click()
    assert names(tab) == ["human text", "greedy", "uniform"]
    assert button.get_attribute("aria-expanded") == "false"
    button.focus()
    tab.keyboard.press("Enter")
    assert len(names(tab)) == 23
    assert button.get_attribute("aria-expanded") == "true"


@pytest.mark.parametrize("scripts", [True, False])
def test_one_switch_shows_all_differences(opened, scripts):
    tab = opened(viewport=WIDE, java_script_enabled=scripts)
    differences = tab.locator(".figures .difference")
    assert differences.count() > 100
    assert not tab.locator(".difference:visible").count()
    switch = tab.get_by_role("switch", name="Show differences from uniform")
    switch.focus()
    tab.keyboard.press(" ")
    assert tab.locator(".difference:visible").count() == differences.count()
    assert tab.locator(".explained").is_visible()
    weights = "all => [...new Set(all.map(each => getComputedStyle(each).fontWeight))]"
    assert tab.locator(".difference.clear").evaluate_all(weights) == ["700"]
    assert tab.locator(".difference:not(.clear)").evaluate_all(weights) == ["400"]


@pytest.mark.parametrize("width", [1280, 800, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_width_scrolls_sideways(opened, width, scheme):
    tab = opened(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab.locator("#differences").check()
    assert not overflow(tab)
    if width == 1280:
        for table in tab.locator(".wide").all():
            assert table.evaluate("each => each.scrollWidth <= each.clientWidth")


def test_on_a_telephone_a_cell_with_a_large_figure_wraps(opened):
    tab = opened(viewport=TELEPHONE)
    tab.locator("#differences").check()
    tab.locator(".figures td[data-label] small").evaluate_all(
        "all => all.forEach(each => { each.textContent = '±1,234,567,890' })"
    )
    for button in tab.locator("#table .unfold:visible").all():
        button.click()
    for table in tab.locator(".wide").all():
        assert table.evaluate("each => each.scrollWidth <= each.clientWidth")


def test_on_a_telephone_a_row_is_a_folded_card(opened):
    tab = opened(viewport=TELEPHONE, has_touch=True)
    assert tab.locator("#table").bounding_box()["height"] < 8_000  # four tables of 23 rows
    table = tab.locator(".figures").nth(2)
    row = table.locator("tbody tr").filter(has_text="uniform")
    cells = row.locator("td:visible")
    assert cells.count() == 0
    table.locator("caption button").tap()  # only the first table is open
    assert cells.count() == 1
    button = row.get_by_role("button", name="All figures of uniform")
    button.tap()
    assert cells.count() == 10
    assert button.get_attribute("aria-expanded") == "true"
    assert not overflow(tab)
    button.focus()
    tab.keyboard.press("Enter")
    assert cells.count() == 1


def test_on_a_telephone_a_long_sweep_is_closed_at_first(opened):
    assert len(names(opened(viewport=WIDE), 0)) == 22
    tab = opened(viewport=TELEPHONE, has_touch=True)
    assert len(names(tab, 0)) == 2
    button = tab.locator(".sweep .unfold").first
    assert button.get_attribute("aria-expanded") == "false"
    button.tap()
    assert len(names(tab, 0)) == 22
    assert button.get_attribute("aria-expanded") == "true"


def test_on_a_telephone_a_text_shows_its_first_lines(opened):
    tab = opened(viewport=TELEPHONE, has_touch=True)
    height = "each.getBoundingClientRect().height"
    lines = f"each => {height} / parseFloat(getComputedStyle(each).lineHeight)"
    text = tab.locator("article").nth(20)
    words = text.locator(".words")
    assert not words.is_visible()  # more texts than a telephone should show at first
    tab.locator("#texts summary").first.tap()
    long = "each => each.append(' and so on'.repeat(60))"
    words.evaluate(long)
    assert round(words.evaluate(lines)) == 2
    text.get_by_role("button", name="Whole text of ").tap()
    assert round(words.evaluate(lines)) > 10
    text.get_by_role("button", name="Whole text of ").tap()
    words.locator("> span").first.tap()
    assert round(words.evaluate(lines)) > 10  # a word that is looked at shows all of its text
    assert not overflow(tab)


def test_without_a_script_nothing_is_folded(opened):
    tab = opened(viewport=TELEPHONE, java_script_enabled=False)
    row = tab.locator(".figures").nth(2).locator("tbody tr").filter(has_text="uniform")
    assert row.locator("td:visible").count() == 10
    assert not tab.locator("#filter").is_visible()
    assert not tab.locator(".menu").count()
    assert not tab.get_by_text("press Enter to sort").is_visible()


def saved(tab: Any, form: str) -> tuple[str, bytes]:
    """The name and the content of a file that the open menu saves."""
    with tab.expect_download() as download:
        tab.locator("[role=menuitem]:visible").filter(has_text=form).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_menu_of_a_picture_saves_it_in_the_colours_of_paper(opened, scheme):
    from PIL import Image

    tab = opened(viewport=WIDE, color_scheme=scheme)
    button = tab.get_by_role("button", name="Save Surprisal against diversity")
    button.click()
    name, svg = saved(tab, "SVG")
    assert name == "surprisal-against-diversity.svg"
    assert b"var(" not in svg
    assert b"#00796b" in svg
    assert b'xmlns="http://www.w3.org/2000/svg"' in svg
    button.click()
    name, png = saved(tab, "PNG")
    assert name == "surprisal-against-diversity.png"
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    assert picture.size == (440 * 4, 330 * 4)
    assert picture.getpixel((2, 2)) == (255, 255, 255)
    pixels = np.asarray(picture).reshape(-1, 3)
    for colour in ((0, 121, 107), (168, 67, 11), (29, 43, 46)):  # a mark, human text, letters
        assert (np.abs(pixels.astype(int) - colour).max(axis=1) < 8).any(), colour
    button.click()
    name, csv = saved(tab, "CSV")
    assert name == "surprisal-against-diversity.csv"
    header, *rows = csv.decode().splitlines()
    assert header.startswith("sampler,diversity,diversity_low,diversity_high,surprisal,")
    assert [row.split(",")[0] for row in rows][:3] == ["human", "greedy", "temperature(t=0.1)"]


def test_the_png_is_the_picture_of_the_page(opened):
    from PIL import Image

    tab = opened(viewport=WIDE, color_scheme="light")
    tab.get_by_role("button", name="Save Along the sweep").click()
    _, png = saved(tab, "PNG")
    shown = Image.open(io.BytesIO(tab.locator("figure svg").first.screenshot()))
    own = Image.open(io.BytesIO(png)).convert("L").resize(shown.size)
    difference = np.abs(np.asarray(own, int) - np.asarray(shown.convert("L"), int))
    assert (difference > 64).mean() < 0.02


def test_the_menu_obeys_the_keyboard(opened):
    tab = opened(viewport=WIDE)
    button = tab.get_by_role("button", name="Save Along the sweep")
    items = tab.locator("[role=menuitem]:visible")
    button.focus()
    tab.keyboard.press("ArrowDown")
    assert items.count() == 4
    assert button.get_attribute("aria-expanded") == "true"
    for _ in range(3):
        tab.keyboard.press("ArrowDown")
    assert tab.evaluate("document.activeElement.firstChild.data") == "CSV"
    with tab.expect_download() as download:
        tab.keyboard.press("Enter")
    assert download.value.suggested_filename == "figures-of-sweeps.csv"
    assert not items.count()
    tab.keyboard.press("Enter")
    assert items.count() == 4
    tab.keyboard.press("Escape")
    assert not items.count()
    assert button.evaluate("each => each === document.activeElement")


def test_a_picture_alone_is_printed_as_pdf(opened):
    tab = opened(viewport=WIDE)
    tab.evaluate("window.print = () => { window.asked = true; }")
    tab.get_by_role("button", name="Save Along the sweep").click()
    tab.locator("[role=menuitem]:visible").filter(has_text="PDF").click()
    assert tab.evaluate("window.asked")
    tab.emulate_media(media="print")
    assert [figure.is_visible() for figure in tab.locator("figure").all()].count(True) == 1
    assert not tab.locator("h1, h2, table").filter(visible=True).count()
    assert tab.pdf().count(b"/Type /Page\n") == 1
    tab.evaluate("dispatchEvent(new Event('afterprint'))")
    assert tab.locator("figure svg").filter(visible=True).count() > 1


def test_folded_settings_are_printed(opened):
    tab = opened(viewport=WIDE)
    tab.locator(".sweep .unfold").nth(2).click()
    tab.emulate_media(media="print")
    assert len(names(tab)) == 23
    assert tab.locator(".sweep bdi").nth(2).is_visible()
    assert not tab.locator(".menu > button").first.is_visible()
