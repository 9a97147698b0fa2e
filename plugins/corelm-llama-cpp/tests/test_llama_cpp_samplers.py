"""corelm's samplers in the loops of llama-cpp-python and of llama.cpp."""

import ctypes
import gc

import numpy as np
import pytest
from engine_samplers import TopA
from small_models import LLAMA_OPTIONS

import corelm
import corelm.interop.testing
import corelm.testing
from corelm import CorelmError, Sampler, mask_logits, softmax
from corelm.errors import SamplerError, UsageError

pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")

import llama_cpp as llama
from corelm_llama_cpp import (
    LlamaCppModel,
    LlamaCppSampler,
    LlamaCppVocabulary,
    as_logits_processor,
    as_sampler,
)
from corelm_llama_cpp.native_sampler import _STATES

SAMPLERS = [
    *corelm.interop.testing.SAMPLERS,
    "presence_penalty(penalty=0.5, skip_prompt=True)",
    "dry(multiplier=2.0, sequence_breakers='e')",
    "adaptive_p(target=0.4)",
    "min_length(n=20)",
]
PROMPTS = ["This movie", "the", "This is the movie of the"]
LENGTH = 20


class Fails(Sampler):
    """Raise at the second token."""

    def __call__(self, logits, context):
        if context.position:
            raise ValueError("no")
        return logits


@pytest.fixture(scope="module")
def vocabulary(llm):
    return LlamaCppVocabulary(llm)


def texts_of_corelm(model, sampler, seed=3):
    """Return the tokens that corelm itself generates after each prompt."""
    options = {"sampler": sampler, "seed": seed, "length": LENGTH}
    return [corelm.generate(model, prompt, **options)[0].tokens for prompt in PROMPTS]


def generate(llm, prompt, processor, **options):
    """Return the tokens of llama-cpp-python's own loop, until the text ends."""
    ends = llm.token_eos(), llm.n_vocab() - 1
    tokens = []
    processors = llama.LogitsProcessorList([processor])
    for token in llm.generate(
        llm.tokenize(prompt.encode(), add_bos=False), logits_processor=processors, **options
    ):
        tokens.append(token)
        if len(tokens) == LENGTH or token in ends:
            return tokens
    return tokens


class Loop:
    """The loop of a program that calls llama.cpp's functions."""

    def __init__(self, llm):
        self.llm = llm
        self.ends = llm.token_eos(), llm.n_vocab() - 1

    def prompt(self, text, sampler):
        tokens = self.llm.tokenize(text.encode(), add_bos=False)
        self.llm.reset()
        self.llm.eval(tokens)
        for token in tokens:
            llama.llama_sampler_accept(sampler, token)

    def run(self, sampler, length=LENGTH, sample=llama.llama_sampler_sample):
        tokens = []
        while len(tokens) < length and not (tokens and tokens[-1] in self.ends):
            tokens.append(sample(sampler, self.llm.ctx, -1))
            self.llm.eval(tokens[-1:])
        return tokens


