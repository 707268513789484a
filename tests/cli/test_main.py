"""main: every class of error has its exit code and its one line; what docopt does not take is 64."""

from __future__ import annotations

import errno
import logging
import signal
import sys
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from logged import here, messages

from nitrosocks_lib import __version__
from nitrosocks_lib.cli import main as cli
from nitrosocks_lib.cli.usage import USAGE
from nitrosocks_lib.crypto import identity
from nitrosocks_lib.facts import errors
from nitrosocks_lib.facts.errors import NitroSocksError
from nitrosocks_lib.facts.wire import Abort, Refusal

SERVE = ["serve"]
CONNECT = ["connect", "host", "22"]
ERRORS: list[tuple[BaseException, int]] = [
    (errors.UsageError("told"), 64),
    (errors.KeyFileError("told"), 65),
    (errors.NetworkError("told"), 69),
    (errors.Unreachable("told"), 69),
    (errors.CarrierLost("told"), 69),
    (errors.ConnectionEnded(notified=True), 69),
    (errors.ProxyRefused("told"), 69),
    (errors.SessionLost("told"), 69),
    (errors.Refused(Refusal.UNKNOWN_SESSION), 69),
    (errors.Refused(Refusal.FULL), 69),
    (errors.Refused(Refusal.DRAINING), 69),
    (errors.Refused(Refusal.NO_COMMON), 76),
    (errors.CannotCreate("told"), 73),
    (errors.ProtocolError("told"), 76),
    (errors.NotOurs("told"), 76),
    (errors.Unanswered("told"), 76),
    (errors.DecoyAnswer(b"HTTP/1.1 400"), 76),
    (errors.CutShort("told"), 76),
    (errors.Intercepted("told"), 76),
    (errors.Overtaken(), 76),
    (errors.Violation("told", Abort.LIMIT), 76),
    (errors.BadFrame("told"), 76),
    (errors.NotAuthorised("told"), 77),
    (errors.ConfigurationError("told"), 78),
    (NitroSocksError("told"), 70),
]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Runs main with a command that raises this, or returns it; exit code and the lines on stderr."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)  # main sets it
    monkeypatch.setattr(cli, "_raise_descriptor_limit", lambda: None)
    monkeypatch.setattr(logging, "basicConfig", lambda **_: None)

    def run(argv: list[str], outcome: Any = 0) -> tuple[int, list[str]]:
        def command(options: dict[str, Any]) -> int:
            if isinstance(outcome, BaseException):
                raise outcome
            return outcome

        monkeypatch.setattr(cli, "_load", lambda name: command)
        code = cli.main(argv)
        return code, capfd.readouterr().err.splitlines()

    return run


def classes(base: type = NitroSocksError) -> set[type]:
    return {base}.union(*map(classes, base.__subclasses__()))


def test_every_class_of_error_is_here() -> None:
    ours = {kind for kind in classes() if kind.__module__ == errors.__name__}
    assert ours == {type(error) for error, _ in ERRORS}


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda value: type(value).__name__)
def test_exit_codes(error: NitroSocksError, code: int, run) -> None:
    assert run(SERVE, error) == (code, [f"nitrosocks: {error}"])
    assert cli.exit_code(error) == code


@pytest.mark.parametrize(("error", "code"), ERRORS, ids=lambda value: type(value).__name__)
def test_exit_codes_of_connect(error: NitroSocksError, code: int, run) -> None:
    assert run(CONNECT, error)[0] == (64 if code == 64 else 255)


@pytest.mark.parametrize(("code", "connects"), [(0, 0), (64, 64), (70, 255), (255, 255)])
def test_what_a_command_returns(code: int, connects: int, run) -> None:
    assert run(SERVE, code) == (code, []) and run(CONNECT, code) == (connects, [])


def test_two_dashes_end_the_options(run) -> None:
    """Scripts write them before words that come from elsewhere. What looks like an option there is no host."""
    assert run(["connect", "-q", "--", "host", "22"]) == (0, [])
    for words in (["-4", "22"], ["host", "22", "-q"]):
        assert run(["connect", "--", *words])[0] == 64


LACKS = {
    "too many files are open; raise the limit: ulimit -n ": OSError(errno.EMFILE, "Too many open files"),
    "no further thread can be started; raise the limit: ulimit -u ": RuntimeError("can't start new thread"),
    "there is no memory left; free some, ": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "there is no memory left; free some, or raise ": MemoryError(),
}


@pytest.mark.parametrize("told", LACKS)
def test_what_the_machine_lacks(told: str, run) -> None:
    """No fault of ours: the limit is the operator's."""
    code, lines = run(SERVE, LACKS[told])
    assert code == 73 and lines[0].startswith(f"nitrosocks: {told}") and len(lines) == 1


