"""How a program ends: what a person can mend is one message and exit 2, all else keeps its traceback."""

from __future__ import annotations

import errno
import pickle

import pytest

from adl.errors import AdlError, reported


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (AdlError("a.png: is damaged."), 2, "error: a.png: is damaged."),
        (
            OSError(errno.ENOSPC, "No space left on device", "a.png"),
            2,
            "error: a.png: No space left on device. Free up disk space.",
        ),
        (
            OSError(errno.EDQUOT, "Disk quota exceeded"),
            2,
            "error: a file: Disk quota exceeded. Free up disk space.",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "a.png"),
            2,
            "error: a.png: Permission denied. Change its permissions.",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", "a.png"),
            2,
            "error: a.png: Read-only file system. Change its permissions.",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_what_a_person_can_mend_is_one_message(capsys, raised, code, message):
    with pytest.raises(SystemExit) as ended, reported():
        raise raised
    assert ended.value.code == code
    assert capsys.readouterr().err == f"{message}\n"


def test_message_is_made_of_place_problem_and_remedy():
    for error, message in (
        (AdlError("is damaged."), "is damaged."),
        (AdlError("is damaged.", where="a.png"), "a.png: is damaged."),
        (AdlError("is damaged", "Copy it again."), "is damaged. Copy it again."),
        (
            AdlError("is damaged", "Copy it again.", where="a.png"),
            "a.png: is damaged. Copy it again.",
        ),
    ):
        again = pickle.loads(pickle.dumps(error))
        assert str(error) == str(again) == message
        assert vars(error) == vars(again)


@pytest.mark.parametrize("raised", [OSError(errno.EIO, "Input/output error"), ValueError("unexpected")])
def test_what_nobody_expected_stays_what_it_is(raised):
    with pytest.raises(type(raised)), reported():
        raise raised