@pytest.fixture
def loop(llm):
    return Loop(llm)


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Every sampler that a test makes is freed at its end."""
    before = set(_STATES)
    yield
    gc.collect()
    assert set(_STATES) == before


@pytest.mark.parametrize("sampler", [*SAMPLERS, TopA(a=0.3), "p_less"], ids=str)
def test_with_a_seed_the_text_is_that_of_corelm(sampler, model, llm, loop, vocabulary):
    if sampler == "p_less":
        pytest.importorskip("corelm_p_less", reason="pip install ./plugins/corelm-p-less")
    expected = texts_of_corelm(model, sampler)
    processor = as_logits_processor(sampler, seed=3, vocabulary=vocabulary)
    assert [generate(llm, prompt, processor) for prompt in PROMPTS] == expected
    own = as_sampler(sampler, seed=3, vocabulary=vocabulary)
    for prompt, tokens in zip(PROMPTS, expected, strict=True):
        for sample in (llama.llama_sampler_sample, LlamaCppSampler.sample):
            llama.llama_sampler_reset(own)
            loop.prompt(prompt, own)
            assert loop.run(own, sample=sample) == tokens
    own.raise_error()
    own.free()


@pytest.mark.parametrize(
    "sampler",
    [
        "min_length(n=6)",
        "length_bias(weight=2.0)",
        "xtc(probability=1.0, threshold=0.0, special='end')",
    ],
)
def test_every_end_of_the_file_is_an_end(sampler, llm, vocabulary):
    ends = [llm.token_eos(), llm.n_vocab() - 1]
    processor = as_logits_processor(sampler, vocabulary=vocabulary)
    processor(np.array([5]), np.zeros(llm.n_vocab(), np.float32))
    row = processor(np.array([5, 6]), np.zeros(llm.n_vocab(), np.float32))
    assert sorted(vocabulary.ends) == sorted(ends)
    if "xtc" in sampler:
        assert set(ends) < set(np.flatnonzero(np.isfinite(row)).tolist())
    else:
        assert np.flatnonzero(row).tolist() == ends


def test_the_start_token_is_not_a_part_of_the_text(started_file):
    model = LlamaCppModel(started_file)
    llm = llama.Llama(str(started_file), verbose=False, **LLAMA_OPTIONS)
    sampler = f"logit_bias(bias={{{model.vocabulary.start}: 8.0}}) | presence_penalty(penalty=5.0)"
    [expected] = corelm.generate(model, "This movie", sampler=sampler, seed=1, length=5)
    processor = as_logits_processor(sampler, seed=1, vocabulary=LlamaCppVocabulary(llm))
    prompt = llm.tokenize(b"This movie", add_bos=True)
    assert prompt[0] == model.vocabulary.start
    drawn = llm.generate(prompt, logits_processor=llama.LogitsProcessorList([processor]))
    assert [token for token, _ in zip(drawn, expected.tokens, strict=False)] == expected.tokens
    llm.close()


class Guesses:
    """A draft model that proposes a known text, with wrong tokens in between."""

    def __init__(self, text, wrong):
        self.text, self.wrong = text, wrong

    def __call__(self, input_ids, /, **_):
        done = len(input_ids)
        ids = [0 if i in self.wrong else t for i, t in enumerate(self.text[done : done + 3], done)]
        return np.array(ids, dtype=np.intc)


@pytest.mark.parametrize("wrong", [(), (6, 9, 10), range(100)], ids=["all", "some", "none"])
@pytest.mark.parametrize("sampler", [*SAMPLERS, "stochastic"])
def test_drafts_of_llama_cpp_python_change_no_text(sampler, wrong, model, drafting, vocabulary):
    prompt = drafting.tokenize(b"the the the", add_bos=False)
    options = {"sampler": sampler, "seed": 3, "length": LENGTH}
    [expected] = corelm.generate(model, "the the the", **options)
    drafting.draft_model = Guesses([*prompt, *expected.tokens], wrong)
    processor = as_logits_processor(sampler, seed=3, vocabulary=vocabulary)
    assert generate(drafting, "the the the", processor) == expected.tokens


def test_drafts_come_after_a_grammar_too(model, drafting, vocabulary):
    grammar = llama.LlamaGrammar.from_string("root ::= [a-z]+", verbose=False)
    chain = Letters() | corelm.sampler("stochastic")
    [expected] = corelm.generate(model, "This", sampler=chain, seed=1, length=10)
    prompt = drafting.tokenize(b"This", add_bos=False)
    drafting.draft_model = Guesses([*prompt, *expected.tokens], (3, 4))
    processor = as_logits_processor("stochastic", seed=1, vocabulary=vocabulary)
    processors = llama.LogitsProcessorList([processor])
    found = drafting("This", max_tokens=10, grammar=grammar, logits_processor=processors)
    assert found["choices"][0]["text"] == expected.text


class Letters(Sampler):
    """Keep the tokens that a grammar of small letters allows."""

    reads = frozenset({"position", "vocabulary"})

    def __call__(self, logits, context):
        vocabulary = context.vocabulary
        words = [vocabulary.token_bytes(i) for i in range(len(vocabulary))]
        kept = np.array([bool(word) and word.isalpha() and word.islower() for word in words])
        if context.position:
            kept[list(vocabulary.ends)] = True
        return mask_logits(logits, np.broadcast_to(kept, logits.shape))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("sampler", ["stochastic", "greedy", "mirostat(tau=2.0)", "top_k(k=2)"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_grammar_comes_before_the_sampler(sampler, seed, temperature, model, llm, vocabulary):
    grammar = llama.LlamaGrammar.from_string("root ::= [a-z]+", verbose=False)
    chain = Letters() | corelm.sampler(sampler)
    [expected] = corelm.generate(model, "This", sampler=chain, seed=seed, length=10)
    processor = as_logits_processor(sampler, seed=seed, vocabulary=vocabulary)
    found = llm(
        "This",
        max_tokens=10,
        temperature=temperature,
        grammar=grammar,
        logits_processor=llama.LogitsProcessorList([processor]),
        stopping_criteria=processor.raise_error,
    )
    assert found["choices"][0]["text"] == expected.text


@pytest.mark.parametrize("sampler", ["greedy", "top_k(k=2)"])
def test_a_grammar_leaves_llama_cpp_something_to_draw(sampler, llm):
    grammar = llama.LlamaGrammar.from_string("root ::= [a-z]+", verbose=False)
    processors = llama.LogitsProcessorList([as_logits_processor(sampler)])
    found = llm("This", max_tokens=10, grammar=grammar, logits_processor=processors)
    assert found["choices"][0]["text"].isalpha()


def candidates_of(records):
    """Return a `llama_token_data_array` of (id, logit) pairs."""
    array = (llama.llama_token_data * len(records))(*((i, logit, 0) for i, logit in records))
    return llama.llama_token_data_array(array, len(records), -1, False)


def applied(sampler, records):
    """Return the ids and probabilities after a sampler, in a mapping."""
    candidates = candidates_of(records)
    llama.llama_sampler_apply(sampler, ctypes.byref(candidates))
    after = candidates.data[: candidates.size]
    p = softmax(np.array([[record.logit for record in after]]))[0]
    return {record.id: probability for record, probability in zip(after, p, strict=True)}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_without_a_seed_the_distribution_is_that_of_the_sampler(sampler, vocabulary):
    rng = np.random.default_rng(0)
    logits = (3 * rng.normal(size=len(vocabulary))).astype(np.float32)
    tokens = [5, 6, 7, 5, 6]
    own = as_sampler(sampler, vocabulary=vocabulary)
    for token in tokens:
        llama.llama_sampler_accept(own, token)
    found = applied(own, list(enumerate(logits.tolist())))
    own.raise_error()
    own.free()
    context = corelm.Context.of([tokens], vocabulary=vocabulary)
    expected = softmax(corelm.sampler(sampler)(logits[None], context))[0]
    assert set(found) == set(np.flatnonzero(expected))
    np.testing.assert_allclose([expected[i] for i in found], list(found.values()), atol=1e-6)
    processor = as_logits_processor(sampler, vocabulary=vocabulary)
    np.testing.assert_allclose(
        softmax(processor(np.array(tokens), logits)[None])[0], expected, atol=1e-6
    )


def test_a_chain_owns_its_samplers(loop):
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    own = as_sampler("temperature(t=0.7)")
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_top_k(40))
    llama.llama_sampler_chain_add(chain, own)
    llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_dist(5))
    loop.prompt("This movie", chain)
    assert len(loop.run(chain)) > 0
    llama.llama_sampler_free(chain)
    with pytest.raises(ctypes.ArgumentError, match="was freed"):
        llama.llama_sampler_reset(own)
    own.free()  # nothing to do


LOGITS = list(enumerate(np.linspace(0, 3, 30).tolist()))


def drawn(sampler, count):
    """Return the tokens that a sampler draws and accepts, always from the same logits."""
    tokens = []
    for _ in range(count):
        tokens += applied(sampler, LOGITS)
        llama.llama_sampler_accept(sampler, tokens[-1])
    return tokens


def test_the_draws_follow_the_distribution():
    """Without a seed, llama.cpp's own sampler at the end of the chain draws."""

    def draw(logits, sampler):
        chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        llama.llama_sampler_chain_add(chain, as_sampler(sampler))
        llama.llama_sampler_chain_add(chain, llama.llama_sampler_init_dist(5))
        records = (llama.llama_token_data * 60)(*((i, x, 0) for i, x in enumerate(logits.tolist())))
        for _ in range(20_000):
            copy = type(records).from_buffer_copy(records)
            candidates = llama.llama_token_data_array(copy, 60, -1, False)
            llama.llama_sampler_apply(chain, ctypes.byref(candidates))
            token = candidates.data[candidates.selected].id
            llama.llama_sampler_accept(chain, token)
            yield token
        llama.llama_sampler_free(chain)

    corelm.interop.testing.check_draws(draw)


