"""The model `corelm` in lm-evaluation-harness, on tasks from local files."""

import json
import math

import numpy as np
import pytest

pytest.importorskip("lm_eval", reason="pip install lm_eval")

from corelm_lm_eval import CorelmLM
from corelm_lm_eval.metrics import Evaluated, of_answers
from corelm_lm_eval.settings import read_settings
from lm_eval.api.instance import Instance
from lm_eval.api.registry import metric_registry
from lm_eval_tasks import DOCUMENTS

import corelm
import corelm.runs
from corelm.errors import UsageError
from corelm.testing import ToyModel

pytestmark = pytest.mark.engines("lm_eval")

CHAIN = "top_p(p=0.9) | temperature(t=0.8)"
PROMPTS = [f"{document['before']} the" for document in DOCUMENTS]


def texts_of(results, task="texts"):
    return {sample["doc_id"]: sample["resps"][0] for sample in results["samples"][task]}


def asked(kind, *arguments):
    return [Instance(kind, {}, each, 0) for each in arguments]


def log_probability(model, before, ids):
    """Return the log-probability of ids, token by token, without a session."""
    total = 0.0
    for place, token in enumerate(ids):
        p = model.next_token_distribution([[*before, *ids[:place]]])[0].astype(np.float64)
        never = model.vocabulary.padding, model.vocabulary.unknown
        p[[token for token in never if token is not None]] = 0
        total += math.log(p[token] / p.sum())
    return total


def test_texts_are_those_of_generate(evaluate):
    found = evaluate("texts", model_args={"model": "imdb", "sampler": CHAIN, "seed": 7})
    model = corelm.load("imdb")
    for number, texts in texts_of(found).items():
        expected = corelm.generate(
            model, PROMPTS[number], sampler=CHAIN, seed=7, n=2, length=8, stop=".",
            prompt_index=number,
        )  # fmt: skip
        assert texts == [text.text for text in expected]


@pytest.mark.parametrize("batch_size", [1, 3, "auto"])
def test_texts_and_likelihoods_are_the_same_at_any_batch_size(evaluate, batch_size):
    """Elsewhere they differ: lm-evaluation-harness 1645, OpenCompass 1097."""
    arguments = {"model": "imdb", "sampler": CHAIN, "seed": 7}
    names = "texts", "choices", "rolling"
    one, other = (
        evaluate(*names, model_args=arguments, batch_size=size)["samples"]
        for size in (64, batch_size)
    )
    for name in names:
        for sample, same in zip(one[name], other[name], strict=True):
            assert sample["resps"] == same["resps"]


def test_the_seed_of_the_harness_reaches_the_texts(evaluate):
    """Elsewhere it does not: tt-inference-server 4292."""
    arguments = {"model": "imdb", "sampler": CHAIN}
    one, same, other = (
        evaluate("texts", model_args=arguments, random_seed=seed, limit=2) for seed in (1, 1, 2)
    )
    assert texts_of(one) == texts_of(same) != texts_of(other)
    seeds = [each["config"]["corelm"]["seed"] for each in (one, same, other)]
    assert seeds[0] == seeds[1] != seeds[2]
    first = corelm.generate(
        "imdb", PROMPTS[0], sampler=CHAIN, seed=seeds[0], n=2, length=8, stop="."
    )
    assert texts_of(one)[0] == [text.text for text in first]


def test_the_results_and_each_document_say_how_texts_were_drawn(evaluate):
    found = evaluate("texts", model_args={"model": "imdb", "sampler": CHAIN, "seed": 7})
    record = found["config"]["corelm"]
    assert record["model"] == "imdb"
    assert record["sampler"] == str(corelm.sampler(CHAIN))
    assert record["seed"] == 7
    assert {"corelm", "corelm-lm-eval", "lm_eval", "numpy"} <= record["versions"].keys()
    for sample in found["samples"]["texts"]:
        [[prompt, settings]] = sample["arguments"]
        assert settings["corelm"] == {**record, "prompt_index": sample["doc_id"]}
        assert prompt == PROMPTS[sample["doc_id"]]
        json.dumps(settings)


