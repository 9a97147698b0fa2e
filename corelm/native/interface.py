"""The functions of the compiled module, with their types.

Arrays are C-contiguous and aligned; the last ones of a call take its results. Every function
refuses other arrays with a TypeError or ValueError that says what it expected and what it got.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, SupportsFloat

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Doubles = NDArray[np.float64]
Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Stage = Callable[..., object]
Node = tuple[object, ...]
"""A layer of a plan: its name, inputs, output, and three entries that depend on the layer."""


class Kernels(Protocol):
    """The compiled module. Logits are (batch, vocabulary)."""

    PANEL: int
    """The number of columns of a matrix that are stored together."""
    MOST_STAGES: int
    """The most stages that `sample` takes."""

    # Layers: x is (..., width).

    def pack(self, matrix: Floats | Halves, panels: Floats | Halves, /) -> bool:
        """Store (inputs, units) as (panels, inputs, PANEL); False if half precision changes it."""

    def multiply(
        self,
        x: Floats,
        panels: Floats | Halves,
        bias: Floats | None,
        activation: int,
        add: Floats | None,
        out: Floats,
        /,
    ) -> None:
        """Compute activation(x @ matrix + bias) + add."""

    def normalise(
        self,
        x: Floats,
        scale: Floats,
        shift: Floats | None,
        epsilon: SupportsFloat,
        out: Floats,
        /,
    ) -> None:
        """Compute the layer norm of each token, or without a shift its RMS norm."""

    # Networks.

    def plan(
        self,
        nodes: tuple[Node, ...],
        widths: tuple[int, ...],
        head: tuple[Node, ...],
        head_widths: tuple[int, ...],
        /,
    ) -> object:
        """Check a network and return a plan for `run`."""

    def run(
        self,
        plan: object,
        window: Ids,
        kv_cache: Floats,
        attention_masks: Mask | None,
        outputs: Floats,
        logits: Floats,
        times: Ids | None = None,
        /,
    ) -> None:
        """Run one step: the last tokens of a window, after those in the cache.

        Args:
            plan: from `plan`.
            window: (batch, time) ids.
            kv_cache: (batch, layers, keys and values, heads, context, size).
            attention_masks: (masks, batch, new, time), False where hidden.
            outputs: (batch, new, width), the results of all new tokens.
            logits: (batch, count, vocabulary), after the last `count` tokens.
            times: (batch,) tokens of each row of the window; by default all.
        """

    def begin(self, plan: object, /, *arguments: object) -> object:
        """Start `run` in the background. Its arrays are undefined until `wait` returns."""

    def wait(self, run: object, /) -> None:
        """Wait for a step that `begin` started, and help with it."""

    def window_pass(
        self,
        plan: object,
        window: Ids,
        kv_cache: Floats,
        outputs: Floats,
        times: Ids | None,
        count: int,
        /,
    ) -> object:
        """Return the passes of a network, each over a token more of each row, for `draw_ahead`.

        Args:
            plan: the network, without attention masks.
            window: as for `run`, with room for all tokens but the last.
            kv_cache: as for `run`.
            outputs: (batch, 1, width), of no use afterwards.
            times: as for `run`; the passes count the tokens in it that they append.
            count: the largest number of passes.
        """

    def draw_ahead(
        self,
        passes: object,
        uniforms: Doubles,
        tokens: Ids,
        surprisals: Doubles,
        figures: Doubles | None,
        logits: tuple[Floats, ...],
        results: tuple[Floats, ...],
        never: Ids,
        stages: tuple[tuple[object, ...], ...],
        stops: Ids,
        /,
    ) -> int:
        """Make passes and draws in turn; return how many tokens of each row are drawn.

        They are fewer where logits are no distribution, or a token is a stop.

        Args:
            passes: the capsule of a `struct corelm_pass`.
            uniforms: (tokens, batch); as `tokens` and `surprisals`, an item for each token.
            tokens: (tokens, batch).
            surprisals: (tokens, batch).
            figures: (3, tokens, batch): the last three arguments of `sample`; None for none.
            logits: the model's of each token, masked.
            results: the sampler's of each token; the same arrays without stages.
            never: as for `sample`.
            stages: as for `sample`.
            stops: ids; after one of them nothing more is drawn.
        """

    def begin_ahead(self, passes: object, /, *arguments: object) -> object:
        """Start `draw_ahead` in the background, with its arguments."""

    def end_ahead(self, run: object, is_wanted: bool, /) -> int:
        """Wait for what `begin_ahead` started; return what `draw_ahead` does.

        Args:
            run: the draws.
            is_wanted: True to wait for all of them, and help; False to end them soon.
        """

    # Rows of logits. Of the stages `forbid_tokens` alone says if its rows are distributions; the
    # others are True. The first ones are called by name, with the arguments of their definitions
    # between the logits and what gets the result.

    greedy: Stage
    softmax: Stage
    log_softmax: Stage
    within_min_entropy: Stage
    within_std: Stage
    eta: Stage
    top_k: Stage
    top_p: Stage
    top_h: Stage
    typical: Stage
    tail_free: Stage
    edt: Stage
    dynamic_temperature: Stage
    quadratic: Stage
    change_tokens: Stage
    allow_tokens: Stage

    def mask_tokens(self, logits: Floats, tokens: Ids, out: Floats, /) -> bool:
        """Set tokens to minus infinity; False if a row isn't a distribution before or after."""

    def rows_are_valid(self, logits: Floats, /) -> bool:
        """Return whether every row is a distribution."""

    def apply_mask(
        self, logits: Floats, allowed: Mask, model: Floats, out: Floats, fell_back: Mask, /
    ) -> None:
        """Remove the tokens that a mask does not allow; if none is left, use the model's likeliest.

        Args:
            logits: a sampler's.
            allowed: (batch, vocabulary).
            model: the model's, of the shape of the logits.
            out: the logits that are left.
            fell_back: (batch,), whether the row had no allowed token.
        """

    def apply_temperature(self, logits: Floats, t: float | Doubles, out: Floats, /) -> bool:
        """Divide by a temperature, one for all rows or (batch,)."""

    def sample(
        self,
        logits: Floats,
        never: Ids,
        model: Floats,
        stages: tuple[tuple[object, ...], ...],
        out: Floats,
        uniforms: Doubles,
        tokens: Ids,
        surprisal: Doubles,
        entropy: Doubles | None,
        model_surprisal: Doubles | None,
        model_entropy: Doubles | None,
        /,
    ) -> bool:
        """Mask, apply stages and draw, row by row; False if a row isn't a distribution.

        The last six arguments are (batch,); where the result is False, those that are written have
        no meaning. `rows.sample` makes them.

        Args:
            logits: the model's, in which `never` is masked in place.
            never: ids.
            model: what the surprisals and entropies of the model are of; the same as `logits`.
            stages: the name of each kernel from logits to logits, with its arguments between these.
            out: gets the result of the stages; the same array as `logits` without stages.
            uniforms: in [0, 1).
            tokens: gets the ids drawn.
            surprisal: gets their surprisals under `out`.
            entropy, model_surprisal, model_entropy: get these figures; all three None for none.
        """

    def draw(self, logits: Floats, uniforms: Doubles, tokens: Ids, surprisal: Doubles, /) -> bool:
        """Draw a token of each row by inverse CDF; False if a row isn't a distribution."""

    def surprisals(self, logits: Floats, tokens: Ids, out: Doubles, /) -> None:
        """Compute the surprisal of one token of each row, in nats."""

    def surprisals_and_entropy(
        self, logits: Floats, tokens: Ids, surprisals: Doubles, entropy: Doubles, /
    ) -> None:
        """Compute the surprisal of one token of each row and the row's entropy, in nats."""

    def min_and_shannon_entropy(
        self, logits: Floats, min_entropy: Doubles, entropy: Doubles | None, /
    ) -> None:
        """Compute both entropies of each row, in nats."""

    def within_nats(self, logits: Floats, nats: float | Doubles, out: Floats, /) -> bool:
        """Keep the tokens at most some nats, one number or (batch,), below the likeliest."""

    def peak_at(
        self,
        logits: Floats,
        target: float | Doubles,
        peak: float,
        sharpness: float,
        width: float,
        out: Floats,
        /,
    ) -> bool:
        """Make logits that peak where the probability is nearest to each row's target."""

    def subtract_counts(
        self, logits: Floats, ids: Ids, owners: Ids | int, each: float, out: Floats, /
    ) -> bool:
        """Subtract a number from the logit of a token each time that it is in the list.

        Args:
            logits: (batch, vocabulary).
            ids, owners: as for `forbid_tokens`.
            each: what is subtracted each time.
            out: the logits changed.
        """

    def forbid_tokens(self, logits: Floats, ids: Ids, owners: Ids | int, out: Floats, /) -> bool:
        """Set some tokens to minus infinity; False if a row isn't a distribution then.

        Args:
            logits: (batch, vocabulary).
            ids: (tokens,); those outside the vocabulary are left out.
            owners: the row of each, rising; or how many each row has, 0 where each has all.
            out: the other logits.
        """

    def xtc(
        self,
        logits: Floats,
        probability: float,
        threshold: float,
        protected_tokens: Ids,
        out: Floats,
        /,
    ) -> bool:
        """Mix each row with a copy of it without the top choices."""

    def logit_std(self, logits: Floats, out: Doubles, /) -> None:
        """Compute the standard deviation of the finite logits of each row."""

    def divergence(
        self, logits: Floats, model: Floats, model_stats: Doubles, tokens: Ids, out: Doubles, /
    ) -> bool:
        """Compare each row with the model's; False if it isn't a distribution over its tokens.

        Args:
            logits: a sampler's.
            model: the model's, of the same shape.
            model_stats: (batch, 4): the likeliest token, min-entropy, possible tokens, entropy.
            tokens: (batch,), the tokens whose surprisal is returned.
            out: (batch, 11), the figures of `corelm.questions.divergences.Divergence`, then nats.
        """

    def moments(self, logits: Floats, temperatures: Doubles, out: Doubles, /) -> None:
        """Sum weights, weights * logits and weights * logits^2 at each temperature.

        Args:
            logits: shifted so that each row's maximum is 0; the maximum is skipped.
            temperatures: (count,).
            out: (batch, count, 3).
        """

    # Random numbers: those of NumPy's default generator. `numpy.random` takes as long to import as
    # fifty tokens to draw.

    def start_streams(
        self, seed: int, prompt: int, samples: NDArray[np.int64], streams: NDArray[np.int64], /
    ) -> None:
        """Start the stream of each sample.

        Args:
            seed: below 2**64.
            prompt: below 2**64.
            samples: (batch,).
            streams: (batch, 4) gets their states.
        """

    def next_uniforms(self, streams: NDArray[np.int64], out: Doubles, /) -> None:
        """Take the next numbers in [0, 1) of each stream.

        Args:
            streams: (batch, 4), which move on.
            out: (batch, count).
        """

    # Settings.

    def use_cores(self, cores: int, /) -> None:
        """Set the number of cores to use, at most 64."""

    def use_vector_width(self, floats: int, /) -> int:
        """Use vectors of 8 or, if the processor has them, of 16 floats; return the width in use."""
