"""packages: the command that mends it names the interpreter that runs."""

import sys

import pytest

from nitrosocks_lib.cli import packages


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("cryptography", "cryptography"),
        ("pyotp", "pyotp"),
        ("tomli_w", "tomli-w"),
        ("docopt", "docopt-ng"),
        ("h11", "h11"),
        ("websockets", "websockets"),
    ],
)
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, module: str, package: str) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    told = f"the Python package '{package}' is missing; install it with: {sys.executable} -m pip install {package}"
    assert packages.fault(ModuleNotFoundError(name=module)) == told


def test_a_package_that_lacks_a_part_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/my python/bin/python3")
    assert packages.fault(ModuleNotFoundError(name="cryptography.hazmat.primitives.hpke")) == (
        "the Python package 'cryptography' is too old; upgrade it with: "
        "'/opt/my python/bin/python3' -m pip install --upgrade cryptography"
    )


def test_a_fault_of_our_own_is_none_of_a_package() -> None:
    assert packages.fault(ModuleNotFoundError(name="nitrosocks_lib.net.lnik")) == ""
