"""The data of the live page: every number is the one that corelm's Python has."""

import math
import re

import numpy as np
import pytest
from corelm_serve.errors import ApiError
from corelm_serve.play.chains import chain_of
from corelm_serve.requests.play import ChainRequest
from corelm_serve.requests.trials import try_expression
from serve_client import Counted, Likeliest, next_word, play, wait_until

import corelm
from corelm.runs import plugins
from corelm.testing import ToyModel

CHAINS = [
    "greedy",
    "stochastic",
    "uniform",
    "temperature(t=0.4)",
    "top_k(k=4) | temperature(t=1.5)",
    "temperature(t=0.7) | top_p(p=0.8) | min_length(n=3)",
    "phase(start='cat', inside=greedy, outside=top_k(k=5))",
    "dry | repetition_penalty(penalty=1.3) | min_p(p=0.1)",
    "mirostat(tau=1.5)",
    "adaptive_p",
]


def write(client, **body):
    """Return the tokens that are drawn."""
    return play(client, "write", **body)["words"]


@pytest.mark.parametrize("chain", CHAINS)
def test_the_columns_are_those_of_explain(client, chain):
    found = next_word(client, sampler=chain)
    expected = corelm.explain(ToyModel(), "the", chain)
    assert len(found["columns"]) == len(expected.stages)
    for at, (column, stage) in enumerate(zip(found["columns"], expected.stages, strict=True)):
        assert column["stage"] == (None if stage.sampler is None else str(stage.sampler))
        assert column["entropy"] == pytest.approx(stage.entropy, abs=1e-9)
        assert column["bits"] == pytest.approx(stage.entropy_bits, abs=1e-9)
        assert column["choices"] == pytest.approx(stage.effective_choices, abs=1e-9)
        assert column["kept"] == stage.tokens_kept
        assert column["removed"] == len(stage.removed_tokens)
        assert column["removed_mass"] == pytest.approx(stage.removed_mass, abs=1e-9)
        for token in found["tokens"]:
            probability = stage.distribution[token["id"]]
            assert token["probabilities"][at] == pytest.approx(probability, abs=1e-9)
    for token in found["tokens"]:
        trace = expected.trace(token["id"])
        assert (token["text"], token["removed_by"]) == (trace.text, trace.removed_by)


@pytest.mark.parametrize("chain", CHAINS)
def test_the_draws_are_those_of_generate(client, chain):
    expected = corelm.generate(ToyModel(), "the", sampler=chain, seed=3, length=30)[0]
    words = write(client, sampler=chain, length=30)
    assert [word["id"] for word in words] == expected.tokens
    assert "".join(word["text"] for word in words) == expected.text
    # Word by word, each request with the tokens so far: mirostat's state follows from the text.
    for at in range(len(words)):
        tokens = [word["id"] for word in words[:at]]
        found = next_word(client, sampler=chain, tokens=tokens)
        assert found["drawn"] == words[at]["id"]


@pytest.mark.parametrize("off", [[0], [1], [0, 1], [7]])
def test_stages_that_are_off_are_cards_without_an_effect(client, off):
    stages = ["top_k(k=4)", "temperature(t=1.5)"]
    found = next_word(client, sampler=" | ".join(stages), off=off)
    left = [stage for at, stage in enumerate(stages) if at not in off] or ["stochastic"]
    assert found["chain"]["expression"] == " | ".join(left)
    assert [stage["expression"] for stage in found["chain"]["stages"]] == stages
    assert [column["stage"] for column in found["columns"][1:]] == left


def read_chain(**body):
    """Return the chain of a request, without applying it; None if it can't be made."""
    try:
        return chain_of(ChainRequest.read(body))
    except ApiError:
        return None


def test_a_sampler_is_offered_with_the_expression_that_adds_it(client):
    for card in client.get("/api/samplers").json()["samplers"]:
        chain = read_chain(sampler=card["expression"])
        assert chain is None or str(chain) == card["expression"]


