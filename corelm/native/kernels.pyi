"""What `kernels.c` offers. Arrays are C-contiguous; the last ones take what comes out."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Halves = NDArray[np.float16]
Doubles = NDArray[np.float64]
Ids = NDArray[np.int64]

PANEL: int

def pack(columns: Floats, panels: Floats | Halves, /) -> bool: ...
def multiply(
    x: Floats,
    panels: Floats | Halves,
    bias: Floats | None,
    activation: int,
    add: Floats | None,
    out: Floats,
    /,
) -> None: ...
def normalise(
    x: Floats, scale: Floats, shift: Floats | None, epsilon: float, out: Floats, /
) -> None: ...
def attend(
    query: Floats,
    key: Floats,
    value: Floats,
    cache: Floats,
    time: int,
    seen: NDArray[np.bool_] | None,
    out: Floats,
    /,
) -> None: ...
def block(
    x: Floats, cache: Floats, time: int, dense: int, parts: tuple[Any, ...], out: Floats, /
) -> None: ...
def admit(logits: Floats, never: Ids, out: Floats, /) -> bool: ...
def judge(logits: Floats, /) -> bool: ...
def sharpen(logits: Floats, t: float, out: Floats, /) -> None: ...
def nucleus(logits: Floats, p: float, out: Floats, /) -> None: ...
def draw(logits: Floats, luck: Doubles, tokens: Ids, surprisal: Doubles, /) -> None: ...
def surprisals(logits: Floats, tokens: Ids, out: Doubles, /) -> None: ...
def entropies(logits: Floats, least: Doubles, usual: Doubles, /) -> None: ...
def use_cores(cores: int, /) -> None: ...
