"""Bursts of actions on the live page, whose replies come late, out of order, never or as errors.

A model of the page in Python has the state that the actions want. After each burst the page must
show it, with the figures of `corelm.explain` and the words that `corelm.generate` draws.
CORELM_BURSTS sets the number of bursts, CORELM_FIRST_BURST the seed of the first.
"""

import copy
import json
import os
import random
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from pages import until

import corelm
from corelm import RandomStream
from corelm.runs import plugins
from corelm.testing import ToyModel

pytestmark = pytest.mark.slow

FIRST = int(os.environ.get("CORELM_FIRST_BURST", "0"))
BURSTS = int(os.environ.get("CORELM_BURSTS", "25"))
HOSTILE = Path(__file__).with_name("bursts.js").read_text("utf-8")
MODEL, PROMPT = ToyModel(), "the"
[END] = MODEL.vocabulary.ends
CLASSES = {each.name: each.value for each in plugins.registry().offers("corelm_samplers")}
ADDED = ["greedy", "top_k", "top_p", "min_p", "temperature", "typical", "eta", "mirostat"]
EXPRESSIONS = ["uniform", "top_k(k=3)", "temperature(t=0.6) | top_p(p=0.9)", "stochastic", "min_p"]
LINKS = ["stochastic", "top_k(k=4) | temperature(t=0.5)"]
LONGEST = 100


def start_of(name):
    """Return a sampler as the page adds it."""
    return str(CLASSES[name](**CLASSES[name].example))


class Wanted:
    """The state that the page should have.

    Attributes:
        chains: the cards of each side, each as an expression and whether it is on; None for a
            second side that was never shown.
        texts: the ids that the two texts may have; a draw that a change overtakes may be dropped.
        draws: the sides that draw a word a hundred times.
        columns: the column of each side whose numbers are open.
    """

    def __init__(self, sampler, seed):
        self.chains = [cards_of(sampler), None]
        self.texts = {((), ())}
        self.seed, self.compare = seed, False
        self.draws, self.columns = [False, False], [None, None]

    @property
    def sides(self):
        return (0, 1) if self.compare else (0,)

    def chain(self, side):
        """Return the chain of the cards that are on, as an expression."""
        return " | ".join(each for each, on in self.chains[side] if on) or "stochastic"

    def after_draw(self, pair):
        """Return a pair of texts after a word is drawn on each side that is shown."""
        both = list(pair)
        for side in self.sides:
            if both[side][-1:] != (END,):
                both[side] += (token_at(both[side], self.chain(side), self.seed),)
        return tuple(both)

    def do_add(self, name, _):
        self.chains[0].append((start_of(name), True))

    def do_off(self, at, _):
        expression, on = self.chains[0][at]
        self.chains[0][at] = (expression, not on)

    def do_out(self, at, _):
        del self.chains[0][at]

    def do_expression(self, text, _):
        self.chains[0] = cards_of(text)

    do_preset = do_expression

    def do_slider(self, argument, result):
        at = argument[0]
        expression, on = self.chains[0][at]
        old = corelm.sampler(expression)
        values = {each.name: getattr(old, each.name) for each in type(old).parameters()}
        values[result["parameter"]] = result["value"]
        self.chains[0][at] = (str(type(old)(**values)), on)

    def do_draw(self, *_):
        self.texts = {self.after_draw(pair) for pair in self.texts}

    def do_write(self, *_):
        """Draw to the end; the words before a change that overtakes it stay."""
        texts = set()
        for _ in range(LONGEST):
            if self.texts <= texts:
                break
            texts |= self.texts
            self.do_draw()
        return texts

    def do_restart(self, *_):
        self.texts = {((), ())}

    def do_new_seed(self, _, result):
        self.seed = int(result)
        self.texts = {((), ())}

    def do_bar(self, _, result):
        token = token_of(result)
        self.texts = {
            (one if one[-1:] == (END,) else (*one, token), other) for one, other in self.texts
        }

    def do_undo(self, *_):
        # A side that isn't shown keeps its text.
        self.texts = {
            (one[:-1], other[:-1] if self.compare else other) for one, other in self.texts
        }

    def do_draws(self, *_):
        self.draws[0] = not self.draws[0]

    def do_numbers(self, at, _):
        self.columns[0] = None if self.columns[0] == at else at

    def do_compare(self, *_):
        self.compare = not self.compare
        if self.chains[1] is None:
            # A link writes a chain without cards as `stochastic`, which is the same.
            self.chains[1] = copy.deepcopy(self.chains[0]) or cards_of("stochastic")
            self.draws[1], self.columns[1] = self.draws[0], self.columns[0]
            self.texts = {(one, one) for one, _ in self.texts}

    def saved(self):
        """Return what a link holds: a side that isn't shown isn't in it."""
        other = copy.deepcopy(self)
        other.chains = [
            None if each is None else each or cards_of("stochastic") for each in other.chains
        ]
        if not self.compare:
            other.chains[1], other.draws[1], other.columns[1] = None, False, None
            other.texts = {(one, ()) for one, _ in self.texts}
        return other


