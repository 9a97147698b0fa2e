"""The sequences of a context that all sessions of a GGUF file share."""

import numpy as np
import pytest

import corelm
from corelm.errors import CorelmError, UsageError
from corelm.runs import ContinuousBatch, Endings, PrefixCache, Strategy, Texts

pytest.importorskip("llama_cpp", reason="pip install llama-cpp-python")

from corelm_llama_cpp import LlamaCppModel
from corelm_llama_cpp.context import Context
from corelm_llama_cpp.sequences import MOST_TEXTS
from corelm_llama_cpp.threads import AGAIN, TRIES, ThreadChoice

PROMPT = [7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]


@pytest.fixture
def passes(monkeypatch):
    """Return a list that gets the sequences of the tokens of each pass."""
    found, process, draw_ahead = [], Context.process, Context.draw_ahead

    def noted(self, ids, sequences, *rest):
        found.append(sequences.tolist())
        return process(self, ids, sequences, *rest)

    def noted_ahead(self, block, ids, sequences, *rest):
        drawn, count = draw_ahead(self, block, ids, sequences, *rest)
        found.extend([sequences.tolist()] * count)
        return drawn, count

    monkeypatch.setattr(Context, "process", noted)
    monkeypatch.setattr(Context, "draw_ahead", noted_ahead)
    return found


def expected(model, text):
    """Return the logits after a text, from a session of its own."""
    return model.start([text]).next_logits()[0]


def test_rows_are_processed_in_the_order_of_their_sequences(gguf_file, passes):
    """llama.cpp evaluates the network once for ascending numbers without gaps alone."""
    model = LlamaCppModel(gguf_file)
    texts = [[3, 4], [5], [6, 7, 8], [9], [10, 11]]
    session = model.start(texts)
    session.next_logits()
    session.select([4, 1, 3])  # out of order, and 0 and 2 are free
    session.extend([20, 21, 22])
    found = session.next_logits()
    assert passes[-1] == [0, 1, 2]
    for row, text in enumerate([[10, 11, 20], [5, 21], [9, 22]]):
        np.testing.assert_allclose(found[row], expected(model, text), atol=1e-5)


def test_a_prompt_is_read_once(gguf_file, passes, monkeypatch):
    monkeypatch.setattr("corelm_llama_cpp.sequences.LEAST", 8)
    session = LlamaCppModel(gguf_file).start([PROMPT])
    passes.clear()
    for token in (3, 4):
        session.next_logits()
        session.extend([token])
    assert list(map(len, passes)) == [len(PROMPT), 1]


def test_a_session_that_joins_is_not_read_again(gguf_file, passes):
    model = LlamaCppModel(gguf_file)
    one, other = model.start([PROMPT]), model.start([PROMPT[::-1]])
    one.next_logits()
    other.next_logits()
    one.extend([3])
    other.extend([4])
    one.next_logits()  # after the context has grown for two rows, so both were read again
    other.next_logits()
    one.join(other)
    one.extend([5, 6])
    passes.clear()
    found = one.next_logits()
    assert passes == [[0, 1]]
    np.testing.assert_allclose(found[1], expected(model, [*PROMPT[::-1], 4, 6]), atol=1e-5)


def test_a_prompt_for_many_samples_is_read_once(gguf_file, passes):
    model = LlamaCppModel(gguf_file)
    passes.clear()
    corelm.generate(model, "This movie", sampler="stochastic", length=3, n=40, seed=0)
    assert [len(tokens) for tokens in passes] == [2, 40, 40]


def test_equal_prompts_of_a_batch_are_read_once(gguf_file, passes):
    model = LlamaCppModel(gguf_file)
    batch, texts = ContinuousBatch(model, prefixes=PrefixCache(100)), []
    for seed in range(4):
        request = Texts("", Strategy.of("top_k(k=5)"), 4, 1, seed, Endings(), ids=PROMPT)
        passes.clear()
        texts.append(batch.add(request))
        while batch:
            batch.step()
    assert [len(tokens) for tokens in passes] == [1, 1, 1]
    for seed, request in enumerate(texts):
        [alone] = corelm.generate(model, PROMPT, sampler="top_k(k=5)", length=4, seed=seed)
        assert request.open_texts.tokens[0] == alone.tokens


def test_a_text_does_not_depend_on_the_texts_before_it(gguf_file, passes):
    """Only forks go on from any token: llama.cpp may round a prompt in other passes differently."""
    model = LlamaCppModel(gguf_file)
    passes.clear()
    for _ in range(2):
        model.start([PROMPT]).next_logits()
    assert [len(tokens) for tokens in passes] == [len(PROMPT)] * 2


def test_a_prompt_shares_the_whole_passes_of_an_earlier_one(gguf_file, passes, monkeypatch):
    """Read again, they would be those passes: the logits are equal to the last bit."""
    monkeypatch.setattr("corelm_llama_cpp.context.PASS", 4)
    prompts = [PROMPT, [*PROMPT[:11], 3, 4], PROMPT[:8], [*PROMPT, 5]]
    model, read = LlamaCppModel(gguf_file), []
    for prompt in prompts:
        passes.clear()
        logits = model.start([prompt]).next_logits()
        read.append(sum(map(len, passes)))
        np.testing.assert_array_equal(logits[0], expected(LlamaCppModel(gguf_file), prompt))
    assert read == [17, 13 - 8, 8 - 4, 18 - 8]


