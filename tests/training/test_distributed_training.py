"""Several devices and several processes train the network that one device trains."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("train_on_jax.py")

missing = [name for name in ("keras", "jax", "tokenizers") if find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.engines("jax"),
    pytest.mark.skipif(bool(missing), reason=f"not installed: {missing}"),
]


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def start(texts: Path, folder: Path, **environment: str) -> subprocess.Popen[str]:
    folder.mkdir()
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(texts), str(folder)],
        env={**os.environ, "KERAS_BACKEND": "jax", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_processes_of_two_devices_each_give_the_weights_of_one_device(tmp_path: Path) -> None:
    rng = random.Random(4)
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(" ".join(rng.choices("abcdefgh", k=10)) for _ in range(14)))
    job = {
        "KERAS_DISTRIBUTION_JOB_ADDRESSES": f"127.0.0.1:{free_port()}",
        "KERAS_DISTRIBUTION_NUM_PROCESSES": "2",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    running = [
        start(texts, tmp_path / str(number), **job, KERAS_DISTRIBUTION_PROCESS_ID=str(number))
        for number in range(2)
    ]
    for process in running:
        output, _ = process.communicate(timeout=600)
        assert process.returncode == 0, output
    assert list((tmp_path / "1").iterdir()) == []  # the first process writes everything
    with np.load(tmp_path / "0/shared.npz") as shared, np.load(tmp_path / "0/alone.npz") as alone:
        assert len(alone) == 6
        for name, expected in alone.items():
            np.testing.assert_allclose(shared[name], expected, rtol=0, atol=1e-5, err_msg=name)
