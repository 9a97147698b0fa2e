"""The page of one file: it asks nobody, and its figures and texts are those of Python.

CORELM_CHAINS sets the number of random chains, CORELM_FIRST_CHAIN the seed of the first.
"""

import json
import os
import pkgutil
import random
import re
from functools import cache
from urllib.parse import quote

import corelm_samplers
import pytest
from browsers import PATIENCE, TELEPHONE, overflow
from corelm_serve.errors import as_api_error
from corelm_serve.play.answers import next_word, write
from corelm_serve.play.one_file import CODES, _local, one_file
from corelm_serve.play.rows import RowCache
from corelm_serve.scheduling.scheduler import Limits
from corelm_serve.service import ServedModel
from firefox import firefox
from pages import findings, settled, until

import corelm
from corelm.cli.app import main
from corelm.errors import CorelmError, UsageError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(_local().joinpath(f"{each}.wasm").is_file() for each in CODES),
        reason="the kernels are not compiled: bash .ci/page_code",
    ),
]

FIRST = int(os.environ.get("CORELM_FIRST_CHAIN", "0"))
CHAINS = int(os.environ.get("CORELM_CHAINS", "60"))
SAMPLERS = _local().joinpath("samplers.js").read_text("utf-8").partition("export const SAMPLERS")[2]
NAMES = sorted(re.findall(r"^  (\w+): ", SAMPLERS.partition("\n};")[0], re.MULTILINE))
PROMPTS = ["This movie", "the best movie is not the best movie", '"Good," he said: 3.5', ""]
WORDS = ["good", "the", "movie", "end", "newline", ".", ",", "not so", "xyzzy", 57]
# Start the worker of the file, and ask it.
ASK = """(requests) => new Promise(async (done) => {
    const part = (name) => document.getElementById(`part-${name}`).textContent;
    const bytes = (name) => {
        const packed = Uint8Array.from(atob(part(name)), (letter) => letter.charCodeAt(0));
        const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
        return new Response(stream).arrayBuffer();
    };
    const worker = new Worker(URL.createObjectURL(new Blob([part("worker")])));
    const answers = [];
    worker.onmessage = ({ data: { number, text } }) => {
        answers[number] = JSON.parse(text);
        if (number < requests.length - 1) return;
        worker.terminate();
        done(answers);
    };
    const [data, weights, ...codes] = await Promise.all(["data", "weights", ...CODES].map(bytes));
    worker.postMessage({ data: new TextDecoder().decode(data), weights, codes });
    requests.forEach(([path, body], number) => {
        worker.postMessage({ number, path, body: JSON.stringify(body) });
    });
})"""


@cache
def page_of(name, folder):
    path = folder / f"{name}.html"
    path.write_text(one_file(name, corelm.load(name), {"sampler": "top_k(k=4)"}), "utf-8")
    return path


@pytest.fixture
def opened(browser, tmp_path_factory):
    """Yield a function that opens a file; fail on complaints, and on requests for anything else."""
    complaints, requests, contexts = [], [], []

    def opened(name="gpt2", state=None, **options):
        contexts.append(browser.new_context(**options))
        contexts[-1].set_default_timeout(PATIENCE)
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.on("request", lambda request: requests.append(request.url))
        address = page_of(name, tmp_path_factory.getbasetemp()).as_uri()
        tab.goto(f"{address}#{quote(json.dumps(state))}" if state else address)
        tab.wait_for_selector("#next[aria-busy=false] tbody tr", state="attached")
        return tab

    yield opened
    for each in contexts:
        each.close()
    assert not complaints
    assert all(url.startswith(("file:", "blob:")) for url in requests)


