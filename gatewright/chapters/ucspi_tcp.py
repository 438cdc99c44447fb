"""TCP servers: what the original one cannot do stands with those who need it (tcp_smtp, qmail)."""

from __future__ import annotations

from gatewright.chapters import Chapter

CHAPTER = Chapter()
