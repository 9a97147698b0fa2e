"""The laws that every language model obeys, corelm's or another engine's.

A law is a function that takes a model and raises an AssertionError that names the fault and the way
out. The docstring of a law is the law. The laws compare a model with itself: only a test against
the engine can show that its logits are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from corelm.abilities import can
from corelm.contracts.language_model import Session
from corelm.contracts.validation import fault_of_rows, looks_like_probabilities
from corelm.errors import UsageError
from corelm.numerics.distributions import softmax
from corelm.testing.draw_checks import check_sessions
from corelm.testing.model_examination import LONG_CONTEXT, Complaints, Examination, Ids, law
from corelm.testing.model_examination import MODEL_LAWS as MODEL_LAWS
from corelm.testing.toy_model import ToyModel
from corelm.text.printable import shown

OPERATIONS = 30
LONGEST = 40
"""The number of tokens of the longest text, except in the law on long texts."""


@law("Return a new array (batch, vocabulary) of float32 or float64; mask tokens with -inf.")
def returns_logits(ask: Examination) -> Complaints:
    """Return logits of every token, each row with a finite entry, in an array of the caller."""
    for texts in (ask.texts(3, 4), ask.texts(1, 4)):  # indices copy rows, a slice of one is a view
        session = ask.model.start(texts)
        logits = session.next_logits()
        size = len(texts), len(ask.model.vocabulary)
        if logits.shape != size or logits.dtype not in (np.float32, np.float64):
            yield f"returned {logits.dtype} logits of the shape {logits.shape} instead of {size}"
        if fault := fault_of_rows(logits):
            yield f"returned {fault}"
        if looks_like_probabilities(logits):
            yield "returned probabilities; return logits"
        expected = logits.copy()
        # If the array weren't the caller's, these writes would reach the session or the model.
        logits[:] = np.nan
        when = f"after the caller overwrote the logits of {size[0]} rows"
        yield from ask.compare(session.next_logits(), expected, when)
        yield from ask.compare(ask.logits(texts), expected, f"in a new session, {when}")
        logits[:] = expected  # restore the model for the other laws


@law("Return softmax(logits) of the session's logits.")
def returns_distributions(ask: Examination) -> Complaints:
    """Return the probabilities of the session's logits; each row sums to 1."""
    texts = ask.texts(3, 5)
    p = np.asarray(ask.model.next_token_distribution(texts))
    yield from ask.compare(p, softmax(ask.logits(texts)), "in next_token_distribution")
    if not np.allclose(p.sum(axis=-1), 1, atol=1e-4) or (p < 0).any():
        yield f"returned probabilities that sum to {p.sum(axis=-1)}"


@law("The logits of a text depend on its tokens, not on the calls that brought them.")
def extends_as_it_starts(ask: Examination) -> Complaints:
    """Give a text the same logits if its tokens come at once, one by one or several at a time."""
    texts, length = ask.texts(2, 12), ask.shortest
    session = ask.model.start(texts[:, :length])
    yield from ask.check(session, texts[:, :length], "at the beginning")
    for count in (1, 1, 0, 3, 4):  # single tokens often take a faster path than several
        session.extend(texts[:, length : length + count])
        length += count
        yield from ask.check(session, texts[:, :length], f"after extending by {count}")
    for token in texts[:, length:].T:
        session.extend(token)
    yield from ask.check(session, texts, "after tokens without an answer in between")
    logits = session.next_logits().copy()
    ask.model.start(ask.texts(2, 3))  # sessions that share their state are mixed up by now
    yield from ask.compare(session.next_logits(), logits, "after the start of another session")


@law("Move keys and values, texts and lengths with the rows, and copy those of a fork.")
def selects_rows(ask: Examination) -> Complaints:
    """Drop, reorder and fork rows; each continues as its text does."""
    texts = ask.texts(3, 6)
    session = ask.model.start(texts)
    # Reorder, fork, drop, drop and fork, drop to one.
    for rows in ([2, 0, 1], [1, 1, 0, 2], [3, 0], [1, 0, 0], [0]):
        session.select(rows)
        yield from ask.check(session, texts[rows], f"after select({rows})")
        more = ask.texts(len(rows), 2)
        texts = np.concatenate([texts[rows], more], axis=1)
        session.extend(more)
        yield from ask.check(session, texts, f"after select({rows}) and two tokens")


@law("Forget the keys and values of dropped tokens, or process the rest of the text again.")
def forgets_what_it_rewinds(ask: Examination) -> Complaints:
    """Forget tokens that were dropped, if the session can rewind."""
    texts = ask.texts(2, 9)
    session = ask.model.start(texts)
    if not can(session, "rewind"):
        return
    for count in (0, 1, 5):
        session.rewind(count)
        texts = texts[:, : texts.shape[1] - count]
        yield from ask.check_all(session, texts, f"after rewind({count})")
        more = ask.texts(2, 2)
        session.extend(more)
        texts = np.concatenate([texts, more], axis=1)
        yield from ask.check_all(session, texts, f"after rewind({count}) and two tokens")


