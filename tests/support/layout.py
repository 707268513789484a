"""The rules of the house as functions from source text to faults; test_layout.py applies and tries them.

A module is named by its path under nitrosocks_lib without ".py": "runtime/link".
"""

import ast
from collections.abc import Iterator
from fnmatch import fnmatch

LIBRARY = "nitrosocks_lib"
FLOORS = ("facts", "crypto", "protocol", "runtime", "face")  # bottom to top
FILE_LINES = 300
FUNCTION_LINES = 40

# Who alone may import it. fnmatch patterns on module names.
ONLY_HERE: dict[str, tuple[str, ...]] = {
    "ssl": ("runtime/link", "runtime/carriers", "runtime/interceptor"),
    "socket": ("runtime/*",),
    "select": ("runtime/*",),
    "selectors": ("runtime/*",),
    "threading": ("runtime/*", "face/cli", "face/demo", "face/tunnels"),
    "signal": ("runtime/*", "face/cli"),
    "time": ("runtime/*", "face/cli", "face/demo"),
    "cryptography": ("crypto/*",),
    "pyotp": ("crypto/*",),
    "docopt": ("face/*",),
    "tomllib": ("face/*",),
    "tomli_w": ("face/*",),
}

# What the floors without a world outside never import: `now` and entropy are arguments there.
PURE = ("facts/*", "crypto/*", "protocol/*")
NEVER_IN_PURE = ("socket", "ssl", "select", "threading", "time", "logging", "pathlib", "os")

SPEAKS = ("face/*",)  # where print is called, and the process ended
EXITS = ("print", "exit", "quit", "sys.exit", "SystemExit")

# Package registries; the labels stand apart so that this file passes its own rule.
REGISTRIES = tuple(
    ".".join(labels)
    for labels in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("crates", "io"),
        ("rubygems", "org"),
        ("proxy", "golang", "org"),
    )
)

Function = ast.FunctionDef | ast.AsyncFunctionDef


def matches(module: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(module, pattern) for pattern in patterns)


def floor(module: str) -> str:
    return module.partition("/")[0]


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


def upward_imports(module: str, source: str) -> list[str]:
    """Imports go down only; a module that stands on no floor is a fault, too."""
    if module == "__init__":
        return [f"line {line}: imports {name}" for line, name in imports(module, source)]
    if floor(module) not in FLOORS:
        return ["stands on no floor"]
    above = FLOORS[FLOORS.index(floor(module)) + 1 :]
    faults = []
    for line, name in imports(module, source):
        parts = name.split(".")
        upward = parts[0] == LIBRARY and len(parts) > 1 and parts[1] in above
        if upward or parts[0] == "nitrosocks" or name in ("?", f"{LIBRARY}.*"):
            faults.append(f"line {line}: imports {name}")
    return faults


def misplaced_imports(module: str, source: str) -> list[str]:
    """What may be imported in some places only, and what a pure floor never imports."""
    faults = []
    for line, name in imports(module, source):
        top = name.partition(".")[0]
        elsewhere = top in ONLY_HERE and not matches(module, ONLY_HERE[top])
        if elsewhere or (top in NEVER_IN_PURE and matches(module, PURE)):
            faults.append(f"line {line}: imports {name}")
    return faults


def not_independent(source: str, siblings: set[str]) -> list[str]:
    """Imports of the product and of other files of tests/, in a file that is written without them."""
    others = {LIBRARY, "nitrosocks", "?"} | siblings
    return [f"line {line}: imports {name}" for line, name in imports("", source) if name.partition(".")[0] in others]


def misplaced_exits(module: str, source: str) -> list[str]:
    """Only the face prints, and only the face ends the process."""
    if matches(module, SPEAKS):
        return []
    faults = [f"line {line}: imports {name}" for line, name in imports(module, source) if name == "sys.exit"]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            faults += [f"line {node.lineno}: renames sys" for name in node.names if name.name == "sys" and name.asname]
        called = node.func if isinstance(node, ast.Call) else node.exc if isinstance(node, ast.Raise) else None
        if called is not None and ast.unparse(called) in EXITS:
            faults.append(f"line {called.lineno}: {ast.unparse(called)}")
    return faults


def long_file(source: str) -> list[str]:
    lines = len(source.splitlines())
    return [f"{lines} lines"] if lines > FILE_LINES else []


def body_lines(function: Function) -> int:
    """Lines from `def` to the end, without the docstring."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is not None:
        docstring = function.body[0]
        lines -= (docstring.end_lineno or docstring.lineno) - docstring.lineno + 1
    return lines


def long_functions(source: str) -> list[str]:
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, Function)]
    return [f"line {f.lineno}: {f.name}: {body_lines(f)} lines" for f in functions if body_lines(f) > FUNCTION_LINES]


def public(body: list[ast.stmt]) -> Iterator[Function | ast.ClassDef]:
    """Functions, classes and methods with a public name; not what a function keeps inside."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
            decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
            if not any(word in decorators for word in ("overload", "override", ".setter", ".deleter")):
                yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public(node.body)
        elif isinstance(node, ast.If | ast.Try):
            yield from public([*node.body, *node.orelse])


def missing_docstrings(source: str) -> list[str]:
    tree = ast.parse(source)
    faults = [] if ast.get_docstring(tree) else ["the module has no docstring"]
    return faults + [f"line {n.lineno}: {n.name} has none" for n in public(tree.body) if not ast.get_docstring(n)]


def registry_hosts(text: str) -> list[str]:
    return [host for host in REGISTRIES if host in text.lower()]


def untested(modules: list[str], tests: set[str], tested_by: dict[str, str]) -> list[str]:
    """Modules without their test module, and rows of the mapping `tested_by` that name what is not there."""
    faults = [f"the mapping names {module}, which does not exist" for module in tested_by if module not in modules]
    for module in modules:
        name = module.rpartition("/")[2]
        test = tested_by.get(module, f"test_{name}.py")
        if name != "__init__" and test not in tests:
            faults.append(f"{module} has no tests/{test}")
    return faults
