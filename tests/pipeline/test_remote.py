"""Data and models go from one clone to another as docs/tutorials/experiments.md says, with real git and DVC."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from pathlib import Path

import pytest
from dvc.cli import main

from tests import s3 as loopback
from tests.conftest import ROOT
from tests.test_readme import lines as commands_of_the_pages
from tests.workspace import git, ran, run, succeeds

# A region of both clouds: the server looks up the keys where AWS would.
REGION = "ap-southeast-3"
OBS = f"obs.{REGION}.myhuaweicloud.com"


def dvc(folder: Path, *arguments: str) -> None:
    """A command of DVC that reaches no storage, in this process."""
    with contextlib.chdir(folder):
        assert main(list(arguments)) == 0


def configure(folder: Path) -> None:
    """Run the commands of the page as they stand there, with its placeholders."""
    commands = [line for line in commands_of_the_pages() if line.startswith("dvc remote ") and "--local" not in line]
    assert len(commands) == 4
    for command in commands:
        _, *arguments = shlex.split(command)
        dvc(folder, *arguments)


def fill_in(folder: Path, bucket: str) -> None:
    """Put a bucket in the place of the placeholders, without TLS, which the server lacks."""
    config = folder / ".dvc/config"
    text = config.read_text().replace("BUCKET", bucket).replace("REGION", REGION)
    config.write_text(text.replace("https:", "http:"))


@pytest.fixture
def small(once, tmp_path) -> Path:
    """A repository with one file in DVC, and the storage of the page."""

    def make(folder: Path) -> None:
        git(folder, "init", "-q")
        dvc(folder, "init", "-q")
        (folder / "deploy").mkdir()
        (folder / "deploy/obs.config").write_text((ROOT / "deploy/obs.config").read_text())
        configure(folder)
        (folder / "data").mkdir()
        (folder / "data/file.txt").write_text("content\n")
        dvc(folder, "add", "data", "-q")
        commit(folder)

    return shutil.copytree(once("small-repository", make), tmp_path / "small")


@pytest.fixture
def obs(s3: loopback.Server, monkeypatch, tmp_path) -> loopback.Server:
    """The server in the place of OBS, under its host name, for a person who has only the two keys set."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("AWS_CONFIG_FILE")
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, s3.endpoint)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.secret)
    return s3


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    git(folder, *identity, "commit", "-q", "-m", "next")


def clone(folder: Path, place: Path) -> Path:
    git(folder, "clone", "-q", str(folder), str(place))
    return place


def in_git(folder: Path) -> str:
    """All that git keeps or would add."""
    listed = ("git", "ls-files", "--cached", "--others", "--exclude-standard", "-z")
    names = succeeds(folder, *listed).strip("\0").split("\0")
    files = [folder / name for name in names if not (folder / name).is_dir()]  # without the link to a folder
    return "".join(path.read_text(errors="replace") for path in files)


def status(folder: Path) -> str:
    return succeeds(folder, "git", "status", "--porcelain")


@pytest.mark.slow
def test_clone_that_pulls_has_everything_and_reruns_no_stage(finished, obs, tmp_path):
    configure(finished)
    fill_in(finished, obs.bucket())
    commit(finished)
    succeeds(finished, "dvc", "push")

    second = clone(finished, tmp_path / "second")
    succeeds(second, "dvc", "pull")
    for name in ("models/autodeeplab.ckpt", "models/autodeeplab.mindir", "reports/index.html"):
        assert (second / name).read_bytes() == (finished / name).read_bytes()
    for pipeline in ("dvc.yaml", "pipeline/synthetic/dvc.yaml"):
        output = succeeds(second, "dvc", "repro", pipeline)
        assert ran(output) == {"check"}, "which always runs, and changes nothing"
        assert "didn't change, skipping" in output
    assert status(second) == ""
    shown = [succeeds(folder, "dvc", "metrics", "show", "--json") for folder in (finished, second)]
    assert shown[0] == shown[1]
    assert '"mIOU"' in shown[0]
    assert obs.secret not in in_git(finished)


def test_requests_are_as_obs_wants_them(small, obs, tmp_path):
    bucket = obs.bucket()
    fill_in(small, bucket)
    commit(small)
    obs.requests.clear()
    succeeds(small, "dvc", "push")
    second = clone(small, tmp_path / "second")
    succeeds(second, "dvc", "pull")
    assert (second / "data/file.txt").read_text() == "content\n"
    assert len(obs.requests) >= 4, "a file and a folder, there and back"
    for headers in obs.requests:
        assert headers["HTTP_HOST"] == f"{bucket}.{OBS}"
        assert headers["HTTP_X_AMZ_CONTENT_SHA256"] == "UNSIGNED-PAYLOAD"
        assert f"/{REGION}/s3/" in headers["HTTP_AUTHORIZATION"]
        assert not [name for name in headers if "CHECKSUM" in name or "TRAILER" in name]


def test_other_storage_needs_no_settings_of_its_own_and_stored_keys_stay_out_of_git(small, obs, monkeypatch, tmp_path):
    fill_in(small, obs.bucket())
    dvc(small, "remote", "modify", "obs", "endpointurl", obs.endpoint)
    dvc(small, "remote", "modify", "--unset", "obs", "configpath")
    commit(small)
    for name, value in (("access_key_id", obs.key), ("secret_access_key", obs.secret)):
        dvc(small, "remote", "modify", "--local", "obs", name, value)
    with monkeypatch.context() as patch:
        patch.delenv("AWS_ACCESS_KEY_ID")
        patch.delenv("AWS_SECRET_ACCESS_KEY")
        succeeds(small, "dvc", "push")
    assert status(small) == ""
    assert obs.secret not in in_git(small)
    second = clone(small, tmp_path / "second")
    succeeds(second, "dvc", "pull")
    assert (second / "data/file.txt").read_text() == "content\n"


@pytest.mark.parametrize(
    ("fault", "command", "says"),
    [
        ("wrong secret", "push", "Forbidden"),
        ("no keys", "pull", "Unable to locate credentials"),
        ("no bucket", "push", "bucket does not exist"),
        # Of few files DVC asks for each, and takes the bucket's absence for theirs.
        ("no bucket", "pull", "Missing cache files"),
    ],
)
def test_fault_is_named_and_the_exit_code_tells_it(small, obs, monkeypatch, tmp_path, fault, command, says):
    fill_in(small, "no-such-bucket" if fault == "no bucket" else obs.bucket())
    commit(small)
    if fault == "wrong secret":
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    if fault == "no keys":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    folder = clone(small, tmp_path / "second") if command == "pull" else small
    done = run(folder, "dvc", command)
    assert done.returncode != 0
    assert says in done.stderr
    assert "Traceback" not in done.stderr
    assert status(folder) == ""
    assert (folder / "data").exists() == (command == "push")


def test_the_project_itself_names_no_storage():
    assert "remote" not in (ROOT / ".dvc/config").read_text()
