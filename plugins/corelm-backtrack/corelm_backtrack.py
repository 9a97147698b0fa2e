"""Banned words and phrases: go back to where one begins, and continue without it."""

import logging
from bisect import bisect_right
from collections import Counter, deque
from dataclasses import replace

import numpy as np

from corelm import Ancestral, CorelmError, Decoder, Step, TextPatterns, draw, hookimpl, param
from corelm.abilities import FullVocabulary

logger = logging.getLogger("corelm.backtrack")


class Backtrack(Decoder):
    """Keep banned texts and patterns out: go back to the token where one begins, and continue.

    That token is taken out at that place, and the place is drawn again. So token i has the
    distribution that the sampler returns for the model's distribution without the tokens that were
    taken out at place i after the same beginning. A place that is drawn again more than `redraws`
    times, or where no token is left, is given up: it is drawn as if nothing were banned, and a
    banned text that begins there stays. A line in the log says so.

    Only settled steps are yielded: the steps before the first token where a banned text may begin.
    Until a banned text appears, the texts are the same as with ancestral sampling.

    Example:
        >>> import corelm
        >>> from corelm.testing import ToyModel
        >>> options = dict(sampler="greedy", length=4, decoder=Backtrack(banned=("sat on",)))
        >>> corelm.generate(ToyModel(), "the", **options)[0].text
        ' cat and the cat'
    """

    banned: tuple[str, ...] = param((), "a text that must not appear", whole=True)
    patterns: tuple[str, ...] = param(
        (), "a regular expression that must not match", whole=True, aliases=("pattern",)
    )
    ignore_case: bool = param(True, "do not distinguish upper and lower case")
    redraws: int = param(100, "the largest number of times that a place is drawn again", ge=1)

    def __post_init__(self):
        super().__post_init__()
        self._compiled()

    def __call__(self, task):
        """Yield the steps of ancestral sampling, except where banned text is taken back."""
        patterns = self._compiled()
        if not patterns:
            yield from Ancestral()(task)
        elif task:
            texts = {sample: _Text(task, patterns) for sample in task.random_stream.samples}
            try:
                yield from self._steps(task, texts)
            finally:
                _report(texts.values())

    def _compiled(self):
        return TextPatterns(self.banned, self.patterns, ignore_case=self.ignore_case)

    def _steps(self, task, texts):
        """Join the steps of the batch with the steps of samples that have left it."""
        left = {}  # by sample: the position at which it left, and its own steps from there
        for step in self._together(task, texts, left):
            stays = [
                sample not in left or step.position < left[sample][0]
                for sample in step.samples.tolist()
            ]
            own = [steps for first, steps in left.values() if first <= step.position]
            yield from _joined([(step, np.flatnonzero(stays)), *_next(own)])
        own = [steps for _, steps in left.values()]
        while parts := _next(own):
            yield from _joined(parts)

    def _together(self, task, texts, left):
        """Yield the settled steps of ancestral sampling; a sample that goes back leaves the batch.

        Args:
            task: the task.
            texts: the text of each sample, by sample.
            left: filled with the samples that leave.
        """
        decoding, held, finished = task.start(), deque(), False
        while not finished:
            step = decoding.draw()
            held.append(step)
            stays = ~decoding.is_end(step.tokens)
            for row, sample in enumerate(step.samples.tolist()):
                place = texts[sample].add(int(step.tokens[row]))
                if place is not None:
                    stays[row] = False
                    first = texts[sample].settled
                    later = (each for each in held if first <= each.position < place)
                    mine = (each.select(np.flatnonzero(each.samples == sample)) for each in later)
                    # A batch has one length, so a text that goes back is continued by itself.
                    state = _resumed(task, decoding, row, place)
                    left[sample] = first, self._alone(task, state, texts[sample], deque(mine))
            finished = step.position + 1 == task.length or not stays.any()
            if not finished:
                decoding.select(stays)
                decoding.advance()
            settled = min(texts[sample].settled for sample in decoding.samples.tolist())
            while held and (finished or held[0].position < settled):
                yield held.popleft()

    def _alone(self, task, decoding, text, held):
        """Yield the settled steps of one sample that has gone back.

        Args:
            task: the task.
            decoding: the state of this sample.
            text: its text.
            held: its steps that are not yet final.
        """
        finished = False
        while not finished:
            step = self._draw(task, decoding, text)
            held.append(step)
            place = text.add(int(step.tokens[0]))
            if place is not None:
                decoding.rewind(step.position - place)
                while held and held[-1].position >= place:
                    held.pop()
                continue
            finished = step.position + 1 == task.length or decoding.is_end(step.tokens)[0]
            if not finished:
                decoding.advance()
            while held and (finished or held[0].position < text.settled):
                yield held.popleft()

    def _draw(self, task, decoding, text):
        """Draw the next token without the tokens taken out; give up the place if that fails."""
        place, model_logits = decoding.context.position, decoding.model_logits()
        without = text.taken_out.get(place, ())
        if without and text.returns[place] <= self.redraws:
            scores = model_logits.copy()
            scores[:, without] = -np.inf
            try:
                # The model's own logits are reported, as at any other step.
                return replace(_drawn(task, decoding, text, scores), model_logits=model_logits)
            except CorelmError:  # no token is left; any other error is raised again below
                pass
        if without:
            text.given_up.add(place)
        return _drawn(task, decoding, text, model_logits)