@law("Compare the laws on extend, select and rewind first: they try one operation at a time.")
def follows_any_operations(ask: Examination) -> Complaints:
    """Give the logits of the texts after any operations in any order."""
    texts = ask.texts(2, 5)
    session, done = ask.model.start(texts), ["start"]
    for _ in range(OPERATIONS):
        texts, operation = _operate(ask, session, texts)
        done.append(operation)
        if ask.rng.random() < 0.4:
            yield from ask.check_all(session, texts, f"after {', '.join(done[-4:])}")
    yield from ask.check_all(session, texts, f"after {', '.join(done[-4:])}")


@law("Forget what was drawn ahead when texts, rows or the sampler change.")
def draws_as_in_single_steps(ask: Examination) -> Complaints:
    """Draw the tokens that the logits of single steps give, however many are drawn at once."""
    prompt = ask.texts(1, 4)[0].tolist()
    if not can(ask.model.start([prompt]), "draw"):
        return
    try:
        check_sessions(ask.model, prompt, counts=(0, 3))
    except AssertionError as error:
        yield f"drew other tokens: {error}"


def _operate(ask: Examination, session: Session, texts: Ids) -> tuple[Ids, str]:
    """Change a session and its texts at random; return the texts and the name of the operation."""
    batch, length = texts.shape
    kind = ask.rng.choice(["one", "several", "select", "rewind"])  # the same in every run
    if kind == "rewind" and can(session, "rewind"):
        count = int(ask.rng.integers(0, length - ask.shortest + 1))
        session.rewind(count)
        return texts[:, : length - count], f"rewind({count})"
    if kind == "select" or length > LONGEST - 8:
        rows = ask.rng.integers(0, batch, ask.rng.integers(1, 4)).tolist()
        session.select(rows)
        return texts[rows], f"select({rows})"
    count = 1 if kind == "one" else int(ask.rng.integers(0, 8))
    more = ask.texts(batch, count)
    session.extend(more[:, 0] if kind == "one" else more)
    return np.concatenate([texts, more], axis=1), f"{count} tokens"


@law("Compute each row by itself; 0 as tolerance asks for the same bits, 1e-5 for rounding.")
def treats_texts_alone(ask: Examination) -> Complaints:
    """Give a text the same logits alone, in a batch and in any order."""
    texts = ask.texts(5, 7)
    together = ask.logits(texts)
    yield from ask.compare(ask.logits(texts[::-1])[::-1], together, "in another order")
    for i in range(len(texts)):
        alone = ask.logits(texts[i : i + 1])
        yield from ask.compare(alone, together[i : i + 1], "between a text alone and in a batch")


