"""The state of the live page: draws, links, reloads and errors belong to what is shown."""

import contextlib
import json
import shlex
import time
from urllib.parse import quote, unquote, urlsplit

import pytest
from pages import pause, position, settled, until, write_to_the_end

import corelm
from corelm.cli.app import main
from corelm.testing import ToyModel

pytestmark = pytest.mark.slow

TWO = {
    "compare": True,
    "sides": [{"sampler": "top_k(k=4)"}, {"sampler": "uniform"}],
}


def words(page, of="words"):
    return page.locator(f"#{of}").inner_text().replace("[end]", "").split()


def fragment(page):
    """Return the state in the address, once it is there."""
    pause(page, 400)
    return json.loads(unquote(urlsplit(page.url).fragment))


CHANGES = {
    "restart": lambda page: page.click("#restart"),
    "new seed": lambda page: page.click("#new-seed"),
    "undo": lambda page: page.click("#undo"),
    "prompt": lambda page: page.fill("#prompt", "the dog"),
    "chain": lambda page: page.fill("#expression", "uniform"),
    "model": lambda page: page.select_option("#model", "toy"),
}


def test_a_draw_that_a_change_overtakes_is_dropped(opened):
    page, held = opened({"model": "cats"}), []  # whose texts don't end
    for name, change in CHANGES.items():
        page.click("#restart")
        page.click("#draw")
        position(page, 2)
        held.clear()
        page.route("**/api/write", lambda route: held.append(route))
        page.click("#write")
        until(page, "!document.getElementById('stop').hidden")
        change(page)
        pause(page, 300)  # the prompt and the expression are read after a pause
        settled(page)
        before = words(page)
        assert held, name
        for route in held:
            with contextlib.suppress(Exception):  # the page has given it up
                route.continue_()
        page.unroute("**/api/write")
        pause(page, 300)
        assert words(page) == before, name
        assert page.is_hidden("#stop"), name


def test_a_link_of_a_comparison_opens_both_texts(opened):
    page = opened(TWO)
    write_to_the_end(page)
    shown = [words(page), words(page, "words-b")]
    other = opened(fragment(page))
    settled(other)
    assert [words(other), words(other, "words-b")] == shown
    assert [other.input_value("#expression"), other.input_value("#expression-b")] == [
        "top_k(k=4)",
        "uniform",
    ]


def test_a_link_to_a_model_that_is_not_served_says_so_and_reads_no_tokens(opened):
    page = opened({"model": "gpt9", "sampler": "uniform", "tokens": [4, 5]})
    assert "gpt9, which isn't served here" in page.inner_text("#failure")
    assert page.inner_text("#position") == "word 1"
    assert page.input_value("#expression") == "uniform"
    page.click("#failure button")
    assert page.is_hidden("#failure")


def test_a_link_has_the_branches_and_the_cards_that_are_off(opened):
    page = opened({"sampler": "stochastic | top_k(k=4)"})
    write_to_the_end(page)
    page.locator(".word").nth(1).click()
    page.locator("#alternatives li button:not(.current)").first.click()
    settled(page)
    page.uncheck("#cards [aria-label='use top_k']")
    settled(page)
    state = fragment(page)
    branches = page.locator("#branches [role=treeitem]").all_inner_texts()
    assert len(branches) >= 2
    other = opened(state)
    until(
        other,
        "!document.querySelector('#branches').innerText.includes('…') || "
        "document.querySelectorAll('#branches [role=treeitem]').length > 1",
    )
    until(
        other,
        "expected => [...document.querySelectorAll('#branches [role=treeitem]')]"
        ".map(e => e.innerText).join('|') === expected",
        "|".join(branches),
    )
    assert words(other) == words(page)
    assert other.input_value("#expression") == "stochastic"
    assert other.locator("#cards > .card.off").get_attribute("data-name") == "top_k"


def test_a_link_is_not_overwritten_before_it_is_read(opened):
    page = opened()
    link = quote(json.dumps({"prompt": "the cat", "sampler": "greedy"}))
    # The page's own state is written between a link and its event, as on a busy machine.
    page.evaluate(
        """link => {
          document.getElementById("decoder").dispatchEvent(new Event("change"));
          location.hash = link;
          dispatchEvent(new Event("pagehide"));
        }""",
        link,
    )
    until(page, "document.getElementById('expression').value === 'greedy'")


LONG = json.dumps({"tokens": [4] * 5_000})


