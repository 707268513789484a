"""As the owner of a home: whose rights hold inside, and that all of root's come back."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from program import ROOT
from service import NOBODY

SEEN = f"""
import json, os, sys
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from nitrosocks_lib.files.owner import as_owner

def rights():
    return [os.geteuid(), os.getegid(), sorted(os.getgroups())]

os.setgroups([0, 7])
home, kept = map(Path, sys.argv[1:])
seen = [rights()]
try:
    with as_owner(home, kept):
        seen.append(rights())
        raise KeyError
except KeyError:
    seen.append(rights())
print(json.dumps(seen))
"""
ROOTS = [0, 0, [0, 7]]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root works in the homes of others")


def seen(home: Path, kept: Path) -> list[list[object]]:
    done = subprocess.run([sys.executable, "-c", SEEN, home, kept], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_the_rights_of_the_owner_inside_and_of_root_behind_though_it_fails(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    before, inside, after = seen(tmp_path, tmp_path / "server.key")
    assert before == after == ROOTS
    assert inside[0] == NOBODY and inside[1] != 0 and inside[2] == []


def test_the_owner_of_what_is_kept_comes_before_that_of_the_home(tmp_path: Path) -> None:
    (tmp_path / "server.key").touch()
    os.chown(tmp_path / "server.key", NOBODY, NOBODY)
    assert [rights[0] for rights in seen(tmp_path, tmp_path / "server.key")] == [0, NOBODY, 0]


def test_in_a_home_of_its_own_or_none_root_stays_root(tmp_path: Path) -> None:
    for home in (tmp_path, tmp_path / "none" / "home"):
        assert seen(home, home / "server.key") == [ROOTS] * 3
