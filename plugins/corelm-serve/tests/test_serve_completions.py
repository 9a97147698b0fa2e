"""`POST /v1/completions`: the texts equal `corelm sample`'s, with every option."""

import math

import numpy as np
import pytest
from serve_client import Counted, ToyModel, complete, sample

import corelm

MODEL = ToyModel()
CHAIN = "top_k(k=5) | temperature(t=0.8)"


@pytest.mark.parametrize("sampler", ["stochastic", CHAIN, "mirostat(tau=2.0)", "greedy"])
def test_a_text_with_a_seed_is_the_one_that_corelm_samples(client, sampler):
    answer = client.complete(sampler=sampler, seed=7, n=5, max_tokens=12)
    texts = [choice["text"] for choice in answer["choices"]]
    assert texts == sample(MODEL, "the", sampler=sampler, seed=7, n=5, length=12)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3, 4]
    assert answer["corelm"] == {
        "version": answer["corelm"]["version"],
        "sampler": str(corelm.sampler(sampler)),
        "decoder": "ancestral",
        "seed": 7,
    }
    assert answer["usage"]["prompt_tokens"] == 1
    drawn = answer["usage"]["completion_tokens"]
    assert answer["usage"]["total_tokens"] == 1 + drawn


def test_without_a_seed_a_fresh_one_is_drawn_and_returned(client):
    one, other = client.complete(max_tokens=12), client.complete(max_tokens=12)
    assert one["corelm"]["seed"] != other["corelm"]["seed"]
    again = client.complete(max_tokens=12, seed=one["corelm"]["seed"])
    assert again["choices"][0]["text"] == one["choices"][0]["text"]


def test_the_fields_act_in_the_order_of_openai(client):
    answer = client.complete(
        temperature=0.7, top_p=0.9, presence_penalty=0.5, frequency_penalty=0.25,
        logit_bias={"5": -2}, seed=1,
    )  # fmt: skip
    assert answer["corelm"]["sampler"] == (
        "logit_bias(bias={5: -2}) | "
        "frequency_penalty(penalty=0.25, last=0, skip_prompt=True) | "
        "presence_penalty(penalty=0.5, last=0, skip_prompt=True) | "
        "temperature(t=0.7) | top_p(p=0.9)"
    )
    chain = answer["corelm"]["sampler"]
    texts = [choice["text"] for choice in answer["choices"]]
    assert texts == sample(MODEL, "the", sampler=chain, seed=1, length=16)


@pytest.mark.parametrize(
    ("fields", "chain"),
    [
        ({}, "stochastic"),
        ({"temperature": 1, "top_p": 1}, "stochastic"),
        ({"temperature": 0, "top_p": 0.5}, "greedy"),
        ({"min_p": 0.1, "top_k": 3}, "min_p(p=0.1) | top_k(k=3)"),
        ({"top_k": -1}, "stochastic"),
        ({"preset": "keras-hub"}, "temperature(t=1.0) | top_k(k=5)"),
        ({"engine": "llama.cpp", "top_k": 0, "top_p": 1.0, "min_p": 0.0}, "temperature(t=0.8)"),
        (
            {"engine": "koboldcpp", "top_k": 0, "top_p": 1, "tfs": 0.9, "temperature": 1},
            "tail_free(z=0.9)",
        ),
        (
            {"engine": "ollama", "options": {"top_k": 5, "top_p": 1.0, "temperature": 1}},
            "top_k(k=5)",
        ),
        ({"mirostat": 2, "mirostat_tau": 3.0}, "temperature(t=0.8) | mirostat(tau=3.0, eta=0.1)"),
    ],
)
def test_the_chain_comes_back_as_an_expression(client, fields, chain):
    assert client.complete(**fields)["corelm"]["sampler"] == chain


def test_a_request_may_have_the_settings_of_every_engine(client):
    with pytest.raises(corelm.CorelmError) as caught:
        corelm.from_settings({}, "an unknown engine")
    known = str(caught.value).rpartition("(there are: ")[2].rstrip(")").split(", ")
    # Flags of a command line aren't fields of a request.
    allowed = ", ".join(sorted({*known} - {"llama.cpp-cli"}))
    assert f"engine must be one of {allowed}, not" in client.refused(engine="x")[1]["message"]


