"""background: the parent ends as the child says, and the file with its number is written or told about."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from logged import here, messages
from ready import readable

from nitrosocks_lib.cli.background import pid_file
from nitrosocks_lib.facts.errors import CannotCreate

CHILD = """
import os, sys
from nitrosocks_lib.cli.background import into_background
ready = into_background()
{body}
"""


def run(body: str, stderr: Any = subprocess.PIPE, **more: Any) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-c", CHILD.format(body=body)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": stderr}
    return subprocess.run(words, check=False, text=True, timeout=60, **pipes, **more)


@pytest.mark.parametrize(
    ("body", "code"),
    [("ready()", 0), ("ready(); os._exit(3)", 0), ("os._exit(73)", 73), ("raise SystemExit(69)", 69)],
)
def test_the_exit_code_is_the_childs_until_it_is_ready(body: str, code: int) -> None:
    assert run(body).returncode == code


def test_the_exit_code_is_known_where_children_are_ignored() -> None:
    done = run("raise SystemExit(69)", preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    assert (done.returncode, done.stderr) == (69, "")


def test_a_child_that_is_not_ready_ends_with_its_parent(tmp_path: Path) -> None:
    """As under timeout(1), or a supervisor that waits no longer."""
    os.mkfifo(lives := tmp_path / "lives")
    body = f"import signal; file = open({str(lives)!r}, 'w'); signal.pause()"
    parent = subprocess.Popen([sys.executable, "-c", CHILD.format(body=body)], stdin=subprocess.DEVNULL)
    with lives.open("rb") as file:
        parent.kill()
        assert parent.wait(60) and readable(file.fileno(), 60) and file.read() == b""


SAID = "print(repr(sys.stdin.read()), os.getsid(0) == os.getpid(), file=sys.stderr)"


def test_a_child_that_is_ready_has_no_stdin_and_stdout(tmp_path: Path) -> None:
    os.mkfifo(over := tmp_path / "over")
    with (tmp_path / "log").open("w") as log:
        done = run(f"ready(); print('late', flush=True); {SAID}; open({str(over)!r}, 'w')", log)
    over.read_bytes()  # waits for a writer
    assert (done.stdout, (tmp_path / "log").read_text()) == ("", "'' True\n")


def test_a_child_that_is_ready_keeps_nobody_waiting_who_reads_what_it_said(tmp_path: Path) -> None:
    """Neither stderr nor a pipe that it inherited stays open: it lives, and both are at their ends."""
    os.mkfifo(lives := tmp_path / "lives")
    reader, writer = os.pipe()
    try:
        done = run(f"print('said', file=sys.stderr); ready(); open({str(lives)!r}).read()", pass_fds=[writer])
    finally:
        os.close(writer)
    with open(reader, "rb") as pipe:
        assert (done.returncode, done.stderr, pipe.read()) == (0, "said\n", b"")
    lives.write_bytes(b"")  # waits for a reader


def test_the_journal_stays_open() -> None:
    near, far = socket.socketpair()
    with near, far:
        status = os.fstat(far.fileno())
        known = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        run(f"ready(); {SAID}", far, env=known)
        far.close()
        assert near.makefile().read() == "'' True\n"


def test_the_number_of_the_process(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("4194304 and more\n")  # of one that was killed
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"
        assert path.stat().st_mode & 0o444 == 0o444
    assert not path.exists()


@pytest.mark.parametrize(("name", "told"), [("no/pid", "No such file or directory"), (".", "Is a directory")])
def test_a_number_that_cannot_be_written(name: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(CannotCreate, match=f"cannot write .*: {told}"), pid_file(tmp_path / name):
        pass
    assert not [*tmp_path.iterdir()]


def test_the_number_of_a_process_that_runs_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(path):
        told = f"pid belongs to process {os.getpid()}, which still runs"
        with pytest.raises(CannotCreate, match=told), pid_file(path):
            pass
        assert path.read_text() == f"{os.getpid()}\n"


def test_others_cannot_write_the_number(tmp_path: Path) -> None:
    """Whoever could would choose which process is ended by it."""
    before = os.umask(0)
    try:
        with pid_file(tmp_path / "pid"):
            assert stat.S_IMODE((tmp_path / "pid").stat().st_mode) == 0o644
    finally:
        os.umask(before)


def test_a_file_that_was_named_by_mistake_stays(tmp_path: Path) -> None:
    path = tmp_path / "alice.profile"
    path.write_text("name = 'alice'\n")
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(CannotCreate, match="alice.profile exists, and no number of a process"), pid_file(path):
        pass
    with pytest.raises(CannotCreate, match="fifo is not a regular file"), pid_file(tmp_path / "fifo"):
        pass
    assert path.read_text() == "name = 'alice'\n" and (tmp_path / "fifo").is_fifo()


@pytest.mark.parametrize("left", [b"", b"\0" * 7, b"123456"])
def test_what_a_crash_left(left: bytes, tmp_path: Path) -> None:
    (tmp_path / "pid").write_bytes(left)
    with pid_file(tmp_path / "pid"):
        assert (tmp_path / "pid").read_text() == f"{os.getpid()}\n"


def test_the_file_of_the_next_process_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(path):
        path.unlink()
        path.write_text("7\n")
    assert path.read_text() == "7\n"


def test_a_number_that_cannot_be_removed_does_not_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refused(_: Path) -> None:
        raise PermissionError(13, os.strerror(13))

    caplog.set_level(0)
    with pid_file(tmp_path / "pid"):
        monkeypatch.setattr(Path, "unlink", refused)
    assert (tmp_path / "pid").read_text() == "" and len(told := messages(here(caplog))) == 1
    assert told[0].endswith("pid cannot be removed: Permission denied; it is empty now")
