"""Every control of the live page: by mouse, by keyboard alone, and for assistive technology."""

import json
import re

import pytest
from browsers import TELEPHONE
from pages import findings, pause, position, settled, until, write_to_the_end
from serve_client import served

import corelm
from corelm.testing import ToyModel

pytestmark = pytest.mark.slow

CHAIN = "top_k(k=4) | temperature(t=0.5) | min_p(p=0.1)"
ORDER = "[...document.querySelectorAll('#cards > .card')].map(each => each.dataset.name).join()"


@pytest.mark.parametrize("way", ["mouse", "touch"])
def test_a_card_is_dragged_by_its_name_and_a_slider_for_its_value(opened, way):
    phone = {"viewport": TELEPHONE, "has_touch": True, "is_mobile": True}
    page = opened({"sampler": CHAIN}, **(phone if way == "touch" else {}))
    fingers = page.context.new_cdp_session(page)

    def touch(kind, *points):
        points = [{"x": x, "y": y} for x, y in points]
        fingers.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})

    def drag(start, end):
        if way == "touch":
            touch("Start", start), touch("Move", end), touch("End")
        else:
            page.mouse.move(*start), page.mouse.down(), page.mouse.move(*end), page.mouse.up()

    def place(selector, share=0.5):
        page.locator(selector).scroll_into_view_if_needed()
        box = page.locator(selector).bounding_box()
        return box["x"] + box["width"] * share, box["y"] + box["height"] / 2

    drag(place("[data-name=min_p] strong"), place("[data-name=top_k] strong"))
    until(page, f"{ORDER} === 'min_p,top_k,temperature'")
    until(page, "document.getElementById('expression').value.startsWith('min_p(p=0.1) | top_k')")
    drag(place("[data-name=min_p] strong"), place("[data-name=temperature] strong"))
    until(page, f"{ORDER} === 'top_k,temperature,min_p'")
    page.click("[data-name=temperature] .open")
    slider = "[data-name=temperature] input[type=range]"
    drag(place(slider, 0.25), place(slider, 0.75))
    until(page, "/temperature\\(t=1\\.[45]/.test(document.getElementById('expression').value)")
    assert page.evaluate(ORDER) == "top_k,temperature,min_p"


def test_a_card_in_a_card_is_dragged_in_its_own_list(opened):
    page = opened({"sampler": "phase(start='a', inside=top_k(k=2) | min_p(p=0.5)) | greedy"})
    page.drag_and_drop("[data-name=min_p] strong", "[data-name=top_k] .help")
    until(page, "/inside=min_p.* \\| top_k/.test(document.getElementById('expression').value)")
    page.drag_and_drop("[data-name=min_p] strong", "[data-name=greedy] .help")
    assert page.evaluate(ORDER) == "phase,greedy"


