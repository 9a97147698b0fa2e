"""`python -m corelm` is the command `corelm`."""

import sys

from corelm.cli import main

if __name__ == "__main__":
    code = main()
    # Where Ctrl-C met a program that runs as text, such as a dataclass being made, Python remembers
    # it after it was caught and ends `-m` by the signal, whatever the code. The next text resets
    # it.
    exec("")
    sys.exit(code)
