"""What the tests of key files share: a server's key, and files with one thing wrong."""

import re
import tomllib
from pathlib import Path

import tomli_w

from nitrosocks_lib.crypto.identity import ServerKey
from nitrosocks_lib.files.writing import write_secret

SERVER = ServerKey(bytes(range(32)))


def put(path: Path, text: str, **changes: object) -> Path:
    """Writes a file with some of its keys changed; None takes a key out."""
    values = {key: value for key, value in (tomllib.loads(text) | changes).items() if value is not None}
    write_secret(path, tomli_w.dumps(values), force=True)
    return path


def unlined(error: BaseException) -> str:
    """What an error says, but for the line that it names."""
    return re.sub(r" \(at line \d+\)", "", str(error))
