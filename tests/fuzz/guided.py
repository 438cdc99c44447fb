"""Fuzzing that is guided by coverage, where atheris is installed."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

AVAILABLE = importlib.util.find_spec("atheris") is not None


def run(one_input: Callable[[bytes], None], seeds: Iterable[bytes], runs: int, seed: int, largest: int) -> int:
    """Fuzz `one_input`, starting from `seeds`; return the exit status. atheris ends its process, so it gets one."""
    import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # it may not be here

    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        for number, data in enumerate(seeds):
            Path(folder, str(number)).write_bytes(data)
        child = os.fork()
        if child == 0:
            atheris.instrument_all()
            atheris.Setup([sys.argv[0], f"-runs={runs}", f"-seed={seed}", f"-max_len={largest}", folder], one_input)
            atheris.Fuzz()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
