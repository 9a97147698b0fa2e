"""Stand-ins for the names of vLLM 0.32 that corelm-vllm uses, written from its documentation.

They have the documented signatures without an implementation. `install` puts them in place of vLLM,
which can't run on a machine without its GPU build.
"""

import enum
import sys
import types
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


@dataclass
class SamplingParams:
    """The fields of a request that corelm reads, with vLLM's defaults."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    n: int = 1
    seed: int | None = None
    logit_bias: dict[int, float] | None = None
    allowed_token_ids: list[int] | None = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    extra_args: dict[str, Any] | None = None
    eos_ids: tuple[int, ...] = ()
    """The ends of the tokenizer and generation_config.json; vLLM sets them on arrival."""

    @property
    def all_stop_token_ids(self):
        """The ids that end a text or would without `ignore_eos`."""
        return {*self.eos_ids, *(self.stop_token_ids or ())}


@dataclass(frozen=True)
class LogitsProcRequestState:
    """V2: the slots of the model runner."""

    device: Any
    max_num_reqs: int
    vocab_size: int
    all_token_ids: Any
    prompt_len: Any
    prefill_len: Any
    total_len: Any


@dataclass(frozen=True)
class LogitsContext:
    """V2: the layout of a step."""

    expanded_idx_mapping: Any
    idx_mapping: Any
    idx_mapping_np: Any
    expanded_local_pos: Any
    input_ids: Any
    pos: Any
    seq_lens_upper_bound_np: Any


class V2LogitsProcessor(ABC):
    """V2: the interface of `vllm.v1.worker.gpu.sample.logits_processor`."""

    def __init__(self, vllm_config, req_states):  # noqa: B027
        """Store the engine's arguments."""

    @classmethod  # noqa: B027
    def validate_params(cls, sampling_params):
        """Raise ValueError for wrong arguments."""

    def add_request(self, req_idx, sampling_params):
        """Begin a request."""
        return True

    def apply_staged_writes(self):  # noqa: B027
        """Flush writes."""

    @abstractmethod
    def apply(self, logits, ctx):
        """Change logits."""


class MoveDirectionality(enum.Enum):
    """V1: how two requests move."""

    UNIDIRECTIONAL = enum.auto()
    SWAP = enum.auto()


@dataclass(frozen=True)
class BatchUpdate:
    """V1: the changes of the batch."""

    batch_size: int
    removed: list = field(default_factory=list)
    added: list = field(default_factory=list)
    moved: list = field(default_factory=list)


class V1LogitsProcessor(ABC):
    """V1: the interface of `vllm.v1.sample.logits_processor`."""

    @classmethod  # noqa: B027
    def validate_params(cls, sampling_params):
        """Raise ValueError for wrong arguments."""

    @abstractmethod
    def __init__(self, vllm_config, device, is_pin_memory):
        """Store the engine's arguments."""

    @abstractmethod
    def apply(self, logits):
        """Change logits."""

    @abstractmethod
    def is_argmax_invariant(self):
        """Return True if greedy decoding need not call it."""

    @abstractmethod
    def update_state(self, batch_update):
        """Follow the batch."""


class Tokenizer:
    """A tokenizer with the tokens of a vocabulary.

    Args:
        vocabulary: a corelm vocabulary, such as the toy model's.
        start: the ids that it puts before a text.
    """

    eos_token_id = bos_token_id = None

    def __init__(self, vocabulary, start=()):
        self._vocabulary, self._start = vocabulary, start
        self.pad_token_id, self.unk_token_id = vocabulary.padding, vocabulary.unknown

    def __len__(self):
        return len(self._vocabulary)

    def get_vocab(self):
        return {str(i): i for i in range(len(self))}

    def encode(self, text, add_special_tokens=True):
        return [*(self._start if add_special_tokens else ()), *self._vocabulary.encode(text)]

    def decode(self, ids):
        return self._vocabulary.decode(ids)


def install(monkeypatch, interfaces=("V2", "V1")):
    """Put modules of vLLM's names into `sys.modules`, with these interfaces."""
    v2, v1 = "vllm.v1.worker.gpu.sample.logits_processor", "vllm.v1.sample.logits_processor"
    modules = {
        "vllm": {"SamplingParams": SamplingParams},
        "vllm.tokenizers": {"cached_tokenizer_from_config": lambda config: config.tokenizer_object},
    }
    if "V2" in interfaces:
        modules[v2] = {
            "LogitsProcessor": V2LogitsProcessor,
            "LogitsContext": LogitsContext,
            "LogitsProcRequestState": LogitsProcRequestState,
        }
    if "V1" in interfaces:
        modules[v1] = {
            "LogitsProcessor": V1LogitsProcessor,
            "BatchUpdate": BatchUpdate,
            "MoveDirectionality": MoveDirectionality,
        }
    for name, contents in modules.items():
        parts = name.split(".")
        for i in range(1, len(parts) + 1):
            module = ".".join(parts[:i])
            if module not in sys.modules or module == name:
                monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        vars(sys.modules[name]).update(contents)


class V2Engine:
    """Steps like model runner V2's: slots, rows in any order, drafts as further rows."""

    def __init__(self, processor_class, config, slots=8, longest=64, vocabulary=13):
        self.tokens = torch.zeros((slots, longest), dtype=torch.int32)
        self.prompt_len = np.zeros(slots, dtype=np.int32)
        states = LogitsProcRequestState(
            device=torch.device("cpu"),
            max_num_reqs=slots,
            vocab_size=vocabulary,
            all_token_ids=types.SimpleNamespace(gpu=self.tokens),
            prompt_len=types.SimpleNamespace(np=self.prompt_len),
            prefill_len=None,
            total_len=None,
        )
        self.processor = processor_class(config, states)
        self.lengths = {}

    def add(self, slot, prompt, params, text=None):
        """Begin a request; `text` is longer than the prompt for one that was interrupted."""
        text = text or prompt
        self.tokens[slot, : len(text)] = torch.tensor(text, dtype=torch.int32)
        self.prompt_len[slot] = len(prompt)
        self.lengths[slot] = len(text)
        return self.processor.add_request(slot, params)

    def text(self, slot):
        return self.tokens[slot, : self.lengths[slot]].tolist()

    def step(self, slots, logits_of, drafts=None):
        """Return the processed logits of the slots' rows: the last token's, then the drafts'."""
        rows = [
            (slot, offset, [*self.text(slot), *(drafts or {}).get(slot, [])[:offset]])
            for slot in slots
            for offset in range(1 + len((drafts or {}).get(slot, [])))
        ]
        ids = [slot for slot, _, _ in rows]
        ctx = LogitsContext(
            expanded_idx_mapping=torch.tensor(ids, dtype=torch.int32),
            idx_mapping=torch.tensor(slots, dtype=torch.int32),
            idx_mapping_np=np.array(slots),
            expanded_local_pos=torch.tensor([offset for _, offset, _ in rows]),
            input_ids=torch.tensor([text[-1] for *_, text in rows], dtype=torch.int32),
            pos=torch.tensor([len(text) - 1 for *_, text in rows]),
            seq_lens_upper_bound_np=np.array([self.lengths[slot] for slot in slots]),
        )
        logits = torch.from_numpy(np.stack([logits_of(text) for *_, text in rows]))
        return self.processor.apply(logits, ctx)

    def write(self, slot, count, logits_of):
        """Draw tokens of one slot."""
        for _ in range(count):
            self.commit(slot, self.step([slot], logits_of)[0].argmax())

    def commit(self, slot, token):
        self.tokens[slot, self.lengths[slot]] = int(token)
        self.lengths[slot] += 1
