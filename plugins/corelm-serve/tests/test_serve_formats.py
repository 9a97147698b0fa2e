"""`response_format` and `tools`: exact constraints, with OpenAI's client."""

import json
import re

import numpy as np
import pytest
from serve_client import ToyModel, events_of, sample

import corelm
from corelm.interop import ChatTemplate
from corelm.runs import NamedModel

pytest.importorskip("corelm_grammar", reason="pip install ./plugins/corelm-grammar")
jsonschema = pytest.importorskip("jsonschema", reason="pip install jsonschema")

HERMES = (
    "{% if tools %}{% for t in tools %}{{ t | tojson }}{% endfor %}<tool_call>...</tool_call>"
    "{% endif %}{% for m in messages %}{{ m.content }}{% for c in m.tool_calls or [] %}"
    "{{ c.function.arguments.city }}{% endfor %}{% endfor %}"
)
LLAMA = HERMES.replace("<tool_call>...</tool_call>", '{"name": ..., "parameters": ...}')
MESSAGES = [{"role": "user", "content": "a"}]
CHAIN = "top_k(k=60) | temperature(t=0.8)"


class Letters:
    """A vocabulary of printable characters, and of one tag."""

    unknown = start = None

    def __init__(self, template):
        characters = ["\n", *map(chr, range(32, 127)), "<tool_call>"]
        self._texts = [*(each.encode() for each in characters), b"", b""]
        self.padding, end = len(characters), len(characters) + 1
        self.ends = (end,)
        self.chat_template = template
        self.render_chat = ChatTemplate(template).render if template else None

    def __len__(self):
        return len(self._texts)

    def token_bytes(self, token):
        return self._texts[token]

    def encode(self, text):
        return [self._texts.index(character.encode()) for character in text]

    def decode(self, ids):
        return b"".join(self._texts[i] for i in ids).decode()


class Writer:
    """A model that writes any character after any other, and likes to call tools."""

    context_length = 4096

    def __init__(self, template=HERMES):
        self.vocabulary = Letters(template)
        size = len(self.vocabulary)
        weights = np.exp(np.random.default_rng(0).normal(size=(size, size)))
        weights[:, [0, 1]] /= 8  # few spaces and line breaks
        weights[:, size - 3] *= 2
        weights[:, size - 1] *= 8
        self._after = weights / weights.sum(axis=1, keepdims=True)

    def next_token_distribution(self, tokens):
        return self._after[tokens[:, -1]]


HERMES_MODEL, LLAMA_MODEL = NamedModel.of(Writer()).model, NamedModel.of(Writer(LLAMA)).model
FILM = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 8},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "kind": {"$ref": "#/$defs/kind"},
    },
    "required": ["title", "stars", "kind"],
    "additionalProperties": False,
    "$defs": {"kind": {"enum": ["drama", "comedy"]}},
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Return the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"enum": ["Rome", 'a "b" }']}, "days": {"$ref": "#/$defs/days"}},
            "required": ["city", "days"],
            "additionalProperties": False,
            "$defs": {"days": {"type": "integer", "minimum": 1, "maximum": 3}},
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
AS_FILM = {"type": "json_schema", "json_schema": {"name": "film", "schema": FILM, "strict": True}}


@pytest.fixture
def http(open_client):
    return open_client({"chat": HERMES_MODEL, "llama": LLAMA_MODEL, "toy": ToyModel()})


@pytest.fixture
def client(http):
    """Return the openai client, which talks to the server in this process."""
    openai = pytest.importorskip("openai", reason="pip install openai")
    return openai.OpenAI(
        base_url="http://127.0.0.1:8000/v1", api_key="x", http_client=http, max_retries=0
    )


def ask(client, **body):
    body = {"model": "chat", "messages": MESSAGES, "seed": 3, "max_tokens": 600, **body}
    return client.chat.completions.create(**body)


# ---- response_format ----


