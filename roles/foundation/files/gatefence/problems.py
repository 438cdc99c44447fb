"""What can be wrong with a host."""

from __future__ import annotations


class Unavailable(Exception):
    """This host lacks what is needed, a library or a system call."""
