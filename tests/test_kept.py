"""What chapters keep between runs besides trainings: nothing changes but the time, and nothing spoils it."""

from __future__ import annotations

import ast
import errno
import json
import os
import random
import signal
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import PARAMETERS, notebook

from cifar_utils import operations
from cifar_utils.errors import ParameterError
from cifar_utils.paths import chapters, notebook_path
from reproduce import cards, chapter, generators, kept
from reproduce.record import whole_seconds

NAME = "a1_q1_test"
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    states = np.random.get_state(), random.getstate()
    monkeypatch.setattr(chapter, "display", lambda *_, **__: SimpleNamespace(update=lambda _: None))
    yield
    np.random.set_state(states[0])
    random.setstate(states[1])


def begin(executed=(), **changes) -> chapter.Chapter:
    values = {"profile": "quick", "data": "real", "device": "cpu", "seeds": 1, "lr": 0.1, "rates": [0.1],
              "augment": False, "limit": None, **changes}  # fmt: skip
    return chapter.start(NAME, values | {"In": list(executed)}, "?")


class Counted:
    """A computation that says how often it was made."""

    def __init__(self, value=None):
        self.times, self.value = 0, value

    def __call__(self):
        self.times += 1
        return self.times if self.value is None else self.value


def files(project) -> list:
    return sorted(p for p in (project / "runs" / "kept" / NAME).glob("*") if p.is_file())


# ---- the same, but for the time ---------------------------------------------------------------------


def test_a_second_run_takes_what_the_first_computed(project):
    turned = np.arange(6.0).reshape(2, 3).T
    some = Counted({"map": turned, "tensor": torch.ones(2, 3).T, "list": [1, (2.5, "a")], "none": None})
    first, second = (begin().keep("maps", some) for _ in range(2))
    assert some.times == 1 and [p.name.split("-")[0] for p in files(project)] == ["maps"]
    for found in (first, second):
        assert (found["map"] == turned).all() and found["map"].strides == turned.strides
        assert found["tensor"].stride() == (1, 3) and found["list"] == [1, (2.5, "a")] and found["none"] is None
    assert first["map"] is not turned  # a copy as well: sums over both begin from the same memory


def test_operations_and_seconds_are_those_of_a_full_computation(project):
    def some():
        operations.add(12_345)
        time.sleep(0.06)
        return 1

    found, records = [], []
    for _ in range(2):
        run = begin()
        found.append(run.keep("one", some))
        records.append(run.record())
    before, after = records
    assert found == [1, 1] and before["kept"] == {} and after["kept"]["one"] == pytest.approx(0.1, abs=0.05)
    assert before["operations"] == after["operations"] == 12_345
    assert whole_seconds({"duration_s": 12.0, "kept": {"one": 100.5, "two": 7.5}}) == 120
    assert whole_seconds({"duration_s": 12.0}) == 12  # records of earlier versions


def test_a_card_tells_the_whole_time_and_what_an_earlier_run_had_computed(project):
    record = begin().record() | {"duration_s": 12.0, "kept": {"maps": 888.0}}
    assert "15.0 min, 14.8 min of it in an earlier run" in cards.header(record, "?", finished=True)
    assert "earlier" not in cards.header(record | {"kept": {}}, "?", finished=True)


def test_random_numbers_go_on_as_after_the_computation(project):
    def draws():
        return torch.rand(3), np.random.rand(), random.random()

    runs = []
    for _ in range(2):
        run = begin()
        torch.manual_seed(1), np.random.seed(2), random.seed(3)
        runs.append((run.keep("drawn", draws), draws()))
    (drawn, after), (again, after_again) = runs
    assert torch.equal(drawn[0], again[0]) and drawn[1:] == again[1:]
    assert torch.equal(after[0], after_again[0]) and after[1:] == after_again[1:]


def test_what_draws_from_a_generator_that_stands_elsewhere_is_computed_anew(project, capsys):
    drawn = []
    for seed in (1, 2, 2):
        run = begin()
        torch.manual_seed(seed)
        drawn.append(float(run.keep("drawn", lambda: torch.rand(()))))
    assert drawn[0] != drawn[1] == drawn[2]
    assert capsys.readouterr().err.count("drawn draws from a generator that stands elsewhere now") == 1


