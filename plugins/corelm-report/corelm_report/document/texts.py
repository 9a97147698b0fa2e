"""The texts of a report, with the details of their tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, TypedDict

from corelm_report.document.parts import (
    IF_GIVEN,
    REQUIRED,
    Count,
    DocumentPart,
    Probability,
    Rule,
    Values,
    schema_of,
)

_TOKEN = [schema_of(str, {}), schema_of(Probability, {})]
Alternative = Annotated[list[Any], Rule(prefixItems=_TOKEN, minItems=2, maxItems=2)]
"""A token as its text and its probability."""
Reason = Annotated[str, Rule(enum=["end", "length", "stop", "loop", "error"])]


# A dict, not a dataclass: a report has one for each of thousands of tokens, and plain dicts are
# read and written without a copy.
class TokenDetails(TypedDict):
    """The details of a token that was drawn.

    Keys:
        token: the text that it added; an end token's name.
        rank: its rank under the model, 1 for the likeliest; ties go to the lowest id.
        p: its probability under the model.
        q: its probability in the distribution drawn from.
        entropy: of the distribution drawn from, in nats.
        alternatives: the model's likeliest tokens, as [text, p].
    """

    token: str
    rank: Annotated[int, Rule(minimum=1)] | None
    p: Probability
    q: Probability
    entropy: float
    alternatives: list[Alternative]


@dataclass(kw_only=True)
class KeptText(DocumentPart):
    """A text that the report keeps.

    Attributes:
        tokens: the details of its tokens, for the first samples only.
        by_token: a list for each figure of the tokens, all of the same length.
    """

    prompt: str
    seed: Count | None = field(default=None, metadata=IF_GIVEN)
    sample: Count
    text: str
    finish_reason: Reason | None = field(default=None, metadata=IF_GIVEN)
    tokens: list[TokenDetails] = field(default_factory=list, metadata=REQUIRED)
    figures: Values | None = field(default=None, metadata=IF_GIVEN)
    by_token: dict[str, list[Any]] | None = field(default=None, metadata=IF_GIVEN)
