"""The family of gatescan's exceptions. Each kind is defined where it is raised; those that many raise stand here."""

from __future__ import annotations


class GatescanError(Exception):
    """Something that was foreseen; the text says what it is, for a log or for people."""


class Unavailable(GatescanError):
    """This host lacks what is needed, a library or a system call: no verdict about the message."""
