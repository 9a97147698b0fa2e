"""Models and vocabularies as JSON: for listing, and for tokenizing as vLLM's server does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from corelm import Vocabulary
from corelm.abilities import FullVocabulary, can
from corelm_serve.requests.completion import ID, MOST_IDS
from corelm_serve.requests.fields import FLAG, Request, field, list_of, text
from corelm_serve.service import ServedModel, find


@dataclass(frozen=True, kw_only=True)
class TokenizeRequest(Request):
    """A text to split into tokens."""

    model: str | None = field(text(256, 1), "a name of `GET /v1/models`; default: the only one")
    prompt: str = field(text(), "the text", required=True)
    add_special_tokens: bool = field(FLAG, "put the start token before the text", False)
    return_token_strs: bool = field(FLAG, "return the text of each token too", False)


@dataclass(frozen=True, kw_only=True)
class DetokenizeRequest(Request):
    """Token ids to join into a text."""

    model: str | None = field(text(256, 1), "a name of `GET /v1/models`; default: the only one")
    tokens: tuple[int, ...] = field(list_of(ID, MOST_IDS), "token ids", required=True)


def about_model(served: ServedModel) -> dict[str, Any]:
    """Return an entry of `GET /v1/models`."""
    return {
        "id": served.name,
        "object": "model",
        "created": served.created,
        "owned_by": "corelm",
        "max_model_len": served.context_length,
    }


def tokenize(body: Any, models: Mapping[str, ServedModel]) -> dict[str, Any]:
    """Return the ids of a text."""
    request = TokenizeRequest.read(body)
    served = find(models, request.model)
    vocabulary = served.model.vocabulary
    ids = _ids(vocabulary, request.prompt)
    if request.add_special_tokens and vocabulary.start is not None:
        ids = [vocabulary.start, *FullVocabulary(vocabulary).prompt_ids(ids)]
    answer: dict[str, Any] = {
        "count": len(ids),
        "max_model_len": served.context_length,
        "tokens": ids,
    }
    if request.return_token_strs:
        write = FullVocabulary(vocabulary).writer()
        answer["token_strs"] = [write(token) for token in ids]
    return answer


def detokenize(body: Any, models: Mapping[str, ServedModel]) -> dict[str, Any]:
    """Return the text of ids."""
    request = DetokenizeRequest.read(body)
    served = find(models, request.model)
    ids = served.ids(request.tokens, may_be_empty=True)
    return {"prompt": served.model.vocabulary.decode(ids)}


def tokenizer_info(served: ServedModel) -> dict[str, Any]:
    """Describe a vocabulary: the keys that lm-evaluation-harness reads, and corelm's own."""
    vocabulary = served.model.vocabulary
    name_of = FullVocabulary(vocabulary).token_name
    special = {
        "bos": vocabulary.start,
        "eos": min(vocabulary.ends, default=None),
        "pad": vocabulary.padding,
        "unk": vocabulary.unknown,
    }
    return {
        "model": served.name,
        "vocab_size": len(vocabulary),
        "max_model_len": served.context_length,
        **{f"{name}_token": name_of(token) for name, token in special.items()},
        **{f"{name}_token_id": token for name, token in special.items()},
        "eos_token_ids": sorted(vocabulary.ends),
        "chat_template": getattr(vocabulary, "chat_template", None),
        "tokenizer_class": type(vocabulary).__name__,
        "is_bytes": can(vocabulary, "token_bytes"),
    }


def _ids(vocabulary: Vocabulary, text: str) -> list[int]:
    """Return the ids of a text, which may begin with the name of the start token.

    A text that is only the end token's name gives its id, which lm-evaluation-harness needs.
    """
    start, end = vocabulary.start, min(vocabulary.ends, default=None)
    full = FullVocabulary(vocabulary)
    if start is not None and (name := full.token_name(start)) and text.startswith(name):
        return [start, *full.prompt_ids(text)]
    if end is not None and text == full.token_name(end):
        return [end]
    return vocabulary.encode(text)