def test_likelihoods_are_those_of_the_distributions(evaluate):
    found = evaluate("choices", "rolling", model_args="model=imdb")["samples"]
    model = corelm.load("imdb")
    encode = model.vocabulary.encode
    for sample in found["choices"]:
        document = sample["doc"]
        before = encode(document["before"])
        for choice, [(likelihood, is_greedy)] in zip(
            document["choices"], sample["resps"], strict=True
        ):
            ids = encode(document["before"] + choice)[len(before) :]
            assert likelihood == pytest.approx(log_probability(model, before, ids), rel=1e-5)
            [text] = corelm.generate(
                model, document["before"], sampler="greedy", length=len(ids), seed=0
            )
            assert is_greedy == (text.tokens == ids)
    for sample in found["rolling"]:
        [[likelihood]] = sample["resps"]
        ids = encode(sample["doc"]["before"] + sample["doc"]["choices"][0])
        assert likelihood == pytest.approx(log_probability(model, [], ids), rel=1e-5)


@pytest.mark.parametrize("name", ["imdb", "gpt2"])
def test_a_text_beyond_the_context_is_cut_as_the_harness_cuts_it(name):
    model = corelm.load(name)
    lm, length = CorelmLM(model), model.context_length
    text = " and the movie was good" * length
    ids = model.vocabulary.encode(text)[: 2 * length + 10]
    text = model.vocabulary.decode(ids)
    ids = model.vocabulary.encode(text)
    size = length - 1  # the model puts its start token before each window
    expected = log_probability(model, [], ids[:size])
    for first in range(size, len(ids), size):
        last = min(first + size, len(ids))
        before = ids[max(last - size - 1, 0) : first]  # as much as fits before the last window
        expected += log_probability(model, before, ids[first:last])
    [found] = lm.loglikelihood_rolling(asked("loglikelihood_rolling", (text,)), disable_tqdm=True)
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_start_token_of_a_rendered_template_is_put_there_once():
    lm = CorelmLM(ToyModel())
    pairs = [asked("loglikelihood", (context, " sat")) for context in ("[end] the cat", "the cat")]
    one, other = (lm.loglikelihood(each, disable_tqdm=True) for each in pairs)
    assert one == other
    texts = [asked("loglikelihood_rolling", (text,)) for text in ("[end] the cat", "the cat")]
    one, other = (lm.loglikelihood_rolling(each, disable_tqdm=True) for each in texts)
    assert one == other


def test_a_task_that_samples_gets_the_sampler_that_it_names(evaluate):
    found = evaluate("variety", model_args={"model": "imdb", "seed": 3})
    model = corelm.load("imdb")
    for sample in found["samples"]["variety"]:
        settings = sample["arguments"][0][1]
        assert settings["corelm"]["sampler"] == "temperature(t=0.8) | top_p(p=0.9)"
        [text] = corelm.generate(
            model, PROMPTS[sample["doc_id"]], sampler=settings["corelm"]["sampler"], seed=3,
            length=70, prompt_index=sample["doc_id"],
        )  # fmt: skip
        assert sample["resps"] == [[text.text]]
    corelm_mattr = pytest.importorskip("corelm_mattr")
    texts = [sample["resps"][0][0] for sample in found["samples"]["variety"]]
    values = [corelm_mattr.mattr(corelm_mattr.words(text)) for text in texts]
    known = [value for value in values if value is not None]
    assert found["results"]["variety"]["corelm_mattr,none"] == pytest.approx(np.mean(known))


def test_a_loaded_model_is_an_instance(evaluate):
    model = ToyModel()
    lm = CorelmLM(model, sampler="greedy", seed=1)
    [text] = lm.generate_until(asked("generate_until", ("the", {"max_gen_toks": 3})), True)
    assert text == " cat sat on"
    assert lm.get_model_info()["corelm"]["model"] == "ToyModel"
    with pytest.raises(UsageError, match="no token for the beginning"):
        CorelmLM(ToyModel(end=False)).loglikelihood(asked("loglikelihood", ("", "the cat")))


def test_unknown_words_are_impossible_unless_they_are_allowed(caplog):
    requests = asked("loglikelihood", ("This movie is", " a flibbertigibbet"))
    [(refused, _)] = CorelmLM("imdb").loglikelihood(requests, True)
    assert "1 of 1 texts have words that the model does not know" in caplog.text
    [(allowed, _)] = CorelmLM("imdb", unknown=True).loglikelihood(requests, True)
    assert refused == -math.inf < allowed