def test_the_other_controls_by_mouse(opened, tmp_path):
    page = opened()
    page.click("#tour-open")
    page.click("#tour-next")
    page.wait_for_selector("#cards [data-name=stochastic]")
    page.click("#tour-back")
    page.wait_for_selector("#cards [data-name=greedy]")
    page.click("#tour-close")
    page.select_option("#preset", index=1)
    until(page, "!document.getElementById('expression').value.startsWith('greedy')")
    page.fill("#expression", "stochastic")
    page.wait_for_selector("#cards [data-name=stochastic]")
    page.click("#columns tbody tr:nth-child(2) button")
    position(page, 2)
    page.click("#new-seed")
    position(page, 1)
    page.fill("#seed", "5")
    page.keyboard.press("Enter")
    page.click("#draw")
    position(page, 2)
    drawn = corelm.generate(ToyModel(), "the", sampler="stochastic", seed=5, length=1)
    assert page.inner_text("#words").strip() == drawn[0].text.strip()
    page.fill("#prompt", "the cat")
    position(page, 1)
    page.select_option("#model", "cats")
    settled(page)
    named = [page.inner_text(part) for part in ("#draw", "#columns", "#next-title")]
    assert all("token" in text and "word" not in text.lower() for text in named), named
    held = []
    page.route("**/api/write", lambda route: held.append(route))
    page.click("#write")
    page.click("#stop")  # while the first words are on their way, which are dropped
    settled(page)
    page.unroute("**/api/write")
    position(page, 1)
    page.select_option(
        "#decoder", label="likeliest: Take the likeliest token that is left at each step."
    )
    page.click("#restart")
    write_to_the_end(page)
    alike = corelm.generate(ToyModel(end=False), "the cat", sampler="greedy", length=100)
    assert page.inner_text("#words").split() == alike[0].text.split()
    page.click("#paste-open")
    page.fill("#paste-text", "{")
    page.click("#paste-use")
    until(page, "document.getElementById('paste-error').textContent")
    page.fill("#paste-text", '{"temp": 0.7, "rep_pen": 1.1}')
    page.click("#paste-use")
    page.wait_for_selector("#cards [data-name=repetition_penalty]")
    page.click("#paste-open")
    page.click("#paste-close")
    for form, begins in {
        "SVG": b"<?xml",
        "PDF": b"%PDF",
        "PNG": b"\x89PNG",
        "CSV": b'"token"',
    }.items():
        page.click("#next .menu > button")
        with page.expect_download() as saved:
            page.click(f"#next .menu [role=menuitem]:has-text('{form}')")
        assert saved.value.suggested_filename == f"corelm-play.{form.lower()}"
        assert saved.value.path().read_bytes().startswith(begins)


def tab_to(page, selector, key="Tab"):
    """Press Tab until an element has the focus."""
    for _ in range(120):
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
        page.keyboard.press(key)
    pytest.fail(f"Tab does not reach {selector}")


def press(page, selector, *keys):
    tab_to(page, selector)
    for key in keys:
        page.keyboard.press(key)


def test_every_control_by_keyboard_alone(opened):
    page = opened({"sampler": CHAIN})
    shows = "document.getElementById('expression').value"
    press(page, "#model", "ArrowDown")
    until(page, "document.getElementById('model').value === 'cats'")
    press(page, "#add", *"greed")
    assert page.locator("#cards > .card").count() == 3  # keys pass by other samplers
    page.keyboard.press("Enter")
    until(page, f"{shows}.endsWith('| greedy')")
    press(page, "[data-name=top_k] [role=switch]", "Space")
    until(page, f"{shows}.startsWith('temperature')")
    press(page, "[data-name=temperature] .open", "Enter")
    press(page, "[data-name=temperature] [aria-label*=later]", "Enter")
    until(page, f"{shows} === 'min_p(p=0.1) | temperature(t=0.5) | greedy'")
    tab_to(page, "[data-name=greedy] [aria-label*=out]")  # a sampler is added open
    page.keyboard.press("Enter")
    until(page, f"{shows} === 'min_p(p=0.1) | temperature(t=0.5)'")
    press(page, "[data-name=temperature] input[type=range]", "ArrowRight", "PageUp")
    until(page, f"/t=0\\.[6-9]/.test({shows})")
    press(page, "[data-name=temperature] input.number", "Control+a", *"1.5", "Enter")
    until(page, f"/t=1\\.5/.test({shows})")
    press(page, "#expression", "Control+a")
    page.keyboard.type("stochastic")
    page.wait_for_selector("#cards [data-name=stochastic]")
    press(page, "#prompt", "Control+a")
    page.keyboard.type("the dog")
    press(page, "#draw", "Enter", "Enter")
    position(page, 3)
    press(page, "#undo", "Enter")
    position(page, 2)
    press(page, "#columns tbody tr:nth-child(3) button", "Enter")
    position(page, 3)
    press(page, "#next .menu > button", "ArrowDown")
    until(page, "document.activeElement.matches('[role=menuitem]')")
    page.keyboard.press("End")
    with page.expect_download() as saved:
        page.keyboard.press("Enter")
    assert saved.value.suggested_filename == "corelm-play.csv"
    branches_and_sides(page)


