"""The overview as one file that needs nothing else: for playbooks/report.yml."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import zlib
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from gatewright.console import overview
from gatewright.console.render import STYLE, page
from gatewright.fleet.ask import Answers


def overview_report(answers: Mapping[str, Mapping[str, Any]], days: int = 7) -> str:
    """The page. answers: of each gateway `status` and `figures` as the modules packed them, or why it is `silent`."""
    told = overview.overview(days, unpacked(answers, "status"), unpacked(answers, "figures"))
    style = STYLE.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    # our own file, of which the page's policy has the digest: whatever else gets into the page is no style of it
    return page("report.html", told=told, silent=told.silent, style=Markup(style), style_hash=f"sha256-{digest}")


def report_request(days: int, now: float | None = None) -> str:
    """What mail_trace is asked for the figures of so many days."""
    question = overview.questions(days, time.time() if now is None else now)[1]
    return base64.b64encode(json.dumps(question.request).encode("ascii")).decode("ascii")


def unpacked(answers: Mapping[str, Mapping[str, Any]], name: str) -> Answers:
    """One kind of answers of all gateways."""
    found = Answers()
    for host, one in answers.items():
        if one.get(name):
            found.said[host] = json.loads(zlib.decompress(base64.b64decode(one[name])))
        else:
            found.silent[host] = str(one.get("silent") or "it did not answer")
    return found
