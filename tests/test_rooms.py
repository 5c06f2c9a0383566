"""The house: rooms with a face and a reason, imports that go one way, files that can be read at a sitting."""

import ast
import importlib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

HERE = Path(__file__).parent.parent
ROOMS = ("files", "data", "models", "train", "scratch", "measure")
MODULES = sorted([*(HERE / "cifar_utils").rglob("*.py"), *(HERE / "reproduce").rglob("*.py")])


def imported(path: Path) -> set[str]:
    """Return the full names of the project's modules that a file imports, or may: a name may be a module's."""
    package, found = path.relative_to(HERE).parent.parts, set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1]] if node.level else []
            base += node.module.split(".") if node.module else []
            found |= {".".join([*base, alias.name]) for alias in node.names}
    return {name for name in found if name.split(".")[0] in ("cifar_utils", "reproduce")}


def room(module: str) -> str:
    """Return the room of `cifar_utils` that a module lies in; `ground` for what lies under all of them."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ROOMS else "ground"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(HERE).as_posix())
def test_every_module_can_be_read_at_a_sitting(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_the_library_knows_nothing_of_the_engine():
    for path in (HERE / "cifar_utils").rglob("*.py"):
        assert not [name for name in imported(path) if name.startswith("reproduce")], path


def test_imports_between_rooms_go_one_way():
    graph: dict[str, set[str]] = {}
    for path in (HERE / "cifar_utils").rglob("*.py"):
        own = room(".".join(path.relative_to(HERE).with_suffix("").parts))
        graph.setdefault(own, set()).update(room(name) for name in imported(path))
        graph[own].discard(own)
    order = list(TopologicalSorter(graph).static_order())  # raises where there is a circle
    assert order[0] == "ground" and set(order) == {"ground", *ROOMS}


@pytest.mark.parametrize("name", ROOMS)
def test_every_room_has_a_face_and_says_why_it_is_as_it_is(name):
    face = importlib.import_module(f"cifar_utils.{name}")
    assert [public for public in face.__all__ if getattr(face, public, None) is None] == []
    readme = HERE / "cifar_utils" / name / "README.md"
    assert len(readme.read_text(encoding="utf-8").split()) >= 80