def test_a_format_of_a_schema_is_held(http):
    schema = {"type": "object", "properties": {"day": {"type": "string", "format": "date"}}}
    schema |= {"required": ["day"], "additionalProperties": False}
    body = {"model": "chat", "messages": MESSAGES, "max_tokens": 80, "seed": 1}
    body["response_format"] = {"type": "json_schema", "json_schema": {"schema": schema}}
    answer = http.post("/v1/chat/completions", json=body).json()
    day = json.loads(answer["choices"][0]["message"]["content"])["day"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", day)
    schema["properties"]["day"]["format"] = "shoe-size"
    error = http.post("/v1/chat/completions", json=body).json()["error"]
    assert "Unknown format: shoe-size" in error["message"]


def test_a_text_of_a_schema_is_valid_and_is_corelms_own(client):
    answer = ask(client, n=4, response_format=AS_FILM, extra_body={"sampler": CHAIN})
    chain = answer.corelm["sampler"]
    assert chain.startswith("json_schema(schema=")
    assert chain.endswith(CHAIN)
    texts = corelm.generate(HERMES_MODEL, "a", sampler=chain, seed=3, n=4, length=600)
    for choice, text in zip(answer.choices, texts, strict=True):
        jsonschema.validate(json.loads(choice.message.content), FILM)
        assert choice.message.content == text.text
        assert choice.finish_reason == "stop"
        about = choice.corelm
        assert about["constraint_cost"] == pytest.approx(text.constraint_cost)
        assert about["constraint_cost"] == pytest.approx(-np.log(about["allowed_mass"]).sum())
        assert len(about["allowed_mass"]) == len(text.tokens)
        assert about["is_cut_off"] is False


def test_a_streamed_text_of_a_schema_has_the_same_figures(client):
    [whole] = ask(client, response_format=AS_FILM).choices
    chunks = [*ask(client, response_format=AS_FILM, stream=True)]
    text = "".join(chunk.choices[0].delta.content for chunk in chunks)
    assert text == whole.message.content
    about = [chunk.choices[0].corelm for chunk in chunks[1:]]
    masses = [mass for each in about for mass in each["allowed_mass"]]
    assert masses == whole.corelm["allowed_mass"]
    assert about[-1]["constraint_cost"] == pytest.approx(whole.corelm["constraint_cost"])


@pytest.mark.parametrize(
    "sampler",
    ["min_length(n=300)", "ban(words=[2])", "lark(grammar='start: \"x\"') | top_k(k=5)", CHAIN],
)
def test_masks_of_the_chain_break_no_format(client, sampler):
    answer = ask(client, n=3, response_format=AS_FILM, extra_body={"sampler": sampler})
    for choice in answer.choices:
        jsonschema.validate(json.loads(choice.message.content), FILM)
    stages = corelm.sampler(answer.corelm["sampler"]).stages
    assert (stages[0] == stages[-1]) is (sampler != CHAIN)


def test_a_model_of_pydantics_is_parsed(client):
    from typing import Literal

    from pydantic import BaseModel

    class Film(BaseModel):
        stars: int
        kind: Literal["drama", "comedy"]

    answer = client.chat.completions.parse(
        model="chat", messages=MESSAGES, seed=1, response_format=Film
    )
    assert answer.choices[0].message.parsed.kind in ("drama", "comedy")


def test_any_object(client):
    sampler = {"sampler": "top_k(k=3)"}  # soon ends its texts
    answer = ask(client, n=8, response_format={"type": "json_object"}, extra_body=sampler)
    ended = [each for each in answer.choices if each.finish_reason == "stop"]
    assert all(isinstance(json.loads(each.message.content), dict) for each in ended)
    assert {each.corelm["is_cut_off"] for each in answer.choices if each not in ended} <= {True}
    assert all(each.message.content.lstrip()[:1] == "{" for each in answer.choices)


def test_completions_take_a_response_format_too(http):
    body = {"model": "chat", "prompt": "a", "seed": 2, "max_tokens": 600}
    answer = http.post("/v1/completions", json=body | {"response_format": AS_FILM}).json()
    jsonschema.validate(json.loads(answer["choices"][0]["text"]), FILM)
    assert answer["choices"][0]["corelm"]["constraint_cost"] > 0
    plain = http.post("/v1/completions", json=body | {"response_format": {"type": "text"}}).json()
    assert "constraint_cost" not in plain["choices"][0]["corelm"]


# ---- tools ----


@pytest.mark.parametrize("model", ["chat", "llama"])
def test_a_required_call(client, model):
    answer = ask(client, model=model, n=12, tools=[WEATHER, CLOCK], tool_choice="required")
    for choice in answer.choices:
        assert choice.finish_reason == "tool_calls"
        assert choice.message.content is None
        assert len({call.id for call in choice.message.tool_calls}) == len(
            choice.message.tool_calls
        )
        for call in choice.message.tool_calls:
            schema = WEATHER["function"]["parameters"]
            found = json.loads(call.function.arguments)
            if call.function.name == "clock":
                assert found == {}
            else:
                jsonschema.validate(found, schema)
        assert choice.corelm["constraint_cost"] > 0
    names = {call.function.name for each in answer.choices for call in each.message.tool_calls}
    assert names == {"get_weather", "clock"}


def test_a_named_tool_is_called_once(client):
    choice = {"type": "function", "function": {"name": "get_weather"}}
    answer = ask(client, n=6, tools=[WEATHER, CLOCK], tool_choice=choice)
    names = [[call.function.name for call in each.message.tool_calls] for each in answer.choices]
    assert names == [["get_weather"]] * 6


def test_one_call_where_several_are_forbidden(client):
    settings = {"n": 8, "tools": [CLOCK], "tool_choice": "required"}
    several = ask(client, **settings).choices
    assert max(len(each.message.tool_calls) for each in several) > 1
    one = ask(client, **settings, parallel_tool_calls=False).choices
    assert {len(each.message.tool_calls) for each in one} == {1}


def test_the_model_chooses_between_a_text_and_a_call(client):
    answer = ask(client, n=16, tools=[CLOCK], max_tokens=400)
    called = [each for each in answer.choices if each.message.tool_calls]
    assert 0 < len(called) < 16
    assert any(each.message.content for each in called)
    for each in answer.choices:
        assert "<tool_call>" not in (each.message.content or "")
        if each not in called:
            assert each.finish_reason in ("stop", "length")


def test_an_answer_with_tools_calls_one_or_has_the_format(client):
    answer = ask(client, n=32, tools=[CLOCK], response_format=AS_FILM, max_tokens=2000)
    called = [each for each in answer.choices if each.message.tool_calls]
    assert 0 < len(called) < 32
    for each in answer.choices:
        if each not in called and each.finish_reason == "stop":
            jsonschema.validate(json.loads(each.message.content), FILM)
        assert not (each in called and each.message.content)
    settings = {"n": 4, "tools": [CLOCK], "response_format": AS_FILM}
    required = ask(client, **settings, tool_choice="required").choices
    assert all(each.message.tool_calls for each in required)
    forbidden = ask(client, **settings, tool_choice="none", max_tokens=2000).choices
    assert not any(each.message.tool_calls for each in forbidden)


@pytest.mark.parametrize("model", ["chat", "llama"])
@pytest.mark.parametrize("choice", ["auto", "required"])
def test_streamed_calls_are_those_of_the_whole_answer(client, model, choice):
    settings = {"model": model, "n": 6, "tools": [WEATHER, CLOCK], "tool_choice": choice}
    whole = ask(client, **settings)
    found = {i: {"content": "", "calls": {}} for i in range(6)}
    for chunk in ask(client, **settings, stream=True):
        for each in chunk.choices:
            mine = found[each.index]
            mine["content"] += each.delta.content or ""
            for call in each.delta.tool_calls or []:
                if call.id:
                    assert call.type == "function"
                    mine["calls"][call.index] = [call.function.name, ""]
                mine["calls"][call.index][1] += call.function.arguments
            mine["reason"] = each.finish_reason or mine.get("reason")
    for choice in whole.choices:
        mine, calls = found[choice.index], choice.message.tool_calls or []
        assert mine["content"] == (choice.message.content or "")
        assert [*mine["calls"].values()] == [
            [call.function.name, call.function.arguments] for call in calls
        ]
        assert mine["reason"] == choice.finish_reason


def test_openais_own_accumulation_of_a_stream(client):
    settings = {"model": "chat", "messages": MESSAGES, "seed": 4, "max_tokens": 600}
    strict = {"type": "function", "function": WEATHER["function"] | {"strict": True}}
    with client.chat.completions.stream(
        **settings, tools=[strict], tool_choice="required", parallel_tool_calls=False
    ) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "tool_calls.function.arguments.delta" in kinds
    [call] = final.choices[0].message.tool_calls
    assert call.function.parsed_arguments == json.loads(call.function.arguments)


def test_a_conversation_with_the_result_of_a_call(client):
    [choice] = ask(client, tools=[WEATHER], tool_choice="required").choices
    [call, *_] = choice.message.tool_calls
    answered = [
        *MESSAGES,
        {"role": "assistant", "content": None, "tool_calls": [call.model_dump()]},
        {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
    ]
    [after] = ask(client, messages=answered, max_tokens=8).choices
    prompt = "a" + json.loads(call.function.arguments)["city"] + "sunny"
    assert [after.message.content] == sample(
        HERMES_MODEL, prompt, sampler="stochastic", seed=3, length=8
    )


def test_without_a_choice_tools_change_nothing(client):
    plain = ask(client, max_tokens=8).choices
    assert ask(client, max_tokens=8, tools=[WEATHER], tool_choice="none").choices == plain


# ---- what can't be done ----


@pytest.mark.parametrize(
    ("body", "param", "message"),
    [
        (
            {"response_format": {"type": "json_schema"}},
            "response_format", "json_schema goes with the type json_schema",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a"}}},
            "response_format.json_schema.schema", "schema is missing",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {
                "schema": {"properties": {"tags": {"uniqueItems": True}}}}}},
            "response_format", "schema at #/properties/tags",
        ),
        (
            {"tools": [CLOCK], "tool_choice": {"type": "function", "function": {"name": "x"}}},
            "tool_choice", "tool_choice names 'x', which is none of tools",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            "tools[0].function.name", "name must be a text of 1 to 64 characters that matches",
        ),
        (
            {"tools": [{"type": "function", "function": {
                "name": "a", "parameters": {"type": "string"}}}]},
            "parameters", 'parameters of a must have "type": "object"',
        ),
        (
            {"tools": [CLOCK, {"type": "function", "function": {"name": "a", "parameters": {
                "type": "object", "properties": {"x": {"uniqueItems": True}}}}}]},
            "tools", "parameters of a: schema at #/properties/x: Unimplemented keys",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [
                {"type": "function", "function": {"name": "a", "arguments": "{x"}}]}]},
            "messages", "arguments is not JSON",
        ),
        ({"tools": [CLOCK, CLOCK]}, "tools", "two tools have the same name"),
        (
            {"model": "llama", "tools": [CLOCK], "response_format": AS_FILM},
            "response_format", "this model's calls are JSON without a mark",
        ),
        ({"functions": [{"name": "f"}]}, "functions", "use tools, its newer name"),
        (
            {"messages": [{"role": "assistant", "content": None}]},
            "content", "only a message with tool_calls may come without it",
        ),
    ],
)  # fmt: skip
def test_a_sentence_for_what_cannot_be_done(http, body, param, message):
    body = {"model": "chat", "messages": MESSAGES, **body}
    response = http.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert message in response.json()["error"]["message"]


