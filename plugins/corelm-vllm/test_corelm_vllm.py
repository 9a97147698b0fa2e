"""corelm's samplers in stand-ins of vLLM: both interfaces, token for token as corelm.generate."""

import copy
import importlib
import inspect
import logging
import sys
import types
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

import corelm
import corelm.interop.testing
from corelm.interop import EngineSampler
from corelm.testing import ToyModel

torch = pytest.importorskip("torch", reason="pip install torch")
pytest.importorskip("corelm_vllm", reason="pip install ./plugins/corelm-vllm")
sys.path.insert(0, str(Path(__file__).parent))
stand_ins = importlib.import_module("vllm_stand_ins")
SamplingParams, BatchUpdate = stand_ins.SamplingParams, stand_ins.BatchUpdate
SWAP, MOVE = stand_ins.MoveDirectionality.SWAP, stand_ins.MoveDirectionality.UNIDIRECTIONAL

MODEL = ToyModel(end=False)


def config(**model):
    """Return a configuration of the engine with the toy model's tokenizer."""
    settings = {
        "tokenizer_object": stand_ins.Tokenizer(MODEL.vocabulary),
        "hf_config": types.SimpleNamespace(eos_token_id=5),
        "get_vocab_size": lambda: len(MODEL.vocabulary),
    }
    return types.SimpleNamespace(
        model_config=types.SimpleNamespace(**settings | model),
        scheduler_config=types.SimpleNamespace(max_num_seqs=64),
    )


CONFIG = config()
NEVER = [MODEL.vocabulary.padding, MODEL.vocabulary.unknown]
SAMPLERS = [
    *corelm.interop.testing.SAMPLERS,
    "p_less",
    "ban(words='cat') | top_p(p=0.9) | frequency_penalty(penalty=0.4) | temperature(t=1.2)",
]
PROMPTS = ["the", "the cat sat", "dog ran"]


@pytest.fixture(params=["V2 and V1", "V2", "V1"])
def interfaces(request):
    return request.param.split(" and ")


@pytest.fixture
def processor(monkeypatch, interfaces):
    return loaded(monkeypatch, interfaces)


def loaded(monkeypatch, interfaces):
    stand_ins.install(monkeypatch, interfaces)
    monkeypatch.delitem(sys.modules, "corelm_vllm.processor", raising=False)
    return importlib.import_module("corelm_vllm.processor")


def asking(sampler, seed=None, **fields):
    extra = {"corelm": sampler} | ({} if seed is None else {"corelm_seed": seed})
    return SamplingParams(extra_args=extra, **fields)


def recording(name, seed=None, sampler="greedy"):
    """Return a request that asks for a record of its tokens."""
    request = asking(sampler, seed)
    request.extra_args["corelm_record"] = name
    return request


def logits_of(text):
    """Return the toy model's logits as an engine has them: padding and [UNK] are the likeliest."""
    logits = MODEL.start(np.asarray([text])).next_logits()[0].astype(np.float32)
    logits[[MODEL.vocabulary.padding, MODEL.vocabulary.unknown]] = logits.max() + 1
    return logits


def expected(sampler, prompt, seed, length=10):
    [text] = corelm.generate(MODEL, prompt, sampler=sampler, length=length, seed=seed)
    return [*MODEL.vocabulary.encode(prompt), *text.tokens]


