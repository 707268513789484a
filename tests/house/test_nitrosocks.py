"""The console entry: it passes arguments and exit code on, and names the package that is missing."""

import ast
import gc
import signal
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import nitrosocks
import nitrosocks_lib.cli


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The process's own settings, which `main` changes, are put back."""
    taken = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, taken)
    gc.enable()


def fake_cli(monkeypatch: pytest.MonkeyPatch, outcome: int | BaseException) -> None:
    def main(argv: list[str]) -> int:
        assert argv == ["keygen", "--help"]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    cli = types.SimpleNamespace(main=main)
    monkeypatch.setattr(nitrosocks_lib.cli, "main", cli, raising=False)
    monkeypatch.setattr(sys, "argv", ["nitrosocks", "keygen", "--help"])


def test_arguments_and_exit_code_pass_through(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cli(monkeypatch, 64)
    assert nitrosocks.main() == 64


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    fake_cli(monkeypatch, ModuleNotFoundError(name="pyotp"))
    monkeypatch.setitem(sys.modules, "pyotp", None)
    assert nitrosocks.main() == 70
    told = f"the Python package 'pyotp' is missing; install it with: {sys.executable} -m pip install pyotp"
    assert capfd.readouterr() == ("", f"nitrosocks: {told}\n")


def test_an_interpreter_that_is_too_old_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It can read this file, and comes no further."""
    ast.parse(Path(nitrosocks.__file__).read_text("utf-8"), feature_version=(3, 6))
    fake_cli(monkeypatch, AssertionError("not to be called"))
    monkeypatch.setattr(sys, "version_info", (3, 10, 13, "final", 0))
    assert nitrosocks.main() == 70
    told = f"nitrosocks: needs Python 3.11 or newer, and {sys.executable} is 3.10\n"
    assert capfd.readouterr() == ("", told)


def test_a_fault_of_our_own_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_cli(monkeypatch, ModuleNotFoundError(name="nitrosocks_lib.net.lnik"))
    with pytest.raises(ModuleNotFoundError):
        nitrosocks.main()


def test_an_interrupt_before_anything_began_is_quiet(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its traceback would tell of imports."""
    fake_cli(monkeypatch, KeyboardInterrupt())
    assert nitrosocks.main() == 130
    assert capfd.readouterr() == ("", "")


def test_nothing_is_said_on_stdout_where_stderr_is_closed(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fake_cli(monkeypatch, ModuleNotFoundError(name="pyotp"))
    monkeypatch.setattr(sys, "stderr", None)
    assert nitrosocks.main() == 70
    assert capfd.readouterr().out == ""


def test_an_interrupt_while_modules_are_imported_ends_it_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the caller ignores is still ignored."""
    for found, left in ((signal.default_int_handler, signal.SIG_DFL), (signal.SIG_IGN, signal.SIG_IGN)):
        signal.signal(signal.SIGINT, found)
        fake_cli(monkeypatch, 0)
        nitrosocks.main()
        assert signal.getsignal(signal.SIGINT) is left


def test_the_version_is_told_without_the_command_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fake_cli(monkeypatch, AssertionError("not to be called"))
    for word in ("-V", "--version"):
        monkeypatch.setattr(sys, "argv", ["nitrosocks", word])
        assert nitrosocks.main() == 0
    assert capfd.readouterr() == (2 * f"nitrosocks {nitrosocks_lib.__version__}\n", "")
