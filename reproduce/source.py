"""The source of the library on a chapter's page, where the chapter is about it."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable
from html import escape

from IPython.display import display
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer


def source(*objects: Callable) -> None:
    """Show functions or classes of the library as their authors wrote them, each docstring cut to its first line.

    The colours are the page's own, by day and by night; below stands where the API reference describes each.
    """
    codes = [shortened(textwrap.dedent(inspect.getsource(thing))) for thing in objects]
    code = "\n\n".join(codes)
    # long lines are wrapped, for nothing on a page should need scrolling sideways
    formatter = HtmlFormatter(cssclass="highlight", prestyles="white-space: pre-wrap")
    block = highlight(code, PythonLexer(), formatter)
    links = ", ".join(dict.fromkeys(_link(f"{thing.__module__}.{thing.__qualname__}") for thing in objects))
    html = f'<div class="highlight-python notranslate">{block}</div><small>{links}</small>'
    display({"text/html": html, "text/plain": code}, raw=True)


def _link(name: str) -> str:
    """Return a link to the reference of something public, for what is private to that of its class."""
    name = re.sub(r"\._[a-z]\w*$", "", name)
    return f'<a href="../api.html#{escape(name)}"><code>{escape(name)}</code></a>'


def shortened(code: str) -> str:
    """Return Python code with every docstring cut to its first line."""
    lines = code.rstrip().split("\n")
    nodes = ast.walk(ast.parse(code))
    documented = [n for n in nodes if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))]
    # from the last to the first, so that the numbers of those before stay right
    for node in sorted(documented, key=lambda n: -n.lineno):
        if text := ast.get_docstring(node):
            string, first = node.body[0], text.split("\n")[0]
            indent, raw = " " * string.col_offset, "r" if "\\" in first else ""
            lines[string.lineno - 1 : string.end_lineno] = [f'{indent}{raw}"""{first}"""']
    return "\n".join(lines)
