"""The console entry: it passes arguments and exit code on, and names the package that is missing."""

import sys
import types

import pytest

import nitrosocks
import nitrosocks_lib.cli


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


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("cryptography", "cryptography"),
        ("pyotp", "pyotp"),
        ("tomli_w", "tomli-w"),
        ("docopt", "docopt-ng"),
        ("websockets", "websockets"),
    ],
)
def test_a_missing_package_is_named(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], module: str, package: str
) -> None:
    fake_cli(monkeypatch, ModuleNotFoundError(name=module))
    monkeypatch.setitem(sys.modules, module, None)
    assert nitrosocks.main() == 70
    out, err = capfd.readouterr()
    assert out == ""
    assert err == (
        f"nitrosocks: the Python package '{package}' is missing; install it with: python3 -m pip install {package}\n"
    )


def test_a_package_that_lacks_a_part_is_too_old(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fake_cli(monkeypatch, ModuleNotFoundError(name="cryptography.hazmat.primitives.hpke"))
    assert nitrosocks.main() == 70
    assert "'cryptography' is too old; upgrade it with: python3 -m pip install --upgrade" in capfd.readouterr().err


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
