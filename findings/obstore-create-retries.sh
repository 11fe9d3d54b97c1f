#!/usr/bin/env bash
# obstore: put(mode="create") is not asked again where put is, and a repeated one may report the
# object that it has written itself as somebody else's.
#
# Versions: obstore 0.12.1; wheel from the package index. A stub of an S3 server on loopback.
# Input: one object of one byte, put with and without a condition; the server resets the first
# connection, answers it too late, or stores the object and answers 500.
#
# retry_config is documented for 5xx answers, dropped connections, and timeouts of safe requests. A
# plain put is asked again after each of them. With mode="create" (If-None-Match: *) a reset or a
# timeout is an error at once, whether or not the server has stored the object; after a 500 it is
# asked again, and if the first had been stored the answer 412 comes out as AlreadyExistsError. So
# neither error says that another writer was first: read the object, and compare.
#
# Needs Python 3.11 or newer: PYTHON=python3.11 by default.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat > "$folder/check.py" <<'PY'
import http.server
import socket
import struct
import threading
import time
from datetime import timedelta
from importlib.metadata import version

import obstore
from obstore.store import S3Store

print(f"obstore {version('obstore')}")
asked, stored = {}, set()


class Stub(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_PUT(self):
        self.rfile.read(int(self.headers["content-length"]))
        name = self.path.rpartition("/")[2]
        asked[name] = asked.get(name, 0) + 1
        first, kind = asked[name] == 1, name.partition("-")[0]
        conditional = self.headers.get("if-none-match") == "*"
        status = 412 if conditional and name in stored else 200
        stored.add(name)
        if first and kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
            self.close_connection = True
            return
        if first and kind == "late":
            time.sleep(2)
        if first and kind == "failed":
            status = 500
        self.send_response(status)
        self.send_header("content-length", "0")
        self.send_header("etag", '"1"')
        self.end_headers()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *arguments):
        """A client that has hung up is no news."""


server = Server(("127.0.0.1", 0), Stub)
threading.Thread(target=server.serve_forever, daemon=True).start()
store = S3Store(
    "bucket",
    endpoint=f"http://127.0.0.1:{server.server_port}",
    region="us-east-1",
    access_key_id="a",
    secret_access_key="b",
    client_options={"allow_http": True, "timeout": "1s"},
    retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=30)},
)
for kind in ("reset", "late", "failed"):
    for mode in ("overwrite", "create"):
        name = f"{kind}-{mode}"
        try:
            obstore.put(store, name, b"1", mode=mode, use_multipart=False)
            outcome = "stored"
        except obstore.exceptions.BaseError as error:
            outcome = type(error).__name__
        print(f"  {kind:6} {mode:9} asked {asked[name]} times: {outcome}")
        if mode == "overwrite":
            assert (asked[name], outcome) == (2, "stored")
        elif kind == "failed":
            assert (asked[name], outcome) == (2, "AlreadyExistsError")
        else:
            assert (asked[name], outcome) == (1, "GenericError")
PY
"${PYTHON:-python3.11}" -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --disable-pip-version-check obstore==0.12.1
"$folder/env/bin/python" "$folder/check.py"
echo "as described"
