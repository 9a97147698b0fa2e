"""The laws of samplers, decoders, models and metrics, and the tests that apply them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from corelm.contracts.decoder import Decoder
from corelm.contracts.language_model import LanguageModel, Vocabulary
from corelm.contracts.metric import Metric
from corelm.contracts.sampling import Sampler
from corelm.errors import UsageError
from corelm.testing.decoder_laws import DECODER_LAWS
from corelm.testing.laws import SAMPLER_LAWS, runs_on_any_library, unless_reported
from corelm.testing.metric_laws import METRIC_LAWS
from corelm.testing.model_laws import MODEL_LAWS

if TYPE_CHECKING:
    import pytest

LAWS: Mapping[str, tuple[Any, ...]] = {
    "sampler": tuple(SAMPLER_LAWS),
    "decoder": tuple(DECODER_LAWS),
    "model": tuple(MODEL_LAWS),
    "metric": tuple(METRIC_LAWS),
    "portable": (runs_on_any_library,),
}
"""The laws of each kind, for use without pytest: `for law in LAWS["sampler"]: law(sampler)`.

"portable" is for samplers that also run on arrays of other libraries, such as torch or JAX.
"""

OPTIONS = {"sampler": "vocabulary", "decoder": "model", "model": "tolerance"}
"""The option that the laws of each kind take."""


def obeys_the_laws(
    *things: Sampler | Decoder | LanguageModel | Metric,
    vocabulary: Vocabulary | None = None,
    model: LanguageModel | None = None,
    tolerance: float | None = None,
    portable: bool = False,
) -> pytest.MarkDecorator:
    """Make one pytest test for each sampler, decoder, model or metric and each law of its kind.

    The function that is decorated calls `law(sampler)`, `law(decoder)` and so on. The tests
    are called `Temperature(t=0.2)-repeats_itself`, `ToyModel-selects_rows` and so on. Where
    `is_a_distribution` fails, the laws of samplers that stop at the same fault are skipped, so that
    one mistake is one failure. For a model that a fixture makes, parametrise with `LAWS["model"]`.

    Args:
        *things: samplers, or decoders, or models, or metrics, with the parameters to try; the ends
            of their ranges are worth it.
        vocabulary: of samplers: the vocabulary of the contexts, for those that name words, such as
            `ToyModel().vocabulary`.
        model: of decoders: the model that writes the texts, for those that need a special one; by
            default a toy model of three words.
        tolerance: of models: the largest difference of two logits that count as equal; by default
            1e-5.
        portable: of samplers: they also run on arrays of other libraries, such as torch or JAX; the
            test needs array-api-strict.

    Raises:
        UsageError: nothing to examine, several kinds, something else, such as the class itself, or
            an option of another kind.

    Example:
        >>> import corelm
        >>> from corelm.testing import LAWS, ToyModel, obeys_the_laws
        >>> @obeys_the_laws(corelm.sampler("temperature", t=0.2))
        ... def test_law(sampler, law):
        ...     law(sampler)
        >>> @obeys_the_laws(ToyModel(), tolerance=0)
        ... def test_law(model, law):
        ...     law(model)
        >>> for law in LAWS["sampler"]:  # the same without pytest
        ...     law(corelm.sampler("temperature", t=0.2))
        ...     law(corelm.sampler("ban", words=["cat"]), vocabulary=ToyModel().vocabulary)
    """
    import pytest

    kinds = {_kind(thing) for thing in things}
    if len(kinds) != 1:
        raise UsageError(
            "obeys_the_laws needs at least one sampler, decoder, model or metric, all of one kind"
        )
    kind = kinds.pop()
    options = {"vocabulary": vocabulary, "model": model, "tolerance": tolerance}
    chosen = {name: value for name, value in options.items() if value is not None}
    if foreign := chosen.keys() - {OPTIONS.get(kind)}:
        raise UsageError(f"the laws of a {kind} take no {min(foreign)}")
    if portable and kind != "sampler":
        raise UsageError(f"the laws of a {kind} take no portable")
    laws = (*LAWS[kind], *(LAWS["portable"] if portable else ()))
    pairs = [(thing, law) for thing in things for law in laws]
    tests = [(thing, partial(_guarded(law, kind), **chosen)) for thing, law in pairs]
    names = [type(x).__name__ if kind == "model" else repr(x) for x, _ in pairs]
    ids = [f"{name}-{law.__name__}" for name, (_, law) in zip(names, pairs, strict=True)]
    return pytest.mark.parametrize((kind, "law"), tests, ids=ids)


def _guarded(law: Any, kind: str) -> Any:
    return partial(unless_reported, law) if kind == "sampler" else law


def _kind(thing: object) -> str:
    for kind, cls in {"sampler": Sampler, "decoder": Decoder, "metric": Metric}.items():
        if isinstance(thing, cls):
            return kind
    if isinstance(thing, type) or not hasattr(thing, "next_token_distribution"):
        raise UsageError(
            "obeys_the_laws takes samplers, decoders and metrics, such as TopP(p=0.9) and "
            f"Beam(width=2), and models, not {thing!r}"
        )
    return "model"
