from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from thor_geo.sources.earthengine.transport import QUOTA_HEADER, EarthEngineTransport, is_loopback
from thor_geo.sources.policy import TruncatedError


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    release = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.release.wait(5)
        body = f"{self.client_address[1]} {self.path}".encode()
        self.send_response(429 if self.path == "/429" else 200)
        self.send_header("Content-Length", str(len(body) + 10 * (self.path == "/cut")))
        if self.path == "/429":
            self.send_header("Retry-After", "7")
        if self.path == "/restricted":
            self.send_header(QUOTA_HEADER, "parallelism_restricted=true")
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.path == "/cut"

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    Handler.release.set()
    server.shutdown()
    thread.join()
    server.server_close()


def transport() -> EarthEngineTransport:
    return EarthEngineTransport(read_timeout_s=5, pool_size=4)


def port(answer: bytes) -> int:
    """Return the client's port, which tells one connection from another."""
    return int(answer.split()[0])


def test_a_connection_is_kept_for_the_next_request(url: str) -> None:
    one = transport()
    assert port(one.request(f"{url}/a")[1]) == port(one.request(f"{url}/b")[1])
    one.close()


def test_a_forked_child_does_not_share_its_parents_connection(url: str) -> None:
    # Shared keep-alive sockets give one child the pixels that another one asked for.
    one = transport()
    mine = port(one.request(f"{url}/parent")[1])
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, one.request(f"{url}/child")[1])
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    answer = os.read(reader, 100)
    os.close(reader)
    os.close(writer)
    assert answer.endswith(b"/child")
    assert port(answer) != mine
    # And the parent's connection still works: the child has not closed it.
    assert port(one.request(f"{url}/parent")[1]) == mine
    one.close()


def test_status_and_headers_reach_the_client(url: str) -> None:
    response, body = transport().request(f"{url}/429")
    assert response.status == 429
    assert response["retry-after"] == "7"
    assert body.endswith(b"/429")


def test_a_body_cut_short_is_told_from_a_lost_connection(url: str) -> None:
    with pytest.raises(TruncatedError):
        transport().request(f"{url}/cut")


def test_no_password_of_an_address_gets_into_messages() -> None:
    with pytest.raises(ConnectionError) as caught:
        transport().request("http://someone:secret@127.0.0.1:1/")
    assert "secret" not in str(caught.value)


def test_no_answer_is_not_waited_for_for_ever(url: str) -> None:
    begun = time.monotonic()
    with pytest.raises(TimeoutError, match=r"127\.0\.0\.1"):
        EarthEngineTransport(read_timeout_s=0.2, pool_size=1).request(f"{url}/slow")
    assert time.monotonic() - begun < 4


def test_nobody_listening_is_a_connection_failure() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ConnectionError):
            transport().request(address)


def test_restricted_mode_is_noticed(url: str) -> None:
    one = transport()
    one.request(f"{url}/a")
    assert not one.restricted
    one.request(f"{url}/restricted")
    assert one.restricted
    # It is about this thread's last answer only.
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(lambda: one.restricted).result()
    one.request(f"{url}/a")
    assert not one.restricted


def test_a_proxy_is_not_asked_for_this_machine(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert transport().request(f"{url}/a")[1].endswith(b"/a")


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://127.0.0.1:80/a", True),
        ("http://[::1]:80", True),
        ("http://localhost", True),
        ("https://earthengine.googleapis.com", False),
        ("http://10.0.0.1", False),
    ],
)
def test_which_addresses_are_this_machine(address: str, here: bool) -> None:
    assert is_loopback(address) is here


def test_a_turn_lasts_from_sending_to_the_end_of_the_answer(url: str) -> None:
    one, events = transport(), []

    @contextmanager
    def turn() -> Iterator[None]:
        events.append("begins")
        try:
            yield
        finally:
            events.append("ends")

    with one.taking_turns(turn):
        events.append("builds a request")
        one.request(f"{url}/a")
        events.append("reads the answer")
        with pytest.raises(TruncatedError):
            one.request(f"{url}/cut")
    one.request(f"{url}/b")
    assert events == [
        "builds a request",
        "begins",
        "ends",
        "reads the answer",
        "begins",
        "ends",
    ]


def test_a_turn_is_of_its_own_thread_alone(url: str) -> None:
    one, taken = transport(), []

    @contextmanager
    def turn() -> Iterator[None]:
        taken.append(threading.get_ident())
        yield

    with one.taking_turns(turn), ThreadPoolExecutor(1) as pool:
        pool.submit(one.request, f"{url}/a").result()
    assert taken == []
