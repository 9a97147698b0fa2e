"""Write every step of generation to the file in `CORELM_STEP_LOG`, one JSON line each."""

import json
import os

from corelm import hookimpl

FIELDS = ("samples", "tokens", "surprisal", "model_surprisal", "entropy", "model_entropy")
"""The figures of a step besides its position: one number for each row, nats or ids."""


@hookimpl
def corelm_next_token(step):
    """Append a step to the log, if `CORELM_STEP_LOG` names one."""
    path = os.environ.get("CORELM_STEP_LOG")
    if not path:
        return
    record = {"position": step.position} | {name: getattr(step, name).tolist() for name in FIELDS}
    with open(path, "a", encoding="utf-8", newline="\n") as log:
        log.write(json.dumps(record, allow_nan=False) + "\n")
