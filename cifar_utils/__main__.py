"""The command line: `python -m cifar_utils run | publish | book | readme | store | list`."""

from __future__ import annotations

import argparse
import sys

from . import params
from .errors import CifarUtilsError, ParameterError


def main(arguments: list[str] | None = None) -> int:
    """Carry out one command; return the exit status (0 done, 1 failed, 2 wrong call)."""
    args = _parser().parse_args(arguments)
    try:
        return args.call(args) or 0
    except ParameterError as error:
        print(error, file=sys.stderr)
        return 2
    except CifarUtilsError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the next run continues from the last epoch saved.", file=sys.stderr)
        return 130


def _run(args) -> int | None:
    from . import runner

    if args.profile not in params.PROFILES:
        params.for_profile("", args.profile)  # raises, with a suggestion
    if args.all == bool(args.name):
        raise ParameterError("Give either one notebook's name or --all.")
    if args.all:
        if args.p:
            raise ParameterError("-p sets one notebook's parameter; it does not go with --all.")
        if left := runner.run_all(args.profile, args.time_budget):
            print(f"The time is up; the next call continues with {', '.join(left)}.")
        return 0
    if args.time_budget:
        raise ParameterError("--time-budget goes with --all.")
    path = runner.run(args.name, args.profile, params.from_command_line(args.p))
    print(f"{args.name}: done, {path.relative_to(runner.root())}")
    return 0


def _publish(args) -> None:
    from .publish import publish, refresh
    from .runner import notebooks

    for name in args.names or notebooks():
        if args.text:
            kept = refresh(name)
            print(f"{name}: " + (f"stays as it was run, {kept}" if kept else "has the present text"))
        else:
            print(f"published {publish(name, args.profile, args.replace).name}")


def _book(args) -> None:
    from . import book

    index = book.build_profile(args.profile) if args.profile else book.build_published()
    print(f"Open {index.relative_to(book.root())} in a browser.")


def _readme(args) -> None:
    from . import book
    from .paths import root

    book.update_readme(root() / "README.md", root() / "results")


def _store(args) -> None:
    from . import runner

    for name in args.names or runner.notebooks():
        print(f"{name}: outputs of {runner.store_outputs(name)} cells stored")


def _list(args) -> None:
    from .runner import notebooks

    for name in notebooks():
        print(name)
        for p in params.declared(name).values():
            print(f"    {p.name}: {p.type} = {p.default!r}" + (f"  # {p.help}" if p.help else ""))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cifar_utils", description=__doc__)
    sub = parser.add_subparsers(required=True, metavar="COMMAND")

    run = sub.add_parser("run", help="execute a notebook (or --all) into runs/PROFILE")
    run.add_argument("name", nargs="?", help="notebook, such as a1_q1_softmax_regression")
    run.add_argument("--profile", default="smoke", help="smoke (default), quick or full")
    run.add_argument("-p", action="append", default=[], metavar="NAME=VALUE", help="set a parameter")
    run.add_argument("--all", action="store_true", help="every notebook that is not up to date")
    run.add_argument("--time-budget", type=float, metavar="SECONDS", help="with --all: stop after so long")
    run.set_defaults(call=_run)

    publish = sub.add_parser("publish", help="copy finished runs into the book")
    publish.add_argument("names", nargs="*", help="notebooks; all by default")
    publish.add_argument("--profile", default="quick")
    publish.add_argument("--replace", action="store_true", help="let quick replace full")
    publish.add_argument("--text", action="store_true", help="no new run: only mend the text of what is published")
    publish.set_defaults(call=_publish)

    book = sub.add_parser("book", help="render the published chapters, or the runs of a profile")
    book.add_argument("--profile", help="render runs/PROFILE into _build/PROFILE instead")
    book.set_defaults(call=_book)

    sub.add_parser("readme", help="write the table of results into README.md").set_defaults(call=_readme)
    store = sub.add_parser("store", help="store the outputs that nbval compares in the source notebooks")
    store.add_argument("names", nargs="*", help="notebooks; all by default")
    store.set_defaults(call=_store)
    sub.add_parser("list", help="list notebooks and their parameters").set_defaults(call=_list)
    return parser


if __name__ == "__main__":
    sys.exit(main())