def tree(client, **body):
    """Return the words that could follow."""
    return play(client, "tree", **body)["nodes"]


@pytest.mark.parametrize("chain", CHAINS)
def test_a_tree_has_the_probabilities_of_the_columns(client, chain):
    for node in tree(client, sampler=chain, count=3):
        found = next_word(client, sampler=chain, tokens=node["path"], count=3)
        last = {each["id"]: each["probabilities"][-1] for each in found["tokens"]}
        assert node["words"]
        for word in node["words"]:
            assert word["probability"] == pytest.approx(last[word["id"]], abs=1e-9)
            assert word["probability"] > 0
        shares = [word["probability"] for word in node["words"]]
        assert shares == sorted(shares, reverse=True)


def test_a_tree_follows_the_likeliest_words_or_the_ones_that_are_asked_for(client):
    first, second, third = tree(client, sampler="stochastic")
    likeliest = [node["words"][0]["id"] for node in (first, second)]
    assert [second["path"], third["path"]] == [likeliest[:1], likeliest]
    other = first["words"][1]["id"]
    nodes = tree(client, sampler="stochastic", paths=[[other]])
    assert [node["path"] for node in nodes] == [[], [other]]
    assert nodes[0] == first


def test_a_tree_ends_where_the_text_does_and_names_a_failing_stage(client):
    end = ToyModel().vocabulary.ends[0]
    assert tree(client, sampler="uniform", paths=[[end]])[1]["words"] == []
    [node] = tree(client, sampler="raises", paths=[])
    assert node["words"] == []
    assert "raises" in node["error"]
    body = {"prompt": "the", "sampler": "greedy", "paths": [[10**6]]}
    assert client.post("/api/tree", json=body).status_code == 400


def test_a_start_token_in_the_prompt_is_not_put_there_twice(client):
    found, expected = (write(client, prompt=prompt, sampler="dry") for prompt in ("[end]", ""))
    assert found == expected
    one, other = (next_word(client, prompt=text, sampler="dry") for text in ("[end] the", "the"))
    assert one == other


@pytest.mark.parametrize("chain", ["mirostat(tau=1.5) | top_k(k=2)", "top_k(k=1) | adaptive_p"])
def test_a_word_that_the_chain_cannot_draw_has_no_surprisal_as_in_explain(client, chain):
    tokens = ToyModel().vocabulary.encode("mat sat")
    found = next_word(client, sampler=chain, tokens=tokens)
    expected = corelm.explain(ToyModel(), "the", chain, after=" mat sat")
    assert [column["entropy"] for column in found["columns"]] == pytest.approx(
        [stage.entropy for stage in expected.stages], abs=1e-9
    )


def test_a_column_is_named_by_the_parameters_that_say_something(client):
    chain = "temperature(t=1.0) | repetition_penalty(penalty=1.3) | greedy | dry"
    columns = next_word(client, sampler=chain)["columns"]
    assert [column["name"] for column in columns] == [
        "model", "temperature(t=1.0)", "repetition_penalty(penalty=1.3)", "greedy", "dry",
    ]  # fmt: skip


def test_words_have_the_models_surprisal(client):
    expected = corelm.generate(ToyModel(), "the", sampler="stochastic", seed=3, length=20)[0]
    words = write(client, sampler="top_k(k=3)", tokens=[], length=5)
    tokens = expected.tokens
    found = next_word(client, sampler="top_k(k=3)", tokens=tokens)["words"]
    assert [word["surprisal"] for word in found] == pytest.approx(
        [step.model_surprisal for step in expected.steps], abs=1e-6
    )
    assert all(word["surprisal"] > 0 for word in words)


