"""Lines: they arrive whole and in order, and keep nobody waiting where nobody reads them."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import re
import signal
import subprocess
import threading
import tty
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import program
import pytest
from program import BOUND, NITROSOCKS, Site, port_of
from targets import Target, dial, echo, exchange

from nitrosocks_lib.facts import limits
from nitrosocks_lib.net import lines as module
from nitrosocks_lib.net.lines import HELD, Lines, LogLines

site = program.site
F_SETPIPE_SZ = 1031


class Pipe:
    """A small pipe of the kernel's, and Lines that write into it."""

    def __init__(self) -> None:
        self.read, self.write = os.pipe()
        fcntl.fcntl(self.write, F_SETPIPE_SZ, 4096)
        self.lines = Lines(self.write)

    def fill(self) -> None:
        """So that it takes nothing more, until it is read."""
        os.set_blocking(self.write, False)
        with pytest.raises(BlockingIOError):
            while True:
                os.write(self.write, bytes(4096))
        os.set_blocking(self.write, True)

    def read_to(self, last: bytes) -> bytes:
        got = b""
        while not got.endswith(last) and (piece := os.read(self.read, 65536)):
            got += piece
        return got.lstrip(b"\0")

    def close(self) -> None:
        os.close(self.read)
        os.close(self.write)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    if not made.lines.flush():  # its thread is not to write into a number that somebody else has by then
        made.read_to(b"read them\n")
        assert made.lines.flush()
    made.close()


def test_lines_arrive_in_their_order_and_whole(pipe: Pipe) -> None:
    long = "x" * 10_000
    threads = [
        threading.Thread(target=lambda k=k: [pipe.lines.put(f"{k} {n} {long}\n") for n in range(20)]) for k in "abc"
    ]
    for thread in threads:
        thread.start()
    got = b""
    while got.count(b"\n") < 60:
        got += os.read(pipe.read, 65536)
    for thread in threads:
        thread.join()
    heads = [re.fullmatch(rf"(\w) (\d+) {long}", line) for line in got.decode().splitlines()]
    assert all(heads), "each is whole"
    for k in "abc":
        assert [int(head[2]) for head in heads if head[1] == k] == [*range(20)]
    assert pipe.lines.flush()


def test_a_full_pipe_keeps_nobody_waiting_and_what_is_dropped_is_counted(pipe: Pipe) -> None:
    pipe.fill()
    line, count = "y" * 99 + "\n", 2 * HELD // 100
    for _ in range(count):
        pipe.lines.put(line)
    assert not pipe.lines.flush()
    got = pipe.read_to(b"since nobody read them\n").decode()
    lines = got.splitlines()
    told = re.fullmatch(r"nitrosocks: (\d+) lines were dropped, since nobody read them", lines.pop())
    assert {*lines} == {line[:-1]} and len(lines) + int(told[1]) == count and len(lines) >= HELD // 100
    pipe.lines.put("again\n")
    assert pipe.read_to(b"\n") == b"again\n"


def test_one_that_is_dropped(pipe: Pipe) -> None:
    pipe.lines.put("z" * HELD + "\n")
    assert pipe.read_to(b"\n") == b"nitrosocks: 1 line was dropped, since nobody read them\n"


