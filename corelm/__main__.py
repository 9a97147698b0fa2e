"""`python -m corelm` is the command `corelm`."""

import sys

from corelm.cli import main

if __name__ == "__main__":
    code = main()
    # Where Ctrl-C meets a program that runs as text, as when a dataclass is made, Python remembers
    # it though it was caught, and ends `-m` by the signal, whatever the code. Other text resets it.
    exec("")
    sys.exit(code)