def test_a_hint_stands_on_the_same_line(run) -> None:
    assert run(SERVE, errors.NetworkError("no", "try this")) == (69, ["nitrosocks: no; try this"])


FAULTS = [
    (KeyboardInterrupt(), 130, False),
    (BrokenPipeError(errno.EPIPE, "x"), 70, False),
    (ValueError("oops"), 70, True),
    (OSError(5, "x"), 70, True),
]


@pytest.mark.parametrize(("error", "code", "ours"), FAULTS, ids=lambda value: type(value).__name__)
def test_faults_and_interrupts(
    error: BaseException, code: int, ours: bool, run, caplog: pytest.LogCaptureFixture
) -> None:
    assert run(SERVE, error) == (code, [])
    assert any("internal error" in line for line in messages(here(caplog))) is ours


# -- docopt -----------------------------------------------------------------------------------------------------------

BAD = [
    ([], "no command"),
    (["-v"], "no command"),
    (["fly"], "no such command"),
    (["--listen", ":1"], "no command"),
    (["serve", "x"], "'serve'"),
    (["serve", "--what"], "'serve'"),
    (["serve", "--listen"], "'serve'"),
    (["serve", "--cert", "x"], "'serve'"),
    (["serve", "-L", "1:a:2"], "'serve'"),
    (["forward"], "'forward'"),
    (["forward", "-L"], "'forward'"),
    (["forward", "-L", "1:a:2", "-4", "-6"], "'forward'"),
    (["connect"], "'connect'"),
    (["connect", "a", "1", "2"], "'connect'"),
    (["keygen", "alice"], "'keygen'"),
    (["keygen", "--server", "a:1"], "'keygen'"),
]


@pytest.mark.parametrize(("argv", "told"), BAD, ids=lambda value: " ".join(value) if isinstance(value, list) else "")
def test_words_that_are_not_taken(argv: list[str], told: str, run) -> None:
    code, lines = run(argv)
    assert code == 64 and len(lines) == 1
    assert lines[0].startswith("nitrosocks: ") and told in lines[0] and "; " in lines[0]


@pytest.mark.parametrize(
    "argv",
    [
        ["keygen"], ["keygen", "alice", "--server", "a:1", "--permit", "b:2", "--permit", "c:3", "-o", "-", "--force"],
        ["serve"], ["serve", "--listen", ":1", "--listen", ":2", "--cert", "c", "--key", "k", "-vv"],
        ["forward", "-L", "1:a:2", "-L", "3:b:4", "-N", "-i", "p", "--retry", "--sessions", "3", "-4", "-q"],
        ["connect", "a:1"], ["connect", "a", "1", "-6"], ["demo"], ["demo", "--keep", "d"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_words_that_are_taken(argv: list[str], run) -> None:
    assert run(argv, 0) == (0, [])


@pytest.mark.parametrize("argv", [["-h"], ["--help"], ["--hel"], ["serve", "-h"], ["-V"], ["--version"]], ids=" ".join)
def test_help_and_version(argv: list[str], run, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(argv) == 0
    out, err = capfd.readouterr()
    assert err == "" and (out == f"nitrosocks {__version__}\n" or (argv[-1][:2] != "-V" and out == USAGE))


# -- the rest ---------------------------------------------------------------------------------------------------------


def test_a_library_without_an_algorithm(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identity, "missing_algorithm", lambda: "ML-KEM-768")
    code, lines = run(SERVE)
    assert code == 70 and len(lines) == 1 and "ML-KEM-768" in lines[0]
    assert f"{sys.executable} -m pip install --upgrade 'cryptography>=50'" in lines[0]
    assert run(["--help"])[0] == 0  # without it


def test_an_interrupt_is_quiet_at_first_and_later_an_exception(run) -> None:
    """What a command has begun is put in order then; SIGINT that is ignored stays so."""
    before = signal.getsignal(signal.SIGINT)
    try:
        for found, left in (
            (signal.SIG_DFL, signal.default_int_handler),
            (signal.SIG_IGN, signal.SIG_IGN),
        ):
            signal.signal(signal.SIGINT, found)
            run(SERVE)
            assert signal.getsignal(signal.SIGINT) is left
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_thread_that_fails_is_logged(run, caplog: pytest.LogCaptureFixture) -> None:
    run(SERVE)
    hook, failure = threading.excepthook, ValueError("for a test")
    hook(SimpleNamespace(exc_type=SystemExit, exc_value=SystemExit(1), thread=None))  # type: ignore[arg-type]
    assert here(caplog) == []
    thread = threading.Thread(name="outbound")
    hook(SimpleNamespace(exc_type=ValueError, exc_value=failure, thread=thread))  # type: ignore[arg-type]
    assert "a thread failed (outbound)" in caplog.text and "for a test" in caplog.text
