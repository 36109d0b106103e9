"""A program in our place: whose signals reach it, and which were ignored before it came."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT

RUN = "import sys; from adl.launch import foreground; sys.exit(foreground.run(sys.argv[1:]))"
WORKS = "print('ready', flush=True); import time; time.sleep(1); print('done', flush=True)"
IGNORES = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"


def started(*arguments: str, **settings) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, *arguments], stdout=subprocess.PIPE, text=True, **settings)
    while "ready" not in process.stdout.readline():
        assert process.poll() is None
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_reaches_the_program_and_its_end_is_ours(number):
    process = started("-c", RUN, sys.executable, "-c", WORKS, cwd=ROOT)
    process.send_signal(number)
    # Python ends itself by the signal, after Ctrl-C too.
    assert process.wait(timeout=20) == 128 + number
    assert "done" not in process.stdout.read()


def test_hangup_that_was_ignored_at_the_start_reaches_nobody():
    process = started("-c", IGNORES + RUN, sys.executable, "-c", WORKS, cwd=ROOT)
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=20)[0] == "done\n"
    assert process.returncode == 0
