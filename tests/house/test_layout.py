"""The house keeps its rules: floors, who imports what, sizes, docstrings, a test for each module.

Each rule is first shown to fail on a bad sample; then it is applied to every file. The tables are in layout.py.
"""

from pathlib import Path

import layout
import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / layout.LIBRARY
MODULES = {
    path.relative_to(LIBRARY).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(LIBRARY.rglob("*.py"))
}
TESTS = {
    path.relative_to(ROOT / "tests").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "tests").rglob("*.py"))
}

# Modules whose tests are in a file of another name: {"runtime/interceptor": "test_demo.py"}
TESTED_BY: dict[str, str] = {
    "face/tunnels": "test_connect.py",  # and test_curl.py
    "runtime/attempt": "test_reconnection.py",  # and test_outages.py
    "runtime/mail": "test_client.py",
}

# Where a registry's host could be written; folders are searched to the bottom.
SOURCES = ["*.py", "*.md", "*.toml", "*.ini", ".ci/*"]
FOLDERS = [layout.LIBRARY, "tests", "bench", "docs", "man", "completions"]


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


# Floors


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("facts/wire", "from nitrosocks_lib.crypto import seal"),
        ("crypto/seal", "import nitrosocks_lib.protocol.receiving"),
        ("crypto/seal", "import nitrosocks_lib.facts.wire, nitrosocks_lib.cli.main"),
        ("protocol/session", "from nitrosocks_lib import runtime"),
        ("protocol/session", "from ..runtime import link"),
        ("protocol/session", "from ..runtime.link import Link"),
        ("protocol/session", "from .. import runtime"),
        ("protocol/__init__", "from ..runtime import link"),
        ("protocol/deeper/session", "from ...runtime import link"),
        ("runtime/link", "def late():\n    from ..face import cli"),
        ("runtime/link", "if TYPE_CHECKING:\n    from ..face.config import Config"),
        ("runtime/link", "importlib.import_module('nitrosocks_lib.cli.main')"),
        ("runtime/link", "__import__(name)"),
        ("runtime/link", "from nitrosocks_lib import *"),
        ("face/cli", "import nitrosocks"),
        ("__init__", "from .facts import wire"),
        ("helpers", ""),
        ("attic/wire", ""),
    ],
)
def test_an_upward_import_is_found(module: str, source: str) -> None:
    assert layout.upward_imports(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("facts/wire", "from .limits import WINDOW\nimport struct"),
        ("crypto/seal", "from ..facts import wire"),
        ("runtime/link", "from nitrosocks_lib.protocol.receiving import Session\nfrom . import carriers"),
        ("face/cli", "from .. import __version__\nfrom ..runtime import link\nfrom ..facts import errors"),
        ("__init__", "__version__ = '1'"),
    ],
)
def test_imports_downwards_and_on_the_same_floor_are_fine(module: str, source: str) -> None:
    assert layout.upward_imports(module, source) == []


def test_imports_go_down_only() -> None:
    expect_none(faults_by_place(layout.upward_imports, MODULES))


# Only here


@pytest.mark.parametrize("name", layout.ONLY_HERE)
def test_an_import_in_the_wrong_place_is_found(name: str) -> None:
    wrong = "face/config" if layout.ONLY_HERE[name] != ("face/*",) else "runtime/client"
    for source in (f"import {name}", f"import {name}.part", f"from {name} import part", f"import sys, {name} as x"):
        assert layout.misplaced_imports(wrong, source), (wrong, source)
        for right in layout.ONLY_HERE[name]:
            assert layout.misplaced_imports(right.replace("*", "any"), source) == []


@pytest.mark.parametrize("name", layout.NEVER_IN_PURE)
@pytest.mark.parametrize("module", ["facts/wire", "crypto/seal", "protocol/session"])
def test_an_import_in_a_pure_floor_is_found(module: str, name: str) -> None:
    assert layout.misplaced_imports(module, f"def late():\n    from {name} import part")


def test_the_tls_of_others_is_found() -> None:
    assert layout.misplaced_imports("runtime/client", "import ssl")
    assert layout.misplaced_imports("face/demo", "import ssl")
    assert layout.misplaced_imports("runtime/client", "import os, pathlib, logging, socket, time") == []


def test_each_import_is_in_its_place() -> None:
    expect_none(faults_by_place(layout.misplaced_imports, MODULES))


BAD_EXITS = [
    "print(1)", "import sys\nsys.exit(1)", "exit()", "quit()", "raise SystemExit", "raise SystemExit(1)",
    "from sys import exit as leave", "import sys as s",
]  # fmt: skip


@pytest.mark.parametrize("source", BAD_EXITS)
def test_print_and_exit_are_found(source: str) -> None:
    assert layout.misplaced_exits("runtime/client", source)
    assert layout.misplaced_exits("face/cli", source) == []


def test_only_the_face_prints_and_exits() -> None:
    assert layout.misplaced_exits("runtime/client", "import sys\nsys.stderr.fileno()\nraise ValueError(1)") == []
    expect_none(faults_by_place(layout.misplaced_exits, MODULES))


# The independent peer


@pytest.mark.parametrize(
    "source",
    [
        "import nitrosocks_lib",
        "import os, nitrosocks_lib.facts.wire",
        "from nitrosocks_lib.crypto import seal",
        "def late():\n    import nitrosocks",
        "from .crypto import seal",
        "from . import recorded",
        "importlib.import_module(name)",
        "from recorded import Tape",
        "import recorded",
    ],
)
def test_a_peer_that_leans_on_others_is_found(source: str) -> None:
    assert layout.not_independent(source, {"recorded"})
    assert layout.not_independent("import os\nfrom cryptography import exceptions", {"recorded"}) == []


def test_the_peer_is_one_file_and_independent() -> None:
    siblings = {name.removesuffix(".py") for name in TESTS if "/" not in name}
    assert {"peer", "peer_judge", "recorded"} <= siblings
    assert len(TESTS["peer.py"].splitlines()) <= 300
    expect_none(layout.not_independent(TESTS["peer.py"], siblings))
    expect_none(layout.not_independent(TESTS["peer_judge.py"], siblings - {"peer"}))


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
    assert layout.untested(["facts/wire"], set(), {}) == ["facts/wire has no tests/test_wire.py"]
    assert layout.untested(["facts/wire"], {"test_wire.py"}, {"facts/wire": "test_bytes.py"})
    assert layout.untested(["facts/wire"], {"test_wire.py"}, {"facts/gone": "test_wire.py"})
    assert layout.untested(["__init__", "facts/__init__", "facts/wire"], {"test_wire.py"}, {}) == []
    assert layout.untested(["runtime/interceptor"], {"test_demo.py"}, {"runtime/interceptor": "test_demo.py"}) == []


def test_every_module_has_its_tests() -> None:
    expect_none(layout.untested(list(MODULES), set(TESTS), TESTED_BY))


# Registries


@pytest.mark.parametrize("host", layout.REGISTRIES)
def test_a_registry_host_is_found(host: str) -> None:
    assert layout.registry_hosts(f"see HTTPS://FILES.{host.upper()}/x") == [host]


def test_no_source_names_a_registry_host() -> None:
    assert "README.md" in sources() and "tests/house/test_layout.py" in sources()
    expect_none(faults_of(layout.registry_hosts, sources()))