def test_what_no_cell_seeds_and_trainings_between_are_no_obstacle(project):
    from cifar_utils.train import seed_everything

    drawn = []
    for seed in (1, 2):  # as in two processes
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        run = begin()
        with generators.untouched(run.device):  # as around trainings, which the second run has in its store
            seed_everything(seed)
        both = lambda: (np.random.rand(), float(torch.rand(())))  # noqa: E731
        drawn.append((run.keep("drawn", both), random.random(), float(torch.rand(()))))
        taken = run.record()["kept"]
    assert drawn[0] == drawn[1] and list(taken) == ["drawn"]


def test_generators_that_a_computation_leaves_alone_stay_where_they_are(project):
    some = Counted(7)
    for seed in (1, 2):
        run = begin()
        torch.manual_seed(seed), np.random.seed(seed), random.seed(seed)
        assert run.keep("fixed", some) == 7
        own = torch.Generator().manual_seed(seed)
        assert torch.equal(torch.rand(2), torch.rand(2, generator=own))
        assert (
            np.random.rand() == np.random.RandomState(seed).rand() and random.random() == random.Random(seed).random()
        )
    assert some.times == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_on_a_gpu_tensors_come_back_there_and_its_generator_goes_on(project):
    runs = []
    for _ in range(2):
        torch.cuda.manual_seed(5)
        found = begin(device="cuda").keep("there", lambda: (torch.rand(4, device="cuda"), torch.ones(2)))
        runs.append((*found, torch.rand(4, device="cuda")))
    assert runs[1][0].is_cuda and not runs[1][1].is_cuda
    assert torch.equal(runs[0][0], runs[1][0]) and torch.equal(runs[0][2], runs[1][2])


# ---- what decides a result -------------------------------------------------------------------------


def changed_code(project, _run):
    content = notebook(PARAMETERS, "print(2)")
    (project / "notebooks" / f"{NAME}.ipynb").write_text(json.dumps(content))


def trained(_project, run):
    record = {"key": "k", "code": "c", "started": "now", "environment": {"device": "CPU"},
              "data": {"name": "d", "sizes": {"train": 1}}}  # fmt: skip
    run.note_training(SimpleNamespace(record=record, seconds=1.0))


def trained_by_other_code(project, run):
    trained(project, run)
    run._trained["k"][0] = "other"


CHANGES = {
    "code": changed_code,
    "a training": trained,
    "the code of a training": trained_by_other_code,
    "a number of the report": lambda _project, run: run.printed("a1.q1.accuracy"),
    "threads": lambda _project, _run: torch.set_num_threads(2),
}


@pytest.mark.parametrize("what", CHANGES)
def test_other_inputs_give_another_result(project, what):
    some = Counted()
    begin().keep("one", some)
    if what == "the code of a training":
        trained(project, run := begin())
        run.keep("one", some)
    before = some.times
    for _ in range(2):
        torch.set_num_threads(1)
        CHANGES[what](project, run := begin())
        assert run.keep("one", some) == before + 1
    assert len(files(project)) == 1  # the newest of a name alone


def test_other_parameters_are_kept_side_by_side(project):
    some = Counted()
    found = [begin(lr=lr).keep("one", some) for lr in (0.1, 0.2, 0.1, 0.2)]
    assert found == [1, 2, 1, 2] and len(files(project)) == 2
    assert begin(profile="full").keep("one", some) == 3


@pytest.mark.parametrize("version", ["numpy", "torch", "scikit-learn"])
def test_another_version_of_what_computes_is_another_result(project, monkeypatch, version):
    some, known = Counted(), kept.importlib.metadata.version
    assert begin().keep("one", some) == 1
    monkeypatch.setattr(kept.importlib.metadata, "version", lambda name: "0" if name == version else known(name))
    assert begin().keep("one", some) == 2


def test_on_sample_data_everything_is_computed_and_nothing_stored(project):
    some = Counted()
    assert [begin(data="sample", profile="smoke").keep("one", some) for _ in range(2)] == [1, 2]
    assert not (project / "runs").exists()


