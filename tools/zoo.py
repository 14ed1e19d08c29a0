# SPDX-License-Identifier: Apache-2.0
"""``joulet zoo``: models worth deploying, what each operating point scores and costs, and how to make them again."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from joulet.errors import UsageError

BOARDS = ("nucleo_l4r5zi", "nrf52840_dk", "pico")
EPILOG = """\
  joulet zoo list
  joulet zoo show ecg                             accuracy, cycles and nJ of every operating point on three boards
  joulet zoo get ecg -o ecg.jlt                   the container that comes with the package, and its scores
  joulet zoo get ecg --from mitdb -o mine.jlt     made again from the dataset: compiled, and measured on its test split
  joulet zoo get kws --from DIR                   weights and data of the MLPerf Tiny reference, from your folder

Scores are measured on test splits that share no person with what was calibrated on; cycles and energy are modelled by
each board's file. * marks the front: no cheaper point of that board scores as much.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "zoo",
        help="models worth deploying, with what every operating point scores and costs",
        description="Models worth deploying: recipes, containers, scores and costs.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|get")
    listing = actions.add_parser("list", help="what there is")
    show = actions.add_parser("show", help="one model: where it comes from, what its operating points score and cost")
    show.add_argument("name", metavar="NAME")
    show.add_argument("--container", type=Path, metavar="M.jlt", help="one made by zoo get, with its .json beside it")
    show.add_argument("--boards", default=",".join(BOARDS), metavar="LIST", help=f"(default {','.join(BOARDS)})")
    show.add_argument("--all", action="store_true", help="every operating point, not only the front")
    show.add_argument("--card", action="store_true", help="print the model card only")
    get = actions.add_parser("get", help="write a model's container and its scores")
    get.add_argument("name", metavar="NAME")
    get.add_argument("-o", "--output", type=Path, metavar="M.jlt", help="where it goes (default NAME.jlt)")
    get.add_argument("--from", dest="folder", type=Path, metavar="DIR", help="dataset; weights of reference models")
    get.add_argument("--make", action="store_true", help="compile and measure again, with data that a package brings")
    get.add_argument(
        "--download", type=Path, metavar="DIR", help="fetch the dataset's archive into DIR first, and stop"
    )
    get.add_argument("--force", action="store_true", help="replace files that are there")
    for each in (listing, show, get):
        each.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    return {"list": _list, "show": _show, "get": _get}[args.action](args)


def _list(args: argparse.Namespace) -> int:
    from joulet.zoo.recipe import load_recipe, recipe_names

    recipes = [load_recipe(name) for name in recipe_names()]
    if args.json:
        print(json.dumps([asdict(recipe) for recipe in recipes], indent=2))
        return 0
    for recipe in recipes:
        where = "here" if recipe.shipped else "--from DIR"
        print(f"{recipe.name:<8} {where:<11} {recipe.title}; {recipe.licence}; data {recipe.dataset.licence}")
    return 0


def _show(args: argparse.Namespace) -> int:
    from joulet.boards import load_board
    from joulet.container.read import Container
    from joulet.zoo.get import shipped_entry, shipped_scores
    from joulet.zoo.measure import parse_measured, points
    from joulet.zoo.recipe import card, load_recipe

    recipe = load_recipe(args.name)
    if args.card:
        print(card(args.name).rstrip() or f"{args.name} has no card")
        return 0
    boards = [load_board(name.strip()) for name in args.boards.split(",") if name.strip()]
    container, measured = None, shipped_scores(recipe)
    if args.container is not None:
        container = Container.from_bytes(_bytes(args.container))
        measured = parse_measured(_bytes(args.container.with_suffix(".json")), str(args.container.with_suffix(".json")))
    else:
        entry = shipped_entry(recipe)
        container = None if entry is None else Container.from_bytes(entry.container)
    rows = () if container is None or measured is None else points(container, measured, boards)
    if args.json:
        print(json.dumps({**asdict(recipe), "measured": measured, "points": [asdict(row) for row in rows]}, indent=2))
        return 0
    lines = [
        f"{recipe.name}: {recipe.title}",
        f"  {recipe.description}",
        f"  weights   {recipe.weights}, {recipe.licence}; {recipe.model_source}",
        f"  data      {recipe.dataset.title}, {recipe.dataset.licence}; {recipe.dataset.url}",
        f"            {recipe.dataset.contents}",
    ]
    if measured is not None:
        lines += _provenance(measured)
    if container is None:
        lines.append(
            f"  no container here: joulet zoo get {recipe.name} --from DIR, then show --container {recipe.name}.jlt"
        )
    lines += _table([row for row in rows if args.all or row.front])
    print("\n".join(lines))
    return 0


def _provenance(measured: dict[str, Any]) -> list[str]:
    origin = measured.get("provenance") or {}
    test, cal = origin.get("test") or {}, origin.get("calibration") or {}
    return [
        f"  scores    measured on {test.get('samples')} test samples (sha256 {str(test.get('sha256'))[:12]}), "
        f"calibrated on {cal.get('samples')}; by {origin.get('how')}",
        "  costs     modelled by each board's file",
    ]


def _table(rows: list[Any]) -> list[str]:
    lines: list[str] = []
    last = ""
    for row in rows:
        if row.board != last:
            lines.append(f"  {row.board:<16} {'path':<10} {'depth':<7} accuracy  balanced       cycles          energy")
            last = row.board
        mark = "*" if row.front else " "
        lines.append(
            f"  {'':<15}{mark} {row.path:<10} {row.depth:<7} {100 * row.accuracy:6.2f} %  {100 * row.balanced:6.2f} % "
            f"{row.cycles:>12,.0f} {row.energy_nj:>12,.0f} nJ"
        )
    return lines


def _get(args: argparse.Namespace) -> int:
    from joulet.tools.compile import progress_lines
    from joulet.zoo.get import make_entry, shipped_entry, write_entry
    from joulet.zoo.recipe import load_recipe

    recipe = load_recipe(args.name)
    if args.download is not None:
        return _download(args, recipe)
    again = args.make or args.folder is not None
    entry = None if again else shipped_entry(recipe)
    if entry is None:
        entry = make_entry(recipe, args.folder, progress=progress_lines())
    output = args.output or Path(f"{recipe.name}.jlt")
    scores = write_entry(entry, output, force=args.force)
    if args.json:
        print(
            json.dumps({"output": str(output), "scores": str(scores), "made": entry.made, **entry.measured}, indent=2)
        )
    else:
        then = f"joulet zoo show {recipe.name} --container {output}"
        print(f"{output}: {len(entry.container):,} bytes; scores in {scores}; next: {then}")
    return 0


def _download(args: argparse.Namespace, recipe: Any) -> int:
    from joulet.tools.compile import progress_lines
    from joulet.zoo.fetch import fetch

    data = recipe.dataset
    if not data.archive_sha256:
        raise UsageError(
            f"the hash of {data.title} is not known here, so it is not downloaded; fetch it from {data.url} and give its "
            f"folder, --from DIR ({data.contents})"
        )
    path = args.download / data.url.rsplit("/", 1)[-1]
    fetch(data.url, data.archive_sha256, path, force=args.force, progress=progress_lines())
    print(
        json.dumps({"archive": str(path)})
        if args.json
        else f"{path}: whole; unpack it ({data.contents}), then --from DIR"
    )
    return 0


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror}; make it with joulet zoo get") from error
