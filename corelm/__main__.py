"""`python -m corelm` is the command `corelm`."""

import sys

from corelm.cli import main

if __name__ == "__main__":
    sys.exit(main())
