"""What is installed with the package: only what it declares, and with that alone the rooms load and train."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import distributions, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent.parent
PROJECT = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
#: Modules that one optional dependency is for, and which are imported by their names.
OPTIONAL = {
    "models/pretrained.py": "pretrained",
    "scratch/compiled.py": "compiled",
    "scratch/one_hidden.py": "compiled",
}
#: IPython is there wherever a figure is shown in a notebook.
IN_NOTEBOOKS = {"measure/plots.py": {"ipython"}}


def names(extra: str = "") -> set[str]:
    """Return the distributions that the package requires, or that one of its extras does, with those it includes."""
    listed = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    found = set()
    for requirement in map(Requirement, listed):
        if requirement.name == PROJECT["name"]:
            found |= {name for other in requirement.extras for name in names(other)}
        else:
            found.add(canonicalize_name(requirement.name))
    return found


OWNERS = packages_distributions()


def imported(path: Path) -> set[str]:
    """Return the distributions that a file imports from, anywhere in it."""
    nodes, tops = list(ast.walk(ast.parse(path.read_text(encoding="utf-8")))), set()
    for node in nodes:
        if isinstance(node, ast.Import):
            tops |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            tops.add(node.module.split(".")[0])
    others = tops - set(sys.stdlib_module_names) - {"cifar_utils", "reproduce"}
    return {canonicalize_name(OWNERS[top][0]) for top in others}


def test_the_library_imports_only_what_it_declares():
    for path in (HERE / "cifar_utils").rglob("*.py"):
        module = path.relative_to(HERE / "cifar_utils").as_posix()
        more = names(OPTIONAL[module]) if module in OPTIONAL else IN_NOTEBOOKS.get(module, set())
        assert imported(path) <= names() | more, path


def test_the_engine_imports_only_what_its_extra_declares():
    for path in (HERE / "reproduce").rglob("*.py"):
        assert imported(path) <= names() | names("engine"), path


def test_every_dependency_is_pinned():
    pins = "\n".join((HERE / file).read_text() for file in ("requirements.txt", "constraints.txt"))
    pinned = {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", pins, re.MULTILINE)}
    assert names() | names("dev") <= pinned


def installed_with(wanted: set[str]) -> set[str]:
    """Return the distributions that installing `wanted` brings, without extras."""
    known = {canonicalize_name(d.metadata["Name"]) for d in distributions()}
    found, waiting = set(), {*wanted}
    while waiting:
        name = waiting.pop()
        if name in found or name not in known:
            continue
        found.add(name)
        for requirement in map(Requirement, requires(name) or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                waiting.add(canonicalize_name(requirement.name))
    return found


ALONE = """
import sys

class Without:
    # a finder that does not see what is absent

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        return None if name.split(".")[0] in ABSENT else self.finder.find_spec(name, path, target)

sys.meta_path[:] = [Without(finder) for finder in sys.meta_path if hasattr(finder, "find_spec")]
import importlib, pkgutil
import cifar_utils
for module in pkgutil.walk_packages(cifar_utils.__path__, "cifar_utils."):
    if module.name not in OPTIONAL:
        importlib.import_module(module.name)

from torch.optim import SGD
from cifar_utils.data import Batches, load
from cifar_utils.measure import summarise
from cifar_utils.models import SoftmaxRegression
from cifar_utils.train import fit

data = load("mnist", data="sample")
model = SoftmaxRegression(64, 10)
history = fit(model, Batches(data.train, 100, seed=0), SGD(model.parameters(), lr=0.1), epochs=2)
print(cifar_utils.__file__, len(history.train_loss), round(summarise([1.0, 2.0]).mean, 1))
"""


def test_an_installed_package_loads_every_room_and_trains_without_the_engines_dependencies(tmp_path):
    pytest.importorskip("setuptools")
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for package in ("cifar_utils", "reproduce"):
        shutil.copytree(HERE / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(HERE / file, source)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(target)]
    subprocess.run([*build, str(source)], check=True)
    with zipfile.ZipFile(next(target.glob("*.whl"))) as wheel:
        wheel.extractall(target)
    assert (target / "cifar_utils" / "py.typed").exists() and (target / "cifar_utils/data/README.md").exists()
    assert list((target / "reproduce/book/templates").iterdir())
    own = installed_with(names())
    assert "papermill" not in own and "jupyter-book" not in own and "torchvision" not in own
    absent = {
        top
        for top, owners in OWNERS.items()
        if not {canonicalize_name(owner) for owner in owners} & (own | {"setuptools"})
    } - {"cifar_utils", "reproduce"}
    optional = {f"cifar_utils.{module.removesuffix('.py').replace('/', '.')}" for module in OPTIONAL}
    code = ALONE.replace("ABSENT", repr(absent)).replace("OPTIONAL", repr(optional))
    environment = {"PYTHONPATH": str(target), "OMP_NUM_THREADS": "1", "PATH": "/usr/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(target / "cifar_utils" / "__init__.py"), "2", "1.5"]


@pytest.mark.skipif(not (HERE / ".git").exists(), reason="no clone")
def test_a_link_to_a_larger_disk_is_no_change_that_is_not_committed():
    for name in ("runs", "data", ".venv", "_build"):  # told of a name without a slash, as git sees a link
        there = subprocess.run(["git", "check-ignore", "--no-index", "--stdin"], input=name, cwd=HERE, text=True,
                               capture_output=True)  # fmt: skip
        assert there.stdout.strip() == name
