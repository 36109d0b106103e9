"""What a running training tells a person."""

from __future__ import annotations

import re

from adl.console import reporter


def test_estimate_after_20_steps_and_the_time_left_after_a_resume(capsys, monkeypatch):
    monkeypatch.setattr("adl.console.progress.LINE_EVERY", 0)
    progress = reporter.Reporter(1000)
    seconds = [30.0]
    progress.step(epoch=1, position=901, loss=1.0, learning_rate=0.1, seconds=seconds)  # resumed at 900
    for position in range(902, 922):
        seconds.append(2.0)
        progress.step(epoch=1, position=position, loss=1.0, learning_rate=0.1, seconds=seconds)
    shown = capsys.readouterr()
    assert "first step, with compilation: 30.0 s" in shown.out
    assert "from 20 steps: 2 min 38 s for the remaining 79" in shown.out
    assert "step 921/1000" in shown.err
    assert "2.00 s/step, 2 min 38 s left" in shown.err


def test_time_left_follows_from_the_last_50_steps(capsys, monkeypatch):
    monkeypatch.setattr("adl.console.progress.LINE_EVERY", 0)
    progress = reporter.Reporter(1000)
    for position, seconds in ((840, [30.0]), (900, [30.0] + 10 * [9.0] + 50 * [2.0])):
        progress.step(epoch=1, position=position, loss=1.0, learning_rate=0.1, seconds=seconds)
    assert "2.00 s/step, 3 min 20 s left" in capsys.readouterr().err


def test_bar_of_a_terminal_is_closed_at_the_last_step(capsys, monkeypatch):
    monkeypatch.setattr("adl.console.progress.on_terminal", lambda: True)
    progress = reporter.Reporter(3)
    for position in (1, 2):
        progress.step(epoch=1, position=position, loss=1.0, learning_rate=0.1, seconds=[1.0] * position)
    assert not progress.bar.disable
    progress.step(epoch=1, position=3, loss=1.0, learning_rate=0.1, seconds=[1.0] * 3)
    assert progress.bar.disable
    assert progress.bar.n == 3
    assert "loss 1.0000, learning rate 0.1" in capsys.readouterr().err


def test_log_ends_with_the_last_step_however_fast_it_came(capsys):
    progress = reporter.Reporter(3)
    for position in (1, 2, 3):
        progress.step(epoch=1, position=position, loss=1.0, learning_rate=0.1, seconds=[0.1] * position)
    assert "epoch 1 step 3/3: loss 1.0000" in capsys.readouterr().err


EPOCH_OF_2021 = r"epoch: (\d+) step: (\d+), loss is ([\d.]+)"
TIME_OF_2021 = r"epoch time: ([\d.]+) ms, per step time: ([\d.]+) ms"


def test_lines_of_2021_follow_each_epoch(capsys):
    """As in the 2021 README: `epoch: 1 step: 186, loss is 3.1355295`."""
    progress = reporter.Reporter(6, model_zoo_lines_every=3)
    seconds = []
    for position in range(1, 7):
        seconds.append(float(position))
        progress.step(
            epoch=(position + 2) // 3, position=position, loss=3.1355295 / position,
            learning_rate=0.1, seconds=seconds,
        )  # fmt: skip
    printed = capsys.readouterr().out
    assert re.findall(EPOCH_OF_2021, printed) == [
        ("1", "3", "1.0451765"),
        ("2", "3", "0.52258825"),
    ]
    assert re.findall(TIME_OF_2021, printed) == [
        ("6000.000", "2000.000"),
        ("15000.000", "5000.000"),
    ]


def test_epoch_that_was_resumed_has_the_time_of_its_steps_since(capsys):
    progress = reporter.Reporter(6, model_zoo_lines_every=3)
    for position, seconds in ((5, [4.0]), (6, [4.0, 2.0])):
        progress.step(epoch=2, position=position, loss=1.0, learning_rate=0.1, seconds=seconds)
    assert re.findall(TIME_OF_2021, capsys.readouterr().out) == [("6000.000", "3000.000")]


def test_lines_of_2021_are_off_by_default(capsys):
    reporter.Reporter(1).step(epoch=1, position=1, loss=1.0, learning_rate=0.1, seconds=[1.0])
    assert "epoch time" not in capsys.readouterr().out
