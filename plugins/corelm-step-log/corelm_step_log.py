"""Write every step of generation to the file that CORELM_STEP_LOG names, one JSON line each."""

import json
import os

from corelm import hookimpl

FIELDS = ("samples", "tokens", "surprisal", "model_surprisal", "entropy", "model_entropy")
"""What is written of a step besides its position: one number for each row, nats or ids."""


@hookimpl
def corelm_next_token(step):
    """Append a step to the log; do nothing where no log is wanted."""
    path = os.environ.get("CORELM_STEP_LOG")
    if not path:
        return
    record = {"position": step.position} | {name: getattr(step, name).tolist() for name in FIELDS}
    with open(path, "a", encoding="utf-8", newline="\n") as log:
        log.write(json.dumps(record, allow_nan=False) + "\n")