class _Text:
    """The text of one sample, with its banned passages and the tokens taken back.

    Args:
        task: the task.
        patterns: the banned texts.

    Attributes:
        settled: the number of tokens that can no longer be taken back.
        draws: how often each place was drawn.
        returns: how often the text went back to each place.
        taken_out: the tokens taken out at each place, after the present beginning.
        given_up: the places at which banned text may begin.
        dropped: the number of tokens taken back.
    """

    def __init__(self, task, patterns):
        self._patterns, self._task = patterns, task
        self._tokens, self._text = [], ""
        self._ends = []  # the length of the text after each token
        self._open = []  # after each token, the first place at which a banned text may begin
        self._write = self._writer()
        self.settled = self.dropped = 0
        self.draws, self.returns = Counter(), Counter()
        self.taken_out, self.given_up = {}, set()

    def add(self, token):
        """Append a token; if that completes a banned text, go back to where the text begins.

        Returns:
            The place to draw again; None if the text did not go back.
        """
        self.draws[len(self._tokens)] += 1
        self._tokens.append(token)
        self._text += self._write(token)
        self._ends.append(len(self._text))
        place, first_open = self._search()
        if place is None:
            self._open.append(first_open)
            self._settle()
        else:
            self._go_back(place)
        return place

    def _search(self):
        """Return the place where a banned text begins, or None, and the first where one may."""
        start = self._ends[self.settled - 1] if self.settled else 0
        first_open = len(self._ends)
        while start < len(self._text):
            match, may_begin = self._patterns.search(self._text, start)
            if match is None or may_begin < match:
                first_open = min(first_open, bisect_right(self._ends, may_begin))
            if match is None:
                break
            # An empty match at the end of the text belongs to the last token.
            place = min(bisect_right(self._ends, match), len(self._ends) - 1)
            if place not in self.given_up:
                return place, place
            start = self._ends[place]
        return None, first_open

    def _settle(self):
        """Mark as final the tokens that no return can reach any more.

        A return cuts the text at some place and continues it differently. So tokens are final only
        if no banned text can begin among them now, nor after any such cut.
        """
        place = len(self._tokens)
        while (first := min(self._open[max(place - 1, 0) :])) < place:
            place = first
        self.settled = place

    def _go_back(self, place):
        """Take out the token at a place, and drop it and the tokens after it."""
        self.returns[place] += 1
        # Later places now follow a different text, so the tokens removed there are possible again.
        self.taken_out = {at: tokens for at, tokens in self.taken_out.items() if at <= place}
        self.taken_out.setdefault(place, []).append(self._tokens[place])
        self.dropped += len(self._tokens) - place
        for per_token in (self._tokens, self._ends, self._open):
            del per_token[place:]
        self._text = self._text[: self._ends[-1] if self._ends else 0]
        self._write = self._writer()

    def _writer(self):
        """Return a function from each next token to its text."""
        return FullVocabulary(self._task.model.vocabulary).writer(
            [*self._task.prompt.tolist(), *self._tokens]
        )


def _drawn(task, decoding, text, scores):
    """Return the step with a token drawn from the sampler's distribution for these scores."""
    stream, place = task.random_stream, decoding.context.position
    logits = decoding.next(scores).logits
    if attempt := text.draws[place]:
        # If a place is drawn again, its random number depends on the attempt too.
        [sample] = decoding.samples.tolist()
        key = (place, attempt, *([stream.prompt] if stream.prompt else []))
        seed = np.random.SeedSequence([stream.seed, sample], spawn_key=key)
        uniforms = np.array([np.random.default_rng(seed).random()])
    else:
        uniforms = stream.at(place, decoding.samples)
    return decoding.step(draw(logits, uniforms)[0])


def _resumed(task, decoding, row, place):
    """Return a new decoding state with one row, cut off before a place."""
    context = decoding.context
    end = context.prompt_length + place
    names = ("tokens", "surprisal", "model_surprisal")
    before = replace(context, **{name: getattr(context, name)[[row], :end] for name in names})
    return task.start(before, decoding.samples[[row]])


def _next(iterators):
    """Return the next step of each sample that has one, and its row in it."""
    steps = [next(steps, None) for steps in iterators]
    return [(step, np.array([0])) for step in steps if step is not None]


def _joined(parts):
    """Yield the step that joins rows of several steps of one position; nothing without rows."""
    parts = [(step, rows) for step, rows in parts if len(rows)]
    if len(parts) == 1 and len(parts[0][1]) == len(parts[0][0].samples):
        yield parts[0][0]
    elif parts:
        yield Step.join([step.select(rows) for step, rows in parts])


def _report(texts):
    """Log the number of tokens taken back, and of banned texts that stay."""
    returns = sum(text.returns.total() for text in texts)
    given_up = sum(len(text.given_up) for text in texts)
    if returns:
        dropped = sum(text.dropped for text in texts)
        logger.info("backtrack: redraws: %d; tokens taken back: %d", returns, dropped)
    if given_up:
        logger.warning(
            "backtrack: places given up, at which banned text may begin: %d; no other token was "
            "left there, or it was drawn again more than the largest number of times",
            given_up,
        )


@hookimpl
def corelm_decoders():
    return {"backtrack": Backtrack}
