"""Where secrets are compared, as a function from source text to faults; test_comparisons.py applies and tries it.

A comparison by == ends at the first byte that differs, so its time tells how far a guess was right. What is compared is
told by its words: a name, an attribute or a call that has one of these between its underscores.
"""

import ast
from collections.abc import Iterator

SECRET = frozenset(
    "tag tags mac digest hash hash256 hmac256 expand hkdf proof claimed expected secret token salt refusal refusals "
    "switch seed root signatures".split()
)
ROOMS = ("protocol", "crypto", "session", "server", "client")

# Comparisons of what everybody may know: module, left side, and why.
PUBLIC = {
    ("client/notices", "stated"): "the hash of a certificate that everybody on the way can see",
    ("server/certificates", "presented.hash"): "the same",
}


def _words(node: ast.expr) -> Iterator[str]:
    """The words of all names in it; sizes are no secrets."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "len":
        return
    name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    yield from name.strip("_").split("_")
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            yield from _words(child)


def compared_by_value(module: str, source: str) -> list[str]:
    """Secrets that are compared by ==, != or `in`; schedule.equal is the way to do it."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Compare):
            continue
        sides = [node.left, *node.comparators]
        by_value = any(isinstance(each, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for each in node.ops)
        secret = any(SECRET & {*_words(side)} for side in sides)
        if by_value and secret and (module, ast.unparse(node.left)) not in PUBLIC:
            faults.append(f"line {node.lineno}: {ast.unparse(node)}")
    return faults
