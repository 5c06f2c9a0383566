"""The command line: `python -m reproduce COMMAND`; `--help` lists the commands."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

from cifar_utils.errors import CifarUtilsError, ParameterError, RunError
from cifar_utils.paths import chapters, root

from . import constraints, kernels, params

#: What a file system says that is full, read-only or not ours.
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EFBIG)


#: Seconds that a time budget may have; a clock of the system takes no more.
LONGEST = 100_000_000


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command; return the exit status (0 done, 1 failed, 2 wrong call)."""
    args = _parser().parse_args(arguments)
    args.is_whole_process = arguments is None
    try:
        if not chapters():
            raise ParameterError(
                f"There are no notebooks in {root() / 'notebooks'}; call this from an environment "
                'made by make or pip install -e ".[engine]", or name the project in CIFAR_UTILS_ROOT.'
            )
        status = args.call(args) or 0
        sys.stdout.flush()
        return status
    except ParameterError as error:
        print(error, file=sys.stderr)
        return 2
    except CifarUtilsError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read it, such as head, has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more at its end
        return 0
    except OSError as error:
        if error.errno not in _DISK:
            raise
        print(f"{error.filename or 'A file'} cannot be written: {error.strerror}. What was finished before is "
              "unharmed; mend that and run the same again.", file=sys.stderr)  # fmt: skip
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the next run continues from the last epoch saved.", file=sys.stderr)
        return 130


def _run(args) -> None:
    from . import runner, workflow

    if args.profile not in params.PROFILES:
        params.for_profile("", args.profile)  # raises, with a suggestion
    if args.profile != "smoke" and "data=sample" not in args.p:
        workflow.refuse_without_data(workflow.chosen(args.name)[0])
    path = runner.run(
        args.name, args.profile, params.from_command_line(args.p), args.threads, wait=args.wait, again=args.again
    )
    apart = f" (apart: its parameters are not profile {args.profile}'s)"
    told = "" if path.parent == runner.run_dir(args.profile) else apart
    print(f"{path.stem}: done, {path.relative_to(runner.root())}{told}")


def _reproduce(args) -> int:
    from . import workflow

    return workflow.reproduce(args.profile, args.only, args.cores)


def _data(args) -> None:
    from . import workflow

    for line in workflow.fetch_data(args.names) if args.fetch else workflow.data_status(args.names):
        print(line)


def _trainings(args) -> int | None:
    verb, *rest = args.what or ["list"]
    wanted = kernels.environment(args.threads)
    if verb == "run" and args.is_whole_process and not wanted.items() <= os.environ.items():
        # as a kernel has it, from the start: glibc and PyTorch look once
        os.execve(sys.executable, [sys.executable, "-m", "reproduce", *sys.argv[1:]], os.environ | wanted)
    from . import archive, queue

    if verb in ("export", "import") and (len(rest) != 1 or not rest[0]):
        raise ParameterError(f"trainings {verb} needs the name of one file.")
    given = [f"--{name.replace('_', '-')}" for name in ("key", "time_budget", "nice") if getattr(args, name)]
    given += ["--workers"] if args.workers > 1 else []
    if given and verb != "run":
        raise ParameterError(f"{given[0]} belongs to trainings run; leave it out, or call trainings run.")
    if args.key and args.workers > 1:
        raise ParameterError("--key names one training, which needs no --workers; give one of the two.")
    if verb == "export":
        print(f"{archive.export(Path(rest[0]))} trainings written to {rest[0]}")
    elif verb == "import":
        new, known = archive.take_in(Path(rest[0]))
        print(f"{new} trainings taken in, {known} were there")
    elif verb == "verify":
        current, stale, elsewhere = queue.verify_all(rest, args.profile)
        print(f"{current} current, {stale} stale, {elsewhere} of another kind of device")
        return int(stale > 0)
    elif verb == "run":
        if args.nice:
            queue.lower_priority()
        names = rest or chapters()
        if args.key:
            return queue.work_on(args.profile, names, args.key, args.time_budget)
        left = queue.work(args.profile, names, args.time_budget, args.workers)
        if left is not None:
            print(f"{left} training{'s' * (left > 1)} left." if left else "All are there.")
    else:
        names = [verb, *rest] if args.what and verb != "list" else rest
        several = len(names) != 1
        told = queue.listing(args.profile, names or chapters()) if several else queue.listing_of(args.profile, *names)
        for line in told:
            print(line, flush=True)
    return None


def _publish(args) -> None:
    from .publish import publish, refresh

    if args.text and args.replace:
        raise ParameterError(
            "--text takes no run, so there is nothing for --replace to replace; give one of the two."
        )
    if args.profile not in params.PROFILES:
        params.for_profile("", args.profile)  # raises, with a suggestion
    for name in args.names or chapters():
        if args.text:
            kept = refresh(name)
            print(f"{name}: " + (f"stays as it was run, {kept}" if kept else "has the present text"))
            continue
        try:
            print(f"published {publish(name, args.profile, args.replace).name}")
        except RunError as error:
            if args.names:
                raise
            print(f"not published: {error}", file=sys.stderr)


