"""message_fate: one message's way through qmail-send's log, among others'."""

from __future__ import annotations

from pathlib import Path

import message_fate
import pytest

LOG = """\
@400000006b03 info msg 7: bytes 9 from <old@x> qp 1 uid 0
@400000006b03 starting delivery 1: msg 7 to remote a@b
@400000006b03 delivery 1: failure: long_ago/
@400000006b03 end msg 7
@400000006b03 info msg 7: bytes 9 from <me@x> qp 2 uid 0
@400000006b03 starting delivery 2: msg 7 to remote a@b
@400000006b03 info msg 8: bytes 9 from <other@x> qp 3 uid 0
@400000006b03 starting delivery 3: msg 8 to remote a@b
@400000006b03 delivery 3: success: not_ours/"""


@pytest.mark.parametrize(
    ("more", "fate"),
    [
        ([], "queued"),
        (["x delivery 2: deferral: not_now/"], "deferred"),
        (["x delivery 2: failure: no_such_user/"], "failed"),
        (
            ["x delivery 2: success: thanks/", "x end msg 7", "x info msg 7: bytes 1 from <next@x> qp 4 uid 0"],
            "delivered",
        ),
        (
            [
                "x delivery 2: deferral: not_now/",
                "x starting delivery 9: msg 7 to remote a@b",
                "x delivery 9: success: ok/",
            ],
            "delivered",
        ),
    ],
)
def test_the_fate_of_one_message_among_others(more: list[str], fate: str) -> None:
    assert message_fate.fate_of([*LOG.splitlines(), *more], "me@x")[0] == fate


def test_a_message_that_the_queue_never_had_is_absent() -> None:
    assert message_fate.fate_of(LOG.splitlines(), "nobody@x") == ("absent", "")


def test_the_log_before_the_present_one_is_read_first(tmp_path: Path) -> None:
    (tmp_path / "@400000005.s").write_text("oldest\n")
    (tmp_path / "@400000006.s").write_text("older\n")
    (tmp_path / "current").write_text("now\n")
    assert list(message_fate.lines_of(str(tmp_path))) == ["older", "now"]
