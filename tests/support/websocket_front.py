"""An independent WebSocket server, that of the library, behind TLS and in front of a real server of ours.

It is the one for asyncio: the other one has two threads in one TLS connection, which breaks it now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Callable

from loopback import BOUND, pem
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

Judge = Callable[[ServerConnection, Request], Response | None]


class WebSocketFront:
    """Every upgrade becomes a TLS connection to `port`; what comes in messages goes there, and back."""

    def __init__(self, port: int, judge: Judge | None = None) -> None:
        """`judge` may answer a request otherwise."""
        self._behind, self._judge = port, judge
        self.requests: list[Request] = []
        self.alpn: list[str | None] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(BOUND)
        self.address: tuple[str, int] = ("127.0.0.1", next(iter(self._server.sockets)).getsockname()[1])

    def __enter__(self) -> WebSocketFront:
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(BOUND)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(BOUND)
        self._loop.close()

    async def _serve(self) -> Server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pem("front"))
        context.set_alpn_protocols(["http/1.1"])
        return await serve(
            self._carry, "127.0.0.1", 0, ssl=context, process_request=self._look, compression=None, close_timeout=1
        )

    async def _end(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    def _look(self, connection: ServerConnection, request: Request) -> Response | None:
        self.requests.append(request)
        self.alpn.append(connection.transport.get_extra_info("ssl_object").selected_alpn_protocol())
        return self._judge(connection, request) if self._judge is not None else None

    async def _carry(self, connection: ServerConnection) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with contextlib.suppress(ConnectionClosed, OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._behind, ssl=context)
            back = asyncio.create_task(_back(connection, reader))
            try:
                async for message in connection:
                    writer.write(message if isinstance(message, bytes) else message.encode())
                    await writer.drain()
            finally:
                back.cancel()
                writer.transport.abort()


async def _back(connection: ServerConnection, reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionClosed, OSError):
        while data := await reader.read(65_536):
            await connection.send(data)
        await connection.close()
