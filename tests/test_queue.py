"""The queue of trainings, on a small project: killed, started twice, out of time, listed, and moved elsewhere."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from conftest import notebook

from cifar_utils.errors import ParameterError
from cifar_utils.train import Part, Recipe
from cifar_utils.train import training as one
from cifar_utils.train.records import read_record, write_record
from cifar_utils.train.store import Store
from reproduce import ledger, queue, runner, trainings
from reproduce import speeds as speeds_module
from reproduce.__main__ import main

HERE = Path(__file__).resolve().parent.parent
NAME = "a1_q1_test"
PARAMETERS = """\
profile: str = "smoke"  # how much to run
data: str = "sample"  # real or sample
device: str = "cpu"  # where
seeds: int = 1  # how many
epochs: int = EPOCHS  # passes
"""
RECIPES = """\
base = Recipe("cifar10", Part("tanh", hidden=8), SGD(0.05), batch=64, epochs=epochs, prepare="channels")
arms = {f"{n} units": base.but(model=Part("tanh", hidden=n)) for n in (8, 12, 16)}
units = run.train(arms, seeds=[3])
"""
RUN = ["trainings", "run", NAME, "--profile", "smoke"]


def make_project(folder: Path, epochs: int) -> Path:
    """Write a project with one chapter of three trainings, and one that trains nothing."""
    for sub in ("notebooks", "claims"):
        (folder / sub).mkdir(parents=True)
    content = notebook(PARAMETERS.replace("EPOCHS", str(epochs)), "from cifar_utils.train import SGD, Part, Recipe",
                       RECIPES, "raise ValueError('nothing but recipes is read')")  # fmt: skip
    content["cells"][2]["metadata"]["tags"] = ["recipes"]
    (folder / f"notebooks/{NAME}.ipynb").write_text(json.dumps(content))
    other = notebook(PARAMETERS.replace("EPOCHS", "1"), "print(1)")
    (folder / "notebooks/a1_q2_other.ipynb").write_text(json.dumps(other))
    (folder / "claims/a1.yml").write_text("title: T\ncourse: C\nnotebooks: {}\n")
    return folder


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Return a function that makes a project and has this process, and those that it starts, work in it."""
    monkeypatch.setenv("CIFAR_UTILS_COMMIT", "0123456789")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def make(epochs: int = 2, name: str = "project") -> Path:
        folder = tmp_path / name
        if not folder.exists():
            make_project(folder, epochs)
        monkeypatch.setenv("CIFAR_UTILS_ROOT", str(folder))
        ledger.load_reports.cache_clear()
        return folder

    yield make
    ledger.load_reports.cache_clear()


def records(folder: Path) -> dict[str, dict]:
    found = (read_record(path) for path in (folder / "runs/trainings").glob("*/record.json"))
    return {record["key"]: record for record in found if record}


def numbers(folder: Path) -> dict[str, tuple]:
    """Return what was computed, without dates and times."""
    return {key: (r["history"]["train_loss"], r["history"]["evaluations"], r["final"], r["history"]["step_loss"])
            for key, r in records(folder).items()}  # fmt: skip


#: The command line, with a note of what is trained; it begins when it is told to.
CHILD = f"""
import sys
from pathlib import Path
from cifar_utils.train.store import Store
from reproduce import queue
from reproduce.__main__ import main
train = Store._train

def noted(self, pairs, *rest):
    with open(sys.argv[1], "a") as log:
        log.writelines(recipe.key(seed) + "\\n" for recipe, seed in pairs)
    return train(self, pairs, *rest)

Store._train = noted
print("up", flush=True)
input()
sys.exit(main({RUN}))
"""


