"""The program, as `nitrosocks` runs it, which tries what it has given up as soon as it is ready, and tells what came.

    python tests/support/trying.py OUTSIDE serve|forward …

OUTSIDE is a folder that is nothing of the program's. One line on stdout: what was tried, and the error, or "done".
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from nitrosocks_lib.client.forward import Forwarder  # noqa: E402
from nitrosocks_lib.server.server import Server  # noqa: E402


def bind() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))


def run() -> None:
    """In place of the process, where it may: it says so by its exit."""
    child = os.fork()
    if not child:
        try:
            os.execv("/bin/true", ["true"])
        except OSError as error:
            os._exit(error.errno)
    if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise OSError(code, os.strerror(code))


def trials(outside: Path, home: Path) -> dict[str, Callable[[], object]]:
    """What is tried."""
    return {
        "read outside": (outside / "there").read_bytes,
        "list outside": lambda: os.listdir(outside),
        "write outside": lambda: (outside / "new").write_bytes(b""),
        "read home": (home / "server.key").read_bytes,
        "list home": lambda: os.listdir(home / "clients.d"),
        "write home": lambda: (home / "clients.d" / "new.toml").write_bytes(b""),
        "remove": (home / "server.key").unlink,
        "read /etc": Path("/etc/hosts").read_bytes,
        "write /dev/null": lambda: Path(os.devnull).write_bytes(b"x"),
        "resolve": lambda: socket.getaddrinfo("localhost", 1),
        "import": lambda: __import__("wave"),
        "bind": bind,
        "signal": lambda: os.kill(os.getppid(), 0),
        "signal itself": lambda: os.kill(os.getpid(), signal.SIGCONT),
        "run": run,
    }


def tried(what: dict[str, Callable[[], object]]) -> dict[str, str]:
    """What came of each."""
    came = {}
    for name, trial in what.items():
        try:
            trial()
            came[name] = "done"
        except OSError as error:
            came[name] = errno.errorcode.get(error.errno or 0, str(error))
    return came


def tell(outside: Path, home: Path) -> None:
    """Tries all of it in a thread, as those that serve are."""
    said: list[dict[str, str]] = []
    thread = threading.Thread(target=lambda: said.append(tried(trials(outside, home))))
    thread.start()
    thread.join()
    os.write(1, f"tried {json.dumps(said[0])}\n".encode())


def main() -> int:
    """The program."""
    outside = Path(sys.argv[1])
    for kind in (Server, Forwarder):
        real = kind.start

        def start(self: object, real: Callable = real) -> None:
            real(self)
            tell(outside, outside.parent / "home")

        kind.start = start  # type: ignore[assignment,method-assign]
    from nitrosocks_lib.cli.main import main as run_program

    return run_program(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
