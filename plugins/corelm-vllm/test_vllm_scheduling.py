"""The real vLLM's scheduling changes no text: interruptions, prompts in parts, cached prefixes.

Also a model with several ends, and guesses, which vLLM refuses when it starts. On a processor vLLM
switches asynchronous scheduling off.
"""

import sys
from pathlib import Path

import pytest

import corelm

pytestmark = [
    pytest.mark.engines("vllm"),
    pytest.mark.slow,
    pytest.mark.filterwarnings("default"),
]
sys.path.insert(0, str(Path(__file__).parent))
from vllm_on_cpu import MODEL, counter, engine, export, params, tokens  # noqa: E402

FILM = "I have never seen a film that is so bad that I have to say that it is not a good film and "
PROMPTS = [FILM * 2 + "that", FILM * 2 + "then", "The", "This movie is the"]
SAMPLERS = [
    "mirostat(tau=3.0)",
    "adaptive_p(target=0.3)",
    "repetition_penalty(penalty=1.3) | temperature(t=0.9)",
    "dry(multiplier=1.0, allowed_length=1)",
    "top_p(p=0.9)",
    "xtc(probability=0.5)",
    "no_repeat_ngram(n=2)",
    "uniform | top_k(k=20)",
]
ENDS = [1, 15, 259]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return export(tmp_path_factory.mktemp("vllm") / "gpt2", ends=ENDS)


class OwnEnds:
    """corelm's GPT-2 with the ends of the exported model."""

    def __init__(self):
        import copy

        self.vocabulary = copy.copy(MODEL.vocabulary)
        self.context_length = MODEL.context_length
        vars(self.vocabulary)["ends"] = tuple(ENDS)

    def __getattr__(self, name):
        return getattr(MODEL, name)


def run(llm, arrivals, aborted=()):
    """Return the text of each request, by its name; requests arrive and are aborted at steps.

    Args:
        arrivals: for each step the requests that arrive: name, prompt and parameters.
        aborted: names of requests that are taken back five steps later.
    """
    core, texts, leave = llm.llm_engine, {}, {}
    for step in range(2000):
        for name, prompt, request in arrivals.get(step, ()):
            core.add_request(name, prompt, request)
            if name in aborted:
                leave[step + 5] = [*leave.get(step + 5, ()), name]
        core.abort_request(leave.pop(step, []))
        for output in core.step():
            texts[output.request_id] = tokens([output])[0]
        if not core.has_unfinished_requests() and step > max(arrivals):
            break
    return texts


def test_64_requests_that_come_end_and_are_interrupted(folder):
    """A cache for some five of them, prompts in parts of 16 tokens, prefixes in the cache."""
    model, lengths = OwnEnds(), [16, 40, 64]
    requests = {
        str(i): (PROMPTS[i % 4], SAMPLERS[i // 4 % 8], i, lengths[i % 3]) for i in range(64)
    }
    arrivals = {}
    for i, (name, (prompt, sampler, seed, length)) in enumerate(requests.items()):
        asked = name, prompt, params(sampler, seed, max_tokens=length)
        arrivals.setdefault(i // 8, []).append(asked)
    settings = {
        "num_gpu_blocks_override": 15,
        "max_num_batched_tokens": 64,
        "long_prefill_token_threshold": 16,
        "enable_chunked_prefill": True,
        "enable_prefix_caching": True,
    }
    with engine(folder, **settings) as llm:
        found = run(llm, arrivals, aborted=("5", "41"))
        interrupted = counter(llm, "num_preemptions")
        cached = counter(llm, "prefix_cache_hits")
    other = {}
    for name, (prompt, sampler, seed, length) in requests.items():
        [own] = corelm.generate(model, prompt, sampler=sampler, length=length, seed=seed)
        if name not in ("5", "41") and found[name] != list(own.tokens):
            other[name] = sampler, found[name], list(own.tokens)
    assert other == {}
    assert interrupted >= 5  # or the cache is too large to test it
    assert cached > 0


def test_guesses_of_n_grams_are_refused_when_vllm_starts(folder):
    """Model runner V1 takes no processors then; without a named class it would ignore corelm."""
    guesses = {"method": "ngram", "num_speculative_tokens": 3, "prompt_lookup_max": 3}
    with (
        pytest.raises(Exception, match=r"Engine core initialization failed|speculative decoding"),
        engine(folder, speculative_config=guesses),
    ):
        pass
