"""The code that a solution shows is the test that keeps it true, with what the test uses."""

import ast
import json
import re

from cifar_utils.paths import root
from reproduce.book import solution_code

MODULE = """
LIMIT = 3
OTHER = 4

def of(label): ...

def deep(x):
    return x * LIMIT

def helper(x):
    return deep(x)

def never(): ...

@of("chapter-one")
def test_one(text):
    f = lambda: helper(1)  # noqa: E731
    assert f"{f()}" in text

def test_of_no_solution(): ...

@of("chapter-two")
def test_two(text):
    assert text
"""


def test_a_tests_code_comes_with_what_it_uses_and_without_its_mark():
    found = solution_code.computing(MODULE)
    assert set(found) == {"chapter-one", "chapter-two"}
    names = [getattr(node, "name", "LIMIT") for node in ast.parse(found["chapter-one"]).body]
    assert names == ["LIMIT", "deep", "helper", "test_one"]
    assert "@of" not in found["chapter-one"] and "noqa" not in found["chapter-one"]
    assert found["chapter-two"] == "def test_two(text):\n    assert text"


def test_a_solution_gets_its_place_and_its_place_gets_the_code():
    label = "a1_q1_softmax_regression-epsilon"
    text = f"Before.\n\n````{{solution}} {label}\n:class: dropdown\n\nIt is ```so```.\n````\n\nAfter.\n"
    placed = solution_code.with_places(text)
    place = f"<!-- computes {label} -->"
    assert placed == text.replace("so```.\n````", f"so```.\n\n:::{{raw}} html\n{place}\n:::\n````"), (
        "at the end of the solution, and nothing else is changed"
    )
    page = solution_code.filled(f"<p>a</p>{place}<p>b</p>")
    assert page.startswith('<p>a</p><details class="cu-computes">') and page.endswith("</details><p>b</p>")
    assert "test_gradient_is_halved" in page and "tests/test_solutions.py" in page
    assert solution_code.filled("a<!-- computes chapter-none -->b") == "ab"


def test_every_solution_of_the_book_is_found_and_most_have_code():
    code = {k for path in solution_code.sources() for k in solution_code.computing(path.read_text(encoding="utf-8"))}
    labels = set()
    published = {path.name: path for path in (root() / "book" / "chapters").glob("*.ipynb")}
    written = {path.name: path for path in (root() / "notebooks").glob("*.ipynb")}  # not all are published
    for path in (written | published).values():
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            text = "".join(cell["source"])
            placed = re.findall(r"^<!-- computes (\S+) -->$", solution_code.with_places(text), re.M)
            assert placed == re.findall(r"^`+\{solution\} (\S+)$", text, re.M)
            labels.update(placed)
    assert code <= labels and len(code) > 0.9 * len(labels) > 50
