"""A web server to be reached through tunnels."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from targets import CHUNK

LARGE = os.urandom(20_000_000)
HASH = hashlib.sha256(LARGE).hexdigest()


class Web(ThreadingHTTPServer):
    """GET gives LARGE, or the path as a text; PUT and POST answer with the hash of what came; /missing is an error."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.answer(404 if self.path == "/missing" else 200, LARGE if self.path == "/large" else self.path.encode())

        def do_PUT(self) -> None:
            self.answer(201, self.came().encode())

        do_POST = do_PUT

        def came(self) -> str:
            digest, left = hashlib.sha256(), int(self.headers["Content-Length"])
            while left:
                piece = self.rfile.read(min(left, CHUNK))
                digest.update(piece)
                left -= len(piece)
            return digest.hexdigest()

        def answer(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    daemon_threads = False
    connections = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections += 1
        super().process_request(request, client_address)


@pytest.fixture(scope="module")
def serving() -> Iterator[Web]:
    """One that serves on a free port of loopback."""
    with Web(("127.0.0.1", 0), Web.Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()
