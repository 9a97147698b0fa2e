"""The part of a session that draws several tokens in one call, if it may."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from corelm.models.sliding_window import SlidingWindow
from corelm.native.ahead import Ahead, Block, Draws, EngineAhead, Taken

NextDraws = Callable[[], Draws | None]
EngineDraws = Callable[[Block, NDArray[np.int64], NDArray[np.int64]], int]


class DrawsAhead:
    """A session that draws tokens before they are asked for, several in one call.

    Its `extend` has a second parameter `draws`, which returns how to draw further tokens. Any other
    call forgets what was drawn and not taken. A subclass has its texts in `_window` and can be
    rewound; it calls `_begin_with_engine` in `extend`, and `_stop_ahead` first in other methods.
    """

    _window: SlidingWindow
    _ahead: Ahead | None = None

    def drawn_ahead(self, extend: bool, more: bool = True) -> Taken | None:
        """Return the next tokens of those drawn ahead; None if there are none.

        Args:
            extend: append them to the texts, unless nothing is drawn after them.
            more: False to take what is drawn, and draw no more.
        """
        taken = self._ahead.take(more) if self._ahead else None
        if taken is None or not (taken.goes_on and extend):
            self._stop_ahead()
            return taken and taken._replace(goes_on=False)
        self._window.accept()
        return taken

    @property
    def has_drawn_ahead(self) -> bool:
        """True if `drawn_ahead` has tokens for which it need not wait."""
        return self._ahead is not None and self._ahead.is_ready

    def _begin_with_engine(
        self, draw: EngineDraws, next_draws: NextDraws, vocabulary: int, count: int
    ) -> None:
        """Prepare draws of the next tokens by an engine, if that is possible; it begins when asked.

        Args:
            draw: takes a block of tokens, and the texts so far, (batch, time) ids and the length
                of each. It draws the block after them, with `block.draw` and the capsule of the
                engine's passes, and returns how many tokens of each row that were.
            next_draws: as for `extend`.
            vocabulary: the number of logits of a row.
            count: the most tokens of each row in a call; 0 for none. One pays too if another thread
                makes the calls: it goes on while the caller takes the token.
        """
        window = self._window
        if not count or not (window.is_equal or window.is_whole):
            return
        if found := self._next_draws(next_draws, window.length - window.start(window.length)):
            times = None if window.is_equal else window.lengths
            block = min(count, Ahead.MOST)
            self._ahead = EngineAhead(draw, found[0], vocabulary, found[1], block, times)

    def _stop_ahead(self) -> None:
        """Draw nothing more; what was not taken is forgotten."""
        self._ahead = None

    def _next_draws(
        self, next_draws: NextDraws, time: int
    ) -> tuple[NDArray[np.int64], Draws] | None:
        """Return windows with room for draws, and the draws, which end where a window slides.

        Args:
            next_draws: as for `extend`.
            time: the length of the longest window.
        """
        draws = next_draws()
        if draws is None:
            return None
        texts = self._window.ahead(len(draws.uniforms) - 1)
        room = texts.shape[1] - time + 1
        return texts, draws._replace(uniforms=draws.uniforms[:room])
