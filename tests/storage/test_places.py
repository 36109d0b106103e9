"""Files come whole or not at all, over bad lines too; what cannot work is said at once, and no secret with it."""

from __future__ import annotations

import http.server
import os
import re
import shutil
import sys
import threading
import time
import types
from pathlib import Path

import pytest

from adl.errors import AdlError
from adl.storage import filesystems, places, transfers
from adl.storage.filesystems import S3
from adl.storage.places import Abandoned, Place, open_place
from adl.storage.transfers import copy_all, download, ended_once
from tests.proxy import line_to

CONTENT = os.urandom(3_000_000)
RETRIES = S3.retries


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(places, "PAUSES", (0.01, 0.02, 0.04))
    monkeypatch.setattr(S3, "retries", 1)


@pytest.fixture
def bucket(s3, monkeypatch):
    """A bucket with one file, and the variables by which it is reached."""
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    name = s3.bucket()
    s3.client().put_object(Bucket=name, Key="run/model.ckpt", Body=CONTENT)
    return name


@pytest.fixture
def line(s3):
    with line_to(s3.endpoint) as line:
        yield line


def opened(url: str, endpoint: str) -> Place:
    """A place that is reached by way of this endpoint."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", endpoint)
        return open_place(url)


def names(place: Place) -> set[str]:
    return {str(path) for path in place.find()}


def fetch(bucket: str, endpoint: str, folder) -> None:
    """Copy the file here, as a job does."""
    model = opened(f"obs://{bucket}/run", endpoint) / "model.ckpt"
    download(model.find(folder / "model.ckpt"), "copying")


def test_files_come_and_go_with_their_content(s3, bucket, tmp_path):
    fetch(bucket, s3.endpoint, tmp_path)
    assert (tmp_path / "model.ckpt").read_bytes() == CONTENT
    store = open_place(f"s3://{bucket}/run")
    (store / "a/b.ckpt").upload(tmp_path / "model.ckpt")
    found = store.find()
    assert {str(path): file.bytes for path, file in found.items()} == {
        "a/b.ckpt": len(CONTENT),
        "model.ckpt": len(CONTENT),
    }
    body = s3.client().get_object(Bucket=bucket, Key="run/a/b.ckpt")["Body"].read()
    assert body == CONTENT
    (store / "a/b.ckpt").remove()
    assert names(store) == {"model.ckpt"}
    assert (store / "model").find() == {}


def test_a_line_that_breaks_is_tried_again(bucket, line, tmp_path, capsys):
    line.cut_after, line.cuts = 1_000_000, 2
    fetch(bucket, line.endpoint, tmp_path)
    assert (tmp_path / "model.ckpt").read_bytes() == CONTENT
    assert capsys.readouterr().out.count("retrying in") == 2


def test_a_file_that_breaks_off_goes_on_where_it_did(bucket, line, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(S3, "retries", RETRIES)
    line.cut_after, line.cuts = 1_200_000, 2
    fetch(bucket, line.endpoint, tmp_path)
    assert (tmp_path / "model.ckpt").read_bytes() == CONTENT
    assert "retrying in" not in capsys.readouterr().out
    assert line.answered < 1.5 * len(CONTENT)


def test_a_line_that_always_breaks_is_given_up_and_nothing_half_remains(bucket, line, tmp_path):
    line.cut_after, line.cuts = 1_000_000, 1000
    with pytest.raises(AdlError, match=r"run/model.ckpt: gave up after 4 attempts .*Run the same"):
        fetch(bucket, line.endpoint, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]
    line.cuts = 0
    fetch(bucket, line.endpoint, tmp_path)
    assert (tmp_path / "model.ckpt").read_bytes() == CONTENT


def test_a_slow_server_is_waited_for_and_progress_has_a_time(bucket, line, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("adl.console.progress.LINE_EVERY", 0.1)
    line.pause = 0.015
    fetch(bucket, line.endpoint, tmp_path)
    assert (tmp_path / "model.ckpt").read_bytes() == CONTENT
    assert re.search(r"copying \(1 file\): [12]/3 MB, [\d.]+/s, .+ left", capsys.readouterr().err)


def test_a_slow_way_there_is_waited_for_too(s3, bucket, line, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    line.pause_there = 0.005
    (opened(f"obs://{bucket}/run", line.endpoint) / "slow").upload(tmp_path / "file")
    body = s3.client().get_object(Bucket=bucket, Key="run/slow")["Body"].read()
    assert body == CONTENT


def test_a_server_that_falls_silent_is_given_up(bucket, line, tmp_path, monkeypatch):
    monkeypatch.setattr(filesystems, "READ_TIMEOUT", 0.3)
    line.silent = True
    with pytest.raises(AdlError, match="gave up after 4 attempts"):
        fetch(bucket, line.endpoint, tmp_path)


def test_no_server_at_all_is_given_up(bucket, tmp_path):
    with pytest.raises(AdlError, match=r"gave up after 4 attempts .*127.0.0.1:9/"):
        fetch(bucket, "http://127.0.0.1:9", tmp_path)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {"AWS_SECRET_ACCESS_KEY": "wrongwrongwrong"},
            "access is refused. Check AWS_ACCESS_KEY_ID",
        ),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "access is refused. Check AWS_ACCESS_KEY_ID"),
        ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}, "Set AWS_ACCESS_KEY_ID"),
        ({"AWS_SECRET_ACCESS_KEY": None}, "Set AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_credentials_are_said_at_once(s3, bucket, line, tmp_path, monkeypatch, capfd, variables, message):
    for name, value in variables.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    before = len(s3.requests)
    with pytest.raises(AdlError, match=message) as refused:
        fetch(bucket, line.endpoint, tmp_path)
    assert len(s3.requests) - before <= 1
    printed = "".join(capfd.readouterr()) + str(refused.value)
    assert s3.secret not in printed
    assert "wrongwrongwrong" not in printed


def test_what_does_not_exist_is_named(s3, bucket, tmp_path):
    with pytest.raises(AdlError, match="obs://no-such-bucket/x: does not exist"):
        open_place("obs://no-such-bucket/x").find()
    store = open_place(f"obs://{bucket}/run")
    with pytest.raises(AdlError, match="run/gone: does not exist"):
        (store / "gone").download(tmp_path / "gone")


def test_objects_that_stand_for_folders_and_half_written_files_are_no_files(s3, bucket):
    for key in ("run/", "run/deep/", "run/deep/.partial-x", "run/deep/x"):
        s3.client().put_object(Bucket=bucket, Key=key, Body=b"")
    assert names(open_place(f"obs://{bucket}/run")) == {"model.ckpt", "deep/x"}


def test_an_object_that_became_shorter_is_not_taken(s3, bucket, tmp_path):
    (file,) = open_place(f"obs://{bucket}/run").find().values()
    s3.client().put_object(Bucket=bucket, Key="run/model.ckpt", Body=CONTENT[:-1])
    with pytest.raises(AdlError, match="received 2999999 of 3000000 bytes"):
        file.download(tmp_path / "x")
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]


def test_only_what_is_new_is_copied_again(s3, bucket, tmp_path, monkeypatch):
    copied = []

    def counted(copy, sizes, what):
        copied.append(len(sizes))
        copy_all(copy, sizes, what)

    monkeypatch.setattr(transfers, "copy_all", counted)
    fetch(bucket, s3.endpoint, tmp_path)
    fetch(bucket, s3.endpoint, tmp_path)
    (tmp_path / "model.ckpt").write_bytes(CONTENT[::-1])  # as a stage might
    fetch(bucket, s3.endpoint, tmp_path)
    s3.client().put_object(Bucket=bucket, Key="run/model.ckpt", Body=CONTENT[::-1])
    fetch(bucket, s3.endpoint, tmp_path)
    assert copied == [1, 0, 1, 1]
    assert (tmp_path / "model.ckpt").read_bytes() == CONTENT[::-1]


def test_a_disk_that_is_too_small_is_said_before_anything_is_copied(s3, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(transfers.shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=2_900_000))
    with pytest.raises(AdlError, match="needs 3 MB, but only 3 MB are free"):
        fetch(bucket, s3.endpoint, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]


def test_what_is_replaced_makes_room(s3, bucket, tmp_path, monkeypatch):
    fetch(bucket, s3.endpoint, tmp_path)
    s3.client().put_object(Bucket=bucket, Key="run/model.ckpt", Body=CONTENT[::-1])
    monkeypatch.setattr(transfers.shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=100_000))
    fetch(bucket, s3.endpoint, tmp_path)
    assert (tmp_path / "model.ckpt").read_bytes() == CONTENT[::-1]


def test_one_copy_that_fails_ends_the_others(bucket, line, tmp_path):
    (file,) = opened(f"obs://{bucket}/run", line.endpoint).find().values()

    def copy(path, progress):
        if path.name == "model.ckpt":
            return file.download(path, progress)
        while line.answered < 200_000:
            time.sleep(0.01)
        raise AdlError("the first fault")

    line.pause = 0.05
    with pytest.raises(AdlError, match="the first fault"):
        copy_all(copy, {tmp_path / "faulty": 1, tmp_path / "model.ckpt": file.bytes}, "copying")
    assert line.answered < len(CONTENT)
    assert [path.name for path in tmp_path.iterdir()] == ["datasets"]


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://key:hunter2@bucket/x", "leave the credentials out"),
        ("s3://key:hun/ter2@bucket/hunter2", "leave the credentials out"),
        ("gs://bucket/x", "expected obs://BUCKET/PATH"),
        ("obs:///x", "expected obs://BUCKET/PATH"),
        ("obs:/bucket/x", "expected obs://BUCKET/PATH"),
        ("obs://bucket#1/x", "expected obs://BUCKET/PATH"),
        ("obs://bucket?x=1", "expected obs://BUCKET/PATH"),
        ("s3://bucket:9000/x", "expected obs://BUCKET/PATH"),
        ("obs://bucket/a/../b", "has an empty part, . or .., or a backslash"),
        ("obs://bucket//b", "has an empty part, . or .., or a backslash"),
        ("obs://bucket/./b", "has an empty part, . or .., or a backslash"),
        (r"obs://bucket/a\b", "has an empty part, . or .., or a backslash"),
        ("", "an empty URL"),
    ],
)
def test_a_url_that_cannot_be_one_is_refused(url, message):
    with pytest.raises(AdlError, match=message) as refused:
        open_place(url)
    assert "hunter2" not in str(refused.value)


def test_obs_is_asked_as_huawei_documents_it(bucket):
    store = opened("obs://bucket/p", "https://obs.cn-north-4.myhuaweicloud.com")
    url = store.system.sign("bucket/p/x")
    assert url.startswith("https://bucket.obs.cn-north-4.myhuaweicloud.com/p/x?")
    assert "%2Fcn-north-4%2Fs3%2F" in url
    config = store.system.s3.meta.config
    assert (config.request_checksum_calculation, config.response_checksum_validation) == (
        "when_required",
        "when_required",
    )
    assert config.s3["payload_signing_enabled"] is False


@pytest.mark.parametrize(
    ("endpoint", "start"),
    [
        ("https://obsv3.x.example.org", "https://bucket.obsv3.x.example.org/p"),
        ("http://minio.example.org:9000", "http://minio.example.org:9000/bucket/p"),
    ],
)
def test_only_obs_is_asked_by_the_name_of_the_bucket(bucket, endpoint, start):
    url = opened("s3://bucket/p", endpoint).system.sign("bucket/p")
    assert url.startswith(start)


def test_progress_begins_anew_with_each_attempt(bucket, tmp_path, monkeypatch):
    place = open_place(f"obs://{bucket}/run") / "x"
    (tmp_path / "file").touch()
    values = []

    def breaks_at_first(source, target, callback):
        callback.relative_update(2)
        values.append(callback.value)
        if len(values) % 2:
            raise ConnectionError("broken")
        if target.startswith(str(tmp_path)):
            Path(target).touch()

    for copy, path in (("put_file", "file"), ("get_file", "back")):
        monkeypatch.setattr(place.system, copy, breaks_at_first)
        progress = ended_once(lambda: False)
        act = place.upload if copy == "put_file" else place.download
        act(tmp_path / path, progress)
        assert progress.value == 0
    assert values == [2, 2, 2, 2]


def test_what_may_not_be_written_here_is_no_fault_of_the_store(s3, bucket, tmp_path, monkeypatch):
    file = open_place(f"obs://{bucket}/run") / "model.ckpt"

    def forbidden(source, target, callback):
        raise PermissionError(13, "Permission denied", target)

    monkeypatch.setattr(file.system, "get_file", forbidden)
    with pytest.raises(PermissionError) as refused:
        file.download(tmp_path / "x")
    assert refused.value.filename


def test_removing_what_is_gone_does_nothing(s3, bucket, tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    for store in (open_place(f"obs://{bucket}/run"), open_place(str(tmp_path / "x"))):
        (store / "a").upload(tmp_path / "file")
        assert "a" in names(store)
        (store / "a").remove()
        (store / "a").remove()
        assert "a" not in names(store)


@pytest.fixture(params=["bucket", "folder", "moxing"])
def any_store(request, s3, tmp_path):
    """What opens a place of each kind, and what lists all keys there."""
    if request.param == "bucket":
        name = request.getfixturevalue("bucket")
        s3.client().delete_object(Bucket=name, Key="run/model.ckpt")
        return (lambda place: open_place(f"obs://{name}/{place}")), tmp_path
    if request.param == "moxing":
        request.getfixturevalue("moxing")
        return (lambda place: open_place(f"obs://bucket/{place}")), tmp_path
    return (lambda place: open_place(str(tmp_path / "store" / place))), tmp_path


def test_a_key_is_taken_as_it_stands(any_store):
    """As the place of a run, and as the name of a file."""
    opened, folder = any_store
    name = "run#1?versionId=2&a=b;100%20 c+ß[x]*"
    (folder / "file").write_bytes(b"abc")
    store = opened(f"runs/{name}")
    (store / "deep" / name).upload(folder / "file")
    (store / name).upload(folder / "file")
    assert names(store) == {f"deep/{name}", name}
    (file,) = (store / "deep" / name).find().values()
    file.download(folder / "back")
    assert (folder / "back").read_bytes() == b"abc"
    (store / name).remove()
    assert names(opened("runs")) == {f"{name}/deep/{name}"}


def test_a_copy_that_is_no_longer_wanted_ends_after_a_part_and_leaves_nothing(s3, bucket, tmp_path, monkeypatch):
    monkeypatch.setattr(filesystems, "PART", 5 * 2**20)
    (tmp_path / "file").write_bytes(os.urandom(2**20) * 12)
    progress = ended_once(lambda: progress.value > 0)
    with pytest.raises(Abandoned):
        (open_place(f"obs://{bucket}/run") / "old").upload(tmp_path / "file", progress)
    assert progress.value <= 6 * 2**20
    assert "old" not in str(s3.client().list_objects_v2(Bucket=bucket))
    assert "Uploads" not in s3.client().list_multipart_uploads(Bucket=bucket)


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers every request with one error, as S3 and OBS write it."""

    def answer(self) -> None:
        status, code = self.server.refusal
        body = f"<Error><Code>{code}</Code><Message>What the server says.</Message></Error>".encode()
        self.server.requests += 1
        self.send_response(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":  # whose answers have none: a client takes it for the next answer, or for a fault
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = answer  # noqa: N815 (as http.server calls them)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def refusing(s3):
    """A server that refuses everything, and a place there."""
    with (
        pytest.MonkeyPatch.context() as patch,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server,
    ):
        for name, value in s3.environment().items():
            patch.setenv(name, value)
        patch.setattr(S3, "retries", 1)
        server.requests = 0
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.store = opened("obs://bucket/run", f"http://127.0.0.1:{server.server_port}")
        server.store.system.connect()
        yield server
        server.shutdown()


# Codes and statuses as in the lists of Huawei Cloud's "OBS Server-Side Error Codes" and of Amazon's "Error responses".
@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (403, "RequestTimeTooSkewed", "this machine's clock differs .* Set it right"),
        (400, "ExpiredToken", "the session token is no longer valid.*AWS_SESSION_TOKEN"),
        (400, "InvalidToken", "the session token is no longer valid"),
        (403, "AccessDenied", "the key is known, but may not do this. Check the policies"),
        (403, "InArrearOrInsufficientBalance", "the account may not use the storage: arrears"),
        (403, "VirtualHostDomainRequired", "wants the bucket in the host name.*begins with obs"),
        (301, "PermanentRedirect", "the bucket is in another region"),
        (400, "AuthorizationHeaderMalformed", "the bucket is in another region"),
        (403, "InvalidObjectState", "this object is archived"),
        (403, "InsufficientStorageSpace", "has reached its quota"),
        (403, "InvalidAccessKeyId", "Check AWS_ACCESS_KEY_ID"),
        (403, "SomethingNew", "Check AWS_ACCESS_KEY_ID"),
    ],
)
def test_what_no_new_attempt_cures_is_told_at_once_with_its_remedy(refusing, tmp_path, status, code, remedy):
    refusing.refusal = status, code
    (tmp_path / "file").write_bytes(b"abc")
    store = refusing.store
    for act in (store.find, lambda: (store / "file").upload(tmp_path / "file")):
        before = refusing.requests
        with pytest.raises(AdlError, match=rf"obs://bucket/run.*{remedy}.*{code}") as refused:
            act()
        assert ("Check AWS_ACCESS_KEY_ID" in str(refused.value)) == remedy.startswith("Check AWS")
        # After a redirection that names no region, the client itself asks once which one it is.
        assert refusing.requests - before == (2 if code == "PermanentRedirect" else 1)