@law("Slide the window by `window_start`, which depends on the length alone; CachedSession does.")
def slides_its_window(ask: Examination) -> Complaints:
    """Continue texts beyond the context, with the same logits in any session."""
    context = ask.model.context_length
    if context > LONG_CONTEXT:
        return
    # Two windows long, with stops on both sides of each slide.
    texts = ask.texts(2, 2 * context + 3)
    session, length = ask.model.start(texts[:, :2]), 2
    for stop in (context - 1, context, context + 1, context + context // 2 + 1, 2 * context + 3):
        session.extend(texts[:, length : max(stop, length)])
        length = max(stop, length)
        yield from ask.check(session, texts[:, :length], f"at {length} tokens of {context}")


@law("Read each row from its beginning to its end, and nothing after it; `start_rows` does.")
def takes_rows_of_different_lengths(ask: Examination) -> Complaints:
    """Give each of several texts of different lengths the logits it has alone, if it takes them.

    A model whose sessions can't be joined raises an error for such texts.
    """
    texts = ask.ragged(7, 2, 0, 7, 4)
    session = ask.start_joinable(texts)
    if session is None:
        with suppress(UsageError, ValueError, TypeError):  # NumPy's own, for unequal lengths
            ask.model.start([text.tolist() for text in texts])
            yield "took rows of different lengths, but its sessions have no method join"
        return
    yield from ask.check_each(session, texts, "at the beginning of rows of different lengths")
    for rows in ([1, 4, 0, 2, 3], [3, 3, 0], [2, 0, 1], [1, 0], [1]):
        session.select(rows)
        texts = [texts[row] for row in rows]
        yield from ask.check_each(session, texts, f"after select({rows})")
        texts = _with_more(ask, session, texts, 2)
        yield from ask.check_each(session, texts, f"after select({rows}) and two tokens")


@law("Add the rows of the other session with its texts, lengths, keys and values.")
def joins_sessions(ask: Examination) -> Complaints:
    """Add the rows of another session, which continue as their texts do, if it can join.

    A session of another model is refused with a `UsageError`, and so is the session itself.
    """
    texts = ask.ragged(3, 6)
    session = ask.start_joinable(texts)
    if session is None:
        return
    # At the second call the session has already been joined.
    for lengths in ((1, 9, 3), (6,), (0, 0)):
        more = ask.ragged(*lengths)
        other = ask.start_joinable(more)
        assert other is not None
        more = _with_more(ask, other, more, 1)
        session.join(other)
        texts = [*texts, *more]
        yield from ask.check_each(session, texts, f"after rows of {lengths} tokens joined")
        texts = _with_more(ask, session, texts, 3)
        yield from ask.check_each(session, texts, "after rows joined and got three tokens")
    yield from _drops_from_all(ask, session, texts)
    for stranger in (session, ToyModel().start([[3]])):
        try:
            session.join(stranger)
        except UsageError:
            continue
        yield "joined a session of another model, or itself, without a UsageError"


@law("Copy the texts, the keys and values, and logits that the caller may overwrite.")
def forks_sessions(ask: Examination) -> Complaints:
    """Copy a session, if it can, so that both continue independently with their own tokens."""
    for texts in (ask.ragged(6), ask.ragged(5, 5), ask.ragged(3, 7)):
        is_even = len({*map(len, texts)}) == 1
        session = ask.model.start(np.stack(texts)) if is_even else ask.start_joinable(texts)
        if session is None or not can(session, "fork"):
            return
        session.next_logits()
        other = session.fork()
        yield from ask.check_each(other, texts, "of a fork")
        more = _with_more(ask, other, texts, 2)
        own = _with_more(ask, session, texts, 3)
        yield from ask.check_each(other, more, "of a fork after two tokens of its own")
        yield from ask.check_each(session, own, "of a session after its fork got other tokens")


@law("Slide the window of each row by itself, at the length that `window_start` says.")
def slides_each_window_by_itself(ask: Examination) -> Complaints:
    """Continue texts of different lengths beyond the context, each with its own window."""
    context = ask.model.context_length
    if context > LONG_CONTEXT:
        return
    texts = ask.ragged(context - 3, 2, context + context // 2 - 1)
    session = ask.start_joinable(texts)
    if session is None:
        return
    for count in (1, 1, 2, 1, context // 2):  # slides fall on different steps
        texts = _with_more(ask, session, texts, count)
        lengths = [len(text) for text in texts]
        yield from ask.check_each(session, texts, f"at {lengths} tokens of {context}")
    yield from _drops_from_all(ask, session, texts)


def _with_more(ask: Examination, session: Session, texts: Sequence[Ids], count: int) -> list[Ids]:
    """Extend a session, token by token, and return the texts with these tokens."""
    more = ask.texts(len(texts), count)
    for tokens in more.T:
        session.extend(tokens)
    return [np.concatenate(pair) for pair in zip(texts, more, strict=True)]


def _drops_from_all(ask: Examination, session: Session, texts: Sequence[Ids]) -> Complaints:
    """Complain if a session that can rewind doesn't drop the last tokens of each row."""
    if can(session, "rewind"):
        session.rewind(2)
        texts = [text[:-2] for text in texts]
        yield from ask.check_each(session, texts, "after rewind(2) of rows of different lengths")


@law("Let `decode` return what `encode` reads; special tokens add no text.")
def reads_back_its_texts(ask: Examination) -> Complaints:
    """Encode a text that it decoded, and decode it to the same text."""
    vocabulary = ask.model.vocabulary
    marks: list[Any] = [vocabulary.padding, vocabulary.unknown, vocabulary.start, *vocabulary.ends]
    if wrong := [m for m in marks if m is not None and not 0 <= m < len(vocabulary)]:
        yield f"names the tokens {wrong}, but has {len(vocabulary)}"
    for row in ask.texts(20, 6).tolist():
        ids = vocabulary.encode(vocabulary.decode(row))
        is_list = isinstance(ids, Sequence) and all(0 <= i < len(vocabulary) for i in ids)
        if not is_list:
            yield f"encoded {shown(ids)}; expected a list of ids below {len(vocabulary)}"
        text = vocabulary.decode(ids)
        again = vocabulary.decode(vocabulary.encode(text))
        if again != text:
            yield f"decoded {text!r}, encoded it, and decoded {again!r}"
        if can(vocabulary, "token_bytes"):
            whole = b"".join(map(vocabulary.token_bytes, row)).decode("utf-8", "replace")
            if _trimmed(whole) != _trimmed(vocabulary.decode(row)):
                yield f"decoded {vocabulary.decode(row)!r}, but the bytes of its tokens {whole!r}"


def _trimmed(text: str) -> str:
    """Strip the parts that may differ: SentencePiece's first space, a last partial character."""
    return text.lstrip().rstrip("\ufffd")
