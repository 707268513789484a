"""`demo`: a download through a box that ends TLS, and what that box got to see of it. All on this machine."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Final

from ..client import notices
from ..client.dialler import Dialler
from ..client.forward import Forward, Forwarder
from ..client.pool import Pool
from ..crypto import certificate
from ..facts import limits
from ..facts.address import join_host_port
from ..facts.errors import CannotCreate
from ..facts.wire import Kind
from ..facts.words import foreign, said
from ..files import enrol, profiles
from ..files.writing import make_directory, write_secret
from ..net.connect import Context, Route, client_context, server_context
from ..protocol.frames import Target
from ..server.authorised import Clients
from ..server.certificates import Certificates
from ..server.connection import Settings
from ..server.server import Server
from .findings import BOX, NOTICED, PASSWORD, SENTENCES, SIZE, Got, Row, look, table
from .interceptor import Interceptor

_LOOPBACK: Final = "127.0.0.1"
_CUT_AFTER: Final = SIZE // 4  # bytes that the client has when the box cuts
_HELD_BACK: Final = SIZE // 8  # bytes that the web server sends after the cut only, so that it comes in the middle
_PIECE: Final = 64 * 1024  # bytes read at once
_PATIENCE: Final = 30.0  # seconds for one step that should take none


@dataclass(frozen=True, slots=True)
class Shown:
    """The table, whether the box could read anything of NitroSocks, and the folders of the two recordings."""

    rows: list[Row]
    readable: bool
    recordings: tuple[Path, Path]


def show(keep: Path | None) -> Shown:
    """Downloads with NitroSocks and without, and looks at what the box saw of both.

    The recordings stay in `keep`, everything else is removed. Raises CannotCreate, also where the box could not record.
    """
    with _temporary() as temporary:
        home = Path(temporary)
        through, control = _folders(home if keep is None else keep)
        with _heard(notices.log) as lines:
            got = _with_nitrosocks(home, through)
        rows = table(got, NOTICED in lines, seen := look(through), _without_nitrosocks(home, control), look(control))
    return Shown(rows, any(seen.found), (through, control))


# -- the two downloads ------------------------------------------------------------------------------------------------


def _with_nitrosocks(home: Path, recording: Path) -> Got:
    """Client, box, server and web server; the box cuts its connections in the middle of the download."""
    with ExitStack() as stack:
        web = stack.enter_context(_web())
        server, address = _server(home)
        box = stack.enter_context(_box(home, address, recording))
        pool = Pool(_dialler(home, box.port, web.server_port))
        stack.callback(pool.close, limits.RELEASE)
        forwarder = Forwarder(pool)
        stack.callback(forwarder.stop)
        here, there = Target(Kind.TCP, _LOOPBACK, 0), Target(Kind.TCP, _LOOPBACK, web.server_port)
        near = forwarder.bind(Forward(here, there))
        forwarder.start()
        server.start()
        stack.callback(server.drain, limits.RELEASE)  # the first thing at the end: it lets the stream end in order
        cuts: list[int] = []

        def cut() -> None:
            cuts.append(box.seen["down"])
            box.cut()
            web.cut_is_over.set()

        got = _download(HTTPConnection(near.host, near.port, timeout=_PATIENCE), web.document, cut)
        return replace(got, cut=sum(cuts), sessions=pool.made)


def _without_nitrosocks(home: Path, recording: Path) -> Got:
    """The proof that the box can read, and that the counting finds: plain HTTPS through it."""
    _, crt, key, _ = profiles.ensure_server(home, datetime.now(UTC))
    with _web(server_context(crt, key)) as web, _box(home, (_LOOPBACK, web.server_port), recording) as box:
        context = client_context(verify=False)
        connection = HTTPSConnection(_LOOPBACK, box.port, timeout=_PATIENCE, context=context)
        return _download(connection, web.document, web.cut_is_over.set)


def _download(connection: HTTPConnection, wanted: bytes, midway: Callable[[], None]) -> Got:
    """Asks for the document with a password that nobody else should see; calls `midway` when a part has come."""
    began, size, digest, failure, called = time.monotonic(), 0, sha256(), "", False
    try:
        connection.request("GET", "/", headers={"X-Password": PASSWORD})
        response = connection.getresponse()
        while piece := response.read(_PIECE):
            digest.update(piece)
            size += len(piece)
            if size >= _CUT_AFTER and not called:
                called = True
                midway()
    except (OSError, HTTPException) as error:
        failure = said(error)
    finally:
        connection.close()
    return Got(size, digest.digest() == sha256(wanted).digest(), time.monotonic() - began, failure)


# -- who takes part ---------------------------------------------------------------------------------------------------


def _server(home: Path) -> tuple[Server, tuple[str, int]]:
    key, crt, private, _ = profiles.ensure_server(home, datetime.now(UTC))
    clients = Clients(home / profiles.CLIENTS, profiles.load_client)
    server = Server(key, clients, Settings(Certificates(crt, private)))
    return server, server.listen(_LOOPBACK, 0)


def _dialler(home: Path, port: int, target: int) -> Dialler:
    """Of an authorised client whose profile takes the box for the server."""
    public = profiles.ensure_server_key(home)[0].public
    permit = [join_host_port(_LOOPBACK, target)]
    profile, client = enrol.make_client("demo", [join_host_port(_LOOPBACK, port)], public, permit)
    write_secret(profiles.client_path(home, "demo"), client)
    write_secret(path := profiles.profile_path(home, "demo"), profile)
    loaded = profiles.load_profile(path)
    return Dialler(loaded.credentials, loaded.servers, Route())


@contextmanager
def _box(home: Path, upstream: tuple[str, int], recording: Path) -> Iterator[Interceptor]:
    """A box with a certificate of its own; each one records in its own folder."""
    crt, key = home / f"{recording.name}.crt", home / f"{recording.name}.key"
    for path, pem in zip((crt, key), certificate.make(datetime.now(UTC), BOX), strict=True):
        write_secret(path, pem.decode())
    box = Interceptor(upstream, crt, key, (_LOOPBACK, 0), recording)
    box.start()
    try:
        yield box
    finally:
        box.stop()
    if box.unrecorded is not None:
        reason = f"the box cannot record in {foreign(recording)}: {box.unrecorded.strerror}"
        raise CannotCreate(reason, "make room, or choose another place with --keep")


class _Page(BaseHTTPRequestHandler):
    timeout = _PATIENCE

    def do_GET(self) -> None:
        assert isinstance(self.server, _Web), "it is what makes these"
        document = memoryview(self.server.document)
        self.send_response(200)
        self.send_header("Content-Length", str(SIZE))
        self.end_headers()
        self.wfile.write(document[:-_HELD_BACK])
        self.server.cut_is_over.wait(_PATIENCE)
        self.wfile.write(document[-_HELD_BACK:])

    def log_message(self, format: str, *_: object) -> None:
        pass


class _Web(ThreadingHTTPServer):
    daemon_threads = False  # server_close waits for them

    def __init__(self, context: Context | None) -> None:
        super().__init__((_LOOPBACK, 0), _Page)
        if context is not None:  # each handshake in the thread of its connection
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        lines = (f"{n:07d} {SENTENCES[n % len(SENTENCES)]}\n".encode() for n in range(SIZE // 64))
        self.document = b"".join(lines)[:SIZE]
        self.cut_is_over = threading.Event()

    def server_bind(self) -> None:
        TCPServer.server_bind(self)  # HTTPServer's asks the DNS for our name
        self.server_port = int(self.server_address[1])

    def handle_error(self, request: object, client_address: object) -> None:
        logging.getLogger(__name__).debug("the web server", exc_info=True)


@contextmanager
def _web(context: Context | None = None) -> Iterator[_Web]:
    with _Web(context) as web:
        threading.Thread(target=web.serve_forever, args=(0.05,), name="web", daemon=True).start()
        try:
            yield web
        finally:
            web.cut_is_over.set()
            web.shutdown()


@contextmanager
def _heard(log: logging.Logger) -> Iterator[list[str]]:
    """What this logger says meanwhile."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    log.addHandler(handler)
    try:
        yield lines
    finally:
        log.removeHandler(handler)


def _temporary() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="nitrosocks-demo-")
    except OSError as error:
        raise CannotCreate(f"no temporary directory can be made: {error.strerror}", "set TMPDIR to a place") from None


def _folders(place: Path) -> tuple[Path, Path]:
    """Two empty folders for the recordings."""
    folders = place / "with-nitrosocks", place / "without"
    try:
        make_directory(place)
        if any(map(os.path.exists, folders)):
            raise CannotCreate(f"{foreign(place)} already holds recordings", "choose another directory with --keep")
        for folder in folders:
            folder.mkdir(mode=0o700)
    except OSError as error:
        told = f"{foreign(place)} cannot be made: {error.strerror}"
        raise CannotCreate(told, "choose another place with --keep") from None
    return folders
