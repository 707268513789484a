"""confine: what a thread may touch from then on. Each in a process of its own, since there is no way back."""

import subprocess
import sys
from pathlib import Path

import pytest
from program import BOUND, ROOT

from nitrosocks_lib.net import landlock

pytestmark = pytest.mark.skipif(landlock.version() < 4, reason="no Landlock, or an old one")
BEGIN = """
import ctypes, os, socket, sys
from pathlib import Path
from nitrosocks_lib.net.landlock import READ, Access, confine
place = Path(sys.argv[1])
ctypes.CDLL(None).prctl(38, *map(ctypes.c_ulong, (1, 0, 0, 0)))
"""


def said(place: Path, code: str) -> list[str]:
    """What this code prints."""
    for name in ("yes", "no"):
        (place / name).mkdir(exist_ok=True)
        (place / name / "file").write_bytes(b"")
    argv = [sys.executable, "-c", BEGIN + code, str(place)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=BOUND, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


TRY = """
def tried(trial):
    try:
        trial()
        print("done")
    except OSError as error:
        print(error.errno)
"""


def test_what_is_beneath_an_allowed_path_can_be_read(tmp_path: Path) -> None:
    code = """
confine([(place / "yes", READ)], False)
tried((place / "yes" / "file").read_bytes)
tried((place / "no" / "file").read_bytes)
tried(lambda: (place / "yes" / "file").write_bytes(b"x"))
tried(lambda: os.listdir(place / "yes"))
tried(lambda: os.listdir(place))
"""
    assert said(tmp_path, TRY + code) == ["done", "13", "13", "done", "13"]


def test_a_file_alone_may_be_allowed_and_written(tmp_path: Path) -> None:
    code = """
confine([(place / "yes" / "file", READ | Access.WRITE_FILE)], False)
tried(lambda: os.open(place / "yes" / "file", os.O_RDWR))
tried(lambda: os.listdir(place / "yes"))
"""
    assert said(tmp_path, TRY + code) == ["done", "13"]


def test_a_path_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    code = """
confine([(place / "gone", READ), (place / "yes" / "file" / "below", READ), (place / "yes", READ)], False)
tried((place / "yes" / "file").read_bytes)
"""
    assert said(tmp_path, TRY + code) == ["done"]


@pytest.mark.parametrize(("listens", "came"), [(True, "done"), (False, "13")])
def test_who_listens_may_bind(tmp_path: Path, listens: bool, came: str) -> None:
    code = f"""
sock, other, before = socket.socket(), socket.socket(), socket.create_server(("127.0.0.1", 0))
confine([], {listens})
tried(lambda: sock.bind(("127.0.0.1", 0)))
tried(lambda: other.connect(before.getsockname()))
"""
    assert said(tmp_path, TRY + code) == [came, "done"]


@pytest.mark.parametrize("call", ["_CREATE", "_RESTRICT"])
def test_a_kernel_without_it_is_an_error(tmp_path: Path, call: str) -> None:
    """A system call that is unknown, or that a container's filter takes out."""
    code = f"""
from nitrosocks_lib.net import landlock
landlock.{call} = 1 << 20
before = os.listdir("/proc/self/fd")
tried(lambda: confine([(place, READ)], False))
assert os.listdir("/proc/self/fd") == before
"""
    assert said(tmp_path, TRY + code) == ["38"]


def test_no_version_where_there_is_no_linux(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert landlock.version() == 0
