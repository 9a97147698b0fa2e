"""`python -m corelm_lm_eval`: the command `lm-eval` with the model `corelm`."""

from lm_eval.__main__ import cli_evaluate

import corelm_lm_eval  # noqa: F401 - registers the model and the metrics

if __name__ == "__main__":
    cli_evaluate()