@pytest.mark.parametrize("field", ["n_predict", "ignore_eos", "top_x", "frequency_penalti"])
def test_fields_that_this_server_does_not_honour_are_errors(client, field):
    status, error = client.refused(**{field: 3, "temperature": 0.5})
    assert (status, error["param"]) == (400, field)


def test_prompts_of_all_kinds(client):
    ids = MODEL.vocabulary.encode("the cat")
    one = client.complete(prompt="the cat", seed=3)["choices"][0]["text"]
    assert client.complete(prompt=ids, seed=3)["choices"][0]["text"] == one
    for prompts in (["the cat", "the"], [ids, MODEL.vocabulary.encode("the")]):
        answer = client.complete(prompt=prompts, seed=3, n=2)
        texts = [choice["text"] for choice in answer["choices"]]
        assert texts == [
            *sample(MODEL, "the cat", sampler="stochastic", seed=3, n=2, length=16),
            *sample(MODEL, "the", sampler="stochastic", seed=3, n=2, length=16),
        ]
        assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        ({"stop": " cat"}, {"stop": " cat"}),
        ({"stop": [" cat", " dog"]}, {"stop": [" cat", " dog"]}),
        ({"stop_regex": "d.g"}, {"stop_regex": "d.g"}),
        ({"stop_loop": 3}, {"stop_loop": 3}),
    ],
)
def test_what_ends_a_text(client, fields, options):
    settings = {"seed": 5, "n": 8}
    answer = client.complete(max_tokens=40, **settings, **fields)
    expected = corelm.generate(MODEL, "the", sampler="stochastic", length=40, **settings, **options)
    assert [c["text"] for c in answer["choices"]] == [text.text for text in expected]
    reasons = [choice["corelm"]["finish_reason"] for choice in answer["choices"]]
    assert reasons == [text.finish_reason for text in expected]
    for choice in answer["choices"]:
        cut = choice["corelm"]["finish_reason"] == "length"
        assert choice["finish_reason"] == ("length" if cut else "stop")


def test_the_entropy_of_each_token(client):
    answer = client.complete(sampler=CHAIN, seed=2, max_tokens=10)
    [text] = corelm.generate(MODEL, "the", sampler=CHAIN, seed=2, length=10)
    about = answer["choices"][0]["corelm"]
    assert about["entropy"] == [step.entropy for step in text.steps]
    assert "model_entropy" not in about  # it takes time, so it comes with logprobs
    answer = client.complete(sampler=CHAIN, seed=2, max_tokens=10, logprobs=0)
    measured = answer["choices"][0]["corelm"]
    assert measured["entropy"] == about["entropy"]
    assert measured["model_entropy"] == [step.model_entropy for step in text.steps]
    assert about["sample"] == 0


def test_logprobs_are_the_models_and_the_samplers_are_beside_them(client):
    answer = client.complete(sampler=CHAIN, seed=2, max_tokens=10, logprobs=3)
    [text] = corelm.generate(MODEL, "the", sampler=CHAIN, seed=2, length=10)
    [choice] = answer["choices"]
    for part, name in (("logprobs", "model_surprisal"), ("sampler_logprobs", "surprisal")):
        numbers = choice[part]["token_logprobs"]
        assert np.allclose(numbers, [-getattr(step, name) for step in text.steps])
        assert choice[part]["tokens"] == [step.text for step in text.steps]
    for step, top in zip(text.steps, choice["logprobs"]["top_logprobs"], strict=True):
        assert len(top) in (3, 4)  # the likeliest, and the drawn one
        assert [*top.values()] == sorted(top.values(), reverse=True)
        assert math.isclose(top[step.text], -step.model_surprisal, rel_tol=1e-6)
    offsets = choice["logprobs"]["text_offset"]
    assert [choice["text"][at : at + 1] for at in offsets] == [" "] * len(offsets)


def test_no_impossible_token_is_among_the_likeliest(client):
    [choice] = client.complete(logprobs=20, echo=True, seed=1, max_tokens=4)["choices"]
    possible = len(MODEL.vocabulary) - 2  # without padding and [UNK]
    tops = choice["logprobs"]["top_logprobs"]
    assert [len(top) for top in tops] == [possible] * 5


