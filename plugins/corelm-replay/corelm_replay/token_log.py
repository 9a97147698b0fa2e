"""Records of tokens that corelm draws in another engine, where no one sees a whole text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any

from corelm.errors import ModelFileError, UsageError
from corelm.interop import EngineDraw
from corelm.runs import SafeFile, json_object, numbered_lines
from corelm_replay.documents import are_ids
from corelm_replay.recording import COLUMNS, FIGURES, Rollouts, figures_of, is_rollout

FORMAT = "corelm.tokens/1"
LARGEST = 2**30
"""The largest log, in bytes."""


class TokenLog:
    """A record of each token that corelm draws in another engine.

    Pass it as `record=` to `as_logits_processor` of transformers or llama.cpp, or let vLLM write
    the file of one.

    Args:
        file: gets a JSON line for each token; by default the records are kept in memory only.
        name: of the texts, where a file has texts of several runs or requests.
        keep: keep the records in memory, too; a server writes the file alone.

    Example:
        >>> from corelm.interop import EngineSampler
        >>> import numpy as np
        >>> log = TokenLog()
        >>> engine = EngineSampler("top_k(k=2)", seed=1, record=log)
        >>> token = engine.draw(np.log([[0.5, 0.3, 0.2]]), [[2]])
        >>> log.rollouts().kept_mass.round(2).tolist()
        [[0.8]]
    """

    def __init__(
        self, file: str | Path | None = None, name: str = "", *, keep: bool = True
    ) -> None:
        self._file, self._name, self._keeps = None if file is None else Path(file), name, keep
        # By name, sample and prompt: the records by position.
        self._texts: dict[Any, dict[int, Any]] = {}

    def __call__(self, draw: EngineDraw) -> None:
        """Record the draws of a step, a `corelm.interop.EngineDraw`."""
        self.add(draw, [self._name] * len(draw.tokens))

    def add(self, draw: EngineDraw, names: Sequence[str]) -> None:
        """Record the draws of a step, whose rows belong to texts of these names."""
        records = list(_records(draw, names))
        for record in records if self._keeps else ():
            self._keep(record)
        if self._file is not None:
            with self._file.open("a", encoding="utf-8") as lines:
                lines.writelines(json.dumps(record, allow_nan=False) + "\n" for record in records)

    @classmethod
    def read(cls, file: str | Path) -> TokenLog:
        """Return the log in a file.

        Raises:
            UsageError: the file can't be read, or is no log of tokens.
        """
        log = cls()
        try:
            for place, line in numbered_lines(SafeFile(file).text(LARGEST), str(file)):
                log._keep(json_object(line, place))
        except ModelFileError as error:
            raise UsageError(f"cannot read {file}: {error}") from None
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"{file} is no log of tokens: {error!r}") from None
        return log

    def rollouts(self, name: str | None = None) -> Rollouts:
        """Return the `Rollouts` of the texts, or of those with a name, in the order of samples.

        The start token of a tokenizer is no part of a prompt.

        Raises:
            UsageError: no texts, or texts of several chains.
        """
        chosen = [(sample, texts) for (own, sample, _), texts in self._texts.items()
                 if name in (None, own)]  # fmt: skip
        texts = [texts for _, texts in sorted(chosen, key=itemgetter(0))]  # an engine may reorder
        chains = {one["chain"] for places in texts for one in places.values()}
        if len(chains) != 1:
            raise UsageError(f"rollouts have one chain; these records have {len(chains)}")
        rows = [[places[place] for place in sorted(places)] for places in texts]
        if any(row[-1]["place"] >= len(row) for row in rows):
            raise UsageError("a text has gaps: the records of some of its tokens are missing")
        entries = [[[one[name] for name in COLUMNS] for one in row] for row in rows]
        pairs = [(row[0]["prompt"], [one["token"] for one in row]) for row in rows]
        return Rollouts.of(chains.pop(), pairs, entries)

    def _keep(self, record: dict[str, Any]) -> None:
        if record["format"] != FORMAT:
            raise ValueError(f"expected the format {FORMAT}, not {record['format']!r}")
        lists = {name: [record[name]] for name in COLUMNS}
        whole = {"prompt": record["prompt"], "tokens": [record["token"]]} | lists
        places = [record["sample"], record["place"]]
        if not is_rollout(whole) or not are_ids(places) or type(record["chain"]) is not str:
            raise ValueError("the ids or figures of a token are impossible")
        text = str(record["name"]), record["sample"], tuple(record["prompt"])
        if record["place"] == 0:
            self._texts[text] = {}  # an earlier text of the same sample and prompt ends here
        # An interrupted request of vLLM may draw a token again.
        self._texts.setdefault(text, {})[record["place"]] = record


def _records(draw: EngineDraw, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield a JSON object for each row of a step."""
    *columns, sets = figures_of(draw.model_logits, draw.logits, draw.tokens)
    ends = set() if draw.vocabulary is None else set(draw.vocabulary.ends)
    for row, name in enumerate(names):
        ids, first = draw.texts[row].tolist(), draw.prompt_lengths[row]
        if ends.intersection(ids[first:]):
            continue  # transformers goes on drawing until all rows of the batch have ended
        figures = {figure: float(of[row]) for figure, of in zip(FIGURES, columns, strict=True)}
        yield {
            "format": FORMAT,
            "name": name,
            "chain": str(draw.sampler),
            "sample": draw.samples[row],
            "prompt": ids[:first],
            "place": len(ids) - first,
            "token": int(draw.tokens[row]),
            "sampling_mask": sets[row].tolist(),
        } | figures
