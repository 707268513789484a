"""Who may import whom, as functions from source text to faults; test_rooms.py applies and tries them.

A module is named by its path under nitrosocks_lib without ".py": "net/link". What stands under TYPE_CHECKING or inside
a function is an import like any other.
"""

import ast
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch

LIBRARY = "nitrosocks_lib"

# A room, and the rooms that it may import. Client and server never meet, nor do files and session.
ROOMS: dict[str, tuple[str, ...]] = {
    "cli": ("demo", "client", "server", "files", "session", "net", "protocol", "crypto", "facts"),
    "demo": ("client", "server", "files", "session", "net", "protocol", "crypto", "facts"),
    "client": ("session", "net", "protocol", "crypto", "facts"),
    "server": ("session", "net", "protocol", "crypto", "facts"),
    "files": ("protocol", "crypto", "facts"),
    "session": ("net", "protocol", "crypto", "facts"),
    "net": ("facts",),
    "protocol": ("crypto", "facts"),
    "crypto": ("facts",),
    "facts": (),
}

# Who alone may import it. fnmatch patterns on module names.
RUNNING = ("net/*", "session/*", "client/*", "server/*")
ONLY_HERE: dict[str, tuple[str, ...]] = {
    "ssl": (
        "net/tls",
        "net/nested",
        "net/handshakes",
        "net/connect",
        "net/proxy",
        "net/probe",
        "net/incoming",
        "demo/interceptor",
    ),
    "spnego": ("client/sso",),
    "socket": (*RUNNING, "demo/interceptor"),
    "select": (*RUNNING, "demo/interceptor"),
    "selectors": RUNNING,
    "threading": (*RUNNING, "demo/demo", "demo/interceptor", "cli/main", "cli/opening"),
    "time": (*RUNNING, "demo/demo", "demo/interceptor", "files/writing"),
    "signal": ("net/signals", "cli/main"),
    "cryptography": ("crypto/*",),
    "pyotp": ("crypto/*",),
    "websockets": ("net/websocket",),
    "docopt": ("cli/*",),
    "h11": ("protocol/*",),
    "tomllib": ("files/*",),
    "tomli_w": ("files/*",),
}

# What the rooms without a world outside never import: `now` and entropy are arguments there.
PURE = ("facts/*", "crypto/*", "protocol/*")
NEVER_IN_PURE = ("socket", "ssl", "select", "selectors", "threading", "time", "logging", "pathlib", "os")


def matches(module: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(module, pattern) for pattern in patterns)


def imports(module: str, source: str) -> Iterator[tuple[int, str]]:
    """Line and absolute dotted name of everything imported, wherever in the file, relative and by function too."""
    package = [LIBRARY, *module.split("/")[:-1]]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            up = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*up, *([node.module] if node.module else [])])
            for name in node.names:
                yield node.lineno, f"{base}.{name.name}"
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("__import__", "import_module")):
            yield node.lineno, str(node.args[0].value) if isinstance(node.args[0], ast.Constant) else "?"


def wrong_rooms(module: str, source: str) -> list[str]:
    """Imports of rooms that are not this one's to import. Who stands in no room, and an __init__ that imports, too."""
    room, _, name = module.rpartition("/")
    if module == "__init__" or (room in ROOMS and name == "__init__"):  # it would be an import of all beside it
        return [f"line {line}: imports {imported}" for line, imported in imports(module, source)]
    if room not in ROOMS:
        return ["stands in no room"]
    faults = []
    for line, imported in imports(module, source):
        top, _, rest = imported.partition(".")
        other = rest.partition(".")[0]
        wrong = other in ROOMS and other != room and other not in ROOMS[room]
        if top in ("nitrosocks", "?") or (top == LIBRARY and (wrong or other in ("", "*"))):
            faults.append(f"line {line}: imports {imported}")
    return faults


def misplaced_imports(module: str, source: str) -> list[str]:
    """What may be imported in some places only, and what a pure room never imports."""
    faults = []
    for line, name in imports(module, source):
        top = name.partition(".")[0]
        elsewhere = top in ONLY_HERE and not matches(module, ONLY_HERE[top])
        if elsewhere or (top in NEVER_IN_PURE and matches(module, PURE)):
            faults.append(f"line {line}: imports {name}")
    return faults


# Cycles


def module_of(name: str, modules: Mapping[str, str]) -> str | None:
    """The module in which a dotted name stands, None where that is none of ours."""
    top, *parts = name.split(".")
    for end in range(len(parts), -1, -1) if top == LIBRARY else ():
        for path in ("/".join(parts[:end]), "/".join([*parts[:end], "__init__"])):
            if path in modules:
                return path
    return None


def beyond(start: str, arrows: Mapping[str, set[str]]) -> set[str]:
    """All modules that one or more imports lead to."""
    found: set[str] = set()
    left = [start]
    while left:
        new = arrows[left.pop()] - found
        found |= new
        left += new
    return found


def cycles(modules: Mapping[str, str]) -> set[tuple[str, ...]]:
    """Each largest set of modules in which every one imports, over others or itself, every one; sorted."""
    arrows: dict[str, set[str]] = {}
    for module, source in modules.items():
        met = (module_of(name, modules) for _, name in imports(module, source))
        arrows[module] = {other for other in met if other is not None}
    reach = {module: beyond(module, arrows) for module in modules}
    return {tuple(sorted(o for o in reach[m] if m in reach[o])) for m in modules if m in reach[m]}


def unlike(found: set[tuple[str, ...]], known: set[tuple[str, ...]]) -> list[str]:
    """Cycles that are not known, and known ones that are not there any more."""
    new = [f"a cycle: {' <-> '.join(each)}" for each in sorted(found - known)]
    return new + [f"no longer a cycle, take it out: {' <-> '.join(each)}" for each in sorted(known - found)]


# The independent peer


def not_independent(source: str, siblings: set[str]) -> list[str]:
    """Imports of the product and of other files of tests/support, in a file that is written without them."""
    others = {LIBRARY, "nitrosocks", "?"} | siblings
    return [f"line {line}: imports {name}" for line, name in imports("", source) if name.partition(".")[0] in others]