@pytest.mark.parametrize("model", [ToyModel(end=False), ToyModel()], ids=["no start", "start"])
@pytest.mark.parametrize("prompt", ["the cat sat on", "the"])
def test_echo_scores_the_whole_prompt(open_client, model, prompt):
    client = open_client({"toy": model})
    answer = client.complete(prompt=prompt, echo=True, logprobs=2, max_tokens=3, seed=1)
    [choice] = answer["choices"]
    ids = model.vocabulary.encode(prompt)
    found = choice["logprobs"]
    assert choice["text"].startswith(prompt)
    assert "".join(found["tokens"]) == choice["text"]
    assert len(found["token_logprobs"]) == len(found["top_logprobs"]) == len(ids) + 3
    for at, token in enumerate(ids):
        if at == 0 and model.vocabulary.start is None:
            assert found["token_logprobs"][0] is None
            assert found["top_logprobs"][0] is None
            continue
        explained = corelm.explain(model, model.vocabulary.decode(ids[:at]), "stochastic")
        right = explained.stages[0].distribution
        assert math.isclose(found["token_logprobs"][at], math.log(right[token]), rel_tol=1e-5)
        best = max(found["top_logprobs"][at].values())
        assert math.isclose(best, math.log(right.max()), rel_tol=1e-5)
    assert choice["sampler_logprobs"]["token_logprobs"][: len(ids)] == [None] * len(ids)
    for at, offset in enumerate(found["text_offset"]):
        assert choice["text"][offset:].startswith(found["tokens"][at])


@pytest.mark.parametrize(
    "settings", [{}, {"echo": True, "logprobs": 2}, {"decoder": "beam(width=2)"}, {"stream": True}]
)
def test_a_text_after_a_start_token_is_that_of_the_prompt(client, settings):
    if "decoder" in settings:
        pytest.importorskip("corelm_beam")
    vocabulary = MODEL.vocabulary
    asked = {"sampler": "dry | top_p(p=0.9)", "seed": 4, "max_tokens": 12, **settings}
    for ids in (vocabulary.encode("the cat"), []):
        prompts = [vocabulary.decode(ids), [vocabulary.start, *ids]]
        if settings.get("stream"):
            texts = [complete(client.stream(prompt=prompt, **asked)) for prompt in prompts]
        else:
            texts = [client.complete(prompt=prompt, **asked)["choices"][0] for prompt in prompts]
            found = [(choice.pop("logprobs"), choice.pop("sampler_logprobs", None))
                     for choice in texts]  # fmt: skip
            if "echo" in settings:
                pairs = [[part["token_logprobs"] for part in each] for each in found]
                assert [[None, *numbers] for numbers in pairs[0]] == pairs[1]
        assert texts[0] == texts[1]


def test_echo_alone_scores_a_prompt_and_draws_nothing(client):
    answer = client.complete(prompt="the cat", echo=True, logprobs=1, max_tokens=0)
    [choice] = answer["choices"]
    assert choice["text"] == "the cat"
    assert len(choice["logprobs"]["tokens"]) == 2
    assert answer["usage"]["completion_tokens"] == 0


def test_what_lm_evaluation_harness_asks(open_client):
    """Its local-completions sends ids, and reads the log-probabilities behind a context."""
    model = corelm.load("imdb")
    client = open_client({"imdb": model})
    info = client.get("/tokenizer_info").json()
    for name in ("bos_token", "eos_token"):
        answer = client.post("/tokenize", json={"prompt": info[name], "add_special_tokens": False})
        assert answer.json()["tokens"] == [info[f"{name}_id"]]
    context, target = ("this movie is", " one of the best")
    ids = [model.vocabulary.encode(text) for text in (context, context + target)]
    answer = client.complete(
        model="imdb", prompt=[ids[1], ids[1]], temperature=0, max_tokens=1, logprobs=1, seed=1234,
        echo=True,
    )  # fmt: skip
    assert len(answer["choices"]) == 2
    for choice in answer["choices"]:
        found = choice["logprobs"]
        start = len(ids[0])
        numbers = found["token_logprobs"][start:-1]
        best = [max(top.values()) for top in found["top_logprobs"][start:-1]]
        right = []
        for at in range(start, len(ids[1])):
            stage = corelm.explain(model, model.vocabulary.decode(ids[1][:at]), "greedy").stages[0]
            right.append((math.log(stage.distribution[ids[1][at]]), stage.logits.argmax()))
        assert np.allclose(numbers, [number for number, _ in right], rtol=1e-5)
        greedy = [token == ids[1][start + i] for i, (_, token) in enumerate(right)]
        assert [own == top for own, top in zip(numbers, best, strict=True)] == greedy