def branches_and_sides(page):
    """Walk the branches, compare two chains and open the dialogs, by keyboard alone."""
    tab_to(page, "#branches [role=treeitem]", "Shift+Tab")
    before = page.inner_text("#words")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    until(page, "b => document.querySelector('#words').innerText !== b", before)
    tab_to(page, "#seed", "Shift+Tab")
    for key in ("Control+a", *"12", "Enter"):
        page.keyboard.press(key)
    position(page, 1)
    tab_to(page, "#compare", "Shift+Tab")
    page.keyboard.press("Enter")
    press(page, "#paste-open-b", "Enter")
    until(page, "document.getElementById('paste').contains(document.activeElement)")
    page.keyboard.type(json.dumps({"temp": 0.3}))
    press(page, "#paste-use", "Enter")
    until(page, "document.getElementById('expression-b').value.includes('0.3')")
    tab_to(page, "#take-open", "Shift+Tab")
    page.keyboard.press("Enter")
    press(page, "input[name=form]", "ArrowDown", "ArrowDown")
    both = [page.input_value("#expression"), page.input_value("#expression-b")]
    assert page.input_value("#take-text").split("\n\n") == both
    page.keyboard.press("Escape")
    assert page.is_hidden("#take")


def found_by_axe(page):
    """Return the rules that a page breaks, with the contrasts in the dark."""
    light = findings(page)
    page.emulate_media(color_scheme="dark")
    dark = findings(page, runOnly=["color-contrast"])
    page.emulate_media(color_scheme="light")
    return light + dark


def test_nothing_is_found_by_axe(opened):
    chain = "phase(start='the', inside=top_k(k=2)) | greedy | temperature(t=0.7) | top_p"
    page = opened({"sampler": chain, "model": "cats"}, reduced_motion="reduce")
    until(page, "document.getElementById('chain-notes').textContent.includes('can change nothing')")
    page.uncheck("[data-name=top_p] [role=switch]")
    settled(page)
    assert found_by_axe(page) == []
    page.fill("#expression", "stochastic")
    page.wait_for_selector("#cards > [data-name=stochastic]")
    write_to_the_end(page)
    page.locator(".word").first.click()
    page.wait_for_selector("#alternatives li button")
    assert found_by_axe(page) == []
    page.locator("#alternatives li button:not(.current)").first.click()
    settled(page)
    for control in ("#undo", "#compare", "#tour-open"):
        page.click(control)
    settled(page)
    page.click("#next .menu > button")
    page.fill("#expression", "temperatur")
    until(page, "document.getElementById('expression-error').textContent")
    assert found_by_axe(page) == []
    page.click("#draws")
    page.click("#ahead-open")
    page.wait_for_selector("#ahead [role=treeitem]")
    page.click("#columns thead .name")
    page.wait_for_selector("#arithmetic table")
    page.click("#lessons-open")
    page.click("#tour-next")
    settled(page)
    assert found_by_axe(page) == []
    for name in ("take", "paste"):
        page.click(f"#{name}-open")
        assert findings(page) == []
        page.click(f"#{name}-close")


def test_words_are_typed_into_the_text_at_the_caret(opened):
    page = opened({"sampler": "stochastic", "model": "cats"})
    write_to_the_end(page)
    page.locator(".word").nth(2).click()
    page.click("#alternatives button:has-text('Go back')")
    position(page, 3)
    page.fill(".caret", "dog saw")
    page.keyboard.press("Enter")
    position(page, 5)
    words = page.inner_text("#words").split()
    assert words[2:4] == ["dog", "saw"]
    assert page.evaluate("document.activeElement.className") == "caret"
    assert page.input_value(".caret") == ""
    assert page.locator("#branches [role=treeitem]").count() == 2


def test_a_draw_follows_words_that_are_typed(opened):
    page = opened({"sampler": "stochastic", "model": "cats"})
    page.fill(".caret", "cat saw")
    page.evaluate(
        """() => {
          const caret = document.querySelector(".caret");
          caret.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
          document.getElementById("draw").click();  // before the ids of the words are there
        }"""
    )
    position(page, 4)
    assert page.inner_text("#words").split()[:2] == ["cat", "saw"]