def cards_of(expression):
    return [(str(stage), True) for stage in corelm.sampler(expression).stages]


def token_at(tokens, chain, seed):
    """Return the token that `corelm.generate` draws at a place."""
    logits = corelm.explain(MODEL, PROMPT, chain, after=tokens).stages[-1].logits[None]
    return int(corelm.draw(logits, RandomStream(seed, [0]).at(len(tokens)))[0][0])


WORDS = [MODEL.vocabulary.decode([each]).strip() for each in range(len(MODEL.vocabulary))]
WORDS[END] = "[end]"


def token_of(word):
    return WORDS.index(word)


def word_of(token):
    return WORDS[token]


TEXT = ("draw", "draw", "restart", "new_seed", "bar", "bar", "undo", "write")
CHAIN = ("add", "off", "out", "expression", "preset", "slider", "slider")
OTHER = ("draws", "numbers", "compare", "back", "forward", "link")


def burst(dice, wanted):
    """Return some actions, each with its argument and the milliseconds after it."""
    kinds = [dice.choice(CHAIN), dice.choice(TEXT + OTHER)]
    kinds += [dice.choice(CHAIN + TEXT + OTHER) for _ in range(dice.randrange(3))]
    if dice.random() < 0.3:
        dice.shuffle(kinds)
    return [(kind, argument_of(kind, dice), dice.choice((0, 0, 0, 5, 30))) for kind in kinds]


def argument_of(kind, dice):
    match kind:
        case "add":
            return dice.choice(ADDED)
        case "off" | "out":
            return dice.randrange(3)
        case "expression":
            return dice.choice(EXPRESSIONS)
        case "preset":
            return corelm.presets()[dice.choice(["keras-hub", "vllm"])]
        case "slider":
            return [dice.randrange(3), [dice.randrange(100, 900) for _ in range(4)]]
        case "bar" | "numbers":
            return dice.randrange(3)
        case "link":
            state = {"prompt": PROMPT, "sampler": dice.choice(LINKS), "seed": dice.randrange(99)}
            return state | {"nonce": dice.random()}
    return None