def _book(args) -> None:
    from .book import build as book
    from .book import pdf

    if args.pdf:
        os.environ[pdf.LINKED] = "1"
    index = book.build_profile(args.profile) if args.profile else book.build_published()
    print(f"Open {index.relative_to(root())} in a browser.", flush=True)
    if args.pdf:
        print(f"Printed into {pdf.write(index.parent).relative_to(root())}.")


def _readme(args) -> None:
    from .book import hero, scoreboard
    from .record import write_text

    results = root() / "results"
    scoreboard.update_readme(root() / "README.md", results)
    picture = hero.alone(scoreboard.rows(scoreboard.read_records(results)))
    write_text(root() / "book" / "_static" / "accuracies.svg", picture)


def _store(args) -> None:
    from . import runner

    for name in args.names or chapters():
        print(f"{name}: outputs of {runner.store_outputs(name)} cells stored")


def _list(args) -> None:
    for name in chapters():
        print(name)
        for p in params.declared(name).values():
            print(f"    {p.name}: {p.type} = {p.default!r}  # {p.help} {constraints.shown(p.rules)}".rstrip(" #"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reproduce", description=__doc__)
    sub = parser.add_subparsers(required=True, metavar="COMMAND")

    run = sub.add_parser("run", help="execute a notebook into runs/PROFILE")
    run.add_argument("name", help="notebook, such as a1_q1_softmax_regression")
    run.add_argument("--profile", default="smoke", help="smoke (default), quick or full")
    run.add_argument("-p", action="append", default=[], metavar="NAME=VALUE", help="set a parameter")
    run.add_argument("--threads", type=_at_least_one, metavar="N", help="CPU threads; the last digits depend on them")
    run.add_argument("--again", action="store_true", help="run also what is up to date")
    run.add_argument("--wait", action="store_true", help="wait for another run of the same notebook")
    run.set_defaults(call=_run)

    reproduce = sub.add_parser("reproduce", help="run every notebook, render the book of these runs")
    reproduce.add_argument("--profile", default="smoke", help="smoke (default), quick or full")
    reproduce.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these notebooks")
    reproduce.add_argument("--cores", type=_at_least_one, default=2, metavar="N", help="CPU cores, 2 by default")
    reproduce.set_defaults(call=_reproduce)

    trainings = sub.add_parser(
        "trainings",
        help="a chapter's trainings: list, run [NAME ...], verify [NAME or KEY ...], export FILE, import FILE",
    )
    trainings.add_argument("what", nargs="*", metavar="NAME | run | verify | export | import")
    trainings.add_argument("--profile", default="quick", help="whose parameters: smoke, quick (default) or full")
    trainings.add_argument("--time-budget", type=_positive, metavar="SECONDS", help="with run: stop after so long")
    trainings.add_argument("--nice", action="store_true", help="with run: give way to everything else")
    trainings.add_argument(
        "--workers", type=_at_least_one, default=1, metavar="N", help="with run: train so many side by side"
    )
    trainings.add_argument("--key", help="with run: only this training; waits where another process is at it")
    trainings.add_argument(
        "--threads", type=_at_least_one, metavar="N", help="with run: CPU threads, as for a notebook"
    )
    trainings.set_defaults(call=_trainings)

    publish = sub.add_parser("publish", help="copy finished runs into the book")
    publish.add_argument("names", nargs="*", help="notebooks; all by default")
    publish.add_argument("--profile", default="quick")
    publish.add_argument("--replace", action="store_true", help="let quick replace full")
    publish.add_argument("--text", action="store_true", help="no new run: only mend the text of what is published")
    publish.set_defaults(call=_publish)

    book = sub.add_parser("book", help="render the published chapters, or the runs of a profile")
    book.add_argument("--profile", help="render runs/PROFILE into _build/PROFILE instead")
    book.add_argument("--pdf", action="store_true", help="print it into one file as well, linked from the first page")
    book.set_defaults(call=_book)

    sub.add_parser("readme", help="write the table and the picture of results for README.md").set_defaults(
        call=_readme
    )
    store = sub.add_parser("store", help="store the outputs that nbval compares in the source notebooks")
    store.add_argument("names", nargs="*", help="notebooks; all by default")
    store.set_defaults(call=_store)
    sub.add_parser("list", help="list notebooks and their parameters").set_defaults(call=_list)
    data = sub.add_parser("data", help="say which data is here, which will be fetched and which to get by hand")
    data.add_argument("names", nargs="*", help="notebooks; all by default")
    data.add_argument("--fetch", action="store_true", help="fetch it now, where jobs will have no network")
    data.set_defaults(call=_data)
    return parser


def _positive(text: str) -> float:
    with suppress(ValueError):
        if 1e-3 <= float(text) <= LONGEST:
            return float(text)
    raise argparse.ArgumentTypeError(f"{text} is not a number of seconds from 0.001 to {LONGEST:,}")


def _at_least_one(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 1")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