def test_the_best_of_several_texts(client):
    answer = client.complete(best_of=6, n=2, seed=4, max_tokens=8)
    texts = corelm.generate(MODEL, "the", sampler="stochastic", n=6, seed=4, length=8)

    def surprisal(text):
        return np.mean([step.model_surprisal for step in text.steps])

    best = sorted(texts, key=surprisal)[:2]
    assert [choice["text"] for choice in answer["choices"]] == [text.text for text in best]
    assert [c["corelm"]["sample"] for c in answer["choices"]] == [text.sample for text in best]
    assert answer["usage"]["completion_tokens"] == sum(len(text.tokens) for text in texts)


def test_a_decoder_of_a_plugin(client):
    pytest.importorskip("corelm_beam")
    answer = client.complete(decoder="beam(width=3)", seed=1, max_tokens=6)
    by_expression = client.complete(sampler="stochastic | beam(width=3)", seed=1, max_tokens=6)
    assert answer["choices"][0]["text"] == by_expression["choices"][0]["text"]
    assert answer["corelm"]["decoder"].startswith("beam(width=3")


THINKER = ToyModel(
    ["<think>", "</think>", "so"],
    logits=[[0, 0, -9, 9, -9, 0]] + [[0, 0, -9, -9, -9, 9]] * 5,
)  # it thinks "so", and never ends


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, " so so so so so so"),
        ({"thinking_token_budget": -1}, " so so so so so so"),
        ({"thinking_token_budget": 0}, " </think> so so so so so"),
        ({"thinking_token_budget": 2, "top_k": 3}, " so so </think> so so so"),
        ({"reasoning_budget_tokens": 2}, " so so </think> so so so"),
        ({"reasoning_budget_tokens": -1, "sampler": "greedy"}, " so so so so so so"),
        (
            {"reasoning_budget_tokens": 1, "reasoning_budget_message": "so so"},
            " so so so </think> so so",
        ),
    ],
)
def test_a_budget_of_tokens_for_thinking(open_client, fields, text):
    client = open_client({"toy": THINKER})
    asked = fields if "sampler" in fields else {"temperature": 0, **fields}
    answer = client.complete(prompt="<think>", max_tokens=6, seed=1, **asked)
    assert answer["choices"][0]["text"] == text


def test_a_loop_ends_a_text(client):
    pytest.importorskip("corelm_break_loop")
    loop = {"max_pattern_size": 8, "min_count": 2}
    asked = {"temperature": 0, "max_tokens": 30}
    [choice] = client.complete(repetition_detection=loop, **asked)["choices"]
    assert choice["text"] == " cat sat on the cat sat on the"
    assert choice["finish_reason"] == "stop"
    for short in ({"max_pattern_size": 3, "min_count": 2}, {"max_pattern_size": 0}, {}):
        [choice] = client.complete(repetition_detection=short, **asked)["choices"]
        assert choice["finish_reason"] == "length"
    for wrong in ({"max_pattern_size": 2, "min_count": 1}, {"max_pattern_size": 2, "size": 1}):
        status, error = client.refused(repetition_detection=wrong)
        assert status == 400
        assert "repetition_detection" in f"{error['param']} {error['message']}"


def test_banned_strings(client):
    pytest.importorskip("corelm_backtrack")
    answer = client.complete(banned_strings=["cat", "dog"], seed=1, max_tokens=30)
    assert not {"cat", "dog"} & {*answer["choices"][0]["text"].split()}