class TestV2:
    """Model runner V2: slots and rows."""

    @pytest.fixture
    def interfaces(self):
        return ("V2", "V1")

    @pytest.fixture
    def engine(self, processor):
        return stand_ins.V2Engine(processor.CorelmLogitsProcessor, CONFIG)

    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_three_requests_write_the_texts_of_generate(self, engine, sampler):
        prompts = dict(zip((5, 2, 7), PROMPTS, strict=True))
        for slot, prompt in prompts.items():
            assert engine.add(slot, MODEL.vocabulary.encode(prompt), asking(sampler, slot)) is True
        for step in range(10):
            slots = [[5, 2, 7], [7, 5, 2]][step % 2]
            for slot, row in zip(slots, engine.step(slots, logits_of), strict=True):
                engine.commit(slot, row.argmax())
        for slot, prompt in prompts.items():
            assert engine.text(slot) == expected(sampler, prompt, slot)

    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_without_a_seed_the_distribution_is_the_samplers(self, engine, sampler):
        texts = [MODEL.vocabulary.encode(prompt) for prompt in PROMPTS]
        for slot, text in enumerate(texts):
            engine.add(slot, text, asking(sampler))
        rows = torch.softmax(engine.step([0, 1, 2], logits_of), -1).numpy()
        for text, row in zip(texts, rows, strict=True):
            alone = EngineSampler(sampler, vocabulary=MODEL.vocabulary)
            own = corelm.softmax(alone(logits_of(text)[None], [text]))[0]
            np.testing.assert_allclose(row, own, atol=1e-5)

    def test_requests_of_all_kinds_share_a_step(self, engine):
        params = [SamplingParams(), asking("top_k(k=1)"), asking("top_k(k=1)"), asking("greedy", 3)]
        asked = [engine.add(slot, [3, 4], each) for slot, each in enumerate(params)]
        assert asked == [False, True, True, True]
        untouched, one, two, drawn = engine.step([0, 1, 2, 3], logits_of).numpy()
        np.testing.assert_array_equal(untouched, logits_of([3, 4]))
        assert np.isfinite(one).sum() == np.isfinite(two).sum() == 1
        assert drawn.max() == 0

    def test_a_slot_is_used_again(self, engine):
        engine.add(0, [3], asking("greedy"))
        engine.step([0], logits_of)
        engine.add(0, [3, 4], SamplingParams())
        np.testing.assert_array_equal(engine.step([0], logits_of)[0], logits_of([3, 4]))

    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_the_start_token_is_no_part_of_the_text(self, processor, sampler):
        start = MODEL.vocabulary.padding  # which the toy model begins a text with
        tokenizer = stand_ins.Tokenizer(MODEL.vocabulary, [start])
        started = config(tokenizer_object=tokenizer)
        engine = stand_ins.V2Engine(processor.CorelmLogitsProcessor, started)
        engine.add(1, tokenizer.encode("the cat"), asking(sampler, 4))
        engine.write(1, 10, logits_of)
        assert engine.text(1) == [start, *expected(sampler, "the cat", 4)]

    @pytest.mark.parametrize(
        "sampler",
        ["mirostat(tau=1.0)", "adaptive_p(target=0.2)", "repetition_penalty(penalty=1.4)"],
    )
    @pytest.mark.parametrize("kept", [1, 0], ids=["after a token", "a token is lost"])
    def test_an_interrupted_request_continues_its_text(self, engine, sampler, kept):
        """It goes on in another slot, reading its text in parts; another request has its old slot.

        With asynchronous scheduling vLLM may lose the token of the last step.
        """
        whole = expected(sampler, "the cat", 4, length=24)
        engine.add(1, whole[:2], asking(sampler, 4))
        engine.write(1, 10, logits_of)
        assert engine.text(1) == whole[:12]
        engine.add(1, [3], asking(sampler, 5))
        engine.step([1], logits_of)
        engine.add(6, whole[:2], asking(sampler, 4), text=whole[: 11 + kept])
        for wrong in (4, 3):
            engine.step([6], lambda text, wrong=wrong: logits_of([wrong]))
        engine.write(6, len(whole) - 11 - kept, logits_of)
        assert engine.text(6) == whole

    def test_surprisals_of_many_requests_are_forgotten(self, processor):
        few = config()
        few.scheduler_config.max_num_seqs = 2
        engine = stand_ins.V2Engine(processor.CorelmLogitsProcessor, few)
        for slot in range(5):
            engine.add(slot, [3, 4], asking("mirostat", slot))
            engine.step([slot], logits_of)
        assert len(engine.processor._requests._recent._requests) == 2

    def test_the_samples_of_a_request_are_the_samples_of_generate(self, processor):
        params = asking("temperature(t=1.5)", 7, n=3)
        for _ in range(2):  # the same object may serve several prompts
            processor.CorelmLogitsProcessor.validate_params(params)
        engine = stand_ins.V2Engine(processor.CorelmLogitsProcessor, CONFIG)
        for i in range(3):  # as vLLM makes one of three
            one = copy.copy(params)
            one.n, one.seed = 1, params.seed + i
            engine.add(i, MODEL.vocabulary.encode("the cat"), one)
        for _ in range(10):
            for slot, row in enumerate(engine.step([0, 1, 2], logits_of)):
                engine.commit(slot, row.argmax())
        texts = corelm.generate(
            MODEL, "the cat", sampler="temperature(t=1.5)", length=10, seed=7, n=3
        )
        assert [engine.text(i)[2:] for i in range(3)] == [text.tokens for text in texts]
        params.n, params.seed = 1, 5  # vLLM's seed means nothing to corelm
        processor.CorelmLogitsProcessor.validate_params(params)
        assert importlib.import_module("corelm_vllm.settings").read_settings(params).sample == 0

    def test_without_a_seed_of_corelm_the_samples_are_vllms(self, processor):
        params = asking("temperature(t=1.5)", n=3)
        processor.CorelmLogitsProcessor.validate_params(params)
        assert params.seed is None
        assert params.extra_args == {"corelm": "temperature(t=1.5)"}

    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_drafts_of_speculative_decoding_change_no_text(self, engine, sampler):
        whole = expected(sampler, "the cat", 4, length=12)
        engine.add(1, whole[:2], asking(sampler, 4))
        guesses = np.random.default_rng(0)
        while len(engine.text(1)) < len(whole):
            done = len(engine.text(1))
            drafts = [t if guesses.random() < 0.6 else 3 for t in whole[done : done + 3]]
            rows = engine.step([1], logits_of, {1: drafts}).argmax(-1).tolist()
            for i, token in enumerate(rows):
                engine.commit(1, token)
                if i == len(drafts) or token != drafts[i] or len(engine.text(1)) == len(whole):
                    break
        assert engine.text(1) == whole

    @pytest.mark.parametrize("sampler", ["mirostat(tau=1.0)", "adaptive_p(target=0.2)"])
    @pytest.mark.parametrize("wrong", [(), (1,), (0, 2)])
    def test_accepted_drafts_keep_the_surprisals(self, processor, sampler, wrong):
        """A draft's row has the distribution that the text had without drafts."""
        with_drafts = stand_ins.V2Engine(processor.CorelmLogitsProcessor, CONFIG)
        alone = stand_ins.V2Engine(processor.CorelmLogitsProcessor, CONFIG)
        prompt = MODEL.vocabulary.encode("the cat")
        for engine in (with_drafts, alone):
            engine.add(1, prompt, asking(sampler))
        rng, text, expected = np.random.default_rng(1), [], []
        for _ in range(32):
            expected.append(alone.step([1], logits_of)[0].numpy())
            text.append(
                int(rng.choice(len(MODEL.vocabulary), p=corelm.softmax(expected[-1][None])[0]))
            )
            alone.commit(1, text[-1])
        done = 0
        while done + 4 < len(text):
            drafts = [3 if i in wrong else t for i, t in enumerate(text[done : done + 3])]
            rows = with_drafts.step([1], logits_of, {1: drafts}).numpy()
            equal = [draft == token for draft, token in zip(drafts, text[done:], strict=False)]
            accepted = (*equal, False).index(False)
            for row, own in zip(rows[: accepted + 1], expected[done:], strict=False):
                np.testing.assert_allclose(row, own, atol=1e-6)
            for token in text[done : done + accepted + 1]:
                with_drafts.commit(1, token)
            done += accepted + 1

    def test_a_part_of_a_long_prompt_is_no_text(self, engine):
        prompt = MODEL.vocabulary.encode("the cat sat on the mat")
        engine.add(0, prompt, asking("mirostat(tau=1.5)", 2))
        for part in (2, 4):  # vLLM ignores these tokens
            engine.lengths[0] = part
            engine.step([0], logits_of)
        engine.lengths[0] = len(prompt)
        engine.write(0, 10, logits_of)
        assert engine.text(0) == expected("mirostat(tau=1.5)", "the cat sat on the mat", 2)

    def test_a_sampler_that_fails_leaves_its_requests_to_vllm(self, engine, caplog):
        engine.add(0, [3], asking("ban(words=(99,))"))
        engine.add(1, [3], asking("greedy"))
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                first, second = engine.step([0, 1], logits_of)
        np.testing.assert_array_equal(first, logits_of([3]))
        assert torch.isfinite(second).sum() == 1
        [record] = caplog.records
        assert "99" in record.message
        assert "\n" not in record.message

    def test_a_request_that_nobody_checked_is_logged(self, engine, caplog):
        assert engine.add(0, [3], asking("temprature")) is False
        assert "there is no sampler 'temprature'" in caplog.text
        np.testing.assert_array_equal(engine.step([0], logits_of)[0], logits_of([3]))

    def test_a_class_to_name_changes_nothing(self, processor):
        engine = stand_ins.V2Engine(processor.CheckRequests, CONFIG)
        assert engine.add(0, [3], asking("greedy")) is False
        np.testing.assert_array_equal(engine.step([0], logits_of)[0], logits_of([3]))

    @pytest.mark.parametrize(
        ("fields", "ends"),
        [
            ({"eos_ids": (5, 7, 9)}, [5, 7, 9]),
            ({"eos_ids": (5, 7), "stop_token_ids": [8]}, [5, 7, 8]),
            ({"eos_ids": (5,), "stop_token_ids": [8], "ignore_eos": True}, [8]),
            ({"eos_ids": (5,), "ignore_eos": True}, []),
            ({}, [5]),
        ],
    )
    def test_every_end_of_a_request_is_an_end(self, engine, fields, ends):
        samplers = {
            0: "min_length(n=6)",
            1: "length_bias(weight=2.0)",
            2: "xtc(probability=1.0, threshold=0.0, special='end')",
        }
        for slot, sampler in samplers.items():
            engine.add(slot, [3], asking(sampler, **fields))
            engine.commit(slot, 4)
        rows = engine.step([0, 1, 2], lambda text: np.zeros(12, np.float32)).numpy()
        assert np.flatnonzero(np.isneginf(rows[0])).tolist() == [*NEVER, *ends]
        assert np.flatnonzero(rows[1] > 0).tolist() == ends
        assert set(ends) <= set(np.flatnonzero(np.isfinite(rows[2])).tolist())

    def test_a_text_of_the_same_tokens_keeps_its_own_prompt(self, engine):
        """One has drawn the token that is the end of the other's prompt, and goes on as it."""
        sampler = "no_repeat_ngram(n=1, skip_prompt=true)"
        engine.add(0, [3], asking(sampler))
        engine.add(1, [3, 4], asking(sampler))
        engine.commit(0, 4)
        engine.step([0, 1], lambda text: np.zeros(12, np.float32))
        for slot in (0, 1):
            engine.commit(slot, 6)
        two, one = engine.step([1, 0], lambda text: np.zeros(12, np.float32)).numpy()
        assert np.flatnonzero(np.isneginf(one)).tolist() == [*NEVER, 4, 6]
        assert np.flatnonzero(np.isneginf(two)).tolist() == [*NEVER, 6]

    @pytest.mark.parametrize("sampler", ["min_length(n=6)", "length_bias(weight=2.0)"])
    def test_another_request_keeps_its_ends(self, engine, sampler):
        engine.add(0, [3], asking(sampler, eos_ids=(5, 7)))
        engine.add(1, [3], asking(sampler, eos_ids=(5,)))
        for slot in (0, 1):
            engine.commit(slot, 4)
        one, two = engine.step([0, 1], lambda text: np.zeros(12, np.float32)).numpy()
        assert np.flatnonzero(one).tolist() == [*NEVER, 5, 7]
        assert np.flatnonzero(two).tolist() == [*NEVER, 5]

    @pytest.mark.parametrize(
        ("fields", "possible"),
        [
            ({}, []),
            ({"stop_token_ids": [0]}, [0]),
            ({"logit_bias": {1: 2.0}}, [1]),
            ({"allowed_token_ids": [0, 1, 4]}, [0, 1]),
        ],
    )
    @pytest.mark.parametrize("sampler", ["temperature(t=0.5)", "presence_penalty(penalty=1.0)"])
    def test_a_request_may_name_a_token_that_is_never_drawn(
        self, engine, sampler, fields, possible
    ):
        engine.add(0, [3], asking(sampler))
        engine.add(1, [3], asking(sampler, **fields))
        plain, row = engine.step([0, 1], lambda text: np.zeros(12, np.float32)).numpy()
        assert np.flatnonzero(np.isneginf(plain)).tolist() == NEVER
        assert np.flatnonzero(np.isneginf(row)).tolist() == [i for i in NEVER if i not in possible]


