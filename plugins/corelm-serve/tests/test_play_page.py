"""The live page in a real browser: by mouse, and by keyboard alone."""

import json
import re
from itertools import product

import numpy as np
import pytest
from pages import pause, position, settled, until, write_to_the_end

import corelm
from corelm.testing import ToyModel

pytestmark = pytest.mark.slow


def text_of(page, side=0):
    return page.locator("#words-b" if side else "#words").inner_text().replace("[end]", "").strip()


def written(sampler, length, seed=1, prompt="the"):
    """Return the text that `corelm sample` writes."""
    found = corelm.generate(ToyModel(), prompt, sampler=sampler, seed=seed, length=length)
    return found[0].text.strip()


def test_every_number_is_pythons(opened):
    page = opened({"sampler": "top_k(k=4) | temperature(t=0.5)"})
    expected = corelm.explain(ToyModel(), "the", "top_k(k=4) | temperature(t=0.5)")
    shown = page.eval_on_selector_all("#columns .figures", "all => all.map(e => e.dataset)")
    assert [float(each["entropy"]) for each in shown] == pytest.approx(
        [stage.entropy for stage in expected.stages], abs=1e-6
    )
    nats = page.eval_on_selector_all(
        "#columns [data-surprisal]", "all => all.map(e => Number(e.dataset.surprisal))"
    )
    model, ends = expected.stages[0].distribution, list(ToyModel().vocabulary.ends)
    for found, stage in zip(nats, expected.stages, strict=True):
        q = stage.distribution.copy()
        q[ends] = 0  # human text, which it is compared with, has no end
        nats = -q[q > 0] @ np.log(model[q > 0]) / q.sum()
        assert found == pytest.approx(nats, abs=1e-6)
    assert [int(each["kept"]) for each in shown] == [s.tokens_kept for s in expected.stages]
    rows = page.eval_on_selector_all(
        "#columns tbody tr",
        """rows => rows.map(row => [row.querySelector('button').textContent,
                                    ...[...row.querySelectorAll('td')].map(td => td.dataset.p)])""",
    )
    for word, *shares in rows:
        if word.isalpha():
            trace = expected.trace(word)
            assert [float(p) for p in shares] == pytest.approx(trace.probabilities, abs=1e-6)


def test_cards_are_added_moved_switched_off_and_taken_out(opened):
    page = opened()
    page.select_option("#add", "greedy")
    until(page, "document.getElementById('expression').value === 'top_k(k=4) | greedy'")
    page.click("#cards [aria-label='move greedy earlier']")
    until(page, "document.getElementById('expression').value === 'greedy | top_k(k=4)'")
    note = "document.getElementById('chain-notes').textContent.includes('can change nothing')"
    until(page, note)
    assert page.locator("#cards > .faulty").count() == 1  # the card of its stage is marked
    page.uncheck("#cards [aria-label='use greedy']")
    until(page, "document.getElementById('expression').value === 'top_k(k=4)'")
    page.click("#cards [aria-label='take greedy out']")
    settled(page)
    assert page.locator("#cards > .card").count() == 1


def test_an_expression_is_read_at_every_key_and_a_mistake_keeps_the_last_chain(opened):
    page = opened()
    page.fill("#expression", "temperatur(t=0.5)")
    until(page, "document.getElementById('expression-error').textContent")
    assert "did you mean 'temperature'" in page.inner_text("#expression-error")
    page.click("#draw")
    position(page, 2)
    page.fill("#expression", "temperature(t=0.5)")
    page.wait_for_selector("#cards [data-name=temperature]")
    assert page.inner_text("#expression-error") == ""


def test_another_word_begins_a_branch(opened):
    page = opened({"sampler": "stochastic"})
    write_to_the_end(page)
    whole = text_of(page)
    page.locator(".word").nth(2).click()
    page.wait_for_selector("#alternatives li button:not(.current)")
    word = page.locator("#alternatives li button:not(.current) span").first.inner_text()
    page.locator("#alternatives li button:not(.current)").first.click()
    settled(page)
    assert text_of(page).split()[2].startswith(word)
    branches = page.locator("#branches [role=treeitem]")
    assert branches.count() == 2
    branches.first.click()
    settled(page)
    assert text_of(page) == whole


