"""The program, as `nitrosocks` runs it, which tells the secrets that it makes on a pipe: for who searches its memory.

    python tests/support/telling.py DESCRIPTOR serve …

Each is written from where it stands, with no copy, and nothing here keeps it: what is found later was kept by the
program. A record is its kind (12 characters), its size (4 digits) and the bytes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from nitrosocks_lib.crypto import identity, schedule  # noqa: E402

KIND, SIZE = 12, 4
_MIXED = ("_session", "welcome", "recover", "resume", "read_resume")  # who mixes SessionKey, NewSessionKey or RS


def tell(kind: str, secret: bytes | bytearray | memoryview) -> None:
    """One record, in one write: threads do not mix theirs."""
    os.writev(int(sys.argv[1]), [f"{kind:{KIND}}{len(secret):{SIZE}}".encode(), secret])


def _caller() -> str:
    """Who called the wrapped function, asked by an `after`."""
    return sys._getframe(3).f_code.co_name


def _wrap(where: Any, name: str, after: Callable[..., None]) -> None:
    """Calls `after(result, *arguments)` behind each call of it."""
    real = getattr(where, name)

    def wrapped(*arguments: Any) -> Any:
        result = real(*arguments)
        after(result, *arguments)
        return result

    setattr(where, name, wrapped)


def _mixed(_: None, state: Any, x: bytes) -> None:
    tell("ck", state.ck)
    tell("input", x)


def _mixed_and_hashed(_: None, state: Any, x: bytes) -> None:
    tell("ck", state.ck)
    if _caller() in _MIXED:  # else it is public, or a key of years
        tell("input", x)


def _ephemeral(_: None, key: Any, raw: bytes) -> None:
    if _caller() == "draw_ephemeral":
        tell("ephemeral", raw)


def _frame_keys(keys: Any, root: bytes, direction: bytes, *_: Any) -> None:
    tell(f"{direction.decode()} key", keys.key)
    tell(f"{direction.decode()} mask", keys.mask)


def main() -> int:
    _wrap(schedule.SymmetricState, "mix_key", _mixed)
    _wrap(schedule.SymmetricState, "mix_key_and_hash", _mixed_and_hashed)
    _wrap(schedule, "root_key", lambda root, *_: tell("root", root))
    _wrap(schedule, "refreshed_root", lambda root, *_: tell("root", root))
    _wrap(schedule, "resume_secret", lambda secret, *_: tell("RS", secret))
    _wrap(schedule, "frame_keys", _frame_keys)
    _wrap(identity.KemPrivate, "__init__", _ephemeral)
    _wrap(identity.KemPrivate, "open", lambda opened, *_: tell("input", opened))
    _wrap(identity.KemPublic, "seal", lambda _, __, label, h, p: tell("input", p))
    from nitrosocks_lib.cli.main import main as run

    return run(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
