"""harden and settle: what they give up, and that a system which lacks a step is no end. The real programs: whole/."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from logged import here
from program import BOUND, ROOT

from nitrosocks_lib.net import landlock, process

BEGIN = """
import ctypes, logging, os, resource, sys, threading
from pathlib import Path
from nitrosocks_lib.net import landlock, process
logging.basicConfig(level=logging.DEBUG, format="%(message)s")
prctl = lambda option: ctypes.CDLL(None).prctl(option, *map(ctypes.c_ulong, (0, 0, 0, 0)))
"""


def run(code: str, *words: object) -> subprocess.CompletedProcess[str]:
    """In a process of its own: what is given up does not come back."""
    argv = [sys.executable, "-c", BEGIN + code, *map(str, words)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=BOUND, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done


def test_harden() -> None:
    code = "process.harden(); print(prctl(3), prctl(39), *resource.getrlimit(resource.RLIMIT_CORE))"
    done = run(code)
    assert done.stdout.split() == ["0", "1", "0", "0"] and not done.stderr


@pytest.mark.skipif(not landlock.version(), reason="no Landlock")
def test_settle(tmp_path: Path) -> None:
    """Modules that are imported late are there, `readable` is, and what lies beside it is not."""
    for name in ("yes", "no"):
        (tmp_path / name).write_text(name, encoding="ascii")
    code = """
place = Path(sys.argv[1])
process.harden()
process.settle([place / "yes"])
import wave
print((place / "yes").read_text())
try:
    (place / "no").read_text()
except PermissionError:
    print("denied")
"""
    assert run(code, tmp_path).stdout.split() == ["yes", "denied"]


@pytest.mark.skipif(not landlock.version(), reason="no Landlock")
def test_our_own_modules_can_be_imported_late_from_wherever_they_are() -> None:
    """As where `pip install -e` leads to them by a finder, and by no directory of sys.path."""
    code = """
sys.path.remove("")
process.harden()
process.settle()
from nitrosocks_lib.net import hello
"""
    run(code)


@pytest.mark.skipif(not landlock.version(), reason="no Landlock")
def test_files_of_one_directory_may_be_replaced(tmp_path: Path) -> None:
    """Whole, as secrets are written; but nothing in it is run, no directory is made, and none beside it is written."""
    for name in ("learnt", "beside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "old").write_text("old", encoding="ascii")
    code = """
from nitrosocks_lib.files.writing import write_secret
place = Path(sys.argv[1])
process.harden()
process.settle(replaced=place / "learnt")
write_secret(place / "learnt" / "old", "new", force=True)
write_secret(place / "learnt" / "other", "other")
print((place / "learnt" / "old").read_text(), (place / "learnt" / "other").read_text())
tries = {
    "make a directory": lambda: (place / "learnt" / "directory").mkdir(),
    "write beside it": lambda: (place / "beside" / "old").write_text("new"),
    "move beside it": lambda: (place / "learnt" / "old").rename(place / "beside" / "new"),
    "remove beside it": lambda: (place / "beside" / "old").unlink(),
}
for what, call in tries.items():
    try:
        call()
    except OSError:
        print("denied")
"""
    assert run(code, tmp_path).stdout.split() == ["new", "other", *["denied"] * 4]


@pytest.mark.skipif(not landlock.version(), reason="no Landlock")
def test_where_links_in_etc_lead_can_be_read(tmp_path: Path) -> None:
    """As with WSL, where resolv.conf is a link to /mnt/wsl; what comes there later, too, but nothing beside it."""
    for name in ("etc", "far", "near"):
        (tmp_path / name).mkdir()
    (tmp_path / "etc" / "resolv.conf").symlink_to(tmp_path / "far" / "resolv.conf")
    (tmp_path / "etc" / "hosts").symlink_to("../far/not/there/yet")
    (tmp_path / "etc" / "gai.conf").symlink_to("/gai.conf")
    for name in ("etc/nsswitch.conf", "far/resolv.conf", "far/new", "near/no"):
        (tmp_path / name).write_bytes(b"")
    code = """
place = Path(sys.argv[1])
process._ETC = place / "etc"
process.harden()
process.settle()
for name in ("far/resolv.conf", "far/new", "etc/nsswitch.conf", "near/no"):
    try:
        print(len((place / name).read_text()))
    except PermissionError:
        print("denied")
"""
    assert run(code, tmp_path).stdout.split() == ["0", "0", "denied", "denied"]


@pytest.mark.skipif(not landlock.version(), reason="no Landlock")
def test_threads_that_run_already_are_told_of() -> None:
    code = """
process.harden()
done = threading.Event()
threading.Thread(target=done.wait).start()
process.settle()
done.set()
"""
    assert "threads run already" in run(code).stderr


def test_a_system_that_has_none_of_it_is_told_of_and_no_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuses(*_: object) -> None:
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(sys, "platform", "freebsd15")
    monkeypatch.setattr(process.resource, "setrlimit", refuses)
    with caplog.at_level(logging.DEBUG):
        process.harden()
        process.settle()
    steps = ["not dumpable", "no core", "no new privileges", "Landlock", "keys out of swap"]
    lines = [record.message for record in here(caplog) if "threads run" not in record.message]
    assert [line.partition(":")[0] for line in lines] == steps
    assert {record.levelname for record in here(caplog)} == {"DEBUG"}


def test_a_libc_without_a_call_is_told_of(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(process.ctypes, "CDLL", lambda *_, **__: object())
    monkeypatch.setattr(process.resource, "setrlimit", lambda *_: None)
    monkeypatch.setattr(sys, "platform", "linux")
    with caplog.at_level(logging.DEBUG):
        process.harden()
    assert len(here(caplog)) == 2
