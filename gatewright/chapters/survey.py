"""A look at the host before the first change: what may be a warning has choices in its specification."""

from __future__ import annotations

from gatewright import kinds
from gatewright.chapters import Chapter

CHAPTER = Chapter(options={"survey_accept": kinds.listed(kinds.line())})