@pytest.mark.parametrize("chain", CHAINS)
def test_the_surprisal_to_expect_and_that_of_the_text_are_under_the_model(client, chain):
    text = corelm.generate(ToyModel(), "the", sampler="stochastic", seed=3, length=6)[0]
    found = next_word(client, sampler=chain, tokens=text.tokens)
    expected = corelm.explain(ToyModel(), "the", chain, after=text.tokens)
    model, ends = expected.stages[0].distribution, ToyModel().vocabulary.ends
    for column, stage in zip(found["columns"], expected.stages, strict=True):
        q = {i: p for i, p in enumerate(stage.distribution) if p and i not in ends}
        nats = -sum(p * math.log(model[i]) for i, p in q.items())
        expected_nats = pytest.approx(nats / sum(q.values()), abs=1e-9) if q else None
        assert column["surprisal"] == expected_nats
    steps = zip(text.tokens, text.steps, strict=True)
    words = [step.model_surprisal for token, step in steps if token not in ends]
    assert found["surprisal"] == pytest.approx(sum(words) / len(words), abs=1e-6)
    assert next_word(client, sampler=chain)["surprisal"] is None


def test_the_end_of_a_text_has_no_part_in_what_is_compared_with_human_text(client):
    [end] = ToyModel().vocabulary.ends
    text = corelm.generate(ToyModel(), "the", sampler="stochastic", seed=3, length=6)[0]
    whole = [*text.tokens[:3], end]
    found = next_word(client, sampler="stochastic", tokens=whole)
    nats = [word["surprisal"] for word in found["words"]]
    assert found["surprisal"] == pytest.approx(sum(nats[:3]) / 3, abs=1e-9)
    column = next_word(client, sampler=f"logit_bias(bias={{{end}: 1000.0}})")["columns"][-1]
    assert column["surprisal"] is None


def test_a_decoder_of_another_person_writes_to_the_end(client):
    offered = client.get("/api/samplers").json()["decoders"]
    help = "Take the likeliest token that is left at each step."
    assert {"name": "likeliest", "help": help} in offered
    expected = corelm.generate(
        ToyModel(), "the", sampler="top_k(k=3)", decoder=Likeliest(), length=9
    )
    words = write(client, sampler="top_k(k=3)", decoder="likeliest", length=9)
    assert [word["id"] for word in words] == expected[0].tokens
    assert [word["surprisal"] for word in words] == pytest.approx(
        [step.model_surprisal for step in expected[0].steps], abs=1e-6
    )
    assert write(client, sampler="greedy", decoder="likeliest", tokens=[2]) == []  # the end


@pytest.mark.parametrize(
    ("decoder", "status", "part"),
    [
        ("likelies", 400, "did you mean 'likeliest'"),
        ("greedy", 400, "decoder must be one decoder"),
        ("likeliest(at=4000)", 400, "at most 64 here"),
        ("likeliest(at=2)", 500, "likeliest(at=2) failed with RuntimeError"),
    ],
)
def test_a_decoder_that_cannot_be_used_is_refused(client, decoder, status, part):
    body = {"prompt": "the", "sampler": "stochastic", "decoder": decoder}
    found = client.post("/api/write", json=body)
    assert found.status_code == status
    assert part in found.json()["error"]["message"]


def test_a_text_that_has_ended_is_not_continued(client):
    end = min(ToyModel().vocabulary.ends)
    assert next_word(client, sampler="greedy", tokens=[end])["ended"]
    assert write(client, sampler="greedy", tokens=[end]) == []


WATERMARKS = {"green_list", "gumbel_max", "synthid"}  # whose key no request may set


@pytest.mark.parametrize(
    "name",
    sorted({each.name for each in plugins.registry().offers("corelm_samplers")} - WATERMARKS),
)
def test_each_sampler_comes_back_from_its_card(client, name):
    cards = {each["name"]: each for each in client.get("/api/samplers").json()["samplers"]}
    assert not WATERMARKS & cards.keys()
    parameters = {
        each["name"]: each["default"] for each in cards[name]["parameters"] if not each["local"]
    }
    stages = [{"name": name, "parameters": bare_values(parameters)}]
    found = next_word(client, stages=stages)
    if found["chain"] is None:  # such as a grammar's, which has no default
        assert re.match(
            "|".join([name, *(each["name"] for each in cards[name]["parameters"])]), found["error"]
        )
        return
    assert found["chain"]["expression"] == str(corelm.sampler(name))
    assert next_word(client, stages=bare(found["chain"]["stages"])) == found


