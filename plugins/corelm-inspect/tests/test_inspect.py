"""The models of corelm in Inspect, offline; on stand-ins of its interfaces where it is missing."""

from __future__ import annotations

import asyncio
import importlib
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from programs import python

import corelm
from corelm.errors import UsageError

if not find_spec("corelm_inspect"):
    pytest.skip("pip install ./plugins/corelm-inspect", allow_module_level=True)
IS_REAL = find_spec("inspect_ai") is not None
needs_inspect = pytest.mark.skipif(not IS_REAL, reason="pip install inspect_ai")
# Warnings of Inspect and the libraries that it is made of; here every other one is an error.
pytestmark = [
    pytest.mark.filterwarnings("ignore:The .initial. parameter:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
MODEL = corelm.load("imdb")
CHAIN = "min_p(p=0.05) | temperature(t=0.8)"


@pytest.fixture(scope="module", autouse=True)
def inspect():
    """The module `inspect_ai.model`, or its stand-in."""
    with pytest.MonkeyPatch.context() as patch:
        if not IS_REAL:
            patch.syspath_prepend(str(Path(__file__).parent))
            for name, module in importlib.import_module("inspect_stand_ins").modules().items():
                patch.setitem(sys.modules, name, module)
            # Made with the stand-ins, so it goes with them.
            patch.setitem(sys.modules, "corelm_inspect", None)
            del sys.modules["corelm_inspect"]
            importlib.import_module("corelm_inspect")
        yield importlib.import_module("inspect_ai.model")


def answer(prompt: object, sampler: str | None = None, seed: int = 7, **config: object):
    """Return the output of a fresh model for a prompt."""
    inspect = importlib.import_module("inspect_ai.model")
    model = inspect.get_model("corelm/imdb", sampler=sampler, seed=seed, memoize=False)
    config = inspect.GenerateConfig(max_tokens=8, **config)
    return asyncio.run(model.generate(prompt, config=config))


def expected(prompt: str, sampler: str, index: int, sample: int = 0) -> str:
    """Return the text of corelm.stream."""
    steps = corelm.stream(
        MODEL, prompt, sampler=sampler, length=8, seed=7, sample=sample,
        prompt_index=index,
    )  # fmt: skip
    return "".join(step.text for step in steps)


def test_the_text_is_that_of_stream():
    found = answer("This movie", CHAIN)
    [index] = [found.metadata["prompt_index"]]
    assert found.completion == expected("This movie", CHAIN, index)
    assert found.metadata["sampler"] == CHAIN
    assert (found.metadata["seed"], found.metadata["samples"]) == (7, [0])
    assert found.usage.output_tokens > 0


@pytest.mark.parametrize(
    ("config", "sampler"),
    [
        ({}, "stochastic"),
        ({"temperature": 0}, "greedy"),
        ({"temperature": 0.5, "top_p": 0.9}, "temperature(t=0.5) | top_p(p=0.9)"),
        ({"top_k": 3, "logit_bias": {4: 1.5}}, "logit_bias(bias={4: 1.5}) | top_k(k=3)"),
        ({"extra_body": {"sampler": "top_a(a=0.2)"}}, "top_a(a=0.2)"),
    ],
)
def test_settings_of_a_task_say_the_sampler(config, sampler):
    found = answer("This movie", **config)
    assert found.metadata["sampler"] == sampler
    assert found.completion == expected("This movie", sampler, found.metadata["prompt_index"])


def test_choices_stop_texts_and_logprobs():
    found = answer("This movie", CHAIN, num_choices=3, logprobs=True, stop_seqs=[" is"])
    assert found.metadata["samples"] == [0, 1, 2]
    assert [choice.message.text for choice in found.choices] == [
        expected("This movie", CHAIN, found.metadata["prompt_index"], k).split(" is")[0]
        for k in range(3)
    ]
    assert all(p.logprob <= 0 for c in found.choices for p in c.logprobs.content)


def test_equal_requests_are_the_samples_of_a_prompt(inspect):
    async def texts():
        model = inspect.get_model("corelm/imdb", sampler=CHAIN, seed=7, memoize=False)
        config = inspect.GenerateConfig(max_tokens=8)
        return [
            (await model.generate("This movie", config=config)).metadata["samples"] for _ in "abc"
        ]

    assert asyncio.run(texts()) == [[0], [1], [2]]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"top_logprobs": 3}, "corelm has no top_logprobs"),
        ({"extra_body": {"colour": 1}}, "corelm has no colour"),
        ({"temperature": 0.5, "extra_body": {"sampler": "greedy"}}, "leave out one"),
        ({"extra_body": {"sampler": "nope"}}, "there is no sampler"),
    ],
)
def test_what_corelm_does_not_have_is_an_error(config, message):
    with pytest.raises(corelm.CorelmError, match=message):
        answer("This movie", **config)


def test_messages_need_a_chat_template_and_tools_are_refused(inspect):
    messages = [inspect.ChatMessageSystem(content="a"), inspect.ChatMessageUser(content="b")]
    with pytest.raises(UsageError, match="no chat template"):
        answer(messages)
    model = inspect.get_model("corelm/imdb", memoize=False)
    tool = importlib.import_module("inspect_ai.tool").ToolInfo(name="add", description="Add.")
    with pytest.raises(UsageError, match="call no tools"):
        asyncio.run(model.generate("This movie", tools=[tool]))


@needs_inspect
def test_an_evaluation_gives_the_same_texts_at_any_number_of_connections(inspect, tmp_path):
    from inspect_ai import Task
    from inspect_ai import eval as evaluate
    from inspect_ai.dataset import Sample
    from inspect_ai.scorer import includes

    def outputs(connections: int) -> dict[str, list[str]]:
        samples = [
            Sample(input=word, target="cat", id=word) for word in ("This movie", "A film", "It")
        ]
        task = Task(dataset=samples, scorer=includes(), epochs=2)
        model = inspect.get_model("corelm/imdb", sampler=CHAIN, seed=3, memoize=False)
        [log] = evaluate(
            task, model=model, log_dir=str(tmp_path / str(connections)), display="none",
            max_connections=connections, max_tokens=6,
        )  # fmt: skip
        assert log.status == "success", log.error
        by_word: dict[object, list[str]] = {}
        for sample in log.samples:
            by_word.setdefault(sample.id, []).append(sample.output.completion)
        return {str(word): sorted(found) for word, found in by_word.items()}

    assert outputs(1) == outputs(4)


@needs_inspect
def test_the_command_line_finds_the_provider(tmp_path: Path):
    (tmp_path / "task.py").write_text(
        "from inspect_ai import Task, task\n"
        "from inspect_ai.dataset import Sample\n"
        "from inspect_ai.scorer import includes\n"
        "@task\n"
        "def cats():\n"
        "    return Task(dataset=[Sample(input='The', target='cat')], scorer=includes())\n"
    )
    words = ["task.py", "--model", "corelm/imdb", "--max-tokens", "6", "--display", "none",
             "-M", "sampler=xtc(probability=0.5, threshold=0.1)", "-M", "seed=1"]  # fmt: skip
    logs = {"INSPECT_LOG_DIR": str(tmp_path)}
    done = python("-m", "inspect_ai", "eval", *words, cwd=tmp_path, env=logs)
    assert done.returncode == 0, done.stderr + done.stdout
    assert list(tmp_path.glob("*.eval"))
