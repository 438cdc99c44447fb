"""What tests of fences have in common: how an act is refused, and what this kernel's Landlock knows."""

from __future__ import annotations

import errno

import pytest
from gatescan.gatefence import landlock
from gatescan.gatefence.problems import Unavailable

REFUSED = (errno.EPERM, errno.EACCES)


def landlock_version() -> int:
    """0 where this kernel has none."""
    try:
        return landlock.version()
    except Unavailable:
        return 0


def needs_landlock(least: int) -> pytest.MarkDecorator:
    """For a test of what this version brought."""
    have = landlock_version()
    return pytest.mark.skipif(have < least, reason=f"this kernel's Landlock has version {have}, {least} is needed")


def since(version: int, *act: str) -> object:
    """An act that this version of Landlock came to refuse; 0: the filter refuses it."""
    return pytest.param(act, marks=needs_landlock(version), id=" ".join(act))