class TestV1:
    """Model runner V1: a batch that changes, and lists of tokens that grow."""

    @pytest.fixture
    def interfaces(self):
        return ("V1",)

    @pytest.fixture
    def engine(self, processor):
        return processor.CorelmLogitsProcessor(CONFIG, torch.device("cpu"), False)

    def step(self, engine, texts):
        """Apply the processor to the rows and append the tokens; `texts` are prompt and output."""
        rows = np.stack([logits_of([*prompt, *output]) for prompt, output in texts])
        for (_, output), row in zip(texts, engine.apply(torch.from_numpy(rows)), strict=True):
            output.append(int(row.argmax()))

    @pytest.mark.parametrize("sampler", SAMPLERS)
    def test_a_changing_batch_writes_the_texts_of_generate(self, engine, sampler):
        texts = {seed: (MODEL.vocabulary.encode(p), []) for seed, p in enumerate(PROMPTS)}
        added = [(seed, asking(sampler, seed), *texts[seed]) for seed in (0, 1)]
        engine.update_state(BatchUpdate(2, added=added))
        order = [0, 1]
        for step in range(12):
            if step == 2:
                order = [0, 1, 2]
                engine.update_state(BatchUpdate(3, added=[(2, asking(sampler, 2), *texts[2])]))
            elif step == 4:
                order = [2, 1, 0]
                engine.update_state(BatchUpdate(3, moved=[(0, 2, SWAP)]))
            elif step == 10:  # requests 0 and 1 are done
                order = [2]
                engine.update_state(BatchUpdate(1, removed=[1, 2]))
            else:
                engine.update_state(None)
            self.step(engine, [texts[seed] for seed in order])
        for seed, prompt in enumerate(PROMPTS):
            assert [*texts[seed][0], *texts[seed][1]] == expected(sampler, prompt, seed)

    def test_a_request_moves_and_takes_the_place_of_another(self, engine):
        added = [(0, SamplingParams(), [3], []), (1, asking("greedy"), [3], [])]
        engine.update_state(BatchUpdate(2, added=added))
        engine.update_state(BatchUpdate(1, removed=[0], moved=[(1, 0, MOVE)]))
        [row] = engine.apply(torch.from_numpy(logits_of([3])[None]))
        assert torch.isfinite(row).sum() == 1
        engine.update_state(BatchUpdate(1, added=[(0, SamplingParams(), [3], [])]))
        [row] = engine.apply(torch.from_numpy(logits_of([3])[None]))
        np.testing.assert_array_equal(row, logits_of([3]))

    def test_without_the_drawn_tokens_a_sampler_that_reads_them_stops(self, engine, caplog):
        """With asynchronous scheduling they are -1 if `logits_processors` names no class."""
        output = [-1]
        added = [
            (0, asking("repetition_penalty(penalty=2.0)", 1), [3], output),
            (1, asking("uniform", 1), [3], output),
        ]
        engine.update_state(BatchUpdate(2, added=added))
        reads, draws = engine.apply(torch.from_numpy(np.stack([logits_of([3])] * 2)))
        np.testing.assert_array_equal(reads, logits_of([3]))
        assert torch.isfinite(draws).sum() == 1
        [record] = caplog.records
        assert "start it with --logits-processors corelm_vllm:CheckRequests" in record.message

    def test_it_may_change_the_most_likely_token(self, engine):
        assert engine.is_argmax_invariant() is False

    def test_the_tokens_of_a_request_are_recorded(self, processor, tmp_path):
        """Of the request that asks for it, in a batch with another."""
        replay = pytest.importorskip("corelm_replay")
        settings, file = config(), tmp_path / "tokens.jsonl"
        settings.additional_config = {"corelm_records": str(file)}
        engine = processor.CorelmLogitsProcessor(settings, torch.device("cpu"), False)
        chain, texts = "top_k(k=4) | mirostat(tau=2.0)", [[5], [7, 4]]
        requests = [recording("mine", 3, chain), asking("top_k(k=2)", 1)]
        added = [(i, requests[i], [*texts[i]], []) for i in range(2)]
        outputs = [entry[3] for entry in added]
        for step in range(6):
            engine.update_state(BatchUpdate(2, added=added if step == 0 else []))
            rows = [logits_of(text) for text in texts]
            drawn = engine.apply(torch.from_numpy(np.stack(rows))).argmax(dim=-1).tolist()
            for text, output, token in zip(texts, outputs, drawn, strict=True):
                text.append(token)
                output.append(token)
        log = replay.TokenLog.read(file).rollouts()
        own = replay.record(MODEL, [[5]], sampler=chain, length=6, seed=3)
        assert log.ids(0) == own.ids(0) == ([5], outputs[0])
        for name in ("logprobs", "model_logprobs", "kept_mass", "kept_size", "entropy"):
            np.testing.assert_allclose(getattr(log, name), getattr(own, name), atol=1e-5)

    def test_a_record_without_a_file_is_logged(self, processor, caplog):
        engine = processor.CorelmLogitsProcessor(CONFIG, torch.device("cpu"), False)
        engine.update_state(BatchUpdate(1, added=[(0, recording("mine", 3), [5], [])]))
        engine.apply(torch.from_numpy(logits_of([5])[None]))
        assert "corelm records no tokens of the request 'mine': name a file" in caplog.text

    def test_an_engine_without_a_tokenizer_knows_no_start_token(self, processor):
        settings = config(skip_tokenizer_init=True, tokenizer_object=None)
        engine = processor.CorelmLogitsProcessor(settings, torch.device("cpu"), False)
        engine.update_state(BatchUpdate(1, added=[(0, asking("top_k(k=1)", 3), [3], [])]))
        [row] = engine.apply(torch.from_numpy(logits_of([3])[None]))
        assert row.argmax() == logits_of([3]).argmax()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (asking("temprature"), "there is no sampler 'temprature'; did you mean 'temperature'?"),
        (asking("top_p(p=2)"), "p must be"),
        (asking("greedy", -1), "the seed must be a whole number of at least 0, not -1"),
        (asking("greedy", "1"), "the seed must be a whole number"),
        (asking(3), "'corelm' must be a sampler expression, not 3"),
        (SamplingParams(extra_args={"corelm_seed": 3}), "'corelm' must be a sampler expression"),
        (
            SamplingParams(extra_args={"corelm": "greedy", "corelm_sed": 3}),
            "there is no argument 'corelm_sed'",
        ),
        (recording("a"), "'corelm_record' needs 'corelm_seed'"),
        (recording("", 1), "'corelm_record' must be a name of 1 to 200 characters, not ''"),
        (recording(["a"], 1), "'corelm_record' must be a name of 1 to 200 characters"),
        (asking("min_p", temperature=0.7), "temperature=0.7 would change"),
        (asking("min_p", top_k=50), "top_k=50 would change"),
        (asking("min_p", 3, repetition_penalty=1.2), "put repetition_penalty(penalty=1.2) into"),
        (asking("min_p", presence_penalty=0.5), "vLLM's presence_penalty=0.5 may act after corelm"),
        (asking("min_p", 3, frequency_penalty=-1.0), "vLLM's frequency_penalty=-1.0"),
    ],
)
def test_a_wrong_request_is_refused_in_one_line(processor, params, message):
    with pytest.raises(ValueError, match=r"^[^\n]*$") as caught:
        processor.CorelmLogitsProcessor.validate_params(params)
    assert message in str(caught.value)