def child(log: Path) -> subprocess.Popen:
    command = [sys.executable, "-c", CHILD, str(log)]
    return subprocess.Popen(command, cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_a_killed_queue_goes_on_to_the_numbers_of_one_that_nobody_disturbed(project, tmp_path):
    undisturbed = project(100, "undisturbed")
    assert main(RUN) == 0
    folder = project(100, "killed")
    process = child(tmp_path / "log")
    process.stdin.write("go\n")
    process.stdin.flush()
    deadline = time.monotonic() + 200
    store = folder / "runs/trainings"
    while time.monotonic() < deadline and not (
        list(store.glob("*/record.json")) and len({path.parent for path in store.glob("*/state-*")}) > 1
    ):
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    before = records(folder)
    assert 1 <= len(before) < 3, "it was killed in the middle of the second or third"
    assert main(RUN) == 0
    assert numbers(folder) == numbers(undisturbed) and len(numbers(folder)) == 3
    after = records(folder)
    assert all(after[key] == before[key] for key in before), "what was there was not trained again"


def test_trainings_side_by_side_give_the_numbers_of_one_after_another(project, capfd):
    undisturbed = project(2, "undisturbed")
    assert main(RUN) == 0
    folder = project(2, "side by side")
    assert main([*RUN, "--workers", "2"]) == 0
    assert numbers(folder) == numbers(undisturbed) and len(numbers(folder)) == 3
    assert "All are there." in capfd.readouterr().out


def test_what_fails_in_one_of_several_processes_is_told_after_the_others(project, capfd):
    folder = project(2)
    path = folder / f"notebooks/{NAME}.ipynb"
    content = json.loads(path.read_text())
    content["cells"][2]["source"] = RECIPES + 'run.train(base.but(model="no such network"))'
    path.write_text(json.dumps(content))
    assert main([*RUN, "--workers", "2"]) == 1
    assert len(numbers(folder)) == 3 and "no such network" in capfd.readouterr().err


def test_two_queues_at_once_train_everything_once(project, tmp_path):
    undisturbed = project(60, "undisturbed")
    assert main(RUN) == 0
    folder = project(60, "shared")
    logs = [tmp_path / "one", tmp_path / "two"]
    both = [child(log) for log in logs]
    assert [p.stdout.readline() for p in both] == ["up\n", "up\n"]
    for p in both:
        p.stdin.write("go\n")
        p.stdin.flush()
    for p in both:
        p.communicate(timeout=200)
    assert [p.returncode for p in both] == [0, 0]
    trained = [key for log in logs if log.exists() for key in log.read_text().split()]
    assert sorted(trained) == sorted(numbers(folder)) and len(trained) == 3
    assert numbers(folder) == numbers(undisturbed)


# an alarm may come between opening a file and the `with` that closes it: the collector closes it then, and says so
@pytest.mark.filterwarnings("ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning")
def test_a_time_budget_ends_and_the_next_call_goes_on(project, capsys, monkeypatch):
    undisturbed = project(100, "undisturbed")
    assert main(RUN) == 0
    folder, train, begun = project(100), Store._train, []

    def soon_out_of_time(self, pairs, *rest):
        begun.append(pairs)
        if len(begun) == 2:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        return train(self, pairs, *rest)

    monkeypatch.setattr(Store, "_train", soon_out_of_time)
    assert main([*RUN, "--time-budget", "500"]) == 0
    out = capsys.readouterr().out
    assert "The time is up; the next call goes on from the last epochs saved.\n2 trainings left." in out
    assert len(records(folder)) == 1
    assert main([*RUN, "--time-budget", "500"]) == 0
    assert "All are there." in capsys.readouterr().out and numbers(folder) == numbers(undisturbed)
    monkeypatch.setattr(queue, "in_order", lambda *_: signal.raise_signal(signal.SIGALRM))
    assert main([*RUN, "--time-budget", "500"]) == 0
    assert "All are there" not in capsys.readouterr().out, "the time was up before that was known"


def test_one_training_is_made_by_its_key_and_only_once(project, capsys):
    folder = project()
    key = trainings.plan(NAME, "smoke")[0][1].key
    assert main([*RUN, "--key", key]) == 0 and list(records(folder)) == [key]
    before = records(folder)
    assert main(["trainings", "run", "--profile", "smoke", "--key", key]) == 0 and records(folder) == before
    assert f"{NAME}, 12 units, seed 3 ({key}): is there\n" in capsys.readouterr().out


def test_a_run_says_before_it_starts_what_is_missing_and_how_long_that_takes(project, capsys, monkeypatch):
    folder = project()
    (folder / "params/quick").mkdir(parents=True)
    (folder / f"params/quick/{NAME}.yml").write_text("profile: quick\ndata: sample\n")
    monkeypatch.setattr(runner, "_execute", lambda *_: None)
    runner.run(NAME, "quick")
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"{NAME}: running at profile quick"
    assert re.fullmatch(rf"{NAME}: 3 of 3 trainings are missing here: about \d+ (s|min) on .+", second)
    assert main(["trainings", "run", NAME, "--profile", "quick"]) == 0
    assert queue.before_running(NAME, "quick") == "", "they are there now"
    assert queue.before_running(NAME, "quick", {"epochs": 3}).startswith("3 of 3 trainings are missing")
    assert queue.before_running("a1_q2_other", "quick") == "", "it trains nothing"


def test_the_list_says_what_is_there_and_how_long_the_rest_takes(project, capsys):
    project()
    keys = [job.key for job in trainings.plan(NAME, "smoke")[0]]
    main([*RUN, "--key", keys[0]])
    capsys.readouterr()
    assert main(["trainings", NAME, "--profile", "smoke"]) == 0
    first, *each, last = capsys.readouterr().out.splitlines()
    guess = r"\(a guess for 2 of them; a few steps of them tell, below\)"
    assert re.fullmatch(rf"{NAME}: 1 of 3 there, the rest about \d+ (s|min) {guess}", first)
    assert re.fullmatch(r"After a few steps: 1 of 3 there, the rest about \d+ (s|min)", last)
    assert [line.split()[:2] for line in each] == [
        [keys[0], "there"], [keys[1], "missing"], [keys[2], "missing"]
    ] and each[2].endswith("16 units, seed 3")  # fmt: skip
    assert main(["trainings", "a1_q2_other", "--profile", "smoke"]) == 0
    assert capsys.readouterr().out == "a1_q2_other trains nothing that is kept in the store.\n"
    assert main(["trainings", "--profile", "smoke"]) == 0
    assert re.search(r"All together about \d+ (s|min) on this machine at profile smoke\.$", capsys.readouterr().out)


def test_a_chapters_lines_come_before_anything_is_counted_or_measured(project, monkeypatch):
    project()
    waited = lambda *a, **k: pytest.fail("a person waits for this")  # noqa: E731
    told = queue.listing_of("smoke", NAME)
    with monkeypatch.context() as nothing:
        nothing.setattr(speeds_module, "operations_of_step", waited)
        nothing.setattr(one, "train_many", waited)
        assert "0 of 3 there" in next(told) and [next(told).split()[1] for _ in range(3)] == ["missing"] * 3
    assert [line[:18] for line in told] == ["After a few steps:"]
    assert not any("guess" in line or "After" in line for line in queue.listing_of("smoke", NAME))  # measured before


def test_a_speed_is_measured_once_on_a_few_steps(project, monkeypatch):
    project()
    train, taken = one.train_many, []
    monkeypatch.setattr(one, "train_many", lambda *a, steps: taken.append(steps) or train(*a, steps=steps))
    monkeypatch.setattr(speeds_module, "MEASURING", 1e6)
    jobs = trainings.plan(NAME, "smoke")[0]
    first = queue.states(jobs, speeds())
    assert len(jobs) <= len(taken) <= 3 * len(jobs) and sum(taken) <= 6 * len(jobs)
    assert [s.seconds for s in queue.states(jobs, speeds())] == [s.seconds for s in first]
    assert min(s.seconds for s in first) > 0 and len(taken) <= 3 * len(jobs)


def test_without_time_to_measure_a_speed_is_that_of_what_is_alike(project, monkeypatch):
    project()
    monkeypatch.setattr(speeds_module, "MEASURING", 0.0)
    kept, (job, *_) = speeds(), trainings.plan(NAME, "smoke")[0]
    kept.known = {
        kept._shape(job.recipe.but(model=Part("tanh", hidden=n), batch=32).canonical()): n / 100 for n in (1, 2, 9)
    }
    assert kept.seconds(job.recipe) == pytest.approx(2 * 0.02 * queue.steps(job.recipe))


def test_what_a_shorter_training_has_done_needs_no_time(project):
    folder = project(epochs=4)
    jobs = trainings.plan(NAME, "smoke")[0]
    kept = Store(folder / "runs/trainings")
    alone = queue.states(jobs, queue.Speeds(kept))[0]
    kept.get(jobs[0].recipe.but(epochs=3), jobs[0].seed)
    begun, *others = queue.states(jobs, queue.Speeds(kept))
    whole = queue.Speeds(kept).seconds(jobs[0].recipe)
    assert (alone.state, begun.state) == ("missing", "begun") and {s.state for s in others} == {"missing"}
    assert begun.seconds == pytest.approx(whole / 4)


def test_only_long_trainings_that_are_not_there_are_jobs_of_their_own(project, capsys):
    folder = project()
    jobs = [job.key for job in trainings.plan(NAME, "smoke")[0]]
    names = [NAME, "a1_q2_other"]
    assert queue.own_jobs("smoke", names, least=0.0) == {NAME: jobs, "a1_q2_other": []}
    assert queue.own_jobs("smoke", names, least=1e6) == {NAME: [], "a1_q2_other": []}
    main([*RUN, "--key", jobs[0]])
    assert queue.own_jobs("smoke", names, least=0.0)[NAME] == jobs[1:]
    path = folder / f"notebooks/{NAME}.ipynb"
    path.write_text(path.read_text().replace("base.but(", "base.butt("))
    assert queue.own_jobs("smoke", names, least=0.0) == {NAME: [], "a1_q2_other": []}
    assert f"{NAME}: a cell tagged recipes fails without a kernel" in capsys.readouterr().err


def test_what_fails_is_named_at_the_end_and_keeps_nothing_else_from_being_trained(project, capsys):
    folder = project()
    path = folder / f"notebooks/{NAME}.ipynb"
    path.write_text(
        path.read_text().replace(
            'units\\": base.but(', 'units\\": base.but(loss=\\"none\\" * (n == 8) or \\"cross-entropy\\", '
        )
    )
    assert main(RUN) == 1
    err = capsys.readouterr().err
    assert err.startswith("1 training failed: ") and "8 units, seed 3" in err and "no loss called 'none'" in err
    assert len(records(folder)) == 2


# ---- from machine to machine ----


@pytest.fixture
def exported(project, tmp_path):
    """An archive of three trainings; the present project is another, without any."""
    here = project(2, "here")
    main(RUN)
    assert main(["trainings", "export", str(tmp_path / "all.tar")]) == 0
    project(2, "there")
    return tmp_path / "all.tar", here, tmp_path / "there"


def test_trainings_move_to_another_machine_with_their_networks(exported, capsys):
    path, here, there = exported
    assert main(["trainings", "import", str(path)]) == 0 and main(["trainings", "import", str(path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "3 trainings taken in, 0 were there",
        "0 trainings taken in, 3 were there",
    ]
    assert records(there) == records(here)
    job = trainings.plan(NAME, "smoke")[0][0]
    found = Store(there / "runs/trainings").find(job.recipe, job.seed, weights=True)
    assert found.measure(found.data.val) == pytest.approx(found.accuracy("val"))
    with tarfile.open(path) as archive:
        assert {(m.uid, m.gid, m.uname, m.gname) for m in archive} == {(0, 0, "", "")}, "it names nobody"


@pytest.mark.parametrize("damage", ["half", "text", "absent"])
def test_a_damaged_archive_is_refused_in_a_sentence_and_nothing_is_taken_in(exported, capsys, damage):
    path, _, there = exported
    if damage == "absent":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if damage == "half" else b"no archive")
    assert main(["trainings", "import", str(path)]) == 2
    err = capsys.readouterr().err
    wrong = "There is no file" if damage == "absent" else "is no whole archive of trainings"
    assert wrong in err and len(err.splitlines()) == 1
    assert not records(there)


def test_a_record_that_was_changed_and_files_of_other_places_are_left_out_of_an_import(exported, capsys):
    path, _, there = exported
    changed = path.with_name("changed.tar")
    with tarfile.open(path) as old, tarfile.open(changed, "w") as new:
        victim = next(m.name for m in old if m.name.endswith("record.json"))
        for member in old:
            content = old.extractfile(member).read()
            if member.name == victim:
                content = content.replace(b'"seed": 3', b'"seed": 4')
            for name in (member.name, f"../{Path(member.name).name}", "elsewhere/record.json"):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                new.addfile(info, io.BytesIO(content))
    assert main(["trainings", "import", str(changed)]) == 0
    told = capsys.readouterr()
    assert (
        told.out.endswith("2 trainings taken in, 0 were there\n") and "is not whole, and does not count" in told.err
    )
    assert len(records(there)) == 2 and victim.partition("/")[0] not in records(there)
    left = {p.relative_to(there / "runs").parts[:2] for p in (there / "runs").rglob("*") if p.is_file()}
    assert all(first == "trainings" for first, *_ in left) and not list((there / "runs").rglob("*.part"))


# ---- what was trained by other code ----


def test_trainings_of_other_code_are_compared_and_counted(project, capsys):
    folder = project()
    main(RUN)
    same, other, _ = sorted((folder / "runs/trainings").glob("*/record.json"))
    record = read_record(same)
    write_record(same, {**record, "code": "of another day"})
    record = read_record(other)
    losses = [loss + 1 for loss in record["history"]["step_loss"]]
    write_record(other, {**record, "code": "of another day", "history": {**record["history"], "step_loss": losses}})
    capsys.readouterr()
    assert main(["trainings", "verify"]) == 1
    assert capsys.readouterr().out == "2 current, 1 stale, 0 of another kind of device\n"
    states = {s.job.key: s.state for s in queue.in_order("smoke", [NAME])}
    assert states == {record["key"]: "to compare"}
    assert main(["trainings", "verify", record["key"]]) == 1
    assert capsys.readouterr().out == "0 current, 1 stale, 0 of another kind of device\n"
    assert main(["trainings", "verify", NAME, "--profile", "smoke"]) == 1
    assert capsys.readouterr().out == "2 current, 1 stale, 0 of another kind of device\n"
    assert main(["trainings", "verify", "no-such"]) == 2
    assert "has no training 'no-such'" in capsys.readouterr().err


def test_a_part_that_a_chapter_wrote_has_one_code_wherever_its_recipes_are_read(project):
    folder = project()
    path = folder / f"notebooks/{NAME}.ipynb"
    own = (
        'from torch import nn\\nfrom cifar_utils.train import parts\\n\\n@parts.register(\\"model\\", \\"mine\\")\\n'
        "def mine(data, hidden):\\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(data.train.x[0].numel(), 10))\\n\\n"
    )
    text = path.read_text().replace('Part(\\"tanh\\", hidden=n)', 'Part(\\"mine\\", hidden=n)')
    path.write_text(text.replace('"base = Recipe', f'"{own}", "base = Recipe'))
    try:
        assert main(RUN) == 0
        (made,) = {record["code"] for record in records(folder).values()}
        assert {status.state for status in queue.states(trainings.plan(NAME, "smoke")[0], speeds())} == {"there"}
        path.write_text(path.read_text().replace(", 10))", ", 10), nn.Identity())"))
        assert {status.state for status in queue.states(trainings.plan(NAME, "smoke")[0], speeds())} == {"to compare"}
        assert len(made) == 16
    finally:
        from cifar_utils.train import parts

        parts.PARTS["model"].pop("mine", None)


def speeds() -> queue.Speeds:
    return queue.Speeds(trainings.store())


def test_a_recipe_is_no_chapters_alone(project):
    project()
    (job, *_), waits = trainings.plan(NAME, "smoke")
    same = Recipe("cifar10", Part("tanh", hidden=8), batch=64, epochs=2, prepare="channels", sample=True)
    assert job.key == same.but(optimizer=Part("SGD", lr=0.05)).key(3) and not waits
    with pytest.raises(ParameterError, match="no notebook 'a1_q9'"):
        trainings.plan("a1_q9", "smoke")


def test_whoever_has_read_enough_is_told_nothing_more(project):
    project()
    process = subprocess.Popen([sys.executable, "-m", "reproduce", "list"], cwd=HERE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, text=True)  # fmt: skip
    with process:
        process.stdout.close()  # as head does
        assert process.stderr.read() == ""
    assert process.returncode == 0


def test_arms_with_other_numbers_of_seeds_join_as_dicts_do():
    base = Recipe("cifar10", Part("tanh", hidden=8), epochs=1)
    made = lambda arm, n: trainings.Runs({arm: base}, range(n), {arm: ["a training"] * n})  # noqa: E731
    both = made("five", 5) | made("three", 3)
    assert [len(both[arm]) for arm in both] == [5, 3]
    assert both.arms == {"five": base, "three": base} and both.seeds == [0, 1, 2, 3, 4]


def test_a_search_may_choose_by_the_points_of_a_published_curve():
    planned = trainings._Planned("nndl_t4_training", {"data": "sample", "device": "cpu"})
    assert planned.points("nndl.t5.log_loss") == {14: 0.1929, 25: 0.1004}
