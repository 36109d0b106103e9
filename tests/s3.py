"""A real S3 server on loopback, which checks signatures, and what stands between it and its clients."""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import boto3
from moto import settings
from moto.core.authorization import ActionAuthenticatorMixin
from moto.server import ThreadedMotoServer

REGION = "us-east-1"
ALL_ALLOWED = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}

Application = Callable[[dict[str, Any], Callable], Iterable[bytes]]
"""As WSGI has it."""


@functools.cache  # it reads the descriptions of every call
def client_of(endpoint: str, key: str, secret: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )


class Server(NamedTuple):
    """endpoint: its URL. key, secret: of the one user that it knows. requests: the headers of each, by WSGI's names.

    It answers under every host name: to a client, `endpoint` may also be an HTTP proxy.
    """

    endpoint: str
    key: str
    secret: str
    requests: list[dict[str, str]]

    def environment(self, *, secret: str | None = None, endpoint: str | None = None) -> dict:
        """The variables by which a client finds the server and proves who it is."""
        return {
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": secret or self.secret,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self) -> Any:
        return client_of(self.endpoint, self.key, self.secret)

    def bucket(self) -> str:
        """The name of a new, empty bucket."""
        name = f"test-{uuid.uuid4()}"
        self.client().create_bucket(Bucket=name)
        return name


@contextlib.contextmanager
def running() -> Iterator[Server]:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    requests: list[dict[str, str]] = []
    server._server.app = noting(server._server.app, requests)
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    iam = boto3.client(
        "iam",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id="nobody",
        aws_secret_access_key="nothing",
    )
    iam.create_user(UserName="somebody")
    keys = iam.create_access_key(UserName="somebody")["AccessKey"]
    iam.put_user_policy(UserName="somebody", PolicyName="all", PolicyDocument=json.dumps(ALL_ALLOWED))
    # From here on every request must be signed by that user.
    settings.INITIAL_NO_AUTH_ACTION_COUNT = 0
    ActionAuthenticatorMixin.request_count = 0
    try:
        yield Server(endpoint, keys["AccessKeyId"], keys["SecretAccessKey"], requests)
    finally:
        server.stop()


def noting(application: Application, requests: list[dict[str, str]]) -> Application:
    """The same application, which also adds the headers of each request to a list."""

    def answer(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
        for name in ("RAW_URI", "REQUEST_URI"):
            # A proxy is asked for whole URLs; the signature, which moto checks with this, covers the path alone.
            environ[name] = urlsplit(environ[name])._replace(scheme="", netloc="").geturl()
        requests.append({name: str(environ[name]) for name in environ if name.startswith("HTTP_")})
        return application(environ, start_response)

    return answer
