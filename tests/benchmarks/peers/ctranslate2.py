"""CTranslate2: the network converted from the export for transformers, in float32 or int8."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

import ctranslate2
import numpy as np

from corelm.models.export.transformers import files
from peers import gpt2
from peers.peer import IDS, TEMPERATURE, Peer

CORES = os.cpu_count() or 1


class CTranslate2(Peer):
    """`Generator.generate_batch`, with one thread or with one for each core."""

    def __init__(self, precision: str) -> None:
        folder = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        exported, converted = folder / "transformers", folder / "ctranslate2"
        exported.mkdir()
        for name, content in files(gpt2.bundle(), gpt2.vocabulary()).items():
            (exported / name).write_bytes(content)
        converter = ctranslate2.converters.TransformersConverter(str(exported))
        converter.convert(str(converted), quantization=precision)
        self._generators = {
            f"threads: {n}": ctranslate2.Generator(
                str(converted), compute_type=precision, inter_threads=1, intra_threads=n
            )
            for n in sorted({1, CORES})
        }
        first = next(iter(self._generators.values()))
        assert first.compute_type == ("int8_float32" if precision == "int8" else precision)
        names = {
            i: token for token, i in json.loads((exported / "vocab.json").read_bytes()).items()
        }
        self._prompt = [names[token] for token in IDS]

    def logits(self, prompt: Sequence[int]) -> np.ndarray:
        [first, *_] = self._generators.values()
        return np.array(first.forward_batch([list(prompt)]))[0, -1]

    def ways(self, batch: int) -> list[str]:
        return [*self._generators]

    def write(self, way: str, batch: int, length: int) -> None:
        texts = self._generators[way].generate_batch(
            [self._prompt] * batch,
            max_length=length,
            min_length=length,  # no text ends early
            sampling_topk=0,
            sampling_temperature=TEMPERATURE,
            include_prompt_in_result=False,
        )
        assert [len(text.sequences_ids[0]) for text in texts] == [length] * batch


def peer(precision: str) -> CTranslate2:
    """CTranslate2 in `float32` or `int8`."""
    return CTranslate2(precision)
