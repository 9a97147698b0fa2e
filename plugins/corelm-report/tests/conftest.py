"""Small reports that the tests share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsers import PATIENCE

import corelm
from corelm import Sampler
from corelm.testing import ToyModel

Document = dict[str, Any]


class Breaks(Sampler):
    """Change nothing, and fail at a step."""

    at: int = corelm.param(5, "the step")

    def __call__(self, logits, context):
        if context.position == self.at:
            raise ValueError("no more | `words`\nhere")
        return logits


@pytest.fixture(scope="session")
def made() -> Document:
    """A report of three samplers and one that failed, with human texts."""
    report = corelm.compare(
        ToyModel(),
        ["greedy", "temperature(t=0.5)", "uniform", Breaks()],
        prompts=["the", "the cat"],
        n=8,
        length=12,
        reference=[
            "the cat sat on the mat", "the dog sat", "the cat ran to the dog", "the mat",
            "the dog ran to the mat", "the cat saw the dog", "a dog sat on the mat", "the cat ran",
        ],
        against="human",
    )  # fmt: skip
    return report.to_dict()


@pytest.fixture
def document(made: Document) -> Document:
    """A copy of it, for tests that change it."""
    return copy.deepcopy(made)


@pytest.fixture
def rows() -> Callable[..., Document]:
    """A function that makes the parts of a document that the summary needs."""

    def make(human: dict[str, Any] | None = None, **samplers: dict[str, Any]) -> Document:
        named = [{"sampler": name, **row} for name, row in samplers.items()]
        return {"reference": human and {"name": "human", **human}, "samplers": named}

    return make


@pytest.fixture
def opened(browser: Any, written: Path) -> Iterator[Callable[..., Any]]:
    """A function that opens a page from the disk; the page must cause no error and load nothing."""
    contexts = []
    complaints: list[str] = []
    requests: list[str] = []
    expected = []

    def open_(path: Path = written, **how: Any) -> Any:
        contexts.append(browser.new_context(**how))
        contexts[-1].set_default_timeout(PATIENCE)
        tab = contexts[-1].new_page()
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        contexts[-1].on("request", lambda request: requests.append(request.url))
        expected.append(path.as_uri())
        tab.goto(path.as_uri())
        return tab

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []
    assert requests == expected
