"""Rooms: imports go down only, each import is in its place, and nowhere do modules import each other in a circle.

Each rule is first shown to fail on a bad sample; then it is applied to every module. The tables are in rooms.py.
"""

from pathlib import Path

import pytest
import rooms

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / rooms.LIBRARY
MODULES = {
    path.relative_to(LIBRARY).with_suffix("").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted(LIBRARY.rglob("*.py"))
}
SUPPORT = {path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "tests" / "support").glob("*.py")}

# Cycles from before there was a rule. This table must be emptied: nothing may be added to it.
KNOWN: set[tuple[str, ...]] = set()  # none is left


def faults(rule) -> str:
    return "\n".join(f"{module}: {fault}" for module, source in MODULES.items() for fault in rule(module, source))


# Rooms


def test_the_table_goes_down_only() -> None:
    names = list(rooms.ROOMS)
    for at, (room, below) in enumerate(rooms.ROOMS.items()):
        assert set(below) <= set(names[at + 1 :]), room
        for other in below:  # and names with a room whatever that may import
            assert set(rooms.ROOMS[other]) <= set(below), (room, other)
    assert rooms.ROOMS["net"] == ("facts",) and rooms.ROOMS["facts"] == ()
    for one, other in (("client", "server"), ("files", "session")):
        assert one not in rooms.ROOMS[other] and other not in rooms.ROOMS[one]


def test_each_room_is_there() -> None:
    assert {module.partition("/")[0] for module in MODULES} == {*rooms.ROOMS, "__init__"}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("facts/wire", "from nitrosocks_lib.crypto import seal"),
        ("crypto/seal", "import nitrosocks_lib.protocol.receiving"),
        ("crypto/seal", "import nitrosocks_lib.facts.wire, nitrosocks_lib.cli.main"),
        ("protocol/greet", "from nitrosocks_lib import net"),
        ("protocol/greet", "from ..net import link"),
        ("protocol/greet", "from ..session.tunnel import Tunnel"),
        ("protocol/greet", "from .. import session"),
        ("net/link", "from ..protocol import frames"),
        ("net/link", "from ..crypto.certificate import make"),
        ("net/link", "def late():\n    from ..cli import main"),
        ("net/link", "if TYPE_CHECKING:\n    from ..session.tunnel import Tunnel"),
        ("net/link", "importlib.import_module('nitrosocks_lib.cli.main')"),
        ("net/link", "__import__(name)"),
        ("net/link", "from nitrosocks_lib import *"),
        ("net/link", "import nitrosocks_lib"),
        ("session/tunnel", "from ..client.tunnel import ClientTunnel"),
        ("session/tunnel", "from ..files import profiles"),
        ("files/profiles", "from ..session.tunnel import Tunnel"),
        ("files/profiles", "from ..server.authorised import Clients"),
        ("client/pool", "from ..server.server import Server"),
        ("client/pool", "from ..demo import interceptor"),
        ("server/server", "from ..client.pool import Pool"),
        ("demo/demo", "from ..cli.output import tell"),
        ("cli/main", "import nitrosocks"),
        ("__init__", "from .facts import wire"),
        ("net/__init__", "from . import link"),
        ("helpers", ""),
        ("attic/wire", ""),
        ("net/deeper/link", ""),
    ],
)
def test_an_import_of_a_room_above_or_beside_is_found(module: str, source: str) -> None:
    assert rooms.wrong_rooms(module, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("facts/wire", "from .limits import WINDOW\nimport struct"),
        ("crypto/seal", "from ..facts import wire"),
        ("session/tunnel", "from nitrosocks_lib.protocol.receiving import Receiving\nfrom . import streams"),
        ("client/pool", "from ..session.tunnel import Tunnel\nfrom ..net.link import Link"),
        ("cli/main", "from .. import __version__\nfrom ..demo import demo\nfrom ..facts import errors"),
        ("__init__", "__version__ = '1'"),
        ("net/__init__", '"""Sockets."""'),
    ],
)
def test_imports_from_below_and_of_the_same_room_are_fine(module: str, source: str) -> None:
    assert rooms.wrong_rooms(module, source) == []


