"""The texts of one request of a continuous batch, from its prompt to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from corelm.abilities.optional import FullVocabulary
from corelm.decoding.step import Step
from corelm.generation.generate import Ancestral, Texts
from corelm.generation.joint_draws import JointDraws
from corelm.generation.open_texts import OpenTexts
from corelm.generation.prompts import PrefixCache, Prompt
from corelm.generation.request_rows import RequestRows
from corelm.generation.shared_session import SessionView, SharedSession
from corelm.language_model import LanguageModel


class BatchedTexts:
    """The texts of one request of a `ContinuousBatch`.

    Attributes:
        texts: the request.
        open_texts: the growing texts.
        is_finished: True if all its texts have ended.
        is_slow: True if its texts are searched for patterns, which may take long.
        each_step: True if `step` is read after each token.
        error: the exception that ended the texts; None without one.
        is_read: True if the whole prompt is read.
        unread: the number of tokens of the prompt that are not read.
        just_read: the number of tokens that the last call of `read` read.
        rows: its rows in the shared session; None before they join it, and for a decoder that has
            a session of its own.
    """

    def __init__(
        self, model: LanguageModel, texts: Texts, open_texts: OpenTexts, draws: JointDraws
    ) -> None:
        self.texts: Texts = texts
        self.open_texts: OpenTexts = open_texts
        self.is_finished: bool = False
        self.is_slow: bool = bool(texts.endings.stops.patterns)
        self.each_step: bool = True
        self.error: Exception | None = None
        self.is_read: bool = False
        self.rows: RequestRows | None = None
        self._model, self._draws = model, draws
        ids = FullVocabulary(model.vocabulary).prompt_ids(texts.beginning)
        self._prompt = Prompt(model, ids)
        self.unread: int = len(ids)
        self.just_read: int = 0
        self._steps: Iterator[Step] = iter(())
        # The step of the last round, or what makes it: few callers read it. None without one.
        self._last: Step | Callable[[], Step] | None = None

    @property
    def step(self) -> Step | None:
        """The step of the last round; None if there was none."""
        if self._last is not None and not isinstance(self._last, Step):
            self._last = self._last()
        return self._last

    @property
    def is_drawn(self) -> bool:
        """True if its next tokens are drawn, and not taken yet."""
        return self.rows is not None and self.rows.is_drawn

    @property
    def view(self) -> SessionView | None:
        """Its rows in the shared session; None if it has none."""
        return None if self.rows is None else self.rows.view

    def read(self, most: int, shared: SharedSession, prefixes: PrefixCache) -> None:
        """Read a piece of the prompt.

        Args:
            most: the largest number of tokens.
            shared: the session to join when the prompt is read.
            prefixes: prompts that were read before.
        """
        decoder = self.texts.strategy.decoder
        if decoder is not None and type(decoder) is not Ancestral:
            # With a session of its own, which may rewind.
            steps = self.texts.steps(self._model, self.open_texts.samples)
            self._steps, self.is_read = self.open_texts.take(steps), True
            self.just_read, self.unread = self.unread, 0
            return
        try:
            session, self.just_read = self._prompt.read(most, prefixes)
            self.unread = self._prompt.unread
            if not self.unread:
                self._prompt.session, self.is_read = None, True
                view = SessionView(shared, session)
                self.rows = self._draws.rows_of(self.texts, self.open_texts, view, self._prompt.ids)
                self.rows.read()
        except Exception as error:  # a model's own, such as for an empty prompt
            self._fail(error)

    def leave(self) -> bool:
        """Take rows whose windows slide out of the shared session; return True for such rows."""
        length = self._model.context_length
        if self.rows is None or not self.rows.slides(length):
            return False
        self.unread, self.is_read = self.rows.leave(length), False
        return True

    def read_again(self) -> None:
        """Read the windows of the texts, which slid."""
        self._last = None
        try:
            assert self.rows is not None
            self.rows.enter(self._model)
        except Exception as error:  # an engine's own, such as too little memory
            self._fail(error)
        self.is_read, self.unread = True, 0

    def draw(self) -> None:
        """Draw the next token of each text, or take the tokens drawn in the common call."""
        self._last = None
        try:
            rows = self.rows
            self._last = rows.advance() if rows else next(self._steps, None)
        except Exception as error:  # a plugin's error: the other requests continue
            self._fail(error)
        if self._last is None or None not in self.open_texts.finish_reasons:
            self.finish()

    def finish(self) -> None:
        """End the texts as they are; their rows leave before the next step."""
        self.is_finished, self.rows = True, None
        self._prompt.session, self._steps = None, iter(())

    def _fail(self, error: Exception) -> None:
        self.error = error
        self.finish()