@pytest.mark.parametrize("extra", [{}, {"n": 3}, {"stop": " cat"}, {"logprobs": 2}])
def test_a_stream_has_the_same_text(client, extra):
    whole = client.complete(seed=9, max_tokens=20, **extra)
    events = client.stream(seed=9, max_tokens=20, stream_options={"include_usage": True}, **extra)
    for choice in whole["choices"]:
        assert complete(events, choice["index"]) == choice["text"]
        mine = [c for e in events for c in e["choices"] if c["index"] == choice["index"]]
        reasons = [c["finish_reason"] for c in mine]
        assert reasons == [None] * (len(mine) - 1) + [choice["finish_reason"]]
        entropies = [number for c in mine for number in c["corelm"]["entropy"]]
        assert entropies == choice["corelm"]["entropy"]
        if "logprobs" in extra:
            for part in ("logprobs", "sampler_logprobs"):
                for name, values in choice[part].items():
                    assert [v for c in mine for v in c[part][name]] == values
    assert events[0]["corelm"] == whole["corelm"]
    assert events[-1]["usage"] == whole["usage"]


PROMPTS = ["the cat sat", "a dog", "the", "the dog saw the cat and the cat saw", "the mat"]


@pytest.mark.parametrize("name", ["toy", "imdb", "gpt2"])
def test_prompts_of_several_lengths_are_scored_in_one_pass(open_client, name):
    model = Counted() if name == "toy" else corelm.load(name)
    client = open_client({"toy": model})
    asked = {"echo": True, "logprobs": 2, "max_tokens": 0}
    prompts = [model.vocabulary.encode(prompt) for prompt in PROMPTS]
    if model.vocabulary.start is not None:
        prompts.append([model.vocabulary.start, *prompts[1]])
    alone = [client.complete(prompt=prompt, **asked)["choices"][0] for prompt in prompts]
    before = getattr(model, "starts", 0)
    together = client.complete(prompt=prompts, **asked)["choices"]
    for one, other in zip(alone, together, strict=True):
        assert one["logprobs"] == other["logprobs"]
    if name == "toy":  # a prompt of one token has nothing to share
        assert model.starts - before == 2


def test_a_model_that_cannot_score_together_scores_one_by_one(open_client):
    class Plain(ToyModel):
        def start(self, tokens):
            session = super().start(tokens)
            session.rewind = None
            return session

    clients = [open_client({"toy": model}) for model in (Plain(), ToyModel())]
    asked = {"prompt": PROMPTS, "echo": True, "logprobs": 1, "max_tokens": 2, "seed": 1}
    one, other = (client.complete(**asked)["choices"] for client in clients)
    assert [choice["logprobs"] for choice in one] == [choice["logprobs"] for choice in other]


def test_a_stream_may_echo_the_prompt_with_its_logprobs(client):
    settings = {"prompt": "the cat", "echo": True, "logprobs": 1, "seed": 3, "max_tokens": 4}
    whole = client.complete(**settings)["choices"][0]
    events = client.stream(**settings)
    assert complete(events) == whole["text"]
    parts = [c["logprobs"] for event in events for c in event["choices"]]
    for name, values in whole["logprobs"].items():
        assert [value for part in parts for value in part[name]] == values


def test_a_stream_of_no_token_ends_at_once(client):
    [event] = client.stream(max_tokens=0)
    assert [(each["text"], each["finish_reason"]) for each in event["choices"]] == [("", "length")]


def test_a_request_with_a_seed_asks_the_system_for_no_random_numbers(client, monkeypatch):
    client.complete(seed=1, max_tokens=1)
    monkeypatch.delattr("os.urandom")
    monkeypatch.delattr("uuid.uuid4")
    ids = {client.complete(seed=1, max_tokens=1)["id"] for _ in range(3)}
    assert len(ids) == 3
    assert {len(each) for each in ids} == {len("cmpl-") + 32}


@pytest.mark.parametrize(("pause", "counts"), [(math.inf, [1, 5]), (0, [1] * 6)])
def test_a_stream_has_its_first_token_at_once_and_others_together(
    open_client, monkeypatch, pause, counts
):
    monkeypatch.setattr("corelm_serve.scheduling.jobs.PAUSE", pause)
    client = open_client({"toy": ToyModel(end=False)})
    choices = [event["choices"][0] for event in client.stream(max_tokens=6, seed=1, logprobs=1)]
    assert [len(choice["corelm"]["entropy"]) for choice in choices] == counts
    assert [len(choice["logprobs"]["tokens"]) for choice in choices] == counts