def test_what_passes_is_tried_again(refusing):
    refusing.refusal = 503, "SlowDown"
    before = refusing.requests
    with pytest.raises(AdlError, match="gave up after 4 attempts"):
        refusing.store.find()
    assert refusing.requests - before == 4


def test_a_folder_is_a_store_too(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    store = open_place(str(tmp_path / "store"))
    assert store.find() == {}
    (store / "deep/down/file").upload(tmp_path / "file")
    found = (store / "deep").find("deep")
    assert {str(path): file.bytes for path, file in found.items()} == {"deep/down/file": 3}
    (store / "deep/down/file").remove()
    assert store.find() == {}


@pytest.fixture
def moxing(tmp_path, monkeypatch):
    """What stands for ModelArts' library: obs:// below a folder. Nothing here is the real one."""

    def local(url: str) -> Path:
        return Path(url.replace("obs:/", str(tmp_path / "obs")))

    def walk(url: str):
        for folder, folders, names in os.walk(local(url)):
            yield folder.replace(str(tmp_path / "obs"), "obs:/"), folders, names

    def copy(source: str, target: str) -> None:
        local(target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(local(source), local(target))

    module = types.ModuleType("moxing")
    module.__spec__ = types.SimpleNamespace()
    module.file = types.SimpleNamespace(
        exists=lambda url: local(url).exists(),
        is_directory=lambda url: local(url).is_dir(),
        get_size=lambda url: local(url).stat().st_size,
        remove=lambda url: local(url).unlink(),
        walk=walk,
        copy=copy,
    )
    monkeypatch.setitem(sys.modules, "moxing", module)
    return module


def test_moxing_is_used_where_it_is_installed(moxing, tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    store = open_place("S3://bucket/run/")
    (store / "a/file").upload(tmp_path / "file")
    assert (tmp_path / "obs/bucket/run/a/file").read_bytes() == b"abc"
    ((path, file),) = store.find().items()
    assert (path, file.bytes, file.version) == (Path("a/file"), 3, "")
    file.download(tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"abc"
    (store / "a/file").remove()
    assert store.find() == (store / "a/file").find() == {}
    (store / "a/file").remove()


def test_an_error_of_moxing_is_tried_again(moxing, tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    calls = []

    def fails_once(source, target, copy=moxing.file.copy):
        calls.append(source)
        if len(calls) == 1:
            raise Exception("some error of OBS")
        copy(source, target)

    moxing.file.copy = fails_once
    open_place("obs://bucket/run/file").upload(tmp_path / "file")
    assert len(calls) == 2


def test_a_refusal_that_moxing_tells_in_its_text_is_not_tried_again(moxing, tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    calls = []

    def refuses(source, target):
        calls.append(source)
        raise Exception("{'status': 403, 'errorCode': 'InArrearOrInsufficientBalance'}")

    moxing.file.copy = refuses
    with pytest.raises(AdlError, match=r"bucket/run/file: .*the account may not use the storage"):
        open_place("obs://bucket/run/file").upload(tmp_path / "file")
    assert len(calls) == 1
