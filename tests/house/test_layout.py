"""The house keeps its rules: who prints, sizes, docstrings, a test for each module. Rooms are in test_rooms.py.

Each rule is first shown to fail on a bad sample; then it is applied to every file. The tables are in layout.py.
"""

from pathlib import Path

import layout
import pytest
import rooms

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / rooms.LIBRARY
MODULES = {
    path.relative_to(LIBRARY).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(LIBRARY.rglob("*.py"))
}
TESTS = {
    path.relative_to(ROOT / "tests").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "tests").rglob("*.py"))
}

# Modules whose tests are in a file of another name
TESTED_BY: dict[str, str] = {
    "cli/connect": "whole/test_connect.py",  # and test_connect_stdio.py
    "cli/check": "whole/test_clients.py",
    "cli/clients": "whole/test_clients.py",
    "cli/forbid": "whole/test_clients.py",
    "cli/home": "whole/test_clients.py",
    "cli/permit": "whole/test_clients.py",
    "cli/rename": "whole/test_clients.py",
    "cli/revoke": "whole/test_clients.py",
    "client/farewell": "client/test_attempt.py",
    "client/findings": "client/test_doctor.py",
    "client/held": "client/test_asking.py",
    "client/way": "client/test_doctor.py",
    "session/answers": "session/test_delivery.py",
}

# Where a registry's host could be written; folders are searched to the bottom.
SOURCES = ["*.py", "*.md", "*.toml", "*.ini", "*.in", "*.yaml", ".*.yaml", ".ci/*"]
FOLDERS = [rooms.LIBRARY, "tests", "bench", "docs", "man", "completions", "packaging"]


def faults_of(rule, texts: dict[str, str]) -> list[str]:
    return [f"{name}: {fault}" for name, text in texts.items() for fault in rule(text)]


def faults_by_place(rule, texts: dict[str, str]) -> list[str]:
    return [f"{name}: {fault}" for name, text in texts.items() for fault in rule(name, text)]


def expect_none(faults: list[str]) -> None:
    assert not faults, "\n" + "\n".join(faults)


def sources() -> dict[str, str]:
    paths = [path for pattern in SOURCES for path in ROOT.glob(pattern)]
    paths += [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    return {str(path.relative_to(ROOT)): path.read_text("utf-8", "replace") for path in paths if path.is_file()}


# Only cli speaks


BAD_EXITS = [
    "print(1)", "import sys\nsys.exit(1)", "exit()", "quit()", "raise SystemExit", "raise SystemExit(1)",
    "from sys import exit as leave", "import sys as s",
]  # fmt: skip


@pytest.mark.parametrize("source", BAD_EXITS)
def test_print_and_exit_are_found(source: str) -> None:
    assert layout.misplaced_exits("client/session", source)
    assert layout.misplaced_exits("cli/main", source) == []


def test_only_cli_prints_and_exits() -> None:
    assert layout.misplaced_exits("client/session", "import sys\nsys.stderr.fileno()\nraise ValueError(1)") == []
    expect_none(faults_by_place(layout.misplaced_exits, MODULES))


# Sizes


def test_a_long_file_is_found() -> None:
    assert layout.long_file("x = 1\n" * 301)
    assert layout.long_file("x = 1\n" * 300) == []


def test_no_file_is_over_300_lines() -> None:
    expect_none(faults_of(layout.long_file, MODULES | TESTS))


def test_a_long_function_is_found() -> None:
    body = "    x = 1\n"
    docstring = '    """One.\n\n    Two.\n    """\n'
    assert layout.long_functions("def f():\n" + body * 40)
    assert layout.long_functions("def f():\n" + docstring + body * 40)
    assert layout.long_functions("def f():\n" + docstring + body * 39) == []
    assert layout.long_functions("@decorated\ndef f():\n" + body * 39) == []
    assert layout.long_functions("class C:\n    async def f(self):\n" + f"    {body}" * 40)


def test_no_function_is_over_40_lines() -> None:
    expect_none(faults_of(layout.long_functions, MODULES))


# Docstrings


@pytest.mark.parametrize(
    "source",
    [
        "x = 1",
        '"""M."""\ndef f(): ...',
        '"""M."""\nclass C: ...',
        '"""M."""\nclass C:\n    """C."""\n    def f(self): ...',
        '"""M."""\nif x:\n    def f(): ...',
    ],
)
def test_a_missing_docstring_is_found(source: str) -> None:
    assert layout.missing_docstrings(source)


@pytest.mark.parametrize(
    "source",
    [
        '"""M."""\ndef _f(): ...',
        '"""M."""\ndef f():\n    """F."""\n    def inner(): ...',
        '"""M."""\nclass C:\n    """C."""\n    def __init__(self): ...\n    @x.setter\n    def x(self, v): ...',
    ],
)
def test_what_is_private_needs_no_docstring(source: str) -> None:
    assert layout.missing_docstrings(source) == []


def test_modules_and_what_they_offer_have_docstrings() -> None:
    expect_none(faults_of(layout.missing_docstrings, MODULES))


# Tests mirror the modules


def test_a_module_without_tests_is_found() -> None:
    wire, test = ["facts/wire"], {"facts/test_wire.py"}
    assert layout.untested(wire, set(), {}) == ["facts/wire has no tests/facts/test_wire.py"]
    assert layout.untested(wire, {"crypto/test_wire.py", "test_wire.py"}, {})
    assert layout.untested(wire, test, {"facts/wire": "facts/test_bytes.py"})
    assert layout.untested(wire, {*test, "whole/test_x.py"}, {"facts/wire": "whole/test_x.py"})
    assert layout.untested(wire, test, {"facts/gone": "facts/test_wire.py"})
    assert layout.untested(["__init__", "facts/__init__", "facts/wire"], test, {}) == []
    assert layout.untested(wire, {"whole/test_x.py"}, {"facts/wire": "whole/test_x.py"}) == []


def test_every_module_has_its_tests() -> None:
    expect_none(layout.untested(list(MODULES), set(TESTS), TESTED_BY))


def test_tests_are_where_they_belong() -> None:
    assert layout.homeless({"test_x.py", "runtime/test_x.py", "net/deeper/test_x.py"})
    assert layout.homeless({"conftest.py", "net/test_x.py", "whole/test_x.py", "support/x.py"}) == []
    expect_none(layout.homeless(set(TESTS)))


# Paths


@pytest.mark.parametrize("source", ["path.exists()", "Path(text).resolve().parent", "self._path.is_file()"])
def test_an_unsure_question_is_found(source: str) -> None:
    assert layout.unsure_questions(source)


def test_a_path_is_asked_what_it_always_answers() -> None:
    assert layout.unsure_questions("os.path.exists(path), path.stat(), path.exists") == []
    expect_none(faults_of(layout.unsure_questions, MODULES))


# Registries


@pytest.mark.parametrize("host", layout.REGISTRIES)
def test_a_registry_host_is_found(host: str) -> None:
    assert layout.registry_hosts(f"see HTTPS://FILES.{host.upper()}/x") == [host]


def test_no_source_names_a_registry_host() -> None:
    assert "README.md" in sources() and "tests/house/test_layout.py" in sources()
    expect_none(faults_of(layout.registry_hosts, sources()))
