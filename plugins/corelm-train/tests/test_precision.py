"""The number format of training: by the processor, not by a stopwatch."""

import pytest
from corelm_train import settings
from corelm_train.settings import choose_precision


@pytest.mark.parametrize(
    ("flags", "chosen"),
    [
        ("fpu avx2 avx512f", "float32"),
        ("fpu avx512_bf16", "mixed_bfloat16"),
        ("fpu amx_bf16 amx_tile", "mixed_bfloat16"),
        ("asimd bf16 i8mm", "mixed_bfloat16"),
        ("", "float32"),
    ],
)
def test_auto_is_what_the_processor_has_instructions_for(monkeypatch, flags, chosen):
    monkeypatch.setattr(settings, "processor_flags", lambda: frozenset(flags.split()))
    assert [choose_precision("auto") for _ in range(3)] == [chosen] * 3
    assert choose_precision("float32") == "float32"


def test_a_resumed_run_keeps_its_first_choice(monkeypatch):
    monkeypatch.setattr(settings, "processor_flags", frozenset)
    assert choose_precision("auto", saved="mixed_bfloat16") == "mixed_bfloat16"
    assert choose_precision("float32", saved="mixed_bfloat16") == "float32"
    assert choose_precision("auto", saved="nonsense") == "float32"


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("model name\t: A 100\nflags\t\t: fpu avx2\n\nflags\t\t: fpu\n", {"fpu", "avx2"}),
        ("processor\t: 0\nFeatures\t: fp asimd\n", {"fp", "asimd"}),
        (None, set()),
    ],
)
def test_flags_are_the_first_cores_where_linux_lists_them(cpuinfo, text, flags):
    cpuinfo(text)
    assert settings.processor_flags() == flags