def test_templates_without_tools_or_with_other_calls(open_client):
    plain = Writer("{% for m in messages %}{{ m.content }}{% endfor %}")
    others = {
        "xml": ("<function=name>", "writes calls as XML, which isn't supported (known: JSON in"),
        "mistral": ("[TOOL_CALLS]", "writes calls after the token [TOOL_CALLS], as Mistral's do"),
        "deepseek": ("<\uff5ctool\u2581calls\u2581begin\uff5c>", "as DeepSeek's do"),
    }
    models = {name: Writer(f"{HERMES}{{# {mark} #}}") for name, (mark, _) in others.items()}
    client = open_client({"plain": plain, **models})
    messages = {"plain": "no place for tools"} | {name: others[name][1] for name in others}
    for name, message in messages.items():
        body = {"model": name, "messages": MESSAGES, "tools": [CLOCK]}
        error = client.post("/v1/chat/completions", json=body).json()["error"]
        assert message in error["message"]
        assert error["param"] == "tools"


@pytest.mark.parametrize(
    "body", [{"response_format": AS_FILM}, {"tools": [CLOCK]}], ids=["response_format", "tools"]
)
def test_without_corelm_grammar_the_error_says_how_to_get_it(http, body, monkeypatch):
    from corelm_serve import prepare

    class Empty:
        def offers(self, hook):
            return []

    monkeypatch.setattr(prepare.plugins, "registry", Empty)
    response = http.post(
        "/v1/chat/completions", json={"model": "chat", "messages": MESSAGES, **body}
    )
    assert response.status_code == 400
    assert "pip install corelm-grammar" in response.json()["error"]["message"]


def test_a_stream_of_a_constraint_begins_with_the_role(http):
    body = {"model": "chat", "messages": MESSAGES, "tools": [CLOCK], "stream": True, "seed": 1}
    events = events_of(http.post("/v1/chat/completions", json=body).text)
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
