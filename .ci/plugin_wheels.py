"""Build the wheels of plugins: python .ci/plugin_wheels.py FOLDER PLUGIN...

As `pip wheel --no-deps --no-build-isolation` does, which starts Python and setuptools three times
for each plugin. Here they start once, and each plugin is built in a fork of that process.
"""

import multiprocessing
import os
import sys
from pathlib import Path

from setuptools import build_meta


def build(plugin: str, folder: Path) -> None:
    """Build the wheel of one plugin, as pip asks setuptools to."""
    os.chdir(plugin)
    build_meta.build_wheel(str(folder))


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(exist_ok=True)
    with multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        pool.starmap(build, [(plugin, folder) for plugin in sys.argv[2:]], chunksize=1)


if __name__ == "__main__":
    main()