NAMED = {"ban", "break_loop", "force", "logit_bias", "phase"}
"""Samplers without an effect until words of the text are named."""


def test_samplers_are_added_with_values_that_have_an_effect(client):
    neutral = set()
    for card in client.get("/api/samplers").json()["samplers"]:
        start = {each["name"]: each["start"] for each in card["parameters"] if not each["local"]}
        stages = [{"name": card["name"], "parameters": bare_values(start)}]
        chain = read_chain(stages=stages)
        if chain and chain.stages[0].is_neutral:
            neutral.add(card["name"])
    assert neutral == NAMED


def test_no_source_of_a_model_is_sent_unless_the_server_is_given_it(open_client):
    assert open_client().get("/api/samplers").json()["models"] == {"toy": "toy"}
    served = open_client(sources={"toy": "transformers:a/toy"})
    assert served.get("/api/samplers").json()["models"] == {"toy": "transformers:a/toy"}


def test_a_stage_that_returns_nan_is_named_with_what_came_before(client):
    found = next_word(client, sampler="top_k(k=4) | spoils | greedy")
    assert found["error"].startswith("spoils returned")
    assert [column["stage"] for column in found["columns"]] == [None, "top_k(k=4)"]


def test_after_the_end_nothing_is_drawn_and_the_end_is_not_averaged(client):
    [end] = ToyModel().vocabulary.ends
    found = next_word(client, sampler="stochastic", tokens=[4, 5, end])
    assert (found["drawn"], found["ended"], found["averaged"]) == (None, True, 2)


def test_a_chain_in_a_chain(client):
    written = "phase(start=3, end=4, inside=top_k(k=2) | temperature(t=inf), outside=greedy)"
    found = next_word(client, sampler=written)["chain"]
    inside = found["stages"][0]["parameters"]["inside"]["stages"]
    assert [stage["name"] for stage in inside] == ["top_k", "temperature"]
    assert inside[1]["parameters"] == {"t": "inf"}
    again = next_word(client, stages=bare(found["stages"]))["chain"]
    assert again["expression"] == found["expression"] == str(corelm.sampler(written))


def bare(stages):
    """Return stages with names and parameters alone, as the page sends them."""
    return [
        {"name": stage["name"], "parameters": bare_values(stage["parameters"])} for stage in stages
    ]


def bare_values(parameters):
    """Return parameters with bare stages."""
    return {
        key: {"stages": bare(value["stages"])}
        if isinstance(value, dict) and "stages" in value
        else value
        for key, value in parameters.items()
    }


def test_settings_of_an_engine(client):
    found = next_word(client, settings='{"temp": 0.7, "rep_pen": 1.1}')["chain"]
    assert found["expression"] == str(corelm.from_settings({"temp": 0.7, "rep_pen": 1.1}).sampler)


def test_notes_on_likely_mistakes(client):
    chain = "temperature(t=0.7) | greedy"
    assert next_word(client, sampler=chain)["notes"] == corelm.lint(corelm.sampler(chain)) != []


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({"sampler": "temperatur"}, "did you mean 'temperature'"),
        ({"sampler": "top_k(k=4"}, "top_k(k=4"),
        ({"stages": [{"name": "top_k", "parameters": {"k": -1}}]}, "k must be at least 0"),
        ({"stages": [{"name": "<img src=x onerror=alert(1)>"}]}, "there is no sampler"),
        ({"sampler": " | ".join(["greedy"] * 40)}, "at most 32 samplers"),
        ({"settings": "{"}, "not JSON"),
        ({"settings": "[1]"}, "must be a JSON object"),
        ({"settings": '{"nothing": 1}'}, "no key is a sampler's"),
        ({"sampler": "contrast(weaker='imdb')"}, "contrast"),
    ],
)
def test_a_chain_that_cannot_be_read_is_told_and_the_page_goes_on(client, body, part):
    found = next_word(client, **body)
    assert found.keys() == {"chain", "error", "param"}
    assert found["chain"] is None
    assert part in found["error"]


