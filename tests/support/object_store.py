"""moto's S3 server for tests: see `benchmarks.support.object_store`."""

from __future__ import annotations

from benchmarks.support.object_store import CREDENTIALS, ObjectStore, new_bucket, s3_server

__all__ = ["CREDENTIALS", "ObjectStore", "new_bucket", "s3_server"]
