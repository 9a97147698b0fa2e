"""Several devices train the network that one device trains."""

from __future__ import annotations

import os
import random
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from programs import python

PROGRAM = Path(__file__).with_name("train_on_jax.py")

missing = [name for name in ("keras", "jax", "tokenizers") if find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.engines("jax"),
    pytest.mark.skipif(bool(missing), reason=f"not installed: {missing}"),
]


@pytest.mark.long
def test_four_devices_give_the_weights_of_one_device(tmp_path: Path) -> None:
    rng = random.Random(4)
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(" ".join(rng.choices("abcdefgh", k=10)) for _ in range(14)))
    environment = {
        "KERAS_BACKEND": "jax",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=4",
    }
    done = python(str(PROGRAM), str(texts), str(tmp_path), env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    with np.load(tmp_path / "shared.npz") as shared, np.load(tmp_path / "alone.npz") as alone:
        assert len(alone) == 6
        for name, expected in alone.items():
            np.testing.assert_allclose(shared[name], expected, rtol=0, atol=1e-5, err_msg=name)