def test_two_chains_on_the_same_random_numbers(opened):
    page = opened({"sampler": "top_k(k=4)"})
    page.click("#compare")
    settled(page)
    page.fill("#expression-b", "uniform")
    page.wait_for_selector("#cards-b [data-name=uniform]")
    page.click("#restart")
    write_to_the_end(page)
    assert text_of(page, 0) == written("top_k(k=4)", 100)
    assert text_of(page, 1) == written("uniform", 100)
    assert page.locator(".word.differs").count() == 2
    assert page.is_visible("#cards [data-name=top_k]")  # while the other one is edited


def test_the_tour_by_keyboard_alone(opened):
    page = opened()
    page.focus("#tour-open")
    page.keyboard.press("Enter")
    chains = []
    for _ in range(5):
        settled(page)
        pause(page, 50)
        settled(page)
        chains.append(page.input_value("#expression").partition("(")[0])
        page.keyboard.press("Enter")
    assert chains == ["greedy", "stochastic", "temperature", "uniform", "temperature"]
    assert page.is_hidden("#tour")
    assert page.evaluate("document.activeElement.id") == "tour-open"


def test_keys_draw_walk_and_choose(opened):
    page = opened({"sampler": "stochastic"})
    page.keyboard.press("d")
    position(page, 2)
    page.keyboard.press("e")
    page.wait_for_selector("#stop", state="hidden")
    settled(page)
    page.locator(".word").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.at") == "2"
    page.keyboard.press("Enter")
    page.wait_for_selector("#alternatives li button")
    until(page, "document.getElementById('alternatives').contains(document.activeElement)")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Escape")
    assert page.is_hidden("#alternatives")
    card = page.locator("#cards .card")
    page.select_option("#add", "greedy")
    until(page, "document.querySelectorAll('#cards > .card').length === 2")
    card.nth(1).locator("button").last.focus()
    page.keyboard.press("Alt+ArrowLeft")
    until(page, "document.getElementById('expression').value === 'greedy | stochastic'")


def test_take_away_and_open_again(opened, tmp_path):
    page = opened({"sampler": "stochastic", "seed": 7})
    for drawn in (1, 2, 3, 4):
        page.click("#draw")
        position(page, drawn + 1)
    text = text_of(page)
    page.click("#take-open")
    assert page.input_value("#take-text") == (
        "corelm sample --model 'toy' --sampler 'stochastic' --seed 7 --length 20 'the'"
    )
    page.check("input[name=form][value=link]")
    link = page.input_value("#take-text")
    with page.expect_download() as saved:
        page.click("#take-save")
    file = tmp_path / "state.json"
    saved.value.save_as(file)
    page.click("#take-close")
    page.click("#restart")
    settled(page)
    page.click("#take-open")
    page.set_input_files("#take-file", file)
    position(page, 5)
    assert text_of(page) == text
    other = page.context.new_page()
    other.goto(link)
    position(other, 5)
    assert text_of(other) == text


def test_a_sampler_that_raises_is_named_on_its_card(opened):
    page = opened({"sampler": "top_k(k=4) | raises(at=1)"})
    page.click("#draw")
    until(page, "document.getElementById('chain-error').textContent")
    assert "raises(at=1) failed at step 1" in page.inner_text("#chain-error")
    assert page.locator("#cards > .faulty").get_attribute("data-name") == "raises"
    page.click("#cards [aria-label='take raises out']")
    until(page, "!document.getElementById('chain-error').textContent")


EVIL = '<img src=x onerror="document.title=1"><script>document.title=2</script>'


def test_hostile_texts_execute_nothing(opened, tmp_path):
    page = opened({"prompt": f"the {EVIL}", "sampler": f"ban(words=['{EVIL}'])", "model": EVIL})
    page.fill("#expression", EVIL)
    until(page, "document.getElementById('expression-error').textContent")
    page.fill(".caret", EVIL)
    page.press(".caret", "Enter")
    until(page, "document.getElementById('position').textContent !== 'word 1'")
    file = tmp_path / "evil.json"
    evil = {"prompt": EVIL, "seed": EVIL, "sides": [{"sampler": EVIL, "tokens": [EVIL, 5]}]}
    for content in (json.dumps(evil), "[]", "null", EVIL):
        file.write_text(content)
        page.click("#take-open")
        page.set_input_files("#take-file", file)
        pause(page, 150)
        if page.is_visible("#take"):
            page.click("#take-close")
    assert page.title() == "corelm play"
    assert page.locator("img, iframe").count() == 0