@pytest.mark.parametrize(
    "body",
    [
        {"sampler": "greedy", "stages": []},
        {"stages": "greedy"},
        {"stages": [{"name": 1}]},
        {"stages": [{"name": "greedy", "more": 1}]},
        {},
        {"sampler": "greedy", "tokens": [99]},
        {"sampler": "greedy", "count": 0},
        {"sampler": "greedy", "model": "../imdb"},
        {"sampler": "greedy", "nonsense": 1},
    ],
)
def test_bad_requests_are_refused_in_openais_shape(client, body):
    found = client.post("/api/next", json={"prompt": "the", **body})
    message = found.json().get("error")
    assert message if isinstance(message, str) else found.status_code in (400, 404)


def test_a_stage_that_raises_is_named_with_what_came_before(client):
    found = next_word(client, sampler="top_k(k=4) | raises(at=1)", tokens=[4])
    assert found["error"].startswith("raises(at=1) failed at step 1: RuntimeError")
    assert [column["stage"] for column in found["columns"]] == [None, "top_k(k=4)"]
    assert found["drawn"] is None
    assert next_word(client, sampler="greedy", tokens=[4])["drawn"] is not None


def test_a_stage_that_hangs_ends_its_request_alone(open_client):
    client = open_client(stall=0.6)  # little, but enough for a step on a busy machine
    stuck = "hangs(seconds=2.0)"
    for chain in (stuck, f"top_k(k=4) | {stuck} | greedy", f"phase(start='a', outside={stuck})"):
        # Tries the chain in another process, which may take longer than the stall to start.
        try_expression(chain, "sampler")
        late = next_word(client, sampler=chain)
        assert late["error"] == f"{stuck} took more than 0.6 seconds, and was given up"
        assert late["chain"]["expression"] == str(corelm.sampler(chain))
        assert [column["stage"] for column in late["columns"]] == [None]
        assert late["drawn"] is None
    assert client.post("/api/write", json={"prompt": "the", "sampler": stuck}).status_code == 503
    assert next_word(client, sampler="greedy")["drawn"] is not None


def test_a_stage_in_which_three_threads_hang_is_refused(open_client):
    client = open_client(stall=0.5)
    for _ in range(3):
        assert "was given up" in next_word(client, sampler="hangs(seconds=9)")["error"]
    refused = next_word(client, sampler="top_k(k=4) | hangs(seconds=0)")
    assert refused["error"] == "hangs is refused: 3 threads hang in it already"
    assert next_word(client, sampler="greedy")["drawn"] is not None
    wait_until(lambda: next_word(client, sampler="hangs(seconds=0)")["error"] is None)


def test_a_long_prompt_is_told_and_refused(open_client):
    client = open_client(prompt=3)
    body = {"prompt": "the cat", "sampler": "greedy", "tokens": [4, 4]}
    part = "at most 3 tokens, drawn ones included, here"
    found = next_word(client, **body)
    assert (found["chain"], found["param"]) == (None, "prompt")
    assert part in found["error"]
    refused = client.post("/api/write", json=body)
    assert refused.status_code == 400
    assert part in refused.json()["error"]["message"]


