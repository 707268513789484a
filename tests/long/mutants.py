"""Breaks crypto/ and protocol/ in one small way after another, and prints the ways that no test of theirs notices.

    python tests/long/mutants.py [--module NAME]… [--sample N] [--seed N] [--workers N] [--list]

A mutant is one changed comparison, operator or constant, a statement or `raise` that is gone, a condition turned round,
or two arguments swapped. It survives when the module's own tests pass, and then all of tests/crypto and tests/protocol.
Works on copies. Exits 0: which survivors there may be is explained in docs/robustness.md, Mutants.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from time import monotonic

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = "nitrosocks_lib"
ROOMS = ("crypto", "protocol")
TESTS = {  # whose own, first
    "protocol/welcome": ["welcome", "hello"], "protocol/handshake": ["handshake", "welcome"],
    "protocol/http1": ["http1", "http1_answers"],
}  # fmt: skip
EARLY = "ignore::pytest.PytestAssertRewriteWarning"  # hypothesis is there before pytest looks at it
LIMIT = 60  # seconds of processor time of one run: a mutant that hangs is noticed
COMPARED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
COMPUTED: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult, ast.Mod: ast.Mult,
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.BitXor: ast.BitOr,
}  # fmt: skip
SYMMETRIC = ("min", "max", "equal", "schedule.equal", "_hmac.compare_digest")
SHAPE = ("slots", "frozen")  # of a dataclass: no behaviour


@dataclass(frozen=True)
class Mutant:
    """A module's whole source with one change; `told` is the changed line before and after."""

    module: str
    line: int
    told: str
    source: str


def variants(node: ast.AST) -> Iterator[ast.AST]:
    """What may stand in place of a node."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARED:
        yield ast.Compare(node.left, [COMPARED[type(node.ops[0])](), *node.ops[1:]], node.comparators)
        if len(node.ops) > 1:
            yield ast.Compare(node.left, [node.ops[0], COMPARED[type(node.ops[1])]()], node.comparators)
    elif isinstance(node, ast.BinOp) and type(node.op) in COMPUTED:
        yield ast.BinOp(node.left, COMPUTED[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.Constant) and not isinstance(node.value, str):
        yield from constants(node.value)
    elif isinstance(node, ast.If | ast.While):
        yield type(node)(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)
    elif isinstance(node, ast.Raise | ast.AugAssign | ast.Assert | ast.Delete) or (
        isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
    ):
        yield ast.Pass()
    elif isinstance(node, ast.Call):
        yield from calls(node)


def constants(value: object) -> Iterator[ast.AST]:
    """Others of the same type."""
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        yield ast.Constant(value + 1)
    elif isinstance(value, bytes):
        yield ast.Constant(value + b"?" if value else b"?")


def calls(node: ast.Call) -> Iterator[ast.AST]:
    """Two neighbouring arguments swapped, where their order matters; a comparison in constant time that is none."""
    for at in range(len(node.args) - 1 if ast.unparse(node.func) not in SYMMETRIC else 0):
        swapped = [*node.args[:at], node.args[at + 1], node.args[at], *node.args[at + 2 :]]
        yield ast.Call(node.func, swapped, node.keywords)
    if ast.unparse(node.func).endswith("compare_digest"):
        yield ast.Compare(node.args[0], [ast.Eq()], [node.args[1]])


class Replace(ast.NodeTransformer):
    """Puts `new` in the place of the `number`-th node of a walk."""

    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return ast.copy_location(self._new, node) if node is self._old else self.generic_visit(node)


def is_text(node: ast.AST, parents: dict[ast.AST, ast.AST]) -> bool:
    """Whether it belongs to an annotation, to what an error says, or to slots: no test has to notice that."""
    while (parent := parents.get(node)) is not None:
        if isinstance(parent, ast.arg) or (isinstance(parent, ast.AnnAssign) and node is parent.annotation):
            return True
        if isinstance(parent, ast.FunctionDef) and node is parent.returns:
            return True
        if isinstance(parent, ast.JoinedStr | ast.Assert) or (isinstance(parent, ast.keyword) and parent.arg in SHAPE):
            return True
        if isinstance(parent, ast.Assign) and ast.unparse(parent.targets[0]) == "__slots__":
            return True
        node = parent
    return False


def mutants(module: str) -> Iterator[Mutant]:
    """All of one module."""
    tree = ast.parse((ROOT / LIBRARY / f"{module}.py").read_text("utf-8"))
    parents = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
    for node in ast.walk(tree):
        if is_text(node, parents):
            continue
        for new in variants(node):
            line = node.lineno  # type: ignore[attr-defined]
            before, after = ast.unparse(node).split("\n")[0], ast.unparse(ast.fix_missing_locations(new)).split("\n")[0]
            if before != after:
                changed = Replace(node, new).visit(copy_with(tree, node))
                yield Mutant(module, line, f"{before}  →  {after}", ast.unparse(ast.fix_missing_locations(changed)))


def copy_with(tree: ast.Module, kept: ast.AST) -> ast.Module:
    """A copy of the tree in which this one node is the same."""
    return copy.deepcopy(tree, {id(kept): kept})


def passes(place: Path, tests: list[str]) -> bool:
    """Runs these tests in a child that has the slow imports already; whether they pass within the limit."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT))
        signal.alarm(10 * LIMIT)
        os.chdir(place)
        sys.path[:0] = [str(place)]
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        os._exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-W", EARLY, *tests])))
    return os.waitpid(child, 0)[1] == 0


