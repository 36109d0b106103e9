"""What a problem says, and how many are listed."""

from __future__ import annotations

import errno
from pathlib import Path

from adl import prepare


def test_five_problems_of_a_kind_are_listed():
    five = [prepare.Problem("empty", Path(str(number)), "problem", "cause", "remedy") for number in range(5)]
    other = prepare.Problem("cut", Path("x"), "problem", "cause", "remedy")
    assert prepare.listing([*five, other]).splitlines() == [str(problem) for problem in (*five, other)]
    lines = prepare.listing([*five, other, *five[:2]]).splitlines()
    assert lines == [
        *[str(problem) for problem in five],
        "… and 2 more of this kind (empty)",
        str(other),
    ]


def test_file_that_cannot_be_read_has_the_cause_of_its_error():
    of_others = prepare.unreadable(Path("a"), PermissionError(errno.EACCES, "Permission denied"), "listed")
    assert str(of_others).startswith(
        "a: cannot be listed (Permission denied). Likely cause: it belongs to another user"
    )
    assert "chmod" in of_others.remedy
    broken = prepare.unreadable(Path("a"), OSError(errno.EIO, "Input/output error"))
    assert broken.problem == "cannot be read (Input/output error)"
    assert broken.cause == "the disk or the network share failed"
    assert broken.remedy == "Copy it again."
    assert broken.kind == of_others.kind == "unreadable"
