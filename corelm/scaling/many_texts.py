"""Writes many texts into a file, with progress and a count of the reasons why they ended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from corelm.cli.output import messages
from corelm.cli.output.progress import stages
from corelm.cli.output.texts import Request
from corelm.models.identity import identity_of
from corelm.scaling.choice import ExecutorChoice, choose
from corelm.scaling.code_digests import code_settings
from corelm.scaling.executor import Executor
from corelm.scaling.job import Job
from corelm.scaling.text_batches import in_order, settings_of, units_of
from corelm.scaling.text_file import opened, stored_settings
from corelm.toolkit import counted, parts


@dataclass(frozen=True)
class Destination:
    """The file of `--output`, and how it is written.

    Attributes:
        path: the file.
        executor: the executor that draws the texts.
        resume: True to continue an unfinished file.
    """

    path: Path
    executor: ExecutorChoice
    resume: bool

    @classmethod
    def of(cls, path: str, workers: str | None, scheduler: str | None, resume: bool) -> Destination:
        """Return the destination of these options.

        Raises:
            UsageError: options that exclude each other.
            MissingDependencyError: dask.distributed is not installed.
        """
        return cls(Path(path), choose(workers, scheduler), resume)

    def stored_seed(self) -> int | None:
        """Return the seed of the file that is to be continued; None if there is none."""
        stored = stored_settings(self.path) if self.resume else None
        seed = (stored or {}).get("seed")
        return seed if isinstance(seed, int) else None

    def write(self, request: Request, name: str, device: str | None, dtype: str | None) -> None:
        """Write the texts of a request.

        Args:
            request: the texts.
            name: the name or path by which the model was loaded.
            device: the device that it was loaded with.
            dtype: the number format that it was loaded with.
        """
        model, texts = request.model, request.texts
        things = [each for each in texts.strategy if each is not None]
        origin = {
            "corelm": version("corelm"),
            "numpy": np.__version__,
            "model": request.model_name,
            "weights of the model": identity_of(model, texts.prompt),
            **code_settings([model, *(part for thing in things for part in parts(thing))]),
        }
        jobs = lambda: [Job.of(name, model, texts.prompt, things, device, dtype)]  # noqa: E731
        self._write(request, self.executor.opened([model], jobs), origin)

    def _write(
        self,
        request: Request,
        executor: AbstractContextManager[Executor],
        origin: Mapping[str, Any],
    ) -> None:
        texts, prompts = request.texts, request.prompts
        settings = {**origin, **settings_of(texts, prompts)}
        with opened(self.path, settings, self.resume) as file:
            if file.written:
                messages.note(f"continuing after {counted(file.written, 'text')}")
            with executor as workers, stages("units") as progress:
                progress("texts", file.written, request.total)
                for lines in in_order(workers, units_of(texts, file.written, prompts)):
                    file.add(json.loads(lines))
                    progress("texts", file.written, request.total)
        counts = ", ".join(f"{count} {reason}" for reason, count in file.reasons.most_common())
        messages.note(f"finish reasons: {counts}")
        messages.note(f"written to {self.path}")