def value_of(parameter, chance, depth):
    """Return a value of a parameter as text, within its bounds or at one of them."""
    rule, kind = parameter.rule, parameter.type_name
    low = rule.ge if rule.ge is not None else rule.gt if rule.gt is not None else 0.0
    low = max(low, -2.0)
    high = rule.le if rule.le is not None else min(rule.lt or low + 5.0, low + 5.0)
    if parameter.is_nested:
        return chain(chance, depth + 1)
    return {
        "float": lambda: repr(float(chance.choice([low, high, chance.uniform(low, high)]))),
        "int": lambda: str(chance.choice([1, 2, 3, 10, 40])),
        "bool": lambda: repr(chance.random() < 0.5),
        "str": lambda: repr(chance.choice(rule.choices or ["", "good", " the", "movie"])),
        "tuple": lambda: repr(tuple(chance.sample(WORDS, chance.randrange(3)))),
        "dict": lambda: repr({each: chance.choice([1.5, -2]) for each in chance.sample(WORDS, 1)}),
        "int | str": lambda: repr(chance.choice([57, "the", ".", ","])),
    }[kind]()


def stage(chance, depth):
    name = chance.choice(NAMES)
    parameters = corelm.sampler(name).parameters() if depth < 2 else ()
    written = [
        f"{each.name}={value_of(each, chance, depth)}"
        for each in parameters
        if chance.random() < 0.8
    ]
    return f"{name}({', '.join(written)})" if written else name


def chain(chance, depth=0):
    """Return a random chain that can be built."""
    while True:
        expression = " | ".join(stage(chance, depth) for _ in range(chance.randint(1, 4)))
        try:
            corelm.sampler(expression)
        except CorelmError:
            continue
        return expression


def different(ours, theirs, path=""):
    """Return the first difference of two answers; figures may differ by 1e-6 of their size."""
    if isinstance(ours, float | int) and isinstance(theirs, float | int):
        close = abs(ours - theirs) <= 1e-6 * max(1, abs(theirs))
        return None if close else f"{path}: {ours} {theirs}"
    if isinstance(ours, dict | list) and type(ours) is type(theirs) and len(ours) == len(theirs):
        keys = theirs if isinstance(theirs, dict) else range(len(theirs))
        missing = [key for key in keys if isinstance(theirs, dict) and key not in ours]
        differences = (different(ours[key], theirs[key], f"{path}.{key}") for key in keys)
        return f"{path} lacks {missing}" if missing else next(filter(None, differences), None)
    return None if ours == theirs else f"{path}: {ours!r} {theirs!r}"


