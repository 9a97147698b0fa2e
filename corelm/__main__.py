"""`python -m corelm` is the command `corelm`."""

import sys

try:
    from corelm.cli.app import main
except KeyboardInterrupt:  # Ctrl-C during the imports
    sys.exit(130)

if __name__ == "__main__":
    code = main()
    # After Ctrl-C inside `exec` of a text, as when a dataclass is made, Python would end `-m` with
    # the signal instead of this code, though it was caught. Another `exec` makes it forget that.
    exec("")
    sys.exit(code)
