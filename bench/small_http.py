#!/usr/bin/env python3
"""A small HTTP server for benchmarks where nginx is not installed: the same answer to whatever is asked.

bench/small_http.py PORT SIZE        the answer has a body of SIZE bytes
"""

from __future__ import annotations

import asyncio
import sys


class Answering(asyncio.Protocol):
    """One connection; it ends when the request says so."""

    def __init__(self, size: int) -> None:
        self._answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n" % size
        self._body = b"x" * size
        self._came = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio calls it."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers each request that is whole."""
        self._came += data
        while not self._transport.is_closing() and b"\r\n\r\n" in self._came:
            request, _, self._came = self._came.partition(b"\r\n\r\n")
            self._answer_one(request.lower())

    def _answer_one(self, request: bytes) -> None:
        old = request.partition(b"\r\n")[0].endswith(b"http/1.0")
        goes_on = b"connection: keep-alive" in request if old else b"connection: close" not in request
        head = b"Connection: keep-alive\r\n\r\n" if goes_on else b"Connection: close\r\n\r\n"
        self._transport.write(self._answer + head + self._body)
        if not goes_on:
            self._transport.close()


async def serve(port: int, size: int) -> None:
    """Until it is killed."""
    server = await asyncio.get_running_loop().create_server(lambda: Answering(size), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(*map(int, sys.argv[1:])))
