"""The code that computes the numbers of a solution, shown in it: the test that keeps them true."""

from __future__ import annotations

import ast
import re
from functools import cache
from html import escape
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from cifar_utils.paths import root

#: What marks a test as one of a solution: `@of("its label")`.
MARK = "of"

#: What brings a solution's text to its test; it computes nothing.
_READING = frozenset({"of", "text", "exercises", "solution", "labels"})

_SOLUTION = re.compile(
    r"^(?P<fence>`{3,})\{solution\} (?P<label>\S+)\n(?P<text>.*?)^(?P=fence)$", re.DOTALL | re.MULTILINE
)
_PLACE = re.compile(r"<!-- computes (?P<label>[\w-]+) -->")
_FOLD = """<details class="cu-computes"><summary>Show the code that computes this</summary>
<div class="highlight-python notranslate">{code}</div>
<p><small>A test of <code>tests/{file}</code>: <code>text</code> is this solution, and whatever in it does not agree
with what is computed fails the test. Imports are left out.</small></p></details>"""


def with_places(markdown: str) -> str:
    """Return a chapter's Markdown with a mark at the end of every solution, where `filled` puts its code.

    The code comes only with the finished page, so that the search does not find it in place of the text.
    """
    return _SOLUTION.sub(
        lambda found: (
            f"{found['fence']}{{solution}} {found['label']}\n{found['text']}\n"
            f":::{{raw}} html\n<!-- computes {found['label']} -->\n:::\n{found['fence']}"
        ),
        markdown,
    )


def filled(body: str) -> str:
    """Return a page's HTML with the code of each solution that has some, in place of its mark."""
    return _PLACE.sub(lambda found: _fold(found["label"]), body)


def sources() -> list[Path]:
    """Return the files that the code is taken from; none where the tests are not installed."""
    return sorted((root() / "tests").glob("test_solutions*.py"))


def _fold(label: str) -> str:
    for path in sources():
        if code := _all_of(path).get(label):
            # long lines are wrapped, for nothing on a page should need scrolling sideways
            formatter = HtmlFormatter(cssclass="highlight", prestyles="white-space: pre-wrap")
            return _FOLD.format(code=highlight(code, PythonLexer(), formatter), file=escape(path.name))
    return ""


@cache
def _all_of(path: Path) -> dict[str, str]:
    return computing(path.read_text(encoding="utf-8"))


def computing(module: str) -> dict[str, str]:
    """Return the code of each solution that a module of tests computes.

    Args:
        module: the module's source.

    Returns:
        For each label its tests in order, each without its mark, behind the functions and constants of the module
        that they use.
    """
    tree = ast.parse(module)
    named = {name: node for node in tree.body for name in _names(node) if name not in _READING}
    tests: dict[str, list[ast.stmt]] = {}
    for node in tree.body:
        if label := _label(node):
            tests.setdefault(label, []).append(node)
    return {
        label: "\n\n\n".join(_source(module, node) for node in [*_used(found, named), *found])
        for label, found in tests.items()
    }


def _names(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else ()
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _label(node: ast.stmt) -> str:
    for mark in node.decorator_list if isinstance(node, ast.FunctionDef) else ():
        if isinstance(mark, ast.Call) and isinstance(mark.func, ast.Name) and mark.func.id == MARK:
            (label,) = mark.args
            return ast.literal_eval(label)
    return ""


def _used(tests: list[ast.stmt], named: dict[str, ast.stmt]) -> list[ast.stmt]:
    """Return what tests use of their module, directly or not, in its order."""
    found: dict[int, ast.stmt] = {}
    open_ = list(tests)
    while open_:
        for part in ast.walk(open_.pop()):
            node = named.get(part.id) if isinstance(part, ast.Name) else None
            if node is not None and node.lineno not in found and node not in tests:
                found[node.lineno] = node
                open_.append(node)
    return [found[line] for line in sorted(found)]


def _source(module: str, node: ast.stmt) -> str:
    lines = module.split("\n")[node.lineno - 1 : node.end_lineno]
    return "\n".join(re.sub(r"\s+# noqa\b.*", "", line) for line in lines)
