"""Where corelm keeps what it makes and fetches: CORELM_HOME, else the platform's own place."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder for models and data of this user; not made until something is written."""
    setting = os.environ.get("CORELM_HOME")
    if setting:
        return Path(setting)
    from platformdirs import user_data_path

    return user_data_path("corelm", appauthor=False)
