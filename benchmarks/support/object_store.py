"""An object store on this machine: moto's S3 server, and what it holds."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thor_geo.storage import StoreAddress, StorePath

#: What any S3 server wants to be told.
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "planted-secret",
    "AWS_REGION": "us-east-1",
}


@dataclass(frozen=True, kw_only=True)
class ObjectStore:
    """A bucket.

    Attributes:
        endpoint: Address of the server.
        bucket: Name of the bucket.
        client: boto3's, for looking at it by another way.
    """

    endpoint: str
    bucket: str
    client: Any

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to reach it."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.endpoint}

    def url(self, prefix: str = "") -> str:
        """Return an address below the bucket."""
        return f"s3://{self.bucket}/{prefix}".rstrip("/")

    def path(self, prefix: str = "") -> StorePath:
        """Return a path below the bucket."""
        return StorePath(StoreAddress.parse(self.url(prefix)))

    def upload(self, folder: Path, prefix: str, *, public: bool = False) -> None:
        """Copy a folder into the bucket, as a store's own tools do.

        Args:
            folder: The folder.
            prefix: What its files' names begin with there.
            public: Whether everybody may read them.
        """
        for path in folder.rglob("*"):
            if path.is_file():
                key = f"{prefix}/{path.relative_to(folder).as_posix()}"
                acl = "public-read" if public else "private"
                self.client.put_object(Bucket=self.bucket, Key=key, Body=path.read_bytes(), ACL=acl)

    def contents(self, prefix: str = "") -> dict[str, bytes]:
        """Return all objects below a prefix, by the rest of their names."""
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix
        )
        keys = [entry["Key"] for page in pages for entry in page.get("Contents", ())]
        return {
            key.removeprefix(prefix).lstrip("/"): self.client.get_object(
                Bucket=self.bucket, Key=key
            )["Body"].read()
            for key in keys
        }


@contextmanager
def s3_server() -> Iterator[str]:
    """Serve S3 on loopback; yield the address."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        _, port = server.get_host_and_port()
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()


def new_bucket(endpoint: str, name: str) -> ObjectStore:
    """Make a bucket."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=CREDENTIALS["AWS_REGION"],
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=name)
    return ObjectStore(endpoint=endpoint, bucket=name, client=client)
