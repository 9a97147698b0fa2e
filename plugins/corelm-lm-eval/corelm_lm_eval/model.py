"""The model `corelm` of lm-evaluation-harness."""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from itertools import groupby, islice
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM
from lm_eval.api.registry import model_registry
from tqdm import tqdm

import corelm
from corelm import LanguageModel
from corelm.abilities import FullVocabulary
from corelm.errors import UsageError
from corelm.runs import ContinuousBatch, Expression, NamedModel, Strategy, Texts, plugins
from corelm_lm_eval.metrics import Evaluated
from corelm_lm_eval.scoring import Pair, context_and_continuation, likelihoods, windows
from corelm_lm_eval.settings import RECORD, read_settings

NAME = "corelm"
HOOKS = ("corelm_samplers", "corelm_decoders")
DEVICE = "cuda:0"
"""The device that the command passes on by default."""
logger = logging.getLogger(__name__)


class CorelmLM(LM):
    """A model that corelm opens, with any of its samplers.

    A text depends only on the seed and the indices of its document and repeat, so it is the same at
    any batch size and with `--limit`. Likelihoods are the model's own, without the sampler. Both
    are the same to the last bit for corelm's own models.

    Args:
        model: a name or path that `corelm.load` takes, or a loaded model.
        sampler: an expression, which may end in a decoder; by default each task's settings decide,
            which are greedy for most tasks.
        seed: the random seed; by default a number from Python's generator, which `--seed` sets.
        unknown: allow [UNK]; otherwise a word that the model doesn't know is impossible.
        device: the device of the model.
        dtype: its number format.
        batch_size: the number of texts read or written together, or "auto".
        max_batch_size: the largest number for "auto".

    Raises:
        UsageError: a name, an expression or a number that corelm doesn't have.
    """

    def __init__(
        self,
        model: str | LanguageModel,
        sampler: str | None = None,
        seed: int | None = None,
        unknown: bool = False,
        device: str | None = None,
        dtype: str | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        named = isinstance(model, str)
        self.model: LanguageModel = (
            corelm.load(model, device=device, dtype=dtype) if named else model
        )
        self.name: str = model if named else NamedModel.of(model).name
        self.strategy: Strategy | None = None if sampler is None else Strategy.of(sampler)
        self.seed: int = random.getrandbits(32) if seed is None else _whole("seed", seed)
        self.unknown, self.rows = unknown, _rows(batch_size, max_batch_size)
        Evaluated.model = self.model

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str, additional_config: dict[str, Any] | None = None
    ) -> CorelmLM:
        """Return the model of arguments such as `model=imdb,sampler=mix(a=greedy, b=top_p)`.

        Commas in brackets belong to an expression.
        """
        pairs = [each.partition("=") for each in Expression.split(arg_string, ",") if each.strip()]
        arguments: dict[str, Any] = {name.strip(): value.strip() for name, _, value in pairs}
        if "unknown" in arguments:
            arguments["unknown"] = arguments["unknown"].lower() == "true"
        return cls.create_from_arg_obj(arguments, additional_config)

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> CorelmLM:
        """Return the model of arguments by name."""
        others = dict(additional_config or {})
        # The command passes a device to every model even if the user chose none and there is no
        # GPU.
        device = others.pop("device", None)
        if device not in (None, DEVICE):
            logger.warning("--device is left out: give the model's arguments device=%s", device)
        return super().create_from_arg_obj(arg_dict, others)

    @property
    def tokenizer_name(self) -> str:
        """The name of the model, for the caches of requests."""
        return self.name.replace("/", "__")

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return the prompt of messages, up to where the answer begins.

        Raises:
            UsageError: a model without a chat template, or an answer that has begun.
        """
        if not add_generation_prompt:
            raise UsageError("corelm's chat templates end where the answer begins; leave out "
                             "gen_prefix")  # fmt: skip
        return FullVocabulary(self.model.vocabulary).render_chat(chat_history)

    def get_model_info(self) -> dict[str, Any]:
        """Return the model, the sampler, the seed and the versions, for the results."""
        return {RECORD: self._record(self.strategy)}

    def loglikelihood(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[tuple[float, bool]]:
        """Return the log-likelihood of each continuation, and whether greedy decoding writes it."""
        vocabulary = self.model.vocabulary
        pairs = [context_and_continuation(vocabulary, *request.args) for request in requests]
        self._warn_of_unknown_words(pairs)
        results = []
        scored = likelihoods(self.model, pairs, self.rows, self.unknown)
        each = zip(requests, scored, strict=True)
        for request, one in tqdm(each, total=len(pairs), disable=disable_tqdm, desc="Likelihoods"):
            results.append(one)
            self.cache_hook.add_partial("loglikelihood", request.args, one)
        return results

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """Return the log-likelihood of each text.

        A text longer than the model's context is cut as the harness cuts it for other models,
        into windows that share one token.
        """
        vocabulary, length = self.model.vocabulary, self.model.context_length
        texts = [
            windows(vocabulary, FullVocabulary(vocabulary).prompt_ids(text), length)
            for (text,) in (request.args for request in requests)
        ]
        pairs = [pair for text in texts for pair in text]
        self._warn_of_unknown_words(pairs)
        scored, results = likelihoods(self.model, pairs, self.rows, self.unknown), []
        for request, text in tqdm(
            [*zip(requests, texts, strict=True)], disable=disable_tqdm, desc="Likelihoods"
        ):
            results.append(math.fsum(likelihood for likelihood, _ in islice(scored, len(text))))
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, results[-1])
        return results

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Return the text that continues each prompt; record how it was drawn in its request."""
        groups = [(texts, list(same)) for texts, same in self._texts(requests)]
        # The repeats of one document are written together.
        asked = (
            (texts, range(first, min(first + self.rows, texts.n)))
            for texts, _ in groups
            for first in range(0, texts.n, self.rows)
        )
        written: list[str] = []
        progress = tqdm(total=len(requests), disable=disable_tqdm, desc="Texts")
        with progress:
            for ended in ContinuousBatch.in_order(self.model, asked, rows=self.rows):
                if ended.error:
                    raise ended.error
                written += [text.text for text in ended.open_texts.generations()]
                progress.update(len(ended.open_texts.samples))
        for texts, (request, *_) in groups:
            # The harness logs the settings of each document; the first argument is the prompt.
            request.args[1][RECORD] = {
                **self._record(texts.strategy),
                "prompt_index": texts.prompt_index,
            }
        return written

    def _texts(self, requests: Sequence[Instance]) -> Iterator[tuple[Texts, Iterable[Instance]]]:
        """Yield each document's texts; a request repeated in a row asks for several texts."""
        for place, (_, same) in enumerate(groupby(requests, key=id)):
            request, *repeats = same
            prompt, arguments = request.args
            settings = read_settings(arguments, self.strategy)
            index = place if request.doc_id is None else request.doc_id
            texts = Texts(
                prompt, settings.strategy, settings.length, 1 + len(repeats), self.seed,
                settings.endings, self.unknown, index,
            )  # fmt: skip
            yield texts, (request, *repeats)

    def _warn_of_unknown_words(self, pairs: Sequence[Pair]) -> None:
        unknown = self.model.vocabulary.unknown
        count = sum(unknown in own for _, own in pairs)
        if count and not self.unknown:
            logger.warning(
                "%d of %d texts have words that the model does not know, and are impossible; "
                "unknown=true gives [UNK] its likelihood",
                count,
                len(pairs),
            )

    def _record(self, way: Strategy | None) -> dict[str, Any]:
        """Return everything that a text depends on, except its prompt."""
        return {
            "model": self.name,
            "sampler": None if way is None else str(way),
            "seed": self.seed,
            "unknown": self.unknown,
            "versions": {
                name: version(name) for name in ("corelm", "corelm-lm-eval", "lm_eval", "numpy")
            }
            | self._plugins(way),
        }

    def _plugins(self, way: Strategy | None) -> dict[str, str]:
        """Return the versions of the plugins that offer the model, the sampler and the decoder."""
        things = [thing for thing in way or () if thing is not None]
        names = (part.name for thing in things for part in thing.parts())
        sources = [plugins.registry().find(HOOKS, name).source for name in names]
        if source := NamedModel(self.model).plugin:
            sources.append(source)
        return {source.distribution: source.version for source in sources}


def register_model() -> None:
    """Register the model, for releases of the harness that don't read entry points."""
    import lm_eval.models  # noqa: F401 - a registry without a model is filled when one is asked for

    if NAME not in model_registry:
        model_registry.register(NAME)(CorelmLM)


def _whole(name: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise UsageError(f"{name} must be a whole number, not {value!r}") from None


def _rows(batch_size: int | str | None, most: int | None) -> int:
    """Return the number of texts read or written together."""
    automatic = batch_size is None or str(batch_size).startswith("auto")
    rows = ContinuousBatch.ROWS if automatic else _whole("batch_size", batch_size)
    rows = min(rows, most) if automatic and most else rows
    if rows < 1:
        raise UsageError(f"batch_size must be at least 1, not {rows}")
    return rows