def test_clones_continue_the_text_on_their_own():
    own = as_sampler("mirostat(tau=2)", seed=4)
    first = drawn(own, 5)
    clone = llama.llama_sampler_clone(own)
    later = drawn(own, 8)
    llama.llama_sampler_reset(own)
    assert drawn(own, 13) == first + later
    assert drawn(clone, 8) == later
    llama.llama_sampler_free(clone)
    own.free()


def test_a_step_counts_once_its_token_is_accepted():
    """A grammar may reject a token; then llama.cpp applies the samplers again."""
    twice, once = (as_sampler("mirostat(tau=2)", seed=1) for _ in range(2))
    for step in range(6):
        if step % 2:
            applied(twice, LOGITS)
        [token], [same] = applied(twice, LOGITS), applied(once, LOGITS)
        assert token == same
        for own in (twice, once):
            llama.llama_sampler_accept(own, token)
    for own in (twice, once):
        own.free()


def test_a_sampler_that_leaves_the_draw_to_llama_cpp_does_not_sample(loop):
    own = as_sampler("top_k(k=3)")
    with pytest.raises(UsageError, match=r"without a seed llama\.cpp draws"):
        own.sample(loop.llm.ctx)
    with pytest.raises(UsageError, match="list of candidates is empty"):
        applied(own, [])
    own.free()


