"""Progress in a log is plain lines with the time left; on a terminal it is a bar."""

from __future__ import annotations

import itertools

from adl.console import progress


def test_log_gets_lines_with_count_rate_and_time_left(monkeypatch, capsys):
    clock = itertools.count(100, 4)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    assert list(progress.track(range(5), 5, "counting", "numbers")) == [0, 1, 2, 3, 4]
    # A line at least five seconds after the one before, and at the end.
    assert capsys.readouterr().err.splitlines() == [
        "counting: 2/5 numbers, 0.25/s, 12 s left",
        "counting: 4/5 numbers, 0.25/s, 4 s left",
        "counting: 5/5 numbers, 0.25/s, 0 s left",
    ]
    clock = itertools.count(100, 1)
    assert list(progress.track(range(1), 1, "counting")) == [0]
    assert not capsys.readouterr().err, "over within two seconds"


def test_terminal_gets_a_bar_with_count_and_total(monkeypatch, capsys):
    monkeypatch.setattr(progress, "on_terminal", lambda: True)
    assert list(progress.track(range(3), 3, "counting", "numbers")) == [0, 1, 2]
    last = capsys.readouterr().err.split("\r")[-1]
    assert last.startswith("counting: 100%")
    assert "3/3" in last
    assert "numbers" in last