def test_the_files_of_the_page_load_nothing_from_elsewhere(client):
    page = client.get("/play")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "script-src 'self'" in page.headers["content-security-policy"]
    left, texts = ["index.html", "shared.css", "play.css", "shared.js", "main.js"], {}
    while left:
        name = left.pop()
        file = client.get(f"/play/{name}")
        assert file.status_code == 200, name
        texts[name] = file.text.replace("http://www.w3.org/2000/svg", "")
        left += {*re.findall(r'from "\./(.*?)"', file.text)} - texts.keys()
    assert len(texts) > 15
    assert not [name for name, text in texts.items() if re.search("https?:", text)]
    assert texts["index.html"] == page.text
    for name in ("nothing.js", "..%2f__init__.py", "__init__.py", "%2e%2e/service.py"):
        assert client.get(f"/play/{name}").status_code == 404


def test_only_a_page_that_asks_has_a_cache_of_rows(open_client):
    model = Counted()
    client = open_client({"toy": model})
    text = write(client, sampler="uniform", length=150)
    asked = {"sampler": "greedy", "tokens": [word["id"] for word in text]}
    first, starts = next_word(client, **asked), model.starts
    assert next_word(client, **asked) == first
    assert model.starts == starts  # the rows are there


def test_rows_are_bounded(open_client, monkeypatch):
    monkeypatch.setattr("corelm_serve.play.rows.MEMORY", 0)
    model = Counted()
    client = open_client({"toy": model})
    for tokens in ([4, 5], [*[5, 6] * 100]):
        next_word(client, sampler="dry", tokens=tokens)
    starts = model.starts
    next_word(client, sampler="greedy", tokens=[4, 5])
    assert model.starts > starts  # they are no longer there


def test_the_arithmetic_of_a_stage_is_that_of_its_logits(client):
    chain = "temperature(t=0.5) | top_p(p=0.8)"
    expected = corelm.explain(ToyModel(), "the", chain)
    for at, stage in enumerate(expected.stages):
        found = next_word(client, sampler=chain, stage=at, count=20)["arithmetic"]
        before = expected.stages[max(at - 1, 0)]
        possible = stage.logits > -np.inf
        largest = stage.logits[possible].max()
        assert found["largest"] == pytest.approx(largest)
        assert found["sum"] == pytest.approx(np.exp(stage.logits[possible] - largest).sum())
        ids = [row["token"] for row in found["rows"]]
        assert ids == before.ranked_tokens.tolist()[: len(ids)]
        for row in found["rows"]:
            token = row["token"]
            assert row["probability"] == pytest.approx(stage.distribution[token], abs=1e-12)
            assert row["rank"] == before.rank(token)
            assert row["after"] == (stage.logits[token] if possible[token] else None)
            assert row["end"] or row["text"] == expected.text_of(token)
        shares = before.distribution[ids].cumsum()
        assert [row["running"] for row in found["rows"]] == pytest.approx(shares)
    assert next_word(client, sampler=chain, stage=3)["arithmetic"] is None
    assert next_word(client, sampler=chain)["arithmetic"] is None


def test_the_arithmetic_shows_both_sides_of_a_cut(client):
    found = next_word(client, sampler="top_k(k=5)", stage=1, count=2)["arithmetic"]["rows"]
    assert [(row["rank"], row["after"] is None) for row in found] == [
        (1, False), (2, False), (5, False), (6, True),
    ]  # fmt: skip


def test_draws_are_those_of_a_run(open_client):
    client = open_client({"toy": corelm.load("imdb")})
    asked = {"prompt": "This movie", "sampler": "top_k(k=4)"}
    reply = next_word(client, **asked, draws=1000)  # too many for one array of probabilities
    counts = {each["id"]: each["count"] for each in reply["tokens"] if each["count"]}
    assert (reply["draws"], sum(counts.values())) == (1000, 1000)
    run = corelm.generate("imdb", "This movie", sampler="top_k(k=4)", n=1000, length=1, seed=3)
    drawn = [text.tokens[0] for text in run]
    assert counts == {token: drawn.count(token) for token in set(drawn)}
    assert next_word(client, **asked)["draws"] == 0