def test_a_value_out_of_range_is_named_and_nothing_is_drawn(opened):
    page = opened({"sampler": "top_k(k=4)"})
    page.fill("#cards input.number", "-1")
    page.press("#cards input.number", "Enter")
    until(page, "document.getElementById('expression-error').textContent")
    assert "k must be" in page.inner_text("#expression-error")
    page.click("#draw")
    until(page, "document.getElementById('announcer').textContent.includes('k must be')")
    assert page.locator(".word").count() == 0
    page.fill("#cards input.number", "3")
    page.press("#cards input.number", "Enter")
    until(page, "document.getElementById('expression').value === 'top_k(k=3)'")
    page.click("#draw")
    position(page, 2)


def test_walking_along_the_words_shows_what_was_possible(opened):
    page = opened({"sampler": "stochastic", "model": "cats"})
    write_to_the_end(page)
    tab_to(page, ".word")
    page.wait_for_selector("#alternatives li button")
    first = page.inner_text("#alternatives")
    page.keyboard.press("ArrowRight")
    until(page, "f => document.getElementById('alternatives').innerText !== f", first)
    assert page.evaluate("document.activeElement.dataset.at") == "1"


def test_a_prompt_that_cannot_begin_a_text_is_told_below_it(opened):
    page = opened()
    page.fill("#prompt", "")
    pause(page, 300)
    settled(page)
    assert page.inner_text("#columns tbody tr:first-child button")  # an empty text has a next word
    page.fill("#prompt", "the " * 40_000)
    until(page, "document.getElementById('prompt-error').textContent")
    assert "at most" in page.inner_text("#prompt-error")
    page.fill("#prompt", "the cat")
    until(page, "!document.getElementById('prompt-error').textContent")


def test_bars_have_the_lengths_of_their_numbers(opened):
    page = opened({"sampler": CHAIN}, reduced_motion="reduce")
    found = page.eval_on_selector_all(
        "#columns tbody td",
        "all => all.map(e => [Number(e.dataset.p), e.firstChild.getBoundingClientRect().width])",
    )
    longest, width = max(found)
    assert width > 40
    for p, wide in found:
        assert wide == pytest.approx(width * p / longest, abs=1.1), p


def test_human_text_has_a_band_on_the_scale_of_surprisal_where_it_was_measured(opened):
    page = opened({"model": "cats", "sampler": "stochastic"})
    write_to_the_end(page)
    shown = float(page.get_attribute("#mean-text", "data-surprisal"))
    words = page.eval_on_selector_all(".word", "all => all.map(e => e.getAttribute('aria-label'))")
    nats = [float(re.search(r"surprisal ([\d.]+)", word)[1]) for word in words]
    assert shown == pytest.approx(sum(nats) / len(nats), abs=0.005)
    assert page.inner_text("#mean-human") == "human text: 1.20"
    assert "95 % interval 1.10 to 1.30" in page.inner_text("#human-note")
    strips = page.locator(".strip.with-human")
    assert strips.count() == 1 + page.locator("#columns thead tr.expected td").count()
    assert page.locator("#columns tr.entropy .with-human").count() == 0
    page.select_option("#model", "toy")
    until(page, "!document.querySelector('.with-human')")
    assert page.is_hidden("#human-note")


def test_a_sampler_that_hangs_is_named_on_its_card_and_the_page_goes_on(opened):
    with served({"toy": ToyModel()}, "a-token", stall=5) as address:
        page = opened(address=address)
        page.fill("#expression", "top_k(k=4) | hangs(seconds=20.0)")
        until(page, "document.getElementById('chain-error').textContent")
        assert page.locator("#cards > .faulty").get_attribute("data-name") == "hangs"
        fault = page.inner_text("#chain-error")
        assert fault == "hangs(seconds=20.0) took more than 5 seconds, and was given up"
        page.click("#cards [aria-label='take hangs out']")
        until(page, "!document.getElementById('chain-error').textContent")
        page.click("#draw")
        position(page, 2)
        page.close()
