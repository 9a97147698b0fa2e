"""The class that vLLM loads, for both of its interfaces."""

import logging

from corelm_vllm.requests import BatchRows, Requests, SlotRows, apply
from corelm_vllm.settings import number_samples, read_settings
from corelm_vllm.vocabulary import VllmVocabulary

logger = logging.getLogger("vllm.corelm")
RECORDS = "corelm_records"
"""The key of `additional_config`: a file that gets the tokens of requests with `corelm_record`."""


def _interfaces():
    """Return vLLM's base classes for model runners V2 and V1, or the one that it has.

    Raises:
        ImportError: vLLM is not installed, or has neither interface.
    """
    bases, errors = [], []
    for module in ("vllm.v1.worker.gpu.sample.logits_processor", "vllm.v1.sample.logits_processor"):
        try:
            bases.append(__import__(module, fromlist=["LogitsProcessor"]).LogitsProcessor)
        except ImportError as error:
            errors.append(error)
    if not bases:
        raise ImportError(f"corelm-vllm needs vLLM 0.32 or later: {errors[0]}") from errors[0]
    return bases


INTERFACES = _interfaces()


def _log(vllm_config):
    """Return the log of the file that `additional_config` names; None without one.

    Raises:
        ImportError: corelm-replay is not installed.
    """
    config = getattr(vllm_config, "additional_config", None)
    file = config.get(RECORDS) if isinstance(config, dict) else None
    if file is None:
        return None
    from corelm_replay import TokenLog

    return TokenLog(file, keep=False)


class CorelmLogitsProcessor(*INTERFACES):
    """A processor that applies the sampler in a request's `extra_args={"corelm": EXPRESSION}`.

    It serves both interfaces. V2 calls `add_request` and `apply(logits, ctx)`, V1 calls
    `update_state` and `apply(logits)`.

    Args:
        vllm_config: the configuration of the engine.
        runner: `req_states` in V2; `device` and `is_pin_memory` in V1.
    """

    def __init__(self, vllm_config, *runner):
        most = vllm_config.scheduler_config.max_num_seqs
        vocabulary = VllmVocabulary(vllm_config.model_config)
        self._requests = Requests(vocabulary, most, _log(vllm_config))
        if len(runner) == 1:
            self._rows = SlotRows(*runner)
        else:
            from vllm.v1.sample.logits_processor import MoveDirectionality

            self._rows = BatchRows(MoveDirectionality.SWAP)

    @classmethod
    def validate_params(cls, sampling_params):
        """Raise ValueError if corelm's parameters of a request are invalid; number its samples."""
        if read_settings(sampling_params) is not None:
            number_samples(sampling_params)

    def add_request(self, req_idx, sampling_params):
        """Set the request of a slot; return True if it asks for corelm. Interface V2."""
        request = self._new(sampling_params)
        self._rows.add(req_idx, request)
        return request is not None

    def update_state(self, batch_update):
        """Follow the changes of the batch. Interface V1."""
        if batch_update is not None:
            self._rows.update(batch_update, self._new)

    def is_argmax_invariant(self):
        """Return False, as a sampler may change the most likely token. Interface V1."""
        return False

    def apply(self, logits, ctx=None):
        """Write the samplers' logits into the rows of the requests that ask for corelm."""
        rows = self._rows.rows() if ctx is None else self._rows.rows(ctx)
        apply(logits, rows)
        return logits

    def _new(self, sampling_params):
        try:
            return self._requests.new(read_settings(sampling_params))
        except ValueError as error:
            # The request was not checked on arrival, and an exception here would end the engine.
            logger.error("corelm leaves a request to vLLM: %s", error)
            return None


class CheckRequests(*INTERFACES):
    """A processor without an effect: if it is named, vLLM checks requests when they arrive.

    vLLM 0.32 checks them only if `logits_processors` names at least one class; then it also calls
    `validate_params` of the plugins that it found by entry point.
    """

    def __init__(self, vllm_config, *runner):
        pass

    def add_request(self, req_idx, sampling_params):
        """Return False, as the logits stay unchanged."""
        return False

    def update_state(self, batch_update):
        """Do nothing."""

    def is_argmax_invariant(self):
        """Return True."""
        return True

    def apply(self, logits, ctx=None):
        """Return the logits."""
        return logits