def test_a_fork_reads_only_what_is_new(gguf_file, passes):
    model = LlamaCppModel(gguf_file)
    session = model.start([PROMPT])
    fork = session.fork()
    session.extend([3])
    session.next_logits()
    fork.rewind(2)
    fork.extend([4])
    passes.clear()
    found = fork.next_logits()
    # The context grows for the second row; without room nothing of the first is left.
    fork.extend([5])
    again = fork.next_logits()
    assert len(passes[-1]) == 1
    np.testing.assert_allclose(found[0], expected(model, [*PROMPT[:-2], 4]), atol=1e-5)
    np.testing.assert_allclose(again[0], expected(model, [*PROMPT[:-2], 4, 5]), atol=1e-5)
    session.extend([6])
    np.testing.assert_allclose(
        session.next_logits()[0], expected(model, [*PROMPT, 3, 6]), atol=1e-5
    )


def test_a_session_without_rows(gguf_file):
    session = LlamaCppModel(gguf_file).start(np.zeros((0, 3), dtype=int))
    assert session.next_logits().shape[0] == 0
    other = LlamaCppModel(gguf_file).start([[5, 6]])
    other.select([])
    assert other.next_logits().shape[0] == 0


def test_sessions_lend_their_sequences_to_others(gguf_file):
    model = LlamaCppModel(gguf_file)
    many = model.start(np.full((MOST_TEXTS, 1), 5))
    before = many.next_logits()
    other = model.start([[3, 4], [6, 7]])
    np.testing.assert_allclose(other.next_logits()[1], expected(model, [6, 7]), atol=1e-5)
    many.extend(np.full(MOST_TEXTS, 8))
    after = many.next_logits()
    assert not np.array_equal(before, after)
    np.testing.assert_allclose(after[0], expected(model, [5, 8]), atol=1e-5)
    np.testing.assert_allclose(after[-1], after[0], atol=1e-5)
    many.select([*range(MOST_TEXTS), 0])
    with pytest.raises(UsageError, match="at most 256 texts at a time, not 257"):
        many.next_logits()
    many.select([0, 1])
    np.testing.assert_allclose(many.next_logits()[1], after[0], atol=1e-5)


def test_a_context_without_memory_is_followed_by_a_smaller_one(gguf_file, monkeypatch):
    model = LlamaCppModel(gguf_file)
    small, large = model.start([[5, 6]]), model.start([[5, 6]] * 9)
    before = small.next_logits()
    monkeypatch.setattr("llama_cpp.llama_init_from_model", lambda model, parameters: None)
    with pytest.raises(CorelmError, match="too little memory for"):
        large.next_logits()
    monkeypatch.undo()
    np.testing.assert_allclose(small.next_logits(), before, atol=1e-5)
    np.testing.assert_allclose(large.next_logits()[8], before[0], atol=1e-5)


def test_random_moves_give_the_logits_of_whole_texts(model):
    rng = np.random.default_rng(1)
    texts = [[int(i)] for i in rng.integers(3, 200, 3)]
    sessions = [(model.start([text]), [text]) for text in texts]
    for _ in range(60):
        at = int(rng.integers(len(sessions)))
        session, rows = sessions[at]
        move = int(rng.integers(6))
        if move == 0 and len(sessions) > 1:
            other, more = sessions.pop(at - 1)
            session.join(other)
            rows += more
        elif move == 1:
            kept = rng.integers(0, len(rows), rng.integers(1, 6))
            session.select(kept)
            rows[:] = [list(rows[i]) for i in kept]
        elif move == 2 and min(map(len, rows)) > 2:
            session.rewind(1)
            for row in rows:
                row.pop()
        elif move == 3 and len(sessions) < 4:
            sessions.append((session.fork(), [list(row) for row in rows]))
        else:
            new = rng.integers(3, 200, (len(rows), int(rng.integers(1, 3))))
            session.extend(new)
            for row, tokens in zip(rows, new.tolist(), strict=True):
                row += tokens
        found = session.next_logits()
        at = int(rng.integers(len(rows)))
        np.testing.assert_allclose(found[at], expected(model, rows[at]), atol=2e-5)


def test_the_faster_number_of_threads_is_used_and_the_other_tried_again():
    seconds, used = {1: 1.0, 4: 3.0}, []
    choice = ThreadChoice(4)

    def run(passes):
        for _ in range(passes):
            used.append(choice.of(8))
            choice.note(8, used[-1], seconds[used[-1]])

    run(AGAIN + AGAIN // 2)
    assert used[: 2 * TRIES + 1] == [4] * TRIES + [1] * (TRIES + 1)
    assert used.count(4) == 2 * TRIES
    choice.note(8, 1, 30.0)  # another program interrupted a pass
    assert choice.of(8) == 1
    seconds[4] = 0.5  # the other programs have ended
    run(2 * AGAIN)
    assert used[-1] == 4


@pytest.mark.parametrize("interrupted", [{0, 3}, {1, 2}, {5}])
def test_interruptions_in_a_trial_decide_nothing(interrupted):
    choice = ThreadChoice(4)
    for place in range(2 * TRIES):
        number = choice.of(8)
        choice.note(8, number, {1: 3.0, 4: 2.0}[number] * (10 if place in interrupted else 1))
    assert choice.of(8) == 4


def test_passes_of_another_size_are_another_matter():
    choice = ThreadChoice(4)
    for _ in range(2 * TRIES):
        choice.note(8, choice.of(8), float(choice.of(8)))
    assert (choice.of(8), choice.of(15), choice.of(1)) == (1, 1, 4)
    assert ThreadChoice(1).of(8) == 1