def test_after_any_burst_the_page_shows_the_wanted_state(opened):
    page = opened({"sampler": LINKS[0], "seed": 1})
    page.evaluate(HOSTILE)
    entries, at = [Wanted(LINKS[0], 1)], 0
    for number in range(FIRST, FIRST + BURSTS):
        dice = random.Random(number)
        wanted, actions = entries[at], burst(dice, entries[at])
        hashed = [[k, quote(json.dumps(a)) if k == "link" else a, ms] for k, a, ms in actions]
        outcome = page.evaluate("([actions, seed]) => burst(actions, seed)", [hashed, number])
        assert outcome["faults"] == [], (number, actions)
        assert outcome["isCalm"], (number, actions)
        done = [
            (*action[:2], result)
            for action, result in zip(actions, outcome["results"], strict=True)
            if result is not None  # the page had something to do it with
        ]
        for nth, (kind, argument, result) in enumerate(done):
            # A draw that nothing comes after is never lost.
            is_sure = all(each[0] in ("draw", "write") for each in done[nth:])
            if kind in ("back", "forward", "link"):
                entries[at] = wanted.saved()
                at += -1 if kind == "back" else 1
                if kind == "link":
                    entries[at:] = [Wanted(argument["sampler"], argument["seed"])]
                wanted = entries[at] = entries[at].saved()
            else:
                before = wanted.texts
                on_the_way = getattr(wanted, f"do_{kind}")(argument, result) or before
                if kind in ("draw", "write") and not is_sure:
                    wanted.texts |= before | on_the_way
        check(page, wanted, (number, actions))
    finish(page, wanted)


def check(page, wanted, about):
    """Compare the page with the wanted state and with Python."""
    shown = page.evaluate("shown()")
    assert shown["failure"] == "", about
    assert int(shown["seed"]) == wanted.seed, about
    texts = tuple(tuple(map(token_of, side["words"])) for side in shown["sides"])
    possible = {pair[: len(texts)] for pair in wanted.texts}
    assert texts in possible, (about, shown["sides"][0]["words"])
    wanted.texts = {pair for pair in wanted.texts if pair[: len(texts)] == texts}
    assert len(texts) == len(wanted.sides), about
    for side, (tokens, found) in enumerate(zip(texts, shown["sides"], strict=True)):
        assert not found["old"], about
        cards = [(corelm.sampler(each).name, on) for each, on in wanted.chains[side]]
        assert [tuple(card) for card in found["cards"]] == cards, (about, side)
        assert found["expression"] == wanted.chain(side), (about, side)
        check_columns(found, wanted, side, tokens, about)


def check_columns(found, wanted, side, tokens, about):
    expected = corelm.explain(MODEL, PROMPT, wanted.chain(side), after=tokens)
    entropies = [stage.entropy for stage in expected.stages]
    assert found["entropies"] == pytest.approx(entropies, abs=1e-6), (about, side)
    for word, *shares in found["rows"]:
        probabilities = expected.trace(token_of(word)).probabilities
        assert list(map(float, shares)) == pytest.approx(probabilities, abs=1e-6), (about, side)
    last, ended = expected.stages[-1], tokens[-1:] == (END,)
    counts = {}
    if wanted.draws[side] and not ended:
        uniforms = RandomStream(wanted.seed, range(100)).at(len(tokens))
        drawn = corelm.draw(np.repeat(last.logits[None], 100, axis=0), uniforms)[0].tolist()
        counts = {word_of(token): drawn.count(token) for token in drawn}
    found_counts = {word: n for word, n in found["counts"].items() if n}
    assert found_counts == counts if not counts else found_counts.items() <= counts.items(), about
    next_word = None if ended else word_of(token_at(tokens, wanted.chain(side), wanted.seed))
    assert found["next"] == next_word, (about, side)
    at = wanted.columns[side]
    is_open = at is not None and at < len(expected.stages)
    assert bool(found["numbers"]) == is_open, (about, side)
    if is_open:
        ids = expected.stages[max(at - 1, 0)].ranked_tokens[: len(found["numbers"])]
        shares = expected.stages[at].distribution[ids].tolist()
        assert found["numbers"][:3] == pytest.approx(shares[:3], abs=1e-9), (about, side)


def finish(page, wanted):
    """Draw a text from the prompt, which is the one of `corelm.generate`."""
    page.click("#restart")
    page.click("#write")
    page.wait_for_selector("#stop", state="hidden")
    until(page, "idle()")
    sides = page.evaluate("shown()")["sides"]
    for side, found in enumerate(sides):
        [text] = corelm.generate(
            MODEL, PROMPT, sampler=wanted.chain(side), seed=wanted.seed, length=LONGEST
        )
        assert [token_of(word) for word in found["words"]] == text.tokens
