"""opening: the first session is tried again with --retry only, after pauses that grow, and a signal ends it."""

from __future__ import annotations

import errno
import sys
import threading
from types import SimpleNamespace
from typing import Any

import program
import pytest
from logged import here, messages
from program import Site, expect_one_line

from nitrosocks_lib.cli.main import exit_code
from nitrosocks_lib.cli.opening import first_session
from nitrosocks_lib.facts import limits
from nitrosocks_lib.facts.errors import CannotCreate, NetworkError, NitroSocksError, NotAuthorised, Unanswered

site = program.site


class Stop:
    """As net.signals has it, but time passes at once; the signal comes in the pause with this number."""

    def __init__(self, ends_in: int | None = None) -> None:
        self.came = False
        self.failure: NitroSocksError | None = None
        self.pauses: list[float] = []
        self._ends_in = ends_in
        self._told = threading.Event()

    def tell(self) -> None:
        self._told.set()

    def wait(self, seconds: float | None = None) -> bool:
        if seconds is None:
            assert self._told.wait(30)
            self._told.clear()
        else:
            self.pauses.append(seconds)
            self.came = len(self.pauses) == self._ends_in
        return self.came


def pool(*failures: BaseException) -> Any:
    """It cannot be started so often."""
    left = iter(failures)

    def start() -> None:
        for failure in left:
            raise failure

    return SimpleNamespace(start=start, doubt=lambda _: None)


@pytest.mark.parametrize("raised", [ValueError("told"), AssertionError(), SystemExit(0), KeyboardInterrupt()])
def test_whatever_is_raised_there_is_no_session(raised: BaseException) -> None:
    stop: Any = Stop()
    with pytest.raises(NitroSocksError, match="^cannot make a session: ") as caught:
        first_session(pool(raised), stop, retry=False)
    assert exit_code(caught.value) == 70


def test_without_a_thread_there_is_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", none)
    stop: Any = Stop()
    with pytest.raises(CannotCreate, match="^cannot make a session: no further thread can be started$") as caught:
        first_session(pool(), stop, retry=False)
    assert "ulimit -u" in caught.value.hint


def test_without_a_descriptor_there_is_no_session() -> None:
    """Whether it lacks here, or in the pool, which says so in words of its own."""
    stop: Any = Stop()
    (told := NitroSocksError("told")).__cause__ = OSError(errno.EMFILE, "Too many open files")
    for raised in (told, told.__cause__):
        with pytest.raises(CannotCreate, match="^cannot make a session: too many files are open$") as caught:
            first_session(pool(raised), stop, retry=False)
        assert "ulimit -n" in caught.value.hint


SOURCE = """
import sys
sys.path.insert(0, {root!r})
from nitrosocks_lib.cli.main import main
from nitrosocks_lib.client.dialler import Dialler

def greet(self):
    raise {raised}

Dialler.greet = greet
sys.exit(main(sys.argv[1:]))
"""


def test_forward_never_says_ready_without_a_session(site: Site) -> None:
    words = ["forward", "-i", site.profile("unready", 1), "-L", "0:127.0.0.1:1"]
    for raised in ("OverflowError('a\\n\\x1b[2Kb')", "SystemExit(0)", "AssertionError"):
        done = site.call(sys.executable, "-c", SOURCE.format(raised=raised, root=str(program.ROOT)), *words)
        line = expect_one_line(done.stderr)
        assert done.returncode == 70 and "cannot make a session" in line and line.isprintable() and done.stdout == b""


@pytest.mark.parametrize("named", ["alice", "alice.profile"])
def test_a_profile_that_is_in_the_home_directory_instead(named: str, site: Site) -> None:
    home = site.place / "moved"
    home.mkdir(mode=0o700, exist_ok=True)
    (home / "alice.profile").touch(mode=0o600)
    done = site.nitrosocks("connect", "-i", named, "--home", home, "a:1")
    assert done.wait() == 255
    told = f"nitrosocks: {named}: there is no such file here; write -i {home}/alice.profile"
    assert expect_one_line(str(done.err)) == told


@pytest.mark.parametrize("retry", [False, True])
def test_nothing_is_tried_again_when_it_works(retry: bool) -> None:
    stop: Any = Stop()
    assert first_session(pool(), stop, retry) and stop.pauses == []


def test_without_retry_the_error_ends_the_command() -> None:
    stop: Any = Stop()
    with pytest.raises(NotAuthorised, match="told"):
        first_session(pool(NotAuthorised("told")), stop, retry=False)
    assert stop.pauses == []


def test_the_pauses_of_retry_grow_to_their_bound(caplog: pytest.LogCaptureFixture) -> None:
    stop: Any = Stop()
    caplog.set_level("INFO")
    assert first_session(pool(*[NetworkError("told")] * 8), stop, retry=True)
    assert stop.pauses == [limits.BACKOFF_FIRST * 2**n for n in range(7)] + [limits.BACKOFF_MAX]
    said = messages(here(caplog))
    assert said[0] == "told; trying again in 0.1 s" and len(said) == 8


def test_a_remedy_is_told_once_for_each_kind_of_failure(caplog: pytest.LogCaptureFixture) -> None:
    """The clock or the key is what keeps failing, and a note for each attempt would not say so."""
    stop: Any = Stop()
    caplog.set_level("INFO")
    failures = [Unanswered("no answer", "the clock"), NetworkError("refused")]
    assert first_session(pool(*failures * 2), stop, retry=True)
    pauses = [limits.BACKOFF_FIRST * 2**n for n in range(4)]
    said = ["no answer; the clock", "refused", "no answer", "refused"]
    assert messages(here(caplog)) == [
        f"{text}; trying again in {s:.1f} s" for text, s in zip(said, pauses, strict=True)
    ]


def test_a_signal_ends_the_pause() -> None:
    stop: Any = Stop(ends_in=2)
    assert not first_session(pool(*[NetworkError("told")] * 8), stop, retry=True)
    assert len(stop.pauses) == 2


def test_a_signal_ends_a_dial_that_does_not() -> None:
    stop: Any = Stop()
    dialling, over = threading.Event(), threading.Event()

    def start() -> None:
        dialling.set()
        over.wait(30)

    def signal() -> None:
        assert dialling.wait(30)
        stop.came = True
        stop.tell()

    threading.Thread(target=signal).start()
    try:
        assert not first_session(SimpleNamespace(start=start), stop, retry=True)  # type: ignore[arg-type]
    finally:
        over.set()
