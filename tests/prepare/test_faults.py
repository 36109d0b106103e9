"""What a fault says, and how many are listed."""

from __future__ import annotations

import errno
from pathlib import Path

from adl.prepare import faults


def test_five_faults_of_a_kind_are_listed():
    five = [
        faults.Fault("empty", Path(str(number)), "problem", "cause", "remedy")
        for number in range(5)
    ]
    other = faults.Fault("cut", Path("x"), "problem", "cause", "remedy")
    assert faults.listing([*five, other]).splitlines() == [str(fault) for fault in (*five, other)]
    lines = faults.listing([*five, other, *five[:2]]).splitlines()
    assert lines == [*[str(fault) for fault in (*five, other)], "… and 2 more of this kind (empty)"]


def test_file_that_cannot_be_read_has_the_cause_of_its_error():
    of_others = faults.unreadable(
        Path("a"), PermissionError(errno.EACCES, "Permission denied"), "listed"
    )
    assert str(of_others).startswith(
        "a: cannot be listed (Permission denied). Likely cause: it belongs to another user"
    )
    assert "chmod" in of_others.remedy
    broken = faults.unreadable(Path("a"), OSError(errno.EIO, "Input/output error"))
    assert broken.problem == "cannot be read (Input/output error)"
    assert broken.cause == "the disk or the network share failed"
    assert broken.remedy == "Copy it again"
    assert broken.kind == of_others.kind == "unreadable"