def survives(mutant: Mutant, place: Path) -> bool:
    """Whether no test notices it."""
    path = place / LIBRARY / f"{mutant.module}.py"
    honest = path.read_text("utf-8")
    room, _, name = mutant.module.partition("/")
    own = [f"tests/{room}/test_{each}.py" for each in TESTS.get(mutant.module, [name])]
    try:
        path.write_text(mutant.source, "utf-8")
        return passes(place, own) and passes(place, [f"tests/{each}" for each in ROOMS])
    finally:
        path.write_text(honest, "utf-8")


def copied(place: Path) -> Path:
    """The tree as far as the tests need it."""
    for folder in (LIBRARY, "tests", "docs"):
        shutil.copytree(ROOT / folder, place / folder, ignore=shutil.ignore_patterns("__pycache__", "long", "corpus"))
    shutil.copy(ROOT / "pyproject.toml", place)
    return place


def main() -> int:
    """Tries them, and names the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--module", action="append", help="as crypto/seal; may be repeated")
    parser.add_argument("--sample", type=int, default=0, help="so many of all, at random")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--list", action="store_true", help="only names the mutants")
    options = parser.parse_args()
    paths = [path for room in ROOMS for path in sorted((ROOT / LIBRARY / room).glob("*.py"))]
    modules = options.module or [f"{path.parent.name}/{path.stem}" for path in paths if path.stem != "__init__"]
    all_of_them = [mutant for module in modules for mutant in mutants(module)]
    chosen = all_of_them
    if options.sample:
        chosen = random.Random(options.seed).sample(all_of_them, min(options.sample, len(all_of_them)))
    if options.list:
        for mutant in chosen:
            print(f"{mutant.module}:{mutant.line}: {mutant.told}")
    print(f"{len(all_of_them)} mutants of {len(modules)} modules, {len(chosen)} to try", flush=True)
    return 0 if options.list else tried(chosen, options.workers)


def tried(chosen: list[Mutant], workers: int) -> int:
    """Runs the tests against each."""
    began, survivors = monotonic(), 0
    with tempfile.TemporaryDirectory(prefix="ns-mutants-") as top, ThreadPoolExecutor(workers) as pool:
        places: SimpleQueue[Path] = SimpleQueue()
        for number in range(workers):
            (place := Path(top, str(number))).mkdir()
            places.put(copied(place))
        assert passes(Path(top, "0"), [f"tests/{each}" for each in ROOMS]), "the tests pass without a change"

        def one(mutant: Mutant) -> bool:
            place = places.get()
            try:
                return survives(mutant, place)
            finally:
                places.put(place)

        for mutant, survived in zip(chosen, pool.map(one, chosen), strict=True):
            survivors += survived
            if survived:
                print(f"survived: {mutant.module}:{mutant.line}: {mutant.told}", flush=True)
    killed = len(chosen) - survivors
    print(f"{len(chosen)} mutants in {monotonic() - began:.0f} s: {killed} killed, {survivors} survived")
    return 0


if __name__ == "__main__":
    import hypothesis  # noqa: F401  the children have it then
    import pytest
    from cryptography.hazmat.primitives.hpke import Suite  # noqa: F401  the same

    raise SystemExit(main())