CELLS = ["run = 1", "x = 2\ny = 3", "maps = 4", "z = 5"]


@pytest.mark.parametrize(
    ("executed", "taken"),
    [
        ([PARAMETERS, "# Parameters\nlr = 0.1", *CELLS[:3]], True),  # papermill adds a cell of its own
        ([PARAMETERS, *CELLS[:3]], True),
        ([PARAMETERS, CELLS[0], "x = 3", CELLS[2]], False),  # changed and not saved
        ([PARAMETERS, *CELLS[:3], CELLS[1], CELLS[2]], False),  # twice
        ([PARAMETERS, CELLS[0], CELLS[2]], False),  # one left out
    ],
)
def test_cells_that_an_editor_changed_or_ran_out_of_order_neither_take_nor_store(project, executed, taken):
    path = project / "notebooks" / f"{NAME}.ipynb"
    path.write_text(json.dumps(notebook(PARAMETERS, *CELLS)))
    some = Counted()
    assert begin(["", PARAMETERS, *CELLS[:3]]).keep("maps", some) == 1
    again = begin(["", *executed])
    assert again.keep("maps", some) == (1 if taken else 2)
    if not taken:
        assert again.keep("maps", some) == 3  # a cell may be run again there
    assert begin(["", PARAMETERS, *CELLS[:3]]).keep("maps", some) == 1


def test_ipython_lists_cells_as_the_notebook_has_them():
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()
    for cell in (f"\n{PARAMETERS}\n", *CELLS):
        shell.run_cell(cell, store_history=True)
    listed = [cell.strip() for cell in shell.user_ns["In"][1:]]
    assert listed == [PARAMETERS.strip(), *CELLS]
    shell.history_manager.end_session()


# ---- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ["real", "sample"])
@pytest.mark.parametrize(
    "note",
    [
        lambda run: run.report("a1.q1.weights", 30730),
        lambda run: run.glue(x=1),
        lambda run: run.check("so", True),
        lambda run: run.train({}),
        lambda run: run.load("circles"),
        lambda run: run.uses({"name": "w"}),
        lambda run: run.printed("a1.q1.accuracy"),
        lambda run: run.keep("two", lambda: 1),
        lambda run: run.scale(),
        lambda run: trained(None, run),
    ],
)
def test_what_a_chapter_notes_must_stand_outside(project, note, data):
    run = begin(data=data)
    with pytest.raises(ParameterError, match=r"run\.\w+ was called inside of run\.keep\('one'\), .* call it outside"):
        run.keep("one", lambda: note(run))
    run.glue(x=1)
    assert run.keep("two", lambda: 1) == 1 and run.record()["numbers"] == {"x": "1"}


def test_every_method_of_a_chapter_is_refused_inside_or_notes_nothing():
    public = {name for name in vars(chapter.Chapter) if not name.startswith("_")}
    assert public - set(kept.NOTES) == {"number_format", "is_sample", "leave", "record", "verdicts"}


@pytest.mark.parametrize("data", ["real", "sample"])
def test_a_name_is_given_once_and_is_an_identifier(project, data):
    run = begin(data=data)
    run.keep("one", lambda: 1)
    with pytest.raises(
        ParameterError, match="run.keep has a result called 'one' already; give this one another name"
    ):
        run.keep("one", lambda: 2)
    with pytest.raises(ParameterError, match="run.keep was given the name '../two'; expected an identifier"):
        run.keep("../two", lambda: 2)


@pytest.mark.parametrize("data", ["real", "sample"])
def test_what_cannot_be_stored_is_told_on_sample_data_already(project, data):
    with pytest.raises(ParameterError, match=r"run.keep\('one'\) cannot store what was returned .* return numbers"):
        begin(data=data).keep("one", lambda: {"f": lambda: 1})
    assert not files(project)


def test_an_error_of_the_computation_is_its_own(project):
    with pytest.raises(ZeroDivisionError):
        begin().keep("one", lambda: 1 / 0)
    assert not files(project) and begin().keep("one", lambda: 1) == 1


