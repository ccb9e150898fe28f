"""An S3 server of moto on loopback, and a bucket in it, for the tests of results in an object store."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

_numbers = itertools.count()
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "hidden-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextmanager
def server() -> Iterator[str]:
    """The address of a new server, in the environment as ``AWS_ENDPOINT_URL``."""
    moto = pytest.importorskip("moto.server", reason="needs moto and flask, of the extra `dev`")
    started = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    started.start()
    before = dict(os.environ)
    try:
        host, port = started.get_host_and_port()
        os.environ.update(
            CREDENTIALS, AWS_ENDPOINT_URL=f"http://{host}:{port}", AWS_EC2_METADATA_DISABLED="true"
        )
        yield os.environ["AWS_ENDPOINT_URL"]
    finally:
        started.stop()
        os.environ.clear()
        os.environ.update(before)


def bucket() -> str:
    """The name of a new, empty bucket on the server."""
    from pyarrow.fs import S3FileSystem

    endpoint = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://")
    name = f"bucket{next(_numbers)}"
    maker = S3FileSystem(
        endpoint_override=endpoint, scheme="http", region="us-east-1", allow_bucket_creation=True
    )
    maker.create_dir(name)
    return name
