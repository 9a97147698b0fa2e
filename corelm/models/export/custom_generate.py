"""A folder for `generate(custom_generate=FOLDER)` of transformers, which samples with corelm.

Source: transformers 5.24, `load_custom_generate` in generation/utils.py.
"""

from __future__ import annotations

from corelm import Sampler
from corelm.toolkit import parts

PACKAGES = ("corelm", "corelm-transformers")
"""Without one of these transformers refuses to run the folder, and says which is missing."""

GENERATE = '''\
"""Sample with corelm in transformers; the packages are in requirements.txt.

Call model.generate(**inputs, custom_generate=FOLDER, trust_remote_code=True, seed=7).
"""

from corelm_transformers import corelm_loop

SAMPLER = {sampler}


def generate(model, seed=None, **arguments):
    """Generate with SAMPLER; a seed decides the random numbers, as in `corelm.generate`."""
    return model.generate(custom_generate=corelm_loop, sampler=SAMPLER, seed=seed, **arguments)
'''


def generate_files(sampler: Sampler) -> dict[str, bytes]:
    """Return the files of the folder by name.

    Args:
        sampler: written as the expression that it is read from again, in a literal of Python, so
            no text in it can become code.
    """
    code = GENERATE.format(sampler=ascii(str(sampler)))
    return {
        "custom_generate/generate.py": code.encode(),
        "custom_generate/requirements.txt": "".join(f"{p}\n" for p in PACKAGES).encode(),
    }


def local_parameters(sampler: Sampler) -> list[str]:
    """Return the parameters that name a file, a model or a secret, such as `key of green_list`.

    They are in the folder as they are written, and mean nothing, or too much, elsewhere.
    """
    return [
        f"{parameter.name} of {part.name}"
        for part in parts(sampler)
        for parameter in part.parameters()
        if parameter.rule.local and getattr(part, parameter.name) != parameter.default
    ]
