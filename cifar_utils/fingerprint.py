"""Which files a piece of code depends on, and one sum over what they do.

Comments, docstrings, layout and the types of functions do not count, nor does code that decides no number.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

#: The package whose code decides numbers. The engine around it checks, judges and draws tables.
#:
#: :meta hide-value:
PACKAGE = Path(__file__).parent

#: Files that decide no number, being what errors say, and where files lie (`files/catalogue.py` has their sums).
#:
#: :meta hide-value:
NEUTRAL = {"errors.py", "fingerprint.py", "paths.py", "files/fetch.py", "files/sources.py", "files/tensor_files.py"}

#: The package's texts as this process began: the code that it runs, whatever is written meanwhile.
_TEXTS = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
for _path, _text in _TEXTS.items():  # `inspect.getsource` reads these; an entry without a time is never read anew
    linecache.cache[str(_path)] = (len(_text), None, _text.splitlines(keepends=True), str(_path))


def text_of(path: Path) -> str:
    """Return the text of a file: of the package's own, as this process began."""
    return _TEXTS[path] if path in _TEXTS else path.read_text(encoding="utf-8")


def of_code(sources: Iterable[str], package: Path = PACKAGE, without: Iterable[str] = ()) -> str:
    """Return a sum over pieces of code and over every file of the package that they use, 16 hexadecimal digits.

    Two codes that differ only in comments, docstrings, types of functions or layout have the same sum.
    """
    return _of_code(tuple(sources), package, frozenset(without), _state(package))


@cache
def _of_code(sources: tuple[str, ...], package: Path, without: frozenset[str], state: str) -> str:
    digest = hashlib.sha256()
    for source in sources:
        digest.update(meaning(source).encode())
    for path in _used_files(sources, package, without, state):
        digest.update(f"\0{path.relative_to(package.parent).as_posix()}\0{_of_file(path, path.stat())}".encode())
    return digest.hexdigest()[:16]


def used_files(sources: Iterable[str], package: Path = PACKAGE, without: Iterable[str] = ()) -> list[Path]:
    """Return the package's files that `sources` use: what they import, and what that imports, sorted.

    A name that a room's face hands on counts as the file that defines it, not as the whole room. Files in `without`
    are not followed.
    """
    return _used_files(tuple(sources), package, frozenset(without), _state(package))


def _state(package: Path) -> str:
    """Return what changes when a file of the package is written, comes or goes: answers are remembered by it."""
    if package == PACKAGE:
        return "as this process began"
    files = ((path, path.stat()) for path in sorted(package.rglob("*.py")))
    return ",".join(f"{path}:{stat.st_mtime_ns}:{stat.st_size}" for path, stat in files)


def _used_files(sources: tuple[str, ...], package: Path, without: frozenset[str], state: str) -> list[Path]:
    found: set[Path] = set()
    waiting = {path for source in sources for path in _imported(source, package, package)}
    while waiting:
        path = waiting.pop()
        if path not in found and path.relative_to(package).as_posix() not in NEUTRAL | without:
            found.add(path)
            waiting |= _imported_by(path, package, state)
    return sorted(found)


@cache
def _imported_by(path: Path, package: Path, state: str) -> set[Path]:
    return _imported(text_of(path), path.parent, package)


def _imported(source: str, folder: Path, package: Path) -> set[Path]:
    """Return the package's files that `source`, which lies in `folder`, imports anywhere in it."""
    modules: set[Path] = set()
    for node in _imports(source):
        if isinstance(node, ast.Import):
            dotted = [a.name.split(".") for a in node.names]
            modules |= {package.joinpath(*names[1:]) for names in dotted if names[0] == package.name}
        else:
            dotted = node.module.split(".") if node.module else []
            if node.level:
                base = folder if node.level == 1 else folder.parents[node.level - 2]
            elif dotted[0] == package.name:
                base, dotted = package, dotted[1:]
            else:
                continue
            base = base.joinpath(*dotted)
            for alias in node.names:
                modules |= {base / alias.name} if _file(base / alias.name) else _defining(base, alias.name, package)
    return {path for module in modules if (path := _file(module))}


@cache
def _imports(source: str) -> list[ast.Import | ast.ImportFrom]:
    if "import" not in source:
        return []
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Import | ast.ImportFrom)]


def _defining(module: Path, name: str, package: Path) -> set[Path]:
    """Return the module that defines `name`: `module` itself, or where its face takes the name from."""
    face = module / "__init__.py"
    if not face.exists():
        return {module}
    for node in _imports(text_of(face)):
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            if any(name == (alias.asname or alias.name) for alias in node.names):
                return {module.joinpath(*node.module.split("."))}
    return set()


def _file(module: Path) -> Path | None:
    path = module.with_suffix(".py")
    return path if path.is_file() else None


def _of_file(path: Path, stat) -> str:
    return _remembered(path, stat.st_mtime_ns, stat.st_size)


@cache
def _remembered(path: Path, changed: int, size: int) -> str:
    return hashlib.sha256(meaning(text_of(path)).encode()).hexdigest()


@lru_cache(maxsize=1024)
def meaning(source: str) -> str:
    """Return the syntax tree of `source` in one canonical form, without docstrings and the types of functions."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            match node.body:
                case [ast.Expr(value=ast.Constant(value=str())), *rest]:
                    node.body = rest
    return _written(tree)


def _written(node) -> str:
    """Return a syntax tree as `ast.dump` writes it in Python 3.11; later ones have other fields and defaults."""
    if isinstance(node, list):
        return f"[{', '.join(map(_written, node))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.JoinedStr):  # from Python 3.12 on a format in braces ends with an empty text
        node.values = [part for part in node.values if getattr(part, "value", None) != ""]
    kind, told = type(node), []
    for name in node._fields:
        value = getattr(node, name, None)
        optional = value is None and getattr(kind, name, ...) is None
        if not optional and not (name == "type_params" and not value):  # of Python 3.12 on
            told.append(f"{name}={_written(value)}")
    return f"{kind.__name__}({', '.join(told)})"
