"""Problems that the command tells of, where their modules are not loaded for every command."""

from __future__ import annotations


class KeyProblem(Exception):
    """A key file that cannot be used; the text names it."""
