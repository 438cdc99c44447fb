"""Lets the tests of the MIME layer import the scanner and the corpus."""

from __future__ import annotations

import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[4]
for _path in (_ROOT, _ROOT / "roles/scanner/files"):
    if str(_path) not in sys.path:
        sys.path.insert(0, str(_path))
