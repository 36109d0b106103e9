"""Text is UTF-8 in every file and for every locale, and a terminal gets what it can show."""

from __future__ import annotations

import ast
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

ASCII_ONLY = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
SOURCES = [path for folder in ("adl", "pipeline", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]


def unspecified(source: str) -> list[int]:
    """Lines that read or write text in whatever encoding the locale has."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        given = {keyword.arg for keyword in node.keywords}
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        reads = method == "read_text" and not node.args
        writes = method == "write_text" and len(node.args) == 1
        if "encoding" not in given and (reads or writes or "text" in given):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_text_file_is_read_and_written_as_utf_8(path):
    assert not unspecified(path.read_text(encoding="utf-8"))


def test_unspecified_encodings_are_seen():
    assert unspecified("p.read_text()\np.write_text('x')\nrun(c, text=True)\np.read_text(encoding='utf-8')") == [
        1,
        2,
        3,
    ]


def in_ascii(folder, *command: str) -> subprocess.CompletedProcess:
    environment = os.environ | ASCII_ONLY | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True)


def test_report_is_utf_8_and_messages_are_readable_where_the_locale_is_ascii(workspace):
    result = in_ascii(workspace, "pipeline.report")
    assert result.returncode == 0, result.stderr
    assert "mIOU of this project" in (workspace / "reports/miou.md").read_text(encoding="utf-8")
    assert "×" in (workspace / "reports/miou.md").read_text(encoding="utf-8")
    refused = in_ascii(workspace, "adl.commands", "predict", "Stra\N{LATIN SMALL LETTER SHARP S}e.jpg")
    assert refused.returncode == 2
    assert b"Traceback" not in refused.stderr
    assert b"e.jpg: no such image" in refused.stderr