@cache
def cases_of(name):
    """Return requests of random chains, with what the served page answers."""
    model, chance, cases = corelm.load(name), random.Random(FIRST), []
    models = {name: ServedModel(name, model)}
    rows = {name: RowCache(model)}
    for _ in range(CHAINS if name == "gpt2" else CHAINS // 4):
        body = {"model": name, "prompt": chance.choice(PROMPTS), "sampler": chain(chance)}
        body |= {"seed": chance.randrange(2**53), "tokens": [], "length": chance.choice([3, 9])}
        if not cases:  # an error inside a mixture, whose stages are named in a row
            body["sampler"] = (
                "schedule(first=greedy, last=xtc(probability=1, special=['xyzzy']), over=9)"
            )
        answer = answered(write, body, models, rows)
        cases.append(("/api/write", body, answer))
        tokens = [word["id"] for word in answer.get("words", [])][: chance.randrange(9)]
        body = {**body, "tokens": tokens, "count": 8, "draws": 20, "stage": chance.randrange(2)}
        del body["length"]
        cases.append(("/api/next", body, answered(next_word, body, models, rows)))
    return cases


@pytest.mark.parametrize("name", ["gpt2", "imdb"])
@pytest.mark.parametrize("program", ["chromium", "firefox"])
def test_figures_and_texts_are_those_of_python(request, tmp_path_factory, program, name):
    ask, cases = ASK.replace("CODES", json.dumps(CODES)), cases_of(name)
    requests = [each[:2] for each in cases]
    if program == "chromium":
        answers = request.getfixturevalue("opened")(name).evaluate(ask, requests)
    else:
        answers = asked_of_firefox(page_of(name, tmp_path_factory.getbasetemp()), ask, requests)
    for (path, body, expected), answer in zip(cases, answers, strict=True):
        assert different(answer, json.loads(json.dumps(expected))) is None, (path, body)


def test_an_old_browser_reads_which_ones_are_needed(browser, tmp_path_factory):
    path = page_of("gpt2", tmp_path_factory.getbasetemp())
    old = path.with_name("old.html")
    old.write_text(path.read_text("utf-8").replace("Float16Array", "Float17Array"), "utf-8")
    with browser.new_context() as context:
        tab = context.new_page()
        tab.goto(old.as_uri())
        tab.get_by_text("this page needs Chrome 135, Firefox 129, ").wait_for(timeout=PATIENCE)


def asked_of_firefox(page, ask, requests):
    """Return the answers of a page that is opened from the disk, and asks for nothing."""
    url = f"{page.as_uri()}#{quote(json.dumps({'sampler': 'top_k(k=4) | min_p(p=0.1)'}))}"
    with firefox() as tab:
        tab.call("browsingContext.navigate", context=tab.tab, url=url, wait="complete")
        answers = tab.evaluate(ask, requests)
        assert after_a_drag(tab) == ["min_p", "top_k"]
        assert not tab.complaints
        assert all(url.startswith(("file:", "blob:", "data:")) for url in tab.requests)
        assert tab.requests  # they are recorded: the page's icon is one
    return answers


def after_a_drag(tab):
    """Return the names of the cards after the first one was dragged onto the last."""
    cards = """() => [...document.querySelectorAll(".card strong")].map((each) => {
        const { x, y } = each.getBoundingClientRect();
        return [each.textContent, Math.ceil(x), Math.ceil(y)];
    })"""
    first, last = ({"type": "pointerMove", "x": x, "y": y} for _, x, y in tab.evaluate(cards, None))
    press, release = ({"type": f"pointer{each}", "button": 0} for each in ("Down", "Up"))
    drag = {"type": "pointer", "id": "mouse", "actions": [first, press, last, release]}
    tab.call("input.performActions", context=tab.tab, actions=[drag])
    return [name for name, _, _ in tab.evaluate(cards, None)]


def answered(work, body, models, rows):
    """Return the served page's answer, or its error as the file words it."""
    try:
        answer = work(body, models, rows, Limits())
    except CorelmError as error:
        return {"error": {"message": as_api_error(error).message}}
    return answer | {"notes": []} if "notes" in answer else answer  # they need Python


def test_the_codes_agree(opened):
    tab = opened()
    body = {"prompt": "This movie", "sampler": "stochastic", "seed": 1, "tokens": [], "length": 9}
    relaxed, exact = (
        tab.evaluate(ASK.replace("CODES", json.dumps([code])), [["/api/write", body]])
        for code in CODES
    )
    assert relaxed == exact
    assert exact[0]["words"]


def test_the_command_writes_a_page_that_draws_as_sample_does(opened, tmp_path, capfd):
    path = tmp_path / "page.html"
    assert main(["play", "A film", "--html", str(path), "--seed", "7"]) == 0
    assert "open it in a browser" in capfd.readouterr().err
    assert path.stat().st_size < 6e6
    tab = opened()
    tab.goto(path.as_uri())
    tab.wait_for_selector("#next[aria-busy=false] tbody tr", state="attached")
    tab.click("#write")
    tab.wait_for_selector("#stop", state="hidden")
    settled(tab)
    [text] = corelm.generate("gpt2", "A film", sampler="temperature(t=0.7)", seed=7, length=100)
    assert tab.locator("#words").inner_text().replace("[end]", "").split() == text.text.split()


def test_the_page_forbids_every_request(browser, tmp_path_factory):
    tab = browser.new_page()
    tab.goto(page_of("gpt2", tmp_path_factory.getbasetemp()).as_uri())
    for attempt, directive in (
        ("fetch('https://localhost/').catch(() => {})", "connect-src"),
        ("new Image().src = 'https://localhost/a.png'", "img-src"),
    ):
        refused = tab.evaluate("""() => new Promise((done) => {
            const told = ({ effectiveDirective }) => done(effectiveDirective);
            addEventListener("securitypolicyviolation", told, { once: true });
            attempt();
        })""".replace("attempt()", attempt))  # fmt: skip
        assert refused == directive
    tab.close()


def test_a_link_opens_in_the_file_which_says_what_it_cannot_do(opened):
    state = {"prompt": "I", "seed": 3, "sampler": "top_p(p=0.5)", "compare": True}
    state["sides"] = [{"sampler": "top_p(p=0.5)"}, {"sampler": "greedy | mirostat"}]
    tab = opened(state=state)
    assert tab.input_value("#prompt") == "I"
    tab.click("#take-open")
    tab.check("input[value=link]")
    link = tab.input_value("#take-text")
    assert link.startswith("file:")
    assert "greedy%20%7C%20mirostat" in link
    tab.click("#take-close")
    tab.fill("#expression", "regex(pattern='a+')")
    until(tab, "document.getElementById('expression-error').textContent !== ''")
    assert "pip install corelm-serve" in tab.inner_text("#expression-error")
    tab.click("#paste-open")
    tab.fill("#paste-text", '{"temp": 0.7}')
    tab.click("#paste-use")
    until(tab, "document.getElementById('paste-error').textContent !== ''")
    assert "This needs Python" in tab.inner_text("#paste-error")
    tab.click("#paste-close")
    tab.evaluate("location.hash = '%7B%22tokens%22%3A[4096]%7D'")
    until(tab, "document.getElementById('prompt-error').textContent.includes('no token 4096')")


@pytest.mark.parametrize("way", ["keyboard", "touch"])
def test_each_lesson_is_walked(opened, way):
    tab = opened(viewport=TELEPHONE, has_touch=True) if way == "touch" else opened()

    def press(control, key="Enter"):
        if way == "touch":
            tab.tap(control)
        else:
            tab.keyboard.press(key)

    tab.focus("#lessons-open")
    chains = []
    for lesson in range(1, 6):
        press("#lessons-open" if lesson == 1 else "#tour-next")
        until(tab, f"document.getElementById('tour-title').textContent.startsWith('{lesson} of 5')")
        settled(tab)
        assert tab.is_hidden("#columns")
        assert "word" not in tab.inner_text("#tour")  # the model draws tokens
        assert tab.evaluate("document.getElementById('text').inert")
        tab.keyboard.press("d")  # a text would give the answer away
        assert tab.locator(".word").count() == 0
        chains.append(tab.input_value("#expression").partition("(")[0])
        press("#tour-next")  # Show
        assert tab.is_visible("#columns")
        assert not any(tab.locator(".error").all_inner_texts())
        assert not overflow(tab)
        press("#draw", "d")
        until(tab, "document.querySelectorAll('.word').length > 0")
        settled(tab)
        assert way == "touch" or tab.evaluate("document.activeElement.id") == "tour-next"
    assert chains == ["greedy", "temperature", "top_k", "temperature", "temperature"]
    assert tab.is_visible("#panel-b")
    press("#tour-next")
    assert tab.is_hidden("#tour")


def test_the_page_fits_and_axe_finds_nothing(opened):
    tab = opened()
    for width in (1280, TELEPHONE["width"]):
        tab.set_viewport_size({"width": width, "height": 800})
        assert not overflow(tab), width
        assert findings(tab) == [], width


def test_the_page_has_every_built_in_sampler():
    built_in = sorted(module.name for module in pkgutil.iter_modules(corelm_samplers.__path__))
    assert built_in == NAMES, "write its kernels into corelm_serve/play/local/samplers.js"


def test_a_model_that_is_no_graph_is_refused():
    with pytest.raises(UsageError, match="no graph of layers"):
        one_file("toy", corelm.testing.ToyModel(), {})
