#!/usr/bin/env python3
"""What real boxes let through: each carrier on its own, what `auto` chose and how soon, and how fast it is.

    bench/boxes.py [--install] [--folder DIR] [--shapes] [--megabytes 100] [BOX...]

A box is a NAME.toml and its settings in bench/boxes, or in a folder of your own: tests/support/boxes.py says what
stands in it. All are measured, or those that are named. Client, box, server and target are on this machine, and the
files of server and client in a folder that is removed. Prints one row a box, as Markdown:

    each carrier  `connect --carrier NAME` alone: works, refused or hangs, and the seconds until that was known
    auto          which carrier it chose, and the seconds from the start of the program to the first byte of the answer
    up, down      MB/s of one stream through `forward` with that carrier

--shapes prints instead what a box does to bytes and requests, without NitroSocks. --install fetches what is missing, as
root: Debian's packages, and mitmproxy into an environment of its own.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from socket import SHUT_WR, socket

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import boxes  # noqa: E402  (that of tests/support)
import shapes  # noqa: E402
from boxed import Boxed, chosen  # noqa: E402
from boxes import Broken, Missing, Recipe  # noqa: E402
from figures import figure, head, row  # noqa: E402
from program import Process, Site  # noqa: E402
from targets import Target, dial, echo  # noqa: E402

CARRIERS = ("raw", "websocket", "http")
PATIENCE = 20.0  # seconds until a carrier that says nothing counts as hanging
HANGS = 2.5  # seconds after which a failure was a silence: no box takes that long to refuse
WORDS = b"to the target and back"
BLOCK = bytes(1 << 16)


def install(recipes: list[Recipe]) -> None:
    """What is missing of these. Raises CalledProcessError."""
    missing = [recipe for recipe in recipes if not is_there(recipe)]
    if packages := sorted({recipe.package for recipe in missing if recipe.package}):
        subprocess.run(["apt-get", "update", "-q"], check=True, stdout=sys.stderr)
        words = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *packages]
        subprocess.run(words, check=True, stdout=sys.stderr)
    if any(recipe.python for recipe in missing):
        subprocess.run([sys.executable, ROOT / "tests/support/install_mitmproxy.py"], check=True, stdout=sys.stderr)


def is_there(recipe: Recipe) -> bool:
    """Whether its program is installed."""
    try:
        return bool(recipe.program())
    except Missing:
        return False


# -- with the tunnel ---------------------------------------------------------------------------------------------------


def first_byte(boxed: Boxed, target: Target, carrier: str) -> tuple[Process, float, bool]:
    """`connect` with nothing remembered: itself, ended; the seconds until it answered or gave up; which of both."""
    boxed.forget()
    began = time.monotonic()
    words = ["-i", boxed.profile, *boxed.words(carrier), boxes.HOST, target.port]
    client = boxed.site.nitrosocks("connect", *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    silent = threading.Timer(PATIENCE, client.popen.kill)
    silent.start()
    stdin, stdout = client.popen.stdin, client.popen.stdout
    assert stdin is not None and stdout is not None
    with suppress(BrokenPipeError):
        stdin.write(WORDS)
    answered = stdout.read(1) == WORDS[:1]
    seconds = time.monotonic() - began
    with suppress(BrokenPipeError):
        stdin.close()
    client.wait()
    silent.cancel()
    return client, seconds, answered


def verdict(boxed: Boxed, target: Target, carrier: str) -> str:
    """Of one carrier alone."""
    _, seconds, works = first_byte(boxed, target, carrier)
    return f"{'works' if works else 'hangs' if seconds > HANGS else 'refused'}, {seconds:.1f} s"


def auto(boxed: Boxed, target: Target) -> tuple[str, str]:
    """What it chose, and how soon the first byte came."""
    client, seconds, works = first_byte(boxed, target, "auto")
    return (chosen(str(client.err)), f"{seconds:.1f} s") if works else ("none", "–")


@contextmanager
def taking_or_giving(size: int) -> Iterator[Target]:
    """A target that takes all and says "." when it has, or gives so much to one who begins with "g"."""

    def serve(sock: socket) -> None:
        sock.settimeout(None)
        if sock.recv(1) == b"g":
            for _ in range(size // len(BLOCK)):
                sock.sendall(BLOCK)
            return
        while sock.recv(1 << 20):
            pass
        sock.sendall(b".")

    with Target(serve) as target:
        yield target


def speeds(boxed: Boxed, megabytes: int) -> tuple[str, str]:
    """MB/s up and down, after something small of each that does not count."""
    size = megabytes * 1_000_000 // len(BLOCK) * len(BLOCK)
    with taking_or_giving(size) as target:
        client = boxed.forward(target.port)
        try:
            return rate(size, lambda: up(client.port, size)), rate(size, lambda: down(client.port))
        finally:
            client.close()


def rate(size: int, move: Callable[[], None]) -> str:
    """MB/s of something that moves so much."""
    began = time.monotonic()
    move()
    return figure(1e-6 * size / (time.monotonic() - began))


def up(port: int, size: int) -> None:
    """Until the target has all."""
    with dial(port) as sock:
        sock.settimeout(None)
        sock.sendall(b"t")
        for _ in range(size // len(BLOCK)):
            sock.sendall(BLOCK)
        sock.shutdown(SHUT_WR)
        assert sock.recv(1) == b".", "the stream was cut"


def down(port: int) -> None:
    """Until the target has given all."""
    with dial(port) as sock:
        sock.settimeout(None)
        sock.sendall(b"g")
        while sock.recv(1 << 20):
            pass


def measured(site: Site, recipe: Recipe, megabytes: int) -> list[str]:
    """One row, behind the name. Raises Missing or Broken."""
    with Target(echo) as target, Boxed(site, recipe) as boxed:
        alone = [verdict(boxed, target, carrier) for carrier in CARRIERS]
        carrier, soon = auto(boxed, target)
        both = ("–", "–") if carrier == "none" else speeds(boxed, megabytes)
    return [*alone, carrier, soon, *both]


# -- without it --------------------------------------------------------------------------------------------------------


def shaped(recipe: Recipe) -> list[str]:
    """One row, behind the name. Raises Missing or Broken."""
    with shapes.answering() as server, boxes.Box(recipe, server) as box:
        return [shape(box) for shape in shapes.SHAPES.values()]


def table(recipes: list[Recipe], columns: list[str], line: Callable[[Recipe], list[str]]) -> bool:
    """Prints each row as soon as it is known; a box that cannot be measured says why. Whether all could be."""
    print(head(["box", *columns]), flush=True)
    good = True
    for recipe in recipes:
        try:
            cells = line(recipe)
        except (Missing, Broken) as why:
            cells, good = [re.sub(r"\s+", " ", str(why)), *[""] * (len(columns) - 1)], False
        print(row([recipe.what, *cells]), flush=True)
    return good


def main() -> int:
    """1 where a box is missing or does not serve."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("box", nargs="*", metavar="BOX", help="all by default")
    parser.add_argument("--install", action="store_true", help="fetch what is missing first")
    parser.add_argument("--folder", type=Path, default=boxes.FOLDER, help="where the boxes are; bench/boxes by default")
    parser.add_argument("--shapes", action="store_true", help="what boxes do to bytes and requests")
    parser.add_argument("--megabytes", type=int, default=100, help="of each transfer; 100 by default")
    words = parser.parse_args()
    known = boxes.recipes(words.folder)
    if unknown := set(words.box) - set(known):
        parser.error(f"there is no {', '.join(sorted(unknown))} in {words.folder}: {', '.join(known)}")
    chosen_boxes = [known[name] for name in words.box or known]
    if words.install:
        install(chosen_boxes)
    if words.shapes:
        good = table(chosen_boxes, list(shapes.SHAPES), shaped)
    else:
        with ExitStack() as stack:
            place = stack.enter_context(tempfile.TemporaryDirectory(prefix="boxes-"))
            columns = [*CARRIERS, "auto", "first byte", "up, MB/s", "down, MB/s"]
            site = stack.enter_context(Site(Path(place)))
            good = table(chosen_boxes, columns, lambda recipe: measured(site, recipe, words.megabytes))
    print()
    for recipe in filter(is_there, chosen_boxes):
        print(f"* {recipe.what}: {recipe.which()}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
