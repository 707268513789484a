"""The source package is the whole source, and its own tests run; its wheel has all that an installation needs."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BUILD = "import sys, setuptools.build_meta as backend; getattr(backend, f'build_{sys.argv[1]}')(sys.argv[2])"
INSTALLED = {
    "lib/systemd/system/nitrosocks.service": "packaging/nitrosocks.service",
    "share/nitrosocks/nitrosocks.sysusers": "packaging/nitrosocks.sysusers",
    "share/man/man1/nitrosocks.1": "man/nitrosocks.1",
    "share/bash-completion/completions/nitrosocks.bash": "completions/nitrosocks.bash",
    "share/zsh/site-functions/_nitrosocks": "completions/_nitrosocks",
    "share/fish/vendor_completions.d/nitrosocks.fish": "completions/nitrosocks.fish",
}
UNCHANGED = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYTEST", "COV_"))}


def run(place: Path, *words: object) -> str:
    """What this Python says when it runs these words there, with what is there alone."""
    done = subprocess.run(
        [sys.executable, *map(str, words)], cwd=place, env=UNCHANGED, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def sources() -> set[str]:
    """The files that git knows."""
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("git does not know which files are sources")
    known = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for name in known.split("\0") if (ROOT / name).is_file()}


def missing(known: set[str], unpacked: Path) -> set[str]:
    return {name for name in known if not (unpacked / name).is_file()}


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the source package is unpacked. It is made of a copy of the sources, since a build leaves files there."""
    pytest.importorskip("setuptools", minversion="70.1")  # the first one that makes wheels itself
    place = tmp_path_factory.mktemp("package")
    for name in sources():
        target = place / "copy" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    run(place / "copy", "-c", BUILD, "sdist", place)
    (package,) = place.glob("nitrosocks-*.tar.gz")
    with tarfile.open(package) as archive:
        archive.extractall(place, filter="data")
    return place / package.name.removesuffix(".tar.gz")


def test_all_sources_are_in_it(unpacked: Path) -> None:
    assert missing({"README.md", "none.md"}, unpacked) == {"none.md"}
    assert missing(sources(), unpacked) == set()
    assert list(unpacked.rglob("*.pyc")) == []


def test_its_own_tests_run(unpacked: Path) -> None:
    """Some of those that read documents, options and sources; what others import is there as well, as seen above."""
    some = ["tests/facts/test_wire.py", "tests/house/test_readme.py", "tests/cli/test_usage.py"]
    passed = run(unpacked, "-m", "pytest", "-q", "-p", "no:cacheprovider", *some)
    assert re.search(r"^\d{2,} passed", passed, re.MULTILINE)


def test_the_wheel_has_man_page_completions_and_unit(unpacked: Path, tmp_path: Path) -> None:
    run(unpacked, "-c", BUILD, "wheel", tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        data = {name.partition(".data/data/")[2]: archive.read(name) for name in archive.namelist() if ".data/" in name}
        metadata = next(archive.read(name) for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        assert "nitrosocks_lib/py.typed" in archive.namelist()
    assert data == {name: (ROOT / source).read_bytes() for name, source in INSTALLED.items()}
    for line in ("License-File: LICENSE", "Requires-Python: >=3.11", "Description-Content-Type: text/markdown"):
        assert f"\n{line}\n" in metadata.decode()
