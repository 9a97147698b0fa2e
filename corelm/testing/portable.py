"""A law that not every sampler has to obey: it runs on arrays of any library."""

from __future__ import annotations

from corelm.language_model import Vocabulary
from corelm.sampling import Sampler


def runs_on_any_library(sampler: Sampler, *, vocabulary: Vocabulary | None = None) -> None:
    """Run on arrays of any library, such as torch or JAX, with the same result as on NumPy's.

    Not every sampler can, so `LAWS["sampler"]` leaves this law out. It needs the package
    array-api-strict.

    Raises:
        AssertionError: the sampler does not; names the stage.
        MissingDependencyError: array-api-strict is not installed.

    Example:
        >>> import corelm
        >>> runs_on_any_library(corelm.sampler("top_p(p=0.9) | temperature(t=0.7)"))
    """
    from corelm.numerics import portability  # late: it needs another package

    for stage in sampler.stages:
        if not portability.is_portable(stage):
            raise AssertionError(
                f"{stage!r} does not run on arrays of any library. Use operators, the functions of "
                "`corelm` and `corelm.filters`, and those of `array_namespace(logits)` instead of "
                "NumPy's."
            )
