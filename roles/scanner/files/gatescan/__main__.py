"""`python3 -m gatescan`, the same as the command `gatescan`."""

import sys

from gatescan.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
