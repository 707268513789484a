"""pac: which address of a PAC script is told; the desktop's settings are a program of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nitrosocks_lib.cli.pac import Pac, find

URL = "http://proxy.example/wpad.dat"


@pytest.fixture
def desktop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Sets what `gsettings get` prints: for `mode`, and for `autoconfig-url`."""
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin:/bin")

    def make(mode: str, url: str = "''", code: int = 0) -> None:
        program = tmp_path / "gsettings"
        check = '[ "$1 $2" = "get org.gnome.system.proxy" ] || exit 9'
        says = f"case $3 in mode) echo {mode!r};; *) echo {url!r};; esac"
        program.write_text(f"#!/bin/sh\n{check}\n{says}\nexit {code}\n")
        program.chmod(0o755)

    return make


@pytest.mark.parametrize("name", ["auto_proxy", "AUTO_PROXY"])
def test_the_environment_comes_first(desktop, name: str) -> None:
    desktop("'auto'", "'http://other.example/'")
    assert find({name: URL}) == Pac(URL, f"${name}")


def test_the_desktop_names_one(desktop) -> None:
    desktop("'auto'", f"'{URL}'")
    assert find({"auto_proxy": ""}) == Pac(URL, "the settings of the desktop")


@pytest.mark.parametrize(
    ("mode", "url", "code"),
    [("'none'", f"'{URL}'", 0), ("'auto'", "''", 0), ("'auto'", f"'{URL}'", 1), ("auto(", URL, 0), ("", "", 0)],
)
def test_the_desktop_names_none(desktop, mode: str, url: str, code: int) -> None:
    desktop(mode, url, code)
    assert find({}) is None


def test_there_is_no_desktop(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find({}) is None