def test_a_damaged_link_says_so_until_one_is_read(opened):
    page = opened()
    for broken in (
        "#%7B%22prompt", "#%E0%A4%A", "#[]", '#{"tokens":["x"]}', '#{"stages":5}', f"#{LONG}",
    ):  # fmt: skip
        page.evaluate(f"location.hash = {json.dumps(broken)}")
        until(page, "!document.getElementById('failure').hidden")
        page.click("#draw")
        settled(page)
        assert "The link is damaged" in page.inner_text("#failure")
        page.evaluate("location.hash = '#{}'")
        until(page, "document.getElementById('failure').hidden")


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ({"seed": 2**60}, "The seed can't be used: a seed is a whole number from 0 to"),
        ({"lesson": "constructor"}, 'There is no lesson "constructor"'),
    ],
)
def test_what_of_a_link_or_a_field_cannot_be_used_is_named_in_one_line(opened, state, line):
    page = opened({"sampler": "greedy", **state})
    assert page.inner_text("#failure").startswith(line)
    assert page.locator("#failure p").count() == 1
    assert page.input_value("#seed") == "1"
    assert page.input_value("#expression") == "greedy"
    page.click("#failure button")
    page.fill("#seed", str(2**60))
    page.press("#seed", "Enter")
    assert "The seed can't be used" in page.inner_text("#failure")
    assert page.input_value("#seed") == "1"


LOSE = """lost => {
  const { fetch } = window;
  window.fetch = (path, options) => lost.shift() === undefined ? fetch(path, options)
    : new Promise((_, reject) =>
        options.signal.addEventListener("abort", () => reject(options.signal.reason)));
}"""


def test_a_reply_that_never_comes_is_named_after_three_seconds_and_asked_for_again(opened):
    page = opened()
    page.wait_for_load_state("networkidle")  # or an earlier request is the one that is lost
    page.evaluate(LOSE, ["one"])
    start = time.monotonic()
    page.select_option("#preset", label="keras-hub")
    until(page, "document.getElementById('failure').innerText.includes('not answered')")
    assert time.monotonic() - start > 2.9
    assert "old" in page.get_attribute("#panel", "class")
    page.evaluate("dispatchEvent(new Event('online'))")
    settled(page)
    assert page.is_hidden("#failure")
    assert page.input_value("#expression") == "temperature(t=1.0) | top_k(k=5)"


def test_an_error_of_a_proxy_is_one_line_until_the_server_answers(opened):
    page = opened()
    page.evaluate(
        """() => {
          const { fetch } = window;
          let asked = 0;
          window.fetch = async (path, options) => asked++ ? fetch(path, options)
            : new Response("<h1>Bad Gateway</h1>", { status: 502 });
        }"""
    )
    page.select_option("#add", "greedy")
    until(page, "!document.getElementById('failure').hidden")
    assert page.inner_text("#failure p").startswith("The server answers with the error 502.")
    until(page, "document.getElementById('expression').value === 'top_k(k=4) | greedy'")
    until(page, "document.getElementById('failure').hidden")


def test_a_link_has_the_draws_and_the_open_numbers(opened):
    page = opened({"sampler": "top_k(k=3)"})
    page.click("#draws")
    page.click("#columns thead th:nth-child(3) .name")
    page.wait_for_selector("#arithmetic table")
    other = opened(fragment(page))
    other.wait_for_selector("#arithmetic table")
    assert other.inner_text("#arithmetic") == page.inner_text("#arithmetic")
    assert other.get_attribute("#draws", "aria-pressed") == "true"
    assert other.inner_text("#columns") == page.inner_text("#columns")


def test_an_edit_without_a_reply_is_in_the_address(opened):
    page = opened({"sampler": "stochastic"})
    page.evaluate(LOSE, ["one"] * 9)
    page.select_option("#add", "top_k")
    page.uncheck("#cards [aria-label='use stochastic']")
    page.reload()
    until(page, "document.getElementById('expression').value.startsWith('top_k')")
    assert page.locator("#cards > .card.off").get_attribute("data-name") == "stochastic"


def test_reloading_and_going_back_keep_text_and_chain(opened):
    page = opened({"sampler": "stochastic"})
    page.evaluate(
        """void (history.replaceState = (...state) => {
          window.isKept ||= !document.getElementById('stop').hidden;
          History.prototype.replaceState.apply(history, state);
        })"""
    )
    write_to_the_end(page)
    assert page.evaluate("isKept"), "the address has no words while they are drawn"
    page.click("#undo")
    settled(page)
    page.click("#restart")
    settled(page)
    for _ in range(3):
        page.click("#draw")
    position(page, 4)
    shown = words(page)
    assert fragment(page)["sides"][0]["at"] == 3
    page.reload()
    position(page, 4)
    assert (words(page), page.input_value("#expression")) == (shown, "stochastic")
    page.goto("about:blank")
    page.go_back()
    position(page, 4)
    assert words(page) == shown


def test_redo_goes_forward_where_undo_went_back(opened):
    page = opened()
    for _ in range(3):
        page.click("#draw")
    position(page, 4)
    shown = words(page)
    page.click("#undo")
    position(page, 3)
    page.click("#redo")
    position(page, 4)
    assert words(page) == shown
    assert page.is_disabled("#redo")


