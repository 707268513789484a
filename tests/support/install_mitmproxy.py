#!/usr/bin/env python3
"""Give mitmproxy, which pins an old cryptography, a virtual environment of its own; print the path of mitmdump.

An existing mitmdump is named by the environment variable MITMDUMP; then nothing is installed.
"""

import fcntl
import os
import subprocess
import sys
import venv
from pathlib import Path

TOX = Path(os.environ.get("TOX_WORK_DIR") or Path(__file__).resolve().parents[2] / ".tox")
HOME = TOX / "mitmproxy"


def mitmdump_path() -> Path:
    """Where mitmdump is, or will be once this script has run."""
    return Path(os.environ.get("MITMDUMP") or HOME / "bin" / "mitmdump")


def works(mitmdump: Path) -> bool:
    """Whether this mitmdump starts: an old environment may point at a Python that is gone."""
    try:
        run = subprocess.run([mitmdump, "--version"], capture_output=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return run.returncode == 0


def install() -> None:
    """Make the environment anew with the newest mitmproxy that runs on this Python."""
    venv.create(HOME, clear=True, with_pip=True)
    pip: list[str | Path] = [HOME / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    subprocess.run([*pip, "mitmproxy"], check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


def main() -> int:
    """Install where needed, under a lock (tox -p runs several of these at once)."""
    if os.environ.get("MITMDUMP"):
        if not works(mitmdump_path()):
            print(f"install_mitmproxy: MITMDUMP={mitmdump_path()} does not start", file=sys.stderr)
            return 1
    else:
        TOX.mkdir(parents=True, exist_ok=True)
        with open(TOX / "mitmproxy.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not works(mitmdump_path()):
                install()
            if not works(mitmdump_path()):
                print(f"install_mitmproxy: {mitmdump_path()} does not start", file=sys.stderr)
                return 1
    print(mitmdump_path())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
