"""Where a PAC script is named, which browsers run to choose a proxy: the environment, and the desktop's settings.

It is a program of others, in JavaScript, so it is told of and never run.
"""

from __future__ import annotations

import shutil
import subprocess
from ast import literal_eval
from collections.abc import Mapping
from typing import Final, NamedTuple

_SCHEMA: Final = "org.gnome.system.proxy"
_PATIENCE: Final = 2.0  # seconds for the desktop's answer


class Pac(NamedTuple):
    """The address of the script, as it stands there, and what names it."""

    url: str
    named_by: str


def find(environ: Mapping[str, str]) -> Pac | None:
    """The first that is named. Starts a program, so it comes before the process gives that up."""
    for name in ("auto_proxy", "AUTO_PROXY"):
        if url := environ.get(name):
            return Pac(url, f"${name}")
    if _setting("mode") == "auto" and (url := _setting("autoconfig-url")):
        return Pac(url, "the settings of the desktop")
    return None


def _setting(key: str) -> str:
    """One setting of GNOME's and its relatives'; nothing where there is none."""
    program = shutil.which("gsettings")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, "get", _SCHEMA, key],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=True, timeout=_PATIENCE,
        )  # fmt: skip
        return str(literal_eval(done.stdout.strip()))  # it prints a string as Python does
    except (OSError, subprocess.SubprocessError, ValueError, SyntaxError):
        return ""
