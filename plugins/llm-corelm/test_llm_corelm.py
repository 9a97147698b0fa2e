"""The models of corelm in the real LLM: its Python interface and its command line."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import corelm
from corelm.interop.testing import check_draws
from corelm.testing import ToyModel

llm = pytest.importorskip("llm", reason="pip install llm")
pytest.importorskip("llm_corelm", reason="pip install ./plugins/llm-corelm")

SAMPLERS = [
    "temperature(t=0.5)",
    "min_p(p=0.05) | temperature(t=0.8)",
    "mirostat(tau=3.0)",
    "repetition_penalty(penalty=1.3) | top_p(p=0.9)",
]


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path / "llm"))
    monkeypatch.setenv("CORELM_HOME", str(tmp_path / "corelm"))
    return tmp_path / "llm"


@pytest.fixture(scope="module")
def imdb():
    return llm.get_model("corelm/imdb")


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "llm", *arguments],
        capture_output=True,
        encoding="utf-8",
        timeout=600,
    )


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_text_is_that_of_generate(imdb, sampler):
    options = {"sampler": sampler, "seed": 7, "length": 12}
    [expected] = corelm.generate(corelm.load("imdb"), "This movie", **options)
    assert imdb.prompt("This movie", **options).text() == expected.text
    assert imdb.prompt("This movie", stream=False, **options).text() == expected.text


def test_the_draws_follow_the_distribution(monkeypatch):
    words = [f"w{i}" for i in range(58)]

    def draw(logits, sampler):
        model = ToyModel(words, logits, end=False)
        monkeypatch.setattr(corelm, "load", lambda name, **options: model)
        options = {"model": "toy", "sampler": sampler, "length": 20_000, "seed": 1}
        return model.vocabulary.encode(llm.get_model("corelm").prompt("w1", **options).text())

    check_draws(draw)


def test_it_streams(imdb):
    pieces = list(imdb.prompt("This movie", seed=1, length=8))
    assert len(pieces) == 8
    assert all(pieces)


def test_a_stop_string_ends_the_text(imdb):
    whole = imdb.prompt("This movie", seed=1, length=20).text()
    word = whole.split()[3]
    for stop in (word, [word, "no such text"]):
        text = imdb.prompt("This movie", seed=1, length=20, stop=stop).text()
        assert text == whole[: whole.index(word)]


def test_the_seed_of_a_text_is_kept(imdb):
    response = imdb.prompt("This movie", length=5)
    text, facts = response.text(), response.response_json
    assert facts["sampler"] == "temperature(t=0.7)"
    assert imdb.prompt("This movie", length=5, seed=facts["seed"]).text() == text
    assert (response.usage().input, response.usage().output) == (2, 5)


def test_any_model_opens_by_its_name(tmp_path):
    folder = Path(corelm.__file__).parent / "models" / "pretrained" / "imdb"
    options = {"seed": 3, "length": 6}
    text = llm.get_model("corelm").prompt("This movie", model=str(folder), **options).text()
    assert text == llm.get_model("corelm/imdb").prompt("This movie", **options).text()


def test_nothing_is_loaded_before_it_is_asked_for():
    code = (
        "import sys, llm; names = [m.model_id for m in llm.get_models()]; "
        "assert {'corelm', 'corelm/imdb'} <= set(names), names; "
        "print([m for m in sys.modules if m in ('corelm_samplers', 'corelm.models.numpy_model')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"sampler": "temprature"},
            "there is no sampler 'temprature'; did you mean 'temperature'?",
        ),
        ({"sampler": "top_p(p=2)"}, "p must be"),
        ({"sampler": "top_p("}, "top_p("),
        ({"seed": -1}, "seed must be"),
        ({"length": -1}, "length must be"),
        ({"model": "imbd"}, "there is no model 'imbd'; did you mean 'imdb'?"),
        ({"model": "./nowhere"}, "nowhere"),
        ({"device": "cuda"}, "imdb has no choice of device"),
    ],
)
def test_a_wrong_option_is_refused_in_one_line(options, message):
    with pytest.raises(llm.ModelError, match=re.escape(message)) as caught:
        llm.get_model("corelm").prompt("This movie", **options).text()
    assert "\n" not in str(caught.value)


def test_system_prompts_and_conversations_are_refused(imdb):
    with pytest.raises(llm.ModelError, match="takes no system prompt"):
        imdb.prompt("This movie", system="Be kind").text()
    conversation = imdb.conversation()
    conversation.prompt("This movie", length=2).text()
    with pytest.raises(llm.ConversationNotSupported):
        conversation.prompt("and", length=2).text()


def test_the_command_line(user_folder):
    options = ["-o", "sampler", "temperature(t=0.2)", "-o", "seed", "1", "-o", "length", "9"]
    done = run("-m", "corelm/imdb", "This movie", *options)
    [expected] = corelm.generate(
        corelm.load("imdb"), "This movie", sampler="temperature(t=0.2)", seed=1, length=9
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{expected.text}\n"
    [logged] = json.loads(run("logs", "list", "--json").stdout)
    assert logged["model"] == "corelm/imdb"
    assert logged["response"] == expected.text
    assert logged["options_json"] == {
        "sampler": "temperature(t=0.2)", "seed": 1, "length": 9, "unknown": False
    }  # fmt: skip
    assert (user_folder / "logs.db").exists()


def test_the_options_are_listed():
    listed = run("models", "list", "--options", "-m", "corelm").stdout
    for option in ("sampler: str", "seed: int", "length: int", "model: str", "device: str"):
        assert option in listed