def test_after_the_end_nothing_is_drawn_and_the_page_says_why(opened):
    page = opened({"sampler": "stochastic"})
    write_to_the_end(page)
    assert page.is_visible("#ended")
    assert page.get_attribute("#draw", "aria-disabled") == "true"
    assert "next" not in page.inner_text("#columns tbody")
    drawn = words(page)
    assert f"of these {len(drawn)} words" in page.inner_text("#mean-text")  # the end isn't one
    page.keyboard.press("d")
    page.locator("#columns tbody button").first.dispatch_event("click")
    pause(page, 200)
    assert words(page) == drawn
    page.click("#undo")
    settled(page)
    assert page.is_hidden("#ended")
    page.click("#new-seed")
    settled(page)
    write_to_the_end(page)  # which works again
    assert page.is_visible("#ended")
    seed = int(page.input_value("#seed"))
    [text] = corelm.generate(ToyModel(), "the", sampler="stochastic", seed=seed, length=100)
    assert " ".join(words(page)) == text.text.strip()


def test_an_error_stays_until_its_source_succeeds(opened):
    page = opened()
    page.evaluate(
        """() => {
          const { fetch } = window;
          window.fetch = (path, ...more) =>
            path === "/api/picture" ? Promise.reject(new Error("gone")) : fetch(path, ...more);
        }"""
    )
    page.click("#next .menu > button")
    page.click("#next .menu [role=menuitem]:has-text('SVG')")
    until(page, "!document.getElementById('failure').hidden")
    page.click("#draw")
    settled(page)
    assert "does not answer" in page.inner_text("#failure")


def test_sequence_breakers_keep_their_newline(opened):
    page = opened({"sampler": r"dry(multiplier=1.0, sequence_breakers=('\n', ':', '\"'))"})
    field = page.locator("[data-name=dry] [aria-label=sequence_breakers]")
    assert field.input_value() == r'"\n", :, "\""'
    field.fill(r'"\n", :, "\"", a word')
    field.press("Enter")
    until(page, r"""document.getElementById('expression').value.includes("'a word'")""")
    sampler = corelm.sampler(page.input_value("#expression"))
    assert sampler.sequence_breakers == ("\n", ":", '"', "a word")


def test_the_command_that_is_copied_runs(opened, capsys):
    sampler = "top_k(k=3) | temperature(t=0.5)"
    page = opened({"sampler": sampler, "seed": 3})
    for prompt in ("the cat's", "-v the", "a\nb"):
        page.fill("#prompt", prompt)
        page.click("#take-open")
        until(page, "document.getElementById('take-text').value !== '…'")
        name, *arguments = shlex.split(page.input_value("#take-text"))
        page.click("#take-close")
        assert name == "corelm"
        arguments[arguments.index("toy")] = "imdb"
        assert main(arguments) == 0
        [text] = corelm.generate("imdb", prompt, sampler=sampler, seed=3, length=20)
        assert text.text.strip() in capsys.readouterr().out


def test_the_tour_ends_with_an_order_that_matters(opened):
    page = opened()
    page.click("#tour-open")
    for _ in range(4):
        page.click("#tour-next")
    page.wait_for_selector("#cards [data-name=top_p]")
    settled(page)
    last = "document.querySelector('#columns td:last-child .figures').dataset.entropy"
    before = float(page.evaluate(last))
    page.click("#cards [aria-label='move top_p earlier']")
    until(page, "document.getElementById('expression').value.startsWith('top_p')")
    assert abs(float(page.evaluate(last)) - before) > 0.02


def test_a_page_of_an_earlier_start_says_where_to_go(client, open_client):
    guarded = open_client(token="another")
    page = guarded.get("/play", headers={"Accept": "text/html"})
    assert page.status_code == 401
    assert "earlier start" in page.text
    assert guarded.get("/api/samplers").json()["error"]["code"] == "invalid_api_key"


def items(page):
    """Return the words of the tree with their probabilities."""
    return page.locator("#ahead [role=treeitem]").all_inner_texts()


def test_a_tree_is_opened_by_keys_gone_on_from_and_in_the_link(opened):
    page = opened({"sampler": "stochastic"})
    page.click("#ahead-open")
    page.wait_for_selector("#ahead [role=treeitem][aria-expanded=true]")
    before = len(items(page))
    page.locator("#ahead [role=treeitem]").first.focus()
    page.keyboard.press("ArrowLeft")
    until(
        page,
        "before => document.querySelectorAll('#ahead [role=treeitem]').length < before",
        before,
    )
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    until(page, "document.activeElement.ariaExpanded === 'true'")
    page.keyboard.press("ArrowRight")
    until(page, "document.activeElement.ariaLevel === '2'")
    shown, state = items(page), fragment(page)
    [path] = state["sides"][0]["ahead"]
    other = opened(state)
    until(other, "document.querySelectorAll('#ahead [role=treeitem]').length > 4")
    assert items(other) == shown
    page.keyboard.press("Enter")
    position(page, 3)
    assert fragment(page)["sides"][0]["tokens"][:1] == path
    page.click("#undo")
    page.click("#undo")
    page.fill("#expression", "greedy")
    until(page, "document.querySelectorAll('#ahead [aria-level=\"1\"]').length === 1")
    page.click("#ahead-open")
    assert page.is_hidden("#ahead")
    assert "ahead" not in fragment(page)["sides"][0]