def test_nothing_overflows(opened):
    chain = "phase(start=3, inside=top_k(k=2)) | typical | min_p | temperature(t=1.5)"
    page = opened({"sampler": chain})
    write_to_the_end(page)
    for width in (1280, 800, 400):
        page.set_viewport_size({"width": width, "height": 900})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, scheme


def test_the_lesson_of_order_says_what_engines_do(opened):
    page = opened({"lesson": 3})
    page.click("#tour-next")
    last, first = (
        re.search(
            r"(\S+) and (\S+) put the temperature last.*?; (.*) put it first",
            page.inner_text("#tour-task"),
        )
        .group(0)
        .split("; ")
    )
    for name, expression in corelm.presets().items():
        stages = [stage.name for stage in corelm.sampler(expression).stages]
        at, top = stages.index("temperature"), stages.index("top_k")
        assert name in (last if at > top else first)


def test_the_lesson_of_filters_is_true_of_the_small_models(opened):
    page = opened()
    page.evaluate("location.hash = '%7B%22lesson%22%3A2%7D'")
    until(page, "document.getElementById('tour-text').textContent.includes('nearly certain')")
    sure, unsure = re.findall('"([^"]+)"', page.inner_text("#tour-text"))
    assert page.input_value("#prompt") == sure
    for name, (prompt, few) in product(("imdb", "gpt2"), ((sure, True), (unsure, False))):
        model, *_, last = corelm.explain(corelm.load(name), prompt, "top_p(p=0.9)").stages
        assert bool(model.distribution.max() > 0.8) is few, name
        assert bool(np.count_nonzero(last.distribution) < 10) is few, name


def test_a_link_has_a_lesson(opened):
    page = opened({"lesson": 3, "sampler": "greedy"})
    settled(page)
    assert page.inner_text("#tour-title") == "4 of 5: Order"
    assert page.input_value("#expression") == "greedy"
    page.evaluate("location.hash = '%7B%22lesson%22%3A2%7D'")  # the number alone
    until(page, "document.getElementById('expression').value === 'top_k(k=10)'")
    until(page, "document.getElementById('expression-b').value")  # it is filled after the first
    assert page.input_value("#expression-b") == "top_p(p=0.9)"


def test_the_numbers_of_a_stage_are_pythons_and_follow_the_chain(opened):
    page = opened({"sampler": "temperature(t=0.5) | top_p(p=0.8)"})
    page.click("#columns thead th:nth-child(4) .name")
    until(page, "!document.getElementById('arithmetic').hidden")
    shown = page.eval_on_selector_all(
        "#arithmetic tbody td[data-p]", "all => all.map(e => Number(e.dataset.p))"
    )
    expected = corelm.explain(ToyModel(), "the", "temperature(t=0.5) | top_p(p=0.8)").stages[-1]
    before = corelm.explain(ToyModel(), "the", "temperature(t=0.5)").stages[-1]
    ids = before.ranked_tokens[: len(shown)]
    assert shown == pytest.approx(expected.distribution[ids].tolist(), abs=1e-9)
    assert page.locator("#arithmetic tr.removed s").count() >= 1
    page.fill("#expression", "temperature(t=0.5)")
    until(page, "document.getElementById('arithmetic').hidden")


def test_a_hundred_draws_stand_beside_the_theory(opened):
    page = opened({"sampler": "top_k(k=3)", "seed": 5})
    page.click("#draws")
    until(page, "document.querySelector('.tallied')")
    shares = page.locator("#columns tbody td:last-child .share").all_inner_texts()
    run = corelm.generate(ToyModel(), "the", sampler="top_k(k=3)", n=100, length=1, seed=5)
    counts = [int(found[1]) for text in shares if (found := re.search(r"\((\d+)\)", text))]
    drawn = [text.tokens[0] for text in run]
    assert sorted(filter(None, counts)) == sorted(drawn.count(token) for token in set(drawn))
    page.click("#draws")
    until(page, "!document.querySelector('.tallied')")


def test_a_probability_is_clicked_to_go_on_from_it(opened):
    page = opened({"sampler": "stochastic"})
    row = page.locator("#columns tbody tr").nth(2)
    word = row.locator("button").inner_text()
    row.locator("td").last.click()
    position(page, 2)
    assert text_of(page) == word
