"""The samplers as users meet them: texts that match, laws, errors, limits."""

import json
import multiprocessing
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import jsonschema
import numpy as np
import pytest
from corelm_grammar import Choice, JsonSchema, Lark, Regex
from grammar_models import Written, byte_model

import corelm
from corelm.testing import ToyModel, obeys_the_laws

FILM = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 12},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "tags": {"type": "array", "items": {"enum": ["good", "bad"]}, "maxItems": 3},
    },
    "required": ["title", "stars"],
    "additionalProperties": False,
}
SCHEMAS = {
    "film": FILM,
    "number": {"type": "number", "minimum": -3, "exclusiveMaximum": 10},
    "either": {"anyOf": [{"type": "boolean"}, {"const": "no"}, {"type": "null"}]},
    "pattern": {"type": "string", "pattern": "^[A-F]{2}-[0-9]+$"},
    "nested": {"$ref": "#/$defs/node", "$defs": {"node": {
        "type": "object", "properties": {"v": {"type": "integer"},
        "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
        "required": ["v", "next"], "additionalProperties": False}}},
}  # fmt: skip
PATTERNS = [
    r"(yes|no)",
    r"\d{4}-\d{2}",
    r"[a-f]+(, [a-f]+)*\.?",
    r"(?i)é+\s",
    r"a/b\\\[x?",
    r"[a-z][^a-z]",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return byte_model(tmp_path_factory.mktemp("models") / "tiny")


SMALL = ToyModel().vocabulary


@obeys_the_laws(
    Regex(pattern="the (cat|dog).*"),
    Choice(words=["the cat", "dog"], space=False),
    JsonSchema(),
    Lark(grammar='start: "the " ("cat" | "dog")+'),
    vocabulary=ToyModel(["{", "}", "1", "the", "cat", "dog"]).vocabulary,
)
def test_law(sampler, law):
    law(sampler)


def complete(model, sampler, n, length=120, seed=1):
    """The texts that came to their end."""
    texts = corelm.generate(model, "A film", sampler=sampler, length=length, n=n, seed=seed)
    return [text.text for text in texts if text.tokens[-1] in model.vocabulary.ends]


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_every_json_text_is_valid_against_its_schema(model, name):
    sampler = JsonSchema(schema=SCHEMAS[name], whitespace=False)
    texts = complete(model, sampler, n=64)
    assert len(texts) >= 40
    for text in texts:
        jsonschema.validate(json.loads(text), SCHEMAS[name])


def test_a_format_is_an_annotation_unless_it_is_asked_for(model):
    """`format` is no keyword in a constant, nor as the name of a property."""
    day = {"type": "string", "format": "date", "maxLength": 10}
    schema = {"properties": {"format": {"const": {"format": "x"}}, "day": day}}
    schema |= {"type": "object", "required": ["format", "day"], "additionalProperties": False}
    plain, held = (
        complete(model, JsonSchema(schema=schema, whitespace=False, formats=formats), n=40)
        for formats in (False, True)
    )
    assert len(plain) >= 10
    assert len(held) >= 10
    for text in (*plain, *held):
        jsonschema.validate(json.loads(text), schema)
    dates = re.compile(r"\d{4}-\d\d-\d\d")
    assert all(dates.fullmatch(json.loads(text)["day"]) for text in held)
    assert not all(dates.fullmatch(json.loads(text)["day"]) for text in plain)
    unknown = {"allOf": [{"format": "shoe-size"}]}
    JsonSchema(schema=unknown)
    with pytest.raises(corelm.ParameterError, match="schema at #/allOf/0: Unknown format: shoe-si"):
        JsonSchema(schema=unknown, formats=True)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_text_matches_its_pattern_as_a_whole(model, pattern):
    texts = complete(model, Regex(pattern=pattern, space=False), n=64, length=40)
    assert len(texts) >= 30
    assert all(re.fullmatch(pattern, text) for text in texts)


def test_a_vocabulary_of_words_writes_json():
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    texts = complete(Written(), JsonSchema(schema=schema | {"additionalProperties": False}), n=30)
    assert len(texts) >= 10
    for text in texts:
        jsonschema.validate(json.loads(text), schema)


def test_a_grammar_may_be_context_free(model):
    grammar = 'start: "(" start ")" | "x"'
    texts = complete(model, Lark(grammar=grammar, space=False), n=40)
    assert len({len(text) for text in texts}) > 2
    assert all(re.fullmatch(r"\(*x\)*", text) for text in texts)
    assert all(text.count("(") == text.count(")") for text in texts)


@pytest.mark.parametrize("space", [True, False])
def test_a_space_before_the_text_is_allowed_on_request(model, space):
    samplers = [
        Regex(pattern="no|yes", space=space),
        Choice(words=["no", "yes"], space=space),
        Lark(grammar='start: "no" | "yes"', space=space),
    ]
    expected = {"no", "yes", *([" no", " yes"] if space else [])}
    for sampler in samplers:
        assert set(complete(model, sampler, n=64)) == expected
    assert set(complete(model, JsonSchema(schema={"const": 1}, space=space), n=64)) == (
        {"1", " 1"} if space else {"1"}
    )


@pytest.mark.parametrize("word", ["a.b", "a|b", "(", "\\d", "é\n", "/", "a b", ""])
def test_a_choice_is_taken_literally(model, word):
    assert set(complete(model, Choice(words=[word], space=False), n=9)) == {word}


def _texts(model):
    texts = corelm.generate(model, "A", sampler=JsonSchema(schema=FILM), n=9, seed=3, length=30)
    return [text.text for text in texts]


@pytest.mark.slow
def test_threads_share_states(model):
    expected = _texts(model)
    with ThreadPoolExecutor(8) as pool:
        assert all(texts == expected for texts in pool.map(_texts, [model] * 16))


def _send(pipe, model):
    pipe.send(_texts(model))


# JAX, which other tests in this process may have imported, warns of every fork.
@pytest.mark.filterwarnings("ignore:os.fork")
def test_a_forked_process_starts_afresh(model):
    expected = _texts(model)
    here, there = multiprocessing.Pipe()
    child = multiprocessing.get_context("fork").Process(target=_send, args=(there, model))
    child.start()
    assert here.poll(60)
    assert here.recv() == expected
    child.join()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Regex(), "pattern is missing; give one"),
        (lambda: Regex(pattern="a/(b"), "pattern cannot be read at column 3: unclosed group"),
        (lambda: Regex(pattern="[z-a]"), "at column 2: invalid character class range"),
        (lambda: Regex(pattern=r"ab(c)\1"), "at column 6: backreferences are not supported"),
        (lambda: Regex(pattern=r"a\bc"), "has a boundary, an anchor or look-around at column 2"),
        (lambda: Regex(pattern="a(?=b)"), "pattern cannot be read at column 2: look-around"),
        (lambda: Regex(pattern="(" * 999 + ")" * 999), "pattern cannot be read at column"),
        (lambda: Regex(pattern="a" * 200_001), "pattern has 200,001 characters"),
        (lambda: Choice(), "words is empty"),
        (lambda: Lark(grammar="start: a\na: b"), 'grammar line 2, column 4: unknown name: "b"'),
        (lambda: Lark(grammar="start a"), "grammar line 1, column 7: Expected token"),
        (lambda: Lark(grammar="start: <|end|>"), "grammar names special tokens"),
        (lambda: Lark(grammar="start: a\na[max_tokens=3]: /x*/"), "grammar has max_tokens"),
        (lambda: JsonSchema(schema='{"a": 1,}'), "schema is not JSON: line 1, column 9"),
        (lambda: JsonSchema(schema='{"a": NaN}'), "schema is not JSON: there is no NaN"),
        (lambda: JsonSchema(schema="[" * 99_999), "schema is not JSON: it is nested too deeply"),
        (lambda: JsonSchema(schema="3"), "schema at #: schema must be an object or boolean"),
        (
            lambda: JsonSchema(schema={"properties": {"a/b": {"items": {"type": "strang"}}}}),
            "schema at #/properties/a~1b/items: Invalid type: strang",
        ),
        (
            lambda: JsonSchema(schema={"anyOf": [{"type": "null"}, {"not": {}}]}),
            'schema at #/anyOf/1: Unimplemented keys: ["not"]',
        ),
        (lambda: JsonSchema(schema={"$ref": "#/x"}), "schema at #: Pointer '/x' does not exist"),
    ],
)
def test_a_mistake_is_named_with_its_place_in_one_line(make, message):
    with pytest.raises(corelm.ParameterError, match=re.escape(message)) as caught:
        make()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Regex(pattern="((a{1,1000}){1,1000}){1,1000}"),
        lambda: Regex(pattern="(.*a.{30}){1,50}"),
        lambda: Regex(pattern="(x+x+)+y"),
        lambda: Lark(grammar='start: start start | "x" | ""'),
        lambda: JsonSchema(schema={"enum": [f"word {i}" for i in range(5000)]}),
        lambda: JsonSchema(schema={"anyOf": [
            {"properties": {f"{i}_{j}": {"pattern": f".*a.{{{i}}}"} for j in range(30)}}
            for i in range(30)
        ]}),
        lambda: JsonSchema(schema='{"items":' * 900 + "{}" + "}" * 900),
    ],
)  # fmt: skip
def test_a_hostile_grammar_is_refused_or_works_in_bounded_time(model, make):
    begin = time.process_time()
    with suppress(corelm.CorelmError):
        for _ in corelm.stream(model, "A", sampler=make(), length=40, seed=1):
            pass
    assert time.process_time() - begin < 20  # usually below one second


def test_a_row_that_holds_no_allowed_token_keeps_its_likeliest():
    context = corelm.Context.of([[]], vocabulary=SMALL)
    logits = np.full((1, len(SMALL)), -np.inf)
    logits[0, 4:6] = 1.0, 2.0
    result = Regex(pattern="the")(logits, context)
    assert np.flatnonzero(result[0] > -np.inf).tolist() == [5]
