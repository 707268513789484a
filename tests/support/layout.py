"""The rules of the house as functions from source text to faults; test_layout.py applies and tries them.

Who may import whom is in rooms.py. A module is named by its path under nitrosocks_lib without ".py": "net/link".
"""

import ast
from collections.abc import Iterator

from rooms import ROOMS, imports, matches

FILE_LINES = 300
FUNCTION_LINES = 40

SPEAKS = ("cli/*",)  # where print is called, and the process ended
EXITS = ("print", "exit", "quit", "sys.exit", "SystemExit")

# What tests/ has beside a folder for each room.
FOLDERS = (
    "whole",  # the program as its users see it
    "interop",  # the product and a peer that is independent of it
    "attack",  # attacks: scripts, and a short test of each
    "lab",  # every bit of every message, every frame in every state
    "house",  # these rules
    "support",  # what tests share
    "long",  # scripts that run for minutes
)

# Methods of a Path that raise for more than they should: is_file where nobody may look, resolve for a link to itself.
UNSURE = ("exists", "is_dir", "is_file", "is_fifo", "is_mount", "is_socket", "is_symlink", "resolve")

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


def misplaced_exits(module: str, source: str) -> list[str]:
    """Only cli prints, and only cli ends the process."""
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


def unsure_questions(source: str) -> list[str]:
    """Questions to a Path for which os.path has a function that answers always, or os.path.realpath."""
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    asked = [call for call in calls if isinstance(call, ast.Attribute) and call.attr in UNSURE]
    return [f"line {call.lineno}: {call.attr}" for call in asked if ast.unparse(call.value) != "os.path"]


def registry_hosts(text: str) -> list[str]:
    return [host for host in REGISTRIES if host in text.lower()]


def untested(modules: list[str], tests: set[str], tested_by: dict[str, str]) -> list[str]:
    """Modules without their test module, and rows of the mapping `tested_by` that nobody needs (any more).

    Tests are named by their path under tests/, "net/test_link.py", those in the mapping too.
    """
    faults = [f"the mapping names {module}, which does not exist" for module in tested_by if module not in modules]
    for module in modules:
        room, _, name = module.rpartition("/")
        own = f"{room}/test_{name}.py"
        if module in tested_by and own in tests:
            faults.append(f"the mapping names {module}, which has {own}")
        if name != "__init__" and tested_by.get(module, own) not in tests:
            faults.append(f"{module} has no tests/{tested_by.get(module, own)}")
    return faults


def homeless(tests: set[str]) -> list[str]:
    """Tests that are in no folder, or in one that is neither a room's nor among FOLDERS."""
    folders = {*ROOMS, *FOLDERS}
    return [name for name in sorted(tests) if name.rpartition("/")[0] not in folders and name != "conftest.py"]
