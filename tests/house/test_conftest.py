"""The rule on skipped tests, tried on small test files in a pytest of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"


def run(folder: Path, source: str, ci: str, *words: str) -> tuple[int, str]:
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "test_sample.py").write_text(f"import pytest\n{source}\ndef test_good(): pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *words],
        cwd=folder, env={**os.environ, "CI": ci}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


BARE = "def test_bare(): pytest.skip('no zsh')"
MARK = "@pytest.mark.skipif(True, reason='no zsh')\ndef test_mark(): pass"
FIXTURE = "@pytest.fixture\ndef lacks(): pytest.skip('no zsh')\ndef test_fixture(lacks): pass"
MODULE = "pytest.skip('no zsh', allow_module_level=True)"
IMPORT = "def test_import(): pytest.importorskip('no_such_package')"


@pytest.mark.parametrize("source", [BARE, MARK, FIXTURE, IMPORT])
def test_a_skip_fails_in_ci(tmp_path: Path, source: str) -> None:
    code, out = run(tmp_path, source, ci="true")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "skipped, which CI does not accept" in out
    assert "1 passed, 1 skipped in" in out.splitlines()[-1]


def test_a_skipped_module_fails_in_ci(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_other(): pass\n")
    assert run(tmp_path, MODULE, ci="true")[0] == pytest.ExitCode.TESTS_FAILED


def test_of_several_processes_too(tmp_path: Path) -> None:
    pytest.importorskip("xdist")
    code, out = run(tmp_path, BARE, "true", "-n", "2")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "skipped, which CI does not accept" in out and "1 passed, 1 skipped in" in out.splitlines()[-1]


def test_elsewhere_a_skip_is_fine(tmp_path: Path) -> None:
    assert run(tmp_path, BARE, ci="")[0] == pytest.ExitCode.OK


def test_lacking_network_namespaces_is_excused(tmp_path: Path) -> None:
    source = "def test_net(): pytest.skip('needs network namespaces: not permitted')"
    assert run(tmp_path, source, ci="true")[0] == pytest.ExitCode.OK
    assert run(tmp_path, f"{source}\n{BARE}", ci="true")[0] == pytest.ExitCode.TESTS_FAILED


def test_a_failure_stays_a_failure(tmp_path: Path) -> None:
    assert run(tmp_path, "def test_bad(): assert 0", ci="true")[0] == pytest.ExitCode.TESTS_FAILED
    assert run(tmp_path, f"raise OSError\n{BARE}", ci="true")[0] == pytest.ExitCode.INTERRUPTED


def test_a_folder_has_a_short_name_wherever_pytest_has_its_own(tmp_path: Path) -> None:
    check = "assert len(str(made)) - len(tempfile.gettempdir()) < 20 and not any(made.iterdir())"
    source = f"import tempfile\ndef test_own(tmp_path):\n    made = tmp_path\n    {check}\n"
    source += f"def test_of_many(tmp_path_factory):\n    made = tmp_path_factory.mktemp('site')\n    {check}\n"
    base = tmp_path / ("long" * 20)
    assert run(tmp_path, source, "", f"--basetemp={base}")[0] == pytest.ExitCode.OK
    assert not base.exists()
