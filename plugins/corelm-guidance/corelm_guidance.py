"""Guidance: draw from combined logits, of several models or several prompts for one text."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from corelm import (
    Ancestral,
    Decoder,
    LanguageModel,
    ParameterError,
    hookimpl,
    load,
    log_softmax,
    mask_logits,
    param,
    softmax,
)
from corelm.abilities import FullVocabulary
from corelm.runs import ModelLogits

LOWEST = -1e4
"""The lowest log-probability; lower ones are raised to it, so that differences are finite."""


def contrastive(expert, amateur, alpha=0.1):
    """Return ln p(expert) - ln p(amateur) for tokens that the expert finds plausible.

    A token is plausible if the expert gives it at least alpha times its largest probability.

    Args:
        expert, amateur: (batch, vocabulary) log-probabilities.
        alpha: from 0, which keeps every token, to 1, which keeps the expert's likeliest.
    """
    with np.errstate(divide="ignore"):
        bar = expert.max(axis=1, keepdims=True) + np.log(alpha)
    return mask_logits(expert - amateur, expert >= bar)


def classifier_free(conditional, unconditional, weight=1.5):
    """Return ln p(unconditional) + weight (ln p(conditional) - ln p(unconditional))."""
    return unconditional + weight * (conditional - unconditional)


def experts(base, expert, anti_expert, weight=1.5):
    """Return ln p(base) + weight (ln p(expert) - ln p(anti-expert))."""
    return base + weight * (expert - anti_expert)


PARAMETERS = {
    "contrastive": ("amateur", "alpha"),
    "classifier_free": ("negative", "weight"),
    "experts": ("expert", "anti_expert", "weight"),
}
"""The parameters of each method."""


class Guidance(Decoder):
    """Combine the logits of two or three readings of the text, and draw token by token.

    Contrastive decoding prefers tokens that a model finds likelier than a weaker model, the
    amateur. Classifier-free guidance prefers tokens that are likelier after the prompt than after a
    different one. DExperts moves a model towards an expert and away from an anti-expert. The
    sampler sees the combined distribution as the model's, and every step reports it as such.

    Source: Li et al. 2022, Contrastive decoding, arXiv 2210.15097; Sanchez et al. 2023, Stay on
    topic with classifier-free guidance, arXiv 2306.17806; Liu et al. 2021, DExperts, arXiv
    2105.03023.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> decoder = Guidance(method="classifier_free", negative="the dog", weight=3)
        >>> options = dict(sampler="greedy", length=3, decoder=decoder)
        >>> corelm.generate(ToyModel(), "the cat", **options)[0].text
        ' sat on the'
    """

    method: str = param(
        "classifier_free", "the way to combine the readings", choices=tuple(PARAMETERS)
    )
    negative: str = param(
        "", "classifier_free: the other prompt; the last token of the prompt where empty"
    )
    weight: float = param(1.5, "classifier_free, experts: the weight of the difference", ge=0)
    amateur: str = param("", "contrastive: the name or path of a weaker model", local=True)
    alpha: float = param(
        0.1, "contrastive: the least share of the largest probability to be plausible", ge=0, le=1
    )
    expert: str = param("", "experts: the name or path of a model to move towards", local=True)
    anti_expert: str = param(
        "", "experts: the name or path of a model to move away from", local=True
    )

    def __post_init__(self):
        super().__post_init__()
        used = PARAMETERS[self.method]
        for p in self.parameters():
            value = getattr(self, p.name)
            if p.name not in ("method", *used) and value != p.default:
                raise ParameterError(
                    f"{p.name} is no parameter of the method {self.method}; it has: "
                    f"{', '.join(used)}"
                )
            if p.name in used and p.name in ("amateur", "expert", "anti_expert") and not value:
                raise ParameterError(
                    f"{p.name} must be the name or path of a model, not {value!r}, for the method "
                    f"{self.method}"
                )

    def __call__(self, task):
        """Yield the steps of ancestral sampling from the combined model."""
        if task:
            model = self.guided(task.model, task.prompt, task.unknown)
            yield from Ancestral()(replace(task, model=model))

    def guided(self, model, prompt, unknown=False):
        """Return the combined model.

        Args:
            model: the model that is guided.
            prompt: (time,) ids of the prompt.
            unknown: allow [UNK] to be sampled.

        Raises:
            ParameterError: a model with another vocabulary.
        """
        main = PromptedModel(model)
        if self.method == "contrastive":
            others, combine = (
                [self._other("amateur", model)],
                partial(contrastive, alpha=self.alpha),
            )
        elif self.method == "classifier_free":
            # Without a negative prompt, the model continues the last token alone.
            negative = (
                FullVocabulary(model.vocabulary).prompt_ids(self.negative)
                if self.negative
                else prompt[-1:]
            )
            others = [PromptedModel(model, np.asarray(negative, dtype=np.int64), len(prompt))]
            combine = partial(classifier_free, weight=self.weight)
        else:
            others = [self._other(name, model) for name in ("expert", "anti_expert")]
            combine = partial(experts, weight=self.weight)
        return GuidedModel([main, *others], combine, unknown)

    def _other(self, parameter, model):
        name = getattr(self, parameter)
        other = load(name)
        if not FullVocabulary(other.vocabulary).same_as(model.vocabulary):
            raise ParameterError(
                f"{parameter} must be a model with the same vocabulary, which {name!r} is not"
            )
        return PromptedModel(other)


@dataclass(frozen=True, eq=False)
class PromptedModel:
    """A model that reads the text, after another prompt if it has one.

    Attributes:
        model: the language model.
        prompt: (time,) ids to read instead of the first tokens; None reads the text itself.
        replaced: the number of tokens that the prompt replaces.
    """

    model: LanguageModel
    prompt: np.ndarray | None = None
    replaced: int = 0

    def start(self, tokens):
        """Return the session of a text, (batch, time) ids."""
        if self.prompt is not None:
            prompts = np.tile(self.prompt, (len(tokens), 1))
            tokens = np.concatenate([prompts, tokens[:, self.replaced :]], axis=1)
        return self.model.start(tokens)


class GuidedModel:
    """A language model that combines the logits of several readings.

    It is a model like any other, so every decoder and sampler works with it.

    Args:
        readings: `PromptedModel`s with one vocabulary; the first one is guided. A token that it
            makes impossible stays impossible.
        combine: a function from the log-probabilities of the readings, each (batch, vocabulary), to
            the logits.
        unknown: allow [UNK] to be sampled.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> large, small = ToyModel(), ToyModel(logits=np.zeros(13))
        >>> guided = GuidedModel([PromptedModel(large), PromptedModel(small)], contrastive)
        >>> corelm.generate(guided, "the", sampler="greedy", length=3)[0].text
        ' cat sat on'
    """

    def __init__(self, readings, combine, unknown=False):
        self._readings, self._combine, self._unknown = readings, combine, unknown
        self.vocabulary = readings[0].model.vocabulary
        self.context_length = min(reading.model.context_length for reading in readings)

    def start(self, tokens):
        """Return a session that starts with (batch, time) ids."""
        tokens = np.asarray(tokens, dtype=np.int64)
        return GuidedSession(
            [reading.start(tokens) for reading in self._readings],
            self._combine,
            ModelLogits(self.vocabulary, self._unknown).never,
        )

    def next_token_distribution(self, tokens):
        """Return (batch, vocabulary) probabilities after (batch, time) ids."""
        return softmax(self.start(tokens).next_logits())


class GuidedSession:
    """The sessions of several readings, kept in step.

    Args:
        sessions: one for each reading.
        combine: as for `GuidedModel`.
        never: ids that are never drawn and so do not count.
    """

    def __init__(self, sessions, combine, never):
        self._sessions, self._combine, self._never = sessions, combine, never

    def next_logits(self):
        """Return (batch, vocabulary): the combined logits."""
        readings = [np.array(session.next_logits()) for session in self._sessions]
        # Before the softmax: readings may give padding different shares of the probability.
        for logits in readings:
            logits[:, self._never] = -np.inf
        # Log-probabilities, because raw logits of two models have different constants.
        nats = (np.maximum(log_softmax(r.astype(np.float64)), LOWEST) for r in readings)
        return mask_logits(self._combine(*nats), readings[0] > -np.inf).astype(readings[0].dtype)

    def extend(self, tokens):
        """Append tokens of shape (batch,) or (batch, time) to the rows."""
        for session in self._sessions:
            session.extend(tokens)

    def select(self, rows):
        """Keep these rows in this order; a row named twice is forked."""
        for session in self._sessions:
            session.select(rows)


@hookimpl
def corelm_decoders():
    return {"guidance": Guidance}