# ---- damage, full disks, kills, others -------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-7],
        lambda content: b"",
        lambda content: content[:100] + bytes([content[100] ^ 1]) + content[101:],
        lambda content: b"\xff" * 64 + content[64:],
    ],
)
def test_a_damaged_file_is_put_aside_and_computed_anew(project, capsys, damage):
    some = Counted()
    begin().keep("one", some)
    (path,) = files(project)
    path.write_bytes(damage(path.read_bytes()))
    assert begin().keep("one", some) == 2
    assert "is damaged (it has another sum): it is now" in capsys.readouterr().err
    assert begin().keep("one", some) == 2 and files(project) == [path]


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_nothing_is_unpickled_whose_sum_is_wrong(project):
    some = Counted()
    begin().keep("one", some)
    (path,) = files(project)
    path.write_bytes(b"0" * 64 + b"\n" + kept._packed({"value": Trap()}, "one"))
    assert begin().keep("one", some) == 2 and not Trap.sprung


@pytest.mark.parametrize("call", ["open", "replace", "mkdir"])
def test_a_full_disk_costs_a_sentence_and_the_run_goes_on(project, monkeypatch, capsys, call):
    where = kept.os if call == "replace" else kept.Path
    works = getattr(where, call)

    def full(*given, **options):
        if call == "open" and "wb" not in given:  # it may be read
            return works(*given, **options)
        raise OSError(errno.ENOSPC, "No space left on device")

    run = begin()
    with monkeypatch.context() as patched:
        patched.setattr(where, call, full)
        assert run.keep("one", Counted()) == 1
    told = capsys.readouterr().err.strip()
    assert told.endswith(
        "could not be kept (No space left on device): the run goes on, and the next one computes it again."
    )
    assert not files(project)


def killed(where) -> None:
    """Run something in a child that does not survive it."""
    child = os.fork()
    if not child:
        where()
        os._exit(1)  # it did
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("when", ["computing", "writing"])
def test_a_kill_loses_this_computation_alone(project, when):
    def doomed():
        run = begin()
        run.keep("one", lambda: "first")
        if when == "writing":
            kept.os.replace = die
        run.keep("two", die if when == "computing" else lambda: "second")

    killed(doomed)
    some, run = Counted(), begin()
    assert run.keep("one", some) == "first" and run.keep("two", some) == 1
    drafts = [p for p in files(project) if p.suffix == ".part"]
    assert len(drafts) == (when == "writing")
    for draft in drafts:  # another run may be at it, until it is old
        os.utime(draft, (0, 0))
    assert begin(seeds=1).keep("two", some) == 1
    (project / "cifar_utils" / "code.py").write_text("x = 2\n")
    kept._write(next(p for p in files(project) if p.name.startswith("two") and p.suffix == ".kept"), b"x")
    assert not [p for p in files(project) if p.suffix == ".part"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_two_runs_at_once_do_each_other_no_harm(project, capfd):
    def many():
        for i in range(60):
            for number in (0, 1):  # each deletes the file of the other
                decides = {"parameters": {}, "number": number}
                found = kept.Shelf(NAME, CPU, False).get("one", lambda n=number: np.full(5_000, n), decides)
                assert found.shape == (5_000,) and (found == number).all(), i

    children = []
    for _ in range(2):
        if not (child := os.fork()):
            try:
                many()
                os._exit(0)
            finally:
                os._exit(1)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    assert "damaged" not in capfd.readouterr().err
    assert all(path.suffix == ".kept" for path in files(project))


# ---- in the notebooks --------------------------------------------------------------------------------


def test_chapters_give_each_result_a_name_of_its_own():
    found = {}
    for name in chapters():
        cells = json.loads(notebook_path(name).read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        calls = [
            n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.Call) and ast.unparse(n.func) == "run.keep"
        ]
        names = [call.args[0].value for call in calls]
        assert all(each.isidentifier() for each in names) and len(set(names)) == len(names), name
        recipes = "".join("".join(c["source"]) for c in cells if "recipes" in c["metadata"].get("tags", []))
        assert "run.keep" not in recipes, f"{name}: the queue reads recipes without a kernel"
        found[name] = names
    assert "maps" in found["a1_q2_3_tsne"]
