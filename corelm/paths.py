"""The folder for models and data: CORELM_HOME, or the platform's own place."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """Return the user's folder for models and data; it is created when something is written."""
    setting = os.environ.get("CORELM_HOME")
    if setting:
        return Path(setting)
    from platformdirs import user_data_path

    return user_data_path("corelm", appauthor=False)
