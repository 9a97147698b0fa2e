"""The real vLLM on a processor, with corelm's GPT-2 exported for it, for tests and benchmarks."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

import corelm

os.environ.update(VLLM_CPU_KVCACHE_SPACE="1", HF_HUB_OFFLINE="1", VLLM_LOGGING_LEVEL="WARNING")
# Run vLLM in this process, as its own processes start slowly; the server's tests have them all.
os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
CHECKED = ["corelm_vllm:CheckRequests"]
MODEL = corelm.load("gpt2")
EDGE = 1e-4
"""The largest distance of a random number from an edge that rounding explains."""
SETTINGS = {
    "dtype": "float32",
    "enforce_eager": True,
    "max_num_seqs": 64,
    "max_model_len": 128,
    "block_size": 32,
    "logits_processors": CHECKED,
    "disable_log_stats": False,
}
"""Arguments of `LLM`: an engine in single precision, as in corelm."""


def export(folder, ends=None):
    """Write corelm's GPT-2 for vLLM, with other `ends` if given; return the folder."""
    command = [sys.executable, "-m", "corelm", "models", "export", "gpt2", "--to", "transformers"]
    subprocess.run([*command, str(folder)], check=True, capture_output=True)
    if ends is not None:
        path = Path(folder) / "generation_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"eos_token_id": ends}))
    return str(folder)


@contextlib.contextmanager
def engine(folder, **settings):
    """Run an `LLM` in this process, and clean up for the next one."""
    from vllm import LLM
    from vllm.distributed import cleanup_dist_env_and_memory

    llm = LLM(model=folder, **SETTINGS | settings)
    try:
        yield llm
    finally:
        llm.llm_engine.engine_core.shutdown()
        del llm
        cleanup_dist_env_and_memory()


def params(sampler, seed=None, record=None, **fields):
    """Return the `SamplingParams` of a request."""
    from vllm import SamplingParams

    options = {"corelm_seed": seed, "corelm_record": record}
    extra = {"corelm": sampler} | {k: v for k, v in options.items() if v is not None}
    return SamplingParams(extra_args=extra, **{"max_tokens": 24} | fields)


def tokens(outputs):
    """Return the ids of the first text of each request."""
    return [list(output.outputs[0].token_ids) for output in outputs]


def expected(sampler, prompt, seed, length=24, **options):
    """Return the ids that `corelm.generate` writes."""
    [text] = corelm.generate(
        MODEL, prompt, sampler=sampler, length=length, seed=seed, n=1, **options
    )
    return list(text.tokens)


def is_rounding(sampler, prompt, seed, found, own):
    """Return True if the first token that differs was drawn at the edge between the two.

    vLLM and corelm compute the same logits with other roundings, 1e-5 apart. A random number that
    close to the edge between two tokens may fall on either side.
    """
    pairs = enumerate(zip(found, own, strict=False))
    at = next((i for i, (one, other) in pairs if one != other), None)
    if at is None:
        return False
    steps = corelm.stream(MODEL, prompt, sampler=sampler, length=at + 1, seed=seed)
    logits = next(step.logits[0] for step in steps if step.position == at)
    sums = np.cumsum(corelm.softmax(logits.astype(np.float64)))
    first, last = sorted((found[at], own[at]))
    uniform = corelm.RandomStream(seed, [0]).at(at)[0]
    return bool(np.abs(sums[[first, last - 1]] - uniform).max() < EDGE)


def counter(llm, name):
    """Return the value of one of vLLM's counters."""
    return sum(metric.value for metric in llm.get_metrics() if metric.name == f"vllm:{name}")
