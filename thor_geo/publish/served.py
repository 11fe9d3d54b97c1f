"""Whether a web server gives a run to browsers and to libraries that read parts of files.

Each fault that is found breaks some reader: a page of another site sees nothing without CORS,
Parquet and Zarr are read by ranges, and ranges of compressed answers are ranges of something else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from thor_geo.errors import first_line
from thor_geo.publish.publishing import Published
from thor_geo.publish.stac import COLLECTION, ITEMS, PAGE

if TYPE_CHECKING:
    from requests import Response, Session

#: The site whose page asks, as far as the server can tell.
ORIGIN = "https://reader.example.org"
# Seconds without a byte.
_TIMEOUT_S = 30.0
_OK, _PARTIAL = 200, 206
#: What a file may be called, by its suffix. Parquet and chunks of Zarr have no name that servers
#: know, and nobody asks for it.
_TYPES = {
    ".json": ("application/json", "application/geo+json"),
    ".html": ("text/html",),
    ".png": ("image/png",),
}


@dataclass(frozen=True, kw_only=True)
class ServedFault:
    """Something that keeps readers from a served run.

    Attributes:
        file: The file that was asked for, relative to the run.
        problem: What is wrong.
        remedy: What to do about it.
    """

    file: str
    problem: str
    remedy: str


def check_served(url: str, published: Published) -> list[ServedFault]:
    """Ask a web server for a run's files as browsers and libraries do.

    Nothing large is read: of files of embeddings, a few bytes.

    Args:
        url: The address at which the run is served.
        published: What was written into it.

    Returns:
        What is wrong, each fault once; if the server does not answer at all, only that.
    """
    import requests

    with requests.Session() as session:
        session.headers["Origin"] = ORIGIN
        try:
            faults = [
                *_whole_files(session, url, published),
                *_ranges(session, url, published),
                *_preflight(session, url),
            ]
        except requests.RequestException as error:
            problem = f"{url} does not answer: {type(error).__name__}: {first_line(error)}"
            remedy = "Start the server, or give the address at which the files are, or will be."
            return [ServedFault(file="run.json", problem=problem, remedy=remedy)]
    return list(dict.fromkeys(faults))


def _whole_files(session: Session, url: str, published: Published) -> Iterator[ServedFault]:
    """Yield what is wrong with files that are read whole: their content, type and CORS."""
    run = published.facts.opened.run
    contents: dict[str, bytes | None] = {"run.json": run.run_json.read_bytes()}
    for name in (COLLECTION, PAGE, next(n for n in published.contents if n.startswith(ITEMS))):
        contents[name] = published.contents[name]
    if published.facts.quicklook:
        contents[run.quicklook.name] = None
    for name, content in contents.items():
        with session.get(f"{url}/{name}", timeout=_TIMEOUT_S, stream=True) as answer:
            if answer.status_code != _OK:
                yield _not_there(name, answer)
                continue
            if content is not None and answer.content != content:
                yield ServedFault(
                    file=name,
                    problem="the server has another file of this name",
                    remedy="Copy the run there again, index.html and collection.json included.",
                )
            yield from _type_faults(name, answer)
            yield from _cors_faults(name, answer.headers)


def _type_faults(name: str, answer: Response) -> Iterator[ServedFault]:
    wanted = _TYPES["." + name.rpartition(".")[2]]
    found = answer.headers.get("Content-Type", "")
    if found.partition(";")[0].strip().lower() not in wanted:
        yield ServedFault(
            file=name,
            problem=f"its content type is {found or 'missing'}, not {wanted[0]}",
            remedy="Let the server know the types of .json, .html and .png, or set them when you "
            "upload: browsers save the page, in place of showing it.",
        )


def _cors_faults(name: str, headers: Mapping[str, str]) -> Iterator[ServedFault]:
    allowed = headers.get("Access-Control-Allow-Origin")
    if allowed not in ("*", ORIGIN):
        what = "there is no Access-Control-Allow-Origin"
        if allowed is not None:
            what = f"Access-Control-Allow-Origin is {allowed}"
        yield ServedFault(
            file=name,
            problem=f"pages of other sites cannot read it: {what}",
            remedy="Send `Access-Control-Allow-Origin: *` with every file (the bucket's CORS "
            "rules: AllowedOrigins *, AllowedMethods GET and HEAD).",
        )


def _ranges(session: Session, url: str, published: Published) -> Iterator[ServedFault]:
    """Yield what is wrong with parts of files."""
    facts = published.facts
    chunk = next((name for name in facts.files if not name.endswith(".parquet")), None)
    sizes = {"plan.parquet": None, **{name: facts.files[name].size for name in (chunk,) if name}}
    if facts.vectors:
        sizes[facts.vectors[0]] = facts.files[facts.vectors[0]].size
    for name, size in sizes.items():
        # The beginning, and as Parquet's footer and the index of Zarr's shards are read, the end.
        for wanted in ("bytes=0-3", "bytes=-4"):
            yield from _range_faults(session, url, name, wanted, size)


def _range_faults(
    session: Session, url: str, name: str, wanted: str, size: int | None
) -> Iterator[ServedFault]:
    with session.get(
        f"{url}/{name}", headers={"Range": wanted}, timeout=_TIMEOUT_S, stream=True
    ) as answer:
        if answer.status_code == _OK:
            yield ServedFault(
                file=name,
                problem=f"the server ignores `Range: {wanted}` and sends the whole file",
                remedy="Serve it by a server that answers range requests (RFC 9110), such as "
                "nginx, Caddy or a bucket; `python -m http.server` does not.",
            )
            return
        if answer.status_code != _PARTIAL:
            yield _not_there(name, answer)
            return
        encoding = answer.headers.get("Content-Encoding", "identity")
        if encoding != "identity":
            yield ServedFault(
                file=name,
                problem=f"a range of it is compressed (Content-Encoding: {encoding})",
                remedy="Turn compression off for .parquet and for the files below .zarr: their "
                "content is compressed already, and ranges are of the bytes that are sent.",
            )
            return
        given = answer.headers.get("Content-Range", "")
        total = given.rpartition("/")[2]
        body = next(answer.iter_content(5), b"")
        right = len(body) == 4 and given.startswith("bytes ") and total.isdecimal()
        if not right or (name.endswith(".parquet") and body != b"PAR1"):
            yield ServedFault(
                file=name,
                problem=f"`Range: {wanted}` gives {len(body)} bytes that are not those, with "
                f"Content-Range {given or 'missing'}",
                remedy="Serve it by a server that answers range requests (RFC 9110).",
            )
        elif size is not None and int(total) != size:
            yield ServedFault(
                file=name,
                problem=f"it has {int(total):,} bytes there, and {size:,} in the run",
                remedy="Copy the run there again.",
            )
        yield from _cors_faults(name, answer.headers)
        yield from _hidden_headers(name, answer.headers)


def _hidden_headers(name: str, headers: Mapping[str, str]) -> Iterator[ServedFault]:
    exposed = {
        each.strip().lower() for each in headers.get("Access-Control-Expose-Headers", "").split(",")
    }
    if not exposed & {"*", "content-range"}:
        yield ServedFault(
            file=name,
            problem="pages of other sites do not see Content-Range, and so not how large it is",
            remedy="Send `Access-Control-Expose-Headers: Content-Range, Content-Length, ETag` (the "
            "bucket's CORS rules: ExposeHeaders).",
        )


def _preflight(session: Session, url: str) -> Iterator[ServedFault]:
    """Yield whether browsers may ask for a range that counts from the end: they ask first."""
    name = "plan.parquet"
    answer = session.options(
        f"{url}/{name}",
        headers={"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "range"},
        timeout=_TIMEOUT_S,
    )
    allowed = {
        each.strip().lower()
        for each in answer.headers.get("Access-Control-Allow-Headers", "").split(",")
    }
    if not answer.ok or not allowed & {"*", "range"}:
        yield ServedFault(
            file=name,
            problem="pages of other sites may not ask for a range that counts from the end: the "
            f"answer to OPTIONS is {answer.status_code}, without Range in "
            "Access-Control-Allow-Headers",
            remedy="Answer OPTIONS with `Access-Control-Allow-Headers: Range` (the bucket's CORS "
            "rules: AllowedHeaders *).",
        )


def _not_there(name: str, answer: Response) -> ServedFault:
    return ServedFault(
        file=name,
        problem=f"the server answers {answer.status_code} {answer.reason}",
        remedy="Copy the whole run there, with its folders, and let everybody read it.",
    )