@pytest.mark.parametrize(
    ("given", "strategy", "message"),
    [
        ({"do_sample": True, "temperature": 0.7}, CHAIN, "the task samples with temperature"),
        ({"num_beams": 4}, None, "does not sample with num_beams"),
        ({"seed": 4}, None, "does not sample with seed"),
        ({"until": ["."], "max_gen_toks": 5, "tempreature": 1}, None, "tempreature"),
    ],
)
def test_settings_that_contradict_or_that_corelm_lacks_are_refused(given, strategy, message):
    chosen = strategy and CorelmLM(ToyModel(), strategy).strategy
    with pytest.raises(UsageError, match=message):
        read_settings(given, chosen)


@pytest.mark.parametrize(
    ("given", "sampler"),
    [
        ({}, "greedy"),
        ({"do_sample": False, "temperature": 0.0}, "greedy"),
        ({"do_sample": False, "temperature": 0.9, "top_p": 0.5}, "greedy"),
        ({"temperature": 0.7}, "temperature(t=0.7)"),
        ({"do_sample": True, "top_k": 5, "until": "x"}, "top_k(k=5)"),
    ],
)
def test_a_task_is_greedy_unless_it_samples(given, sampler):
    settings = read_settings(given, None)
    assert str(settings.strategy) == sampler
    assert settings.length == 256


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": "x"}, "seed must be a whole number, not 'x'"),
        ({"batch_size": 0}, "batch_size must be at least 1, not 0"),
        ({"sampler": "tempreature"}, "temperature"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(UsageError, match=message):
        CorelmLM(ToyModel(), **arguments)


def test_commas_in_brackets_belong_to_the_expression():
    lm = CorelmLM.create_from_arg_string(
        "model=imdb,sampler=phase(inside=top_k(k=3), outside=greedy) | top_p,seed=4,unknown=True",
        {"batch_size": 2, "device": None},
    )
    expected = corelm.sampler("phase(inside=top_k(k=3), outside=greedy) | top_p")
    assert lm.strategy.sampler == expected
    assert (lm.seed, lm.rows, lm.unknown) == (4, 2, True)


class Tokens(corelm.SetMetric):
    def figure(self, tokens, texts):
        return sum(map(len, tokens))


class Letters(corelm.TextMetric):
    def of_text(self, tokens, text):
        return len(text) or None


class Repeated(corelm.HumanMetric):
    def compare(self, texts, human, model):
        return lambda rows: [len(rows), len(human[0])]


class Sizes(corelm.TokenMetric):
    def of_token(self, logits):
        return (logits > -math.inf).sum(axis=-1)

    def of_text(self, numbers, text):
        return sum(numbers) or None


class Undefined(corelm.SetMetric):
    def figure(self, tokens, texts):
        return None


def test_metrics_are_figures_of_the_texts_of_all_documents(monkeypatch):
    monkeypatch.setattr(Evaluated, "model", ToyModel())
    answers = [("the cat", "the dog"), ("a mat", "a"), ("x", "")]
    assert of_answers(Tokens(), answers) == 3
    assert of_answers(Letters(), answers) == (7 + 1) / 2
    assert of_answers(Repeated(), answers) == (3 + 7) / 2
    assert of_answers(Sizes(), answers) == (2 * 11 + 11) / 2  # all but padding and [UNK]
    assert math.isnan(of_answers(Undefined(), answers))
    monkeypatch.setattr(Evaluated, "model", None)
    with pytest.raises(UsageError, match="evaluate this one"):
        of_answers(Tokens(), answers)


def test_the_metrics_of_installed_plugins_are_registered():
    names = {offer.name for offer in corelm.runs.plugins.registry().offers("corelm_metrics")}
    assert {f"corelm_{name}" for name in names} <= {*metric_registry}


def test_chat_needs_a_template(evaluate):
    with pytest.raises(UsageError, match="template"):
        CorelmLM("imdb").apply_chat_template([{"role": "user", "content": "hello"}])