def test_an_exception_is_raised_after_llama_cpp_returned(loop):
    own = as_sampler(Fails(), seed=1)
    loop.prompt("This movie", own)
    token = own.sample(loop.llm.ctx)
    loop.llm.eval([token])
    with pytest.raises(SamplerError, match="no"):
        own.sample(loop.llm.ctx)
    clone = llama.llama_sampler_clone(own)
    with pytest.raises(SamplerError, match="no"):
        llama.llama_sampler_sample(clone, loop.llm.ctx, -1)
    own.raise_error()  # it was raised
    llama.llama_sampler_free(clone)
    own.free()


def test_an_exception_of_a_processor_ends_the_text(llm):
    processor = as_logits_processor(Fails())
    with pytest.raises(SamplerError, match="no"):
        generate(llm, "This movie", processor)
    assert processor.error is None
    with pytest.raises(SamplerError, match="no"):
        processor(np.array([5, 6]), processor(np.array([5]), np.zeros(llm.n_vocab(), np.float32)))
    with pytest.raises(SamplerError, match="no"):
        processor.raise_error()


@pytest.mark.parametrize("make", [as_logits_processor, as_sampler])
def test_requests_that_cannot_be_met_are_refused_at_once(make):
    with pytest.raises(CorelmError, match="no sampler 'top_q'"):
        make("top_q(p=0.5)")
    with pytest.raises(UsageError, match="seed"):
        make("top_p(p=0.5)", seed=-1)
