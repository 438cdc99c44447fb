"""The nightly look at messy hosts shares the helpers of the tests of a standing lab."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "testinfra"))
