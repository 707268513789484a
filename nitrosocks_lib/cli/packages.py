"""The Python packages that the program needs, and what to do where one is missing or too old."""

from __future__ import annotations

import sys
from typing import Final

_NAMES: Final = {  # of each module's package
    "cryptography": "cryptography",
    "pyotp": "pyotp",
    "tomli_w": "tomli-w",
    "docopt": "docopt-ng",
    "h11": "h11",
    "websockets": "websockets",
}


def install(package: str, upgrade: bool = False) -> str:
    """The command that installs a package for the interpreter that runs: another one's pip would not help."""
    from shlex import join

    return join([sys.executable or "python3", "-m", "pip", "install", *(["--upgrade"] if upgrade else []), package])


def fault(error: ImportError) -> str:
    """What is wrong with a package, and what to do about it; nothing where it is none that we need."""
    from importlib.util import find_spec

    module = (error.name or "").partition(".")[0]
    if module not in _NAMES:
        return ""
    old = find_spec(module) is not None
    what = "is too old; upgrade it with" if old else "is missing; install it with"
    return f"the Python package '{_NAMES[module]}' {what}: {install(_NAMES[module], old)}"