def test_other_requests_pass(processor):
    for params in (
        SamplingParams(temperature=0.2),
        SamplingParams(extra_args={"target_token": 3}),
        asking("min_p(p=0.05) | temperature(t=0.8)"),
        asking("min_p", 7, temperature=0.0, top_k=1),
        asking("min_p", top_k=-1),
    ):
        assert processor.CorelmLogitsProcessor.validate_params(params) is None


def test_the_methods_take_what_each_interface_passes(processor, interfaces):
    bases = {"V2": stand_ins.V2LogitsProcessor, "V1": stand_ins.V1LogitsProcessor}
    for cls in (processor.CorelmLogitsProcessor, processor.CheckRequests):
        for base in (bases[name] for name in interfaces):
            assert issubclass(cls, base)
            for name, method in vars(base).items():
                if callable(method) or isinstance(method, classmethod):
                    if name.startswith("_") and name != "__init__":
                        continue
                    documented = inspect.signature(getattr(base, name))
                    inspect.signature(getattr(cls, name)).bind(*documented.parameters)
        assert not inspect.isabstract(cls)


def test_without_vllm_the_error_is_one_line(monkeypatch):
    with pytest.raises(ImportError, match=r"^corelm-vllm needs vLLM 0.32 or later: [^\n]*$"):
        loaded(monkeypatch, ())