def test_imports_go_down_only() -> None:
    assert faults(rooms.wrong_rooms) == ""


# Cycles

RING = {
    "net/a": "def late():\n    from .b import B",
    "net/b": "if TYPE_CHECKING:\n    from nitrosocks_lib.net import c",
    "net/c": "from .a import A\nfrom . import d",
    "net/d": "from ..facts.wire import X\nimport os, nitrosocks_lib.net.e",
    "net/e": "",
    "facts/wire": "",
    "net/__init__": "",
}


def test_a_cycle_is_found() -> None:
    assert rooms.cycles(RING) == {("net/a", "net/b", "net/c")}
    assert rooms.cycles(RING | {"net/b": ""}) == set()
    assert rooms.cycles(RING | {"facts/wire": "from ..net.e import E", "net/e": "from ..net.d import D"}) == {
        ("net/a", "net/b", "net/c"), ("facts/wire", "net/d", "net/e"),
    }  # fmt: skip
    assert rooms.cycles(RING | {"net/e": "from .b import *"}) == {("net/a", "net/b", "net/c", "net/d", "net/e")}
    assert rooms.cycles({"net/e": "from . import e"}) == {("net/e",)}
    assert rooms.cycles({"net/e": "from . import x", "net/__init__": "from .e import x"}) == {("net/__init__", "net/e")}


def test_a_new_cycle_and_one_that_is_gone_are_found() -> None:
    ring = ("net/a", "net/b")
    assert rooms.unlike({ring}, set()) == ["a cycle: net/a <-> net/b"]
    assert rooms.unlike(set(), {ring}) == ["no longer a cycle, take it out: net/a <-> net/b"]
    assert len(rooms.unlike({(*ring, "net/c")}, {ring})) == 2
    assert rooms.unlike({ring}, {ring}) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    different = rooms.unlike(rooms.cycles(MODULES), KNOWN)
    assert not different, "\n" + "\n".join(different)


# Only here


@pytest.mark.parametrize("name", rooms.ONLY_HERE)
def test_an_import_in_the_wrong_place_is_found(name: str) -> None:
    wrong = "cli/usage" if name != "docopt" else "files/keyfiles"
    for source in (f"import {name}", f"import {name}.part", f"from {name} import part", f"import sys, {name} as x"):
        assert rooms.misplaced_imports(wrong, source), (wrong, source)
        for right in rooms.ONLY_HERE[name]:
            assert rooms.misplaced_imports(right.replace("*", "any"), source) == []


@pytest.mark.parametrize("name", rooms.NEVER_IN_PURE)
@pytest.mark.parametrize("module", ["facts/wire", "crypto/seal", "protocol/receiving"])
def test_an_import_in_a_pure_room_is_found(module: str, name: str) -> None:
    assert rooms.misplaced_imports(module, f"def late():\n    from {name} import part")


def test_the_tls_of_others_is_found() -> None:
    for module in ("client/session", "server/connection", "net/listener", "demo/demo", "cli/main"):
        assert rooms.misplaced_imports(module, "import ssl")
    assert rooms.misplaced_imports("client/session", "import os, pathlib, logging, socket, time") == []


def test_each_import_is_in_its_place() -> None:
    assert faults(rooms.misplaced_imports) == ""


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
    assert rooms.not_independent(source, {"recorded"})
    assert rooms.not_independent("import os\nfrom cryptography import exceptions", {"recorded"}) == []


def test_the_peer_is_independent() -> None:
    """Each of its files, and what records it, leans on those before it, and on nothing else of ours."""
    others = set(SUPPORT)
    for name in "peer_keys peer peer_streams peer_judge peer_http peer_http_server recording record".split():
        assert rooms.not_independent(SUPPORT[name], others) == []
        others.remove(name)
