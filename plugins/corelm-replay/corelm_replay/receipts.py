"""Receipts: what anyone needs to recompute each draw of a text."""

import json
from dataclasses import asdict, dataclass

import corelm
from corelm.errors import UsageError
from corelm.runs import identity
from corelm_replay.recording import record

FORMAT = "corelm.receipt/1"


@dataclass(frozen=True)
class Receipt:
    """A record of the draws of a text.

    Attributes:
        model: the name of the model, and `model_sha256` its checksum.
        chain: the sampler, as an expression.
        seed, sample, prompt_index: these decide the uniform numbers.
        prompt, tokens: ids.
        logprobs: of each token under the chain; `kept_mass` and `kept_size` of its set. The size
            is 0 where nothing was removed: engines differ in the number of impossible tokens.
    """

    model: str
    model_sha256: str
    chain: str
    seed: int
    sample: int
    prompt_index: int
    prompt: list[int]
    tokens: list[int]
    logprobs: list[float]
    kept_mass: list[float]
    kept_size: list[int]

    @classmethod
    def of(cls, rollouts, row, *, model, model_sha256, seed, sample, prompt_index=0):
        """Return the receipt of a row of `Rollouts`, with the fields that they don't have."""
        before, drawn = rollouts.ids(row)
        logprobs = rollouts.logprobs[row, : len(drawn)].tolist()
        mass = rollouts.kept_mass[row, : len(drawn)].tolist()
        size = rollouts.kept.sizes[row, : len(drawn)].tolist()
        return cls(
            model, model_sha256, rollouts.chain, seed, sample, prompt_index, before, drawn,
            logprobs, mass, size,
        )  # fmt: skip

    def to_json(self):
        """Return the receipt as one JSON document."""
        return json.dumps({"format": FORMAT} | asdict(self), allow_nan=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text):
        """Read a receipt from a JSON document.

        Raises:
            UsageError: another kind of document, or values of other types.
        """
        try:
            whole = json.loads(text)
            if whole.pop("format") != FORMAT:
                raise UsageError(f"expected the format {FORMAT}")
            receipt = cls(**whole)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise UsageError(f"not a receipt: {error!r}") from None
        receipt._check()
        return receipt

    def _check(self):
        numbers = (self.seed, self.sample, self.prompt_index, *self.prompt, *self.tokens)
        whole = all(type(n) is int and n >= 0 for n in (*numbers, *self.kept_size))
        floats = all(type(x) in (int, float) for x in (*self.logprobs, *self.kept_mass))
        lists = self.logprobs, self.kept_mass, self.kept_size
        if not (whole and floats and all(len(each) == len(self.tokens) for each in lists)):
            raise UsageError("not a receipt: its ids, figures or lengths are impossible")


def receipts(model, prompt, *, sampler, length=50, n=1, seed=None):
    """Draw texts, and return a receipt of each with its text.

    Args:
        model: the name of a model, which the receipt holds; or a model, whose name is unknown then.
        prompt, sampler, length, n, seed: as for `record`.

    Returns:
        Pairs of a text and its `Receipt`.
    """
    named = isinstance(model, str)
    loaded = corelm.load(model) if named else model
    rollouts = record(loaded, [prompt], sampler=sampler, length=length, n=n, seed=seed)
    origin = {"model": model if named else "", "model_sha256": identity.identity_of(loaded, "")}
    return [
        (text, Receipt.of(rollouts, row, **origin, seed=rollouts.seed, sample=row))
        for row, text in enumerate(rollouts.texts)
    ]
