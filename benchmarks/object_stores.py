"""How object stores differ where a run depends on it: moto, and those that are named.

    python -m benchmarks.object_stores \
        --store "Ceph 16.2" s3://bucket http://127.0.0.1:7480 \
        --store Azurite az://container http://127.0.0.1:10000/devstoreaccount1

moto is started here. What else is named must be running, with an empty bucket, and its credentials
in the environment: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (moto takes any; they default to
`benchmarks.support.object_store.CREDENTIALS`), AZURE_STORAGE_ACCOUNT_NAME and
AZURE_STORAGE_ACCOUNT_KEY. Everything is written below one prefix and removed again. Ceph: Debian's
packages ceph-mon, ceph-mgr, ceph-osd and radosgw, with `rgw frontends = beast tcp_nodelay=1`.
Azurite: npm's package azurite, its command azurite-blob.
"""

from __future__ import annotations

import os
import secrets
import sys

from benchmarks.support.object_store import CREDENTIALS, new_bucket, s3_server
from benchmarks.support.report import Report, Row, parser
from benchmarks.support.store_questions import QUESTIONS
from thor_geo.storage import StoreAddress, StoreOptions, StorePath

NOTES = (
    "Answers in the order of the question's words. A number is the status of the store's refusal, "
    "which the package puts in words; refused here is an answer that the package does not take: a "
    "part that is too short, and Azurite's header of a range that begins at the end, which obstore "
    "cannot read. None is the size of what is absent, and what a removal returns.",
    "HEAD answers have no body, so that a bucket that does not exist looks like an absent object.",
    "S3 answers 412 to a conditional put of an object that exists, Azure 409: obstore tells both "
    "as AlreadyExistsError. Ceph 16.2 does not check the region of a signature, moto neither.",
    "Azurite turns backslashes in names into slashes; a run has none.",
    "Without tcp_nodelay=1 radosgw 16.2 lets most answers with a body wait for 40 ms (Nagle's "
    "algorithm and delayed acknowledgements): 44 ms for a GET of 1 kB in place of about 1.",
    "The machine was shared, so that milliseconds are for their order only.",
)


def asked(root: StorePath) -> dict[str, str]:
    """Return a store's answers by question; what was written is removed."""
    try:
        return {str(question.__doc__).rstrip("."): question(root) for question in QUESTIONS}
    finally:
        for path in root.files():
            path.unlink()


def main() -> int:
    """Run the benchmark; return the exit code."""
    arguments = parser(__doc__)
    arguments.add_argument(
        "--store",
        nargs=3,
        action="append",
        default=[],
        metavar=("NAME", "ADDRESS", "ENDPOINT"),
        help="a store besides moto; may be repeated",
    )
    options = arguments.parse_args()
    for name, value in CREDENTIALS.items():
        os.environ.setdefault(name, value)
    report = Report(
        name="object_stores",
        claim="A run can lie in each of these stores: of simultaneous conditional puts exactly one "
        "wins, what is written is read and listed as it was, and what is absent is absent.",
        quick=not options.store,
        command="python -m benchmarks.object_stores --store NAME ADDRESS ENDPOINT ...",
        notes=list(NOTES),
    )
    answers: dict[str, dict[str, str]] = {}
    with s3_server() as endpoint:
        bucket = new_bucket(endpoint, "bucket")
        for name, address, at in [["moto", bucket.url(), endpoint], *options.store]:
            url = f"{address}/thor-geo-{secrets.token_hex(4)}"
            root = StorePath(StoreAddress.parse(url, StoreOptions(endpoint=at)))
            answers[name] = asked(root)
    for question, needed in QUESTIONS.items():
        what = str(question.__doc__).rstrip(".")
        row: Row = {"question": what, **{name: given[what] for name, given in answers.items()}}
        faults = [
            f"{name}: {what}: {given[what]}"
            for name, given in answers.items()
            if needed is not None and given[what] != needed
        ]
        report.add(row, faults)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
