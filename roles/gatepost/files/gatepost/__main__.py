"""python3 -m gatepost."""

import sys

from gatepost.cli import main

sys.exit(main(sys.argv[1:]))
