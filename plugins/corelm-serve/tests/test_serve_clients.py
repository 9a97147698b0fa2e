"""What the first pages of clients' documentation do: openai, litellm and llm, in our words."""

import asyncio
import json
import subprocess
from importlib.util import find_spec

import pytest
from programs import python
from serve_client import ToyModel, llm_home, sample, served
from test_serve_chat import ChatModel

TOKEN = "the-token"
MESSAGES = [{"role": "developer", "content": "the"}, {"role": "user", "content": "cat"}]
[EXPECTED] = sample(ChatModel(), "the cat ", sampler="stochastic", seed=1, length=8)
SETTINGS = {"seed": 1, "max_tokens": 8}


@pytest.fixture(scope="module")
def address():
    with served({"chat": ChatModel(), "toy": ToyModel()}, token=TOKEN) as found:
        yield found


@pytest.fixture
def openai(address, monkeypatch):
    """Return openai's package, whose clients find the server in the environment."""
    monkeypatch.setenv("OPENAI_BASE_URL", f"{address}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", TOKEN)
    return pytest.importorskip("openai", reason="pip install openai")


def test_openai_answers_messages(openai):
    with openai.OpenAI() as client:
        answer = client.chat.completions.create(model="chat", messages=MESSAGES, **SETTINGS)
    assert answer.choices[0].message.content == EXPECTED


def test_openai_streams_an_answer(openai):
    with openai.OpenAI() as client:
        stream = client.chat.completions.create(
            model="chat", messages=MESSAGES, stream=True, **SETTINGS
        )
        assert "".join(event.choices[0].delta.content for event in stream) == EXPECTED


def test_openai_streams_in_coroutines(openai):
    async def text():
        async with openai.AsyncOpenAI() as client:
            stream = await client.chat.completions.create(
                model="chat", messages=MESSAGES, stream=True, **SETTINGS
            )
            return "".join([event.choices[0].delta.content async for event in stream])

    assert asyncio.run(text()) == EXPECTED


def test_openai_sees_headers_and_raw_answers(openai):
    with openai.OpenAI() as client:
        raw = client.chat.completions.with_raw_response.create(
            model="chat", messages=MESSAGES, **SETTINGS
        )
        assert raw.parse().choices[0].message.content == EXPECTED
        with client.chat.completions.with_streaming_response.create(
            model="chat", messages=MESSAGES, **SETTINGS
        ) as response:
            assert json.loads(response.read())["choices"][0]["message"]["content"] == EXPECTED


def test_openai_names_errors_by_class(openai):
    with openai.OpenAI(max_retries=0) as client:
        with pytest.raises(openai.NotFoundError, match="this server keeps no conversations"):
            client.responses.create(model="chat", input="the")
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(model="chat", messages=[{"role": "x", "content": ""}])
        assert caught.value.param == "messages[0].role"
        assert isinstance(caught.value, openai.APIStatusError)
        with pytest.raises(openai.AuthenticationError):
            client.with_options(api_key="wrong").models.list()


LITELLM = """
import asyncio, json, litellm, sys
asked = json.load(sys.stdin)
print(litellm.completion(**asked).choices[0].message.content)
parts = litellm.completion(**asked, stream=True)
print("".join(part.choices[0].delta.content or "" for part in parts))
async def later():
    return await litellm.acompletion(**asked)
print(asyncio.run(later()).choices[0].message.content)
"""


@pytest.mark.slow
def test_litellm_answers_messages(address):
    if find_spec("litellm") is None:
        pytest.skip("pip install litellm")
    asked = {
        "model": "openai/chat", "messages": MESSAGES, "api_base": f"{address}/v1",
        "api_key": TOKEN, **SETTINGS,
    }  # fmt: skip
    # In a process, since it leaves warnings and open sockets behind; costs not from the network.
    local = {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = python("-c", LITELLM, env=local, input=json.dumps(asked), check=True)
    assert [line for line in done.stdout.splitlines() if line.strip()] == [EXPECTED] * 3


LLM = """
import sys
from llm.cli import cli
for more in ([], ["--no-stream"]):
    cli([*sys.argv[1:], *more], standalone_mode=False)
"""


@pytest.mark.slow
def test_llm_answers_with_a_system_prompt(address, tmp_path):
    pytest.importorskip("llm", reason="pip install llm")
    home = llm_home(tmp_path, address, TOKEN, "chat")
    words = ["-m", "served", "-s", "the", "-o", "seed", "1", "-o", "max_tokens", "8", "cat"]
    done = python("-c", LLM, *words, env=home, stdin=subprocess.DEVNULL)
    assert done.stdout.splitlines() == [EXPECTED] * 2, done.stderr