def test_a_reader_that_is_slow_gets_all_at_the_end(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATIENCE", "LONGEST"):  # for a machine that is slow, too
        monkeypatch.setattr(module, name, BOUND)
    data = [f"{n} {'w' * 1000}\n" for n in range(50)]
    for line in data:
        pipe.lines.put(line)
    flushed: list[bool] = []
    ending = threading.Thread(target=lambda: flushed.append(pipe.lines.flush()))
    ending.start()
    got = b""
    while not got.endswith(data[-1].encode()):
        got += os.read(pipe.read, 500)
    ending.join(BOUND)
    assert (got, flushed) == ("".join(data).encode(), [True])


def test_the_flags_of_the_descriptor_stay(pipe: Pipe) -> None:
    for blocking in (True, False):
        pipe.fill()
        os.set_blocking(pipe.write, blocking)
        before = fcntl.fcntl(pipe.write, fcntl.F_GETFL)
        pipe.lines.put(f"{blocking}\n")
        assert pipe.read_to(b"\n") == f"{blocking}\n".encode()
        assert pipe.lines.flush() and fcntl.fcntl(pipe.write, fcntl.F_GETFL) == before


def test_what_cannot_be_written_is_no_hindrance() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        lines = Lines(full.fileno())
        for _ in range(3):
            lines.put("lost\n")
            assert lines.flush() and lines.error is not None and lines.error.errno == errno.ENOSPC
        with open("/dev/null", "wb") as null:
            os.dup2(null.fileno(), full.fileno())
        lines.put("taken\n")
        assert lines.flush() and lines.error is None


def test_a_reader_that_is_gone_is_no_hindrance() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    lines = Lines(writing)
    for _ in range(3):
        lines.put("lost\n")
        assert lines.flush() and isinstance(lines.error, BrokenPipeError)
    os.close(writing)


def test_without_a_thread_they_go_out_at_the_end(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as scarce:
        scarce.setattr(module.threading.Thread, "start", none)
        pipe.lines.put("one\n")
        pipe.lines.put("two\n")
        assert pipe.lines.flush() and os.read(pipe.read, 100) == b"one\ntwo\n"
        pipe.lines.put("three\n")
    pipe.lines.put("four\n")
    assert pipe.read_to(b"four\n") == b"three\nfour\n"


def test_log_records_are_lines(pipe: Pipe) -> None:
    log = logging.Logger("a test")
    log.addHandler(LogLines(pipe.lines))
    log.warning("%s \udcff", "told")
    assert pipe.read_to(b"\n") == b"told \\udcff\n"


def logged(pipe: Pipe, *arguments: object, **more: Any) -> str:
    log = logging.Logger("a test")
    log.addHandler(LogLines(pipe.lines, "nitrosocks: %(message)s"))
    log.error(*arguments, **more)
    assert pipe.lines.flush()
    return os.read(pipe.read, 65536).decode()


@pytest.mark.parametrize("words", ["\x1b]0;x\x07", "\r\nnitrosocks: ready", "\u202e\u2028\x9b", "\udcff", "x" * 10_000])
def test_whatever_a_record_says_it_is_one_line(pipe: Pipe, words: str) -> None:
    said = logged(pipe, "%s", words)
    assert said.endswith("\n") and said[:-1].isprintable() and len(said) <= limits.LINE + 1


def test_a_traceback_has_lines_of_its_own_which_are_no_records(pipe: Pipe) -> None:
    """What the exception says may be a peer's words."""
    try:
        raise ValueError("told\nnitrosocks: ready\r\x1b[2K" + "x" * 10_000)
    except ValueError as error:
        said = logged(pipe, "a fault", exc_info=error).splitlines()
    assert said[:2] == ["nitrosocks: a fault", "  Traceback (most recent call last):"]
    assert all(line.startswith("  ") and line.isprintable() and len(line) <= limits.LINE for line in said[1:])
    assert any(line.startswith("  nitrosocks: ready\\r\\x1b[2Kxxx") for line in said)


# -- in the program ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "code"), [(["serve", "--bogus"], 64), (["keygen", "--home", "home"], 0)])
def test_an_end_is_not_kept_waiting_by_stderr(site: Site, pipe: Pipe, words: list[str], code: int) -> None:
    pipe.fill()
    done = subprocess.run(
        [*NITROSOCKS, *words], stdout=subprocess.PIPE, stderr=pipe.write, cwd=site.place, check=False, timeout=BOUND
    )
    assert done.returncode == code and done.stdout.startswith(b"SHA256:" if code == 0 else b"")


def test_nor_is_a_missing_package(pipe: Pipe, tmp_path: Path) -> None:
    (tmp_path / "docopt.py").write_text("raise ModuleNotFoundError(name='docopt')")
    pipe.fill()
    source = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(program.ROOT)!r}]; import nitrosocks as n"
    argv = [NITROSOCKS[0], "-c", f"{source}; sys.exit(n.main())"]
    assert subprocess.run(argv, stderr=pipe.write, check=False, timeout=BOUND).returncode == 70


def test_data_flows_where_nobody_reads_stderr_nor_stdout(site: Site) -> None:
    """More is said than a pipe holds, of connections that are refused, and of where it listens."""
    profile, pipe = site.profile("unread", site.serve().port), Pipe()
    with Target(echo) as target:
        specs = [word for _ in range(200) for word in ("-L", f"0:127.0.0.1:{target.port}")]
        words = ["forward", "-vv", "-i", str(profile), *specs]
        process = subprocess.Popen(
            [*NITROSOCKS, *words], stdin=subprocess.DEVNULL, stdout=pipe.write, stderr=pipe.write
        )
        try:
            got = b""
            while b"forwarding" not in got or not got.endswith(b"\n"):
                got += os.read(pipe.read, 1)
            port = port_of(re.search(rb"forwarding (\S+:\d+) ", got)[1].decode())
            for _ in range(20):  # each says a few lines
                with dial(port) as sock:
                    assert exchange(sock, b"x" * 100_000) == b"x" * 100_000
            process.send_signal(signal.SIGTERM)
            assert process.wait(BOUND) == 0
        finally:
            process.kill()
            process.wait(BOUND)
            pipe.close()


@pytest.mark.parametrize("raw", [True, False])
def test_lines_begin_at_the_left_of_a_terminal_that_ssh_made_raw(raw: bool) -> None:
    screen, terminal = os.openpty()
    if raw:
        tty.setraw(terminal)
    lines, got = Lines(terminal), b""
    lines.put("one\ntwo\n")
    while got.count(b"\n") < 2:
        got += os.read(screen, 100)
    assert lines.flush() and got == b"\r" * raw + b"one\r\ntwo\r\n"
    os.close(terminal)
    os.close(screen)


# -- how many warnings ------------------------------------------------------------------------------------------------


class Kept(Lines):
    """Lines that go nowhere."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.texts: list[str] = []

    def put(self, text: str) -> None:
        self.texts.append(text)


def test_warnings_that_a_peer_causes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many lines of a detail as somebody asked for with -v."""
    at = [1_000.0]
    monkeypatch.setattr(module, "now", lambda: at[0])
    lines = Kept()
    log = LogLines(lines)

    def say(level: int, times: int) -> int:
        before = len(lines.texts)
        for _ in range(times):
            log.handle(logging.LogRecord("n", level, "", 0, "said", None, None))
        return len(lines.texts) - before

    assert say(logging.WARNING, 10_000) == limits.WARNINGS_AT_ONCE == 200
    assert say(logging.INFO, 1_000) == 1_001
    assert lines.texts[200] == "nitrosocks: 9800 warnings were left out, since too many came at once\n"
    at[0] += 1.0
    assert say(logging.WARNING, 1_000) == say(logging.ERROR, 1_000) + limits.WARNINGS == 20
    at[0] += 3_600.0
    assert say(logging.ERROR, 1_000) == 1 + limits.WARNINGS_AT_ONCE