def test_vllm_finds_it(processor):
    [point] = entry_points(group="vllm.logits_processors", name="corelm")
    assert point.load() is processor.CorelmLogitsProcessor
    assert importlib.import_module("corelm_vllm").CheckRequests is processor.CheckRequests


def vocabulary_of(monkeypatch, **settings):
    stand_ins.install(monkeypatch, ["V1"])
    module = importlib.import_module("corelm_vllm.vocabulary")
    return module.VllmVocabulary(config(**settings).model_config)


@pytest.mark.parametrize(
    ("ids", "ends"),
    [(5, (5,)), ([5, 7], (5, 7)), (None, ()), (0, (0,)), (-1, ()), ([10**6, 5, 5], (5,))],
)
def test_the_vocabulary_is_that_of_the_tokenizer_and_the_configuration(monkeypatch, ids, ends):
    vocabulary = vocabulary_of(monkeypatch, hf_config=types.SimpleNamespace(eos_token_id=ids))
    assert (len(vocabulary), vocabulary.ends) == (len(MODEL.vocabulary), ends)
    the_cat = MODEL.vocabulary.encode("the cat")
    assert vocabulary.encode("the cat") == the_cat
    assert vocabulary.decode(np.array(the_cat)) == "the cat"
    assert (vocabulary.start, vocabulary.unused) == (None, ())
    never = [None if token in ends else token for token in NEVER]
    assert [vocabulary.padding, vocabulary.unknown] == never


def test_ids_beyond_the_tokenizer_are_never_drawn(monkeypatch):
    vocabulary = vocabulary_of(monkeypatch, get_vocab_size=lambda: 15)
    assert vocabulary.unused == (12, 13, 14)
    assert vocabulary.of_requests(frozenset({5}), frozenset({13})).unused == (12, 14)
