# SPDX-License-Identifier: Apache-2.0
"""``joulet inspect``: show what a container holds."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from joulet.boards import DEFAULT_BOARD
from joulet.container.describe import describe
from joulet.container.read import Container
from joulet.errors import UsageError
from joulet.tools.inspect_costs import BAND_HEAD, band_rows, costs, memory, packed, render_memory, rows
from joulet.tools.inspect_measured import measured_rows

_NAME_WIDTH = 40

EPILOG = """\
A container holds a canonical part (covered by the model hash) and plan parts for boards.

  joulet inspect kws.jlt            tables for people
  joulet inspect kws.jlt --json     one JSON object
  joulet inspect kws.jlt --board virtual_m4          and the RAM that it takes there, and which weights are packed
  joulet inspect kws.jlt --board virtual_m4 --ram-limit 8000   and which ops run in bands to take no more
  joulet inspect kws.jlt --costs --board virtual_m4  and what each step costs, at each precision

Bands: ops of a group run a few rows at a time, so that what one hands to the next is never whole in the arena (FORMAT.md §6).
A container that was compiled under a limit shows its groups; --ram-limit plans anew, whole tensors where they fit.

Costs: cycles are the board's model, energy is cycles times the board's figure. Bytes are those of kernels that gather the
patch of each output pixel once and read all weights once for each block of four pixels. A step is bound by memory when moving
these bytes at the width of the core's loads takes longer than its MACs at the core's best rate and one requantisation an output,
else by compute. All heads are listed; a run skips those of other exits.

Where joulet profile has written measured energies into the container or the board's file, they stand beside the model's, and
joulet run, simulate and sweep take them.

Accuracies are those of the calibration set; a container compiled without data has none and shows a dash. ECE is the
expected calibration error: how far confidences lie from the share of right answers, on samples their table has not seen.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "inspect",
        help="show what a container holds",
        description="Show sections, layers, exits, operating points and memory of a .jlt container.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="M.jlt", help="container to show")
    parser.add_argument("--board", metavar="B", help="show memory on this board, by name or from a .toml file")
    parser.add_argument(
        "--ram-limit",
        type=int,
        metavar="BYTES",
        help="show which ops run in bands there when arenas take so many bytes",
    )
    parser.add_argument(
        "--costs", action="store_true", help=f"show what each step costs on the board ({DEFAULT_BOARD})"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Print the description; return the exit code."""
    if args.ram_limit is not None and args.board is None:
        raise UsageError("--ram-limit: what kernels need differs between boards; name one with --board")
    container = Container.from_path(args.model)
    content, words = describe(container), ""
    board = args.board or (DEFAULT_BOARD if args.costs else None)
    if board:
        content["ram"] = memory(container, board, args.ram_limit)
        content["packed"], words = packed(container, board)
    if board and args.costs:
        content["costs"] = costs(container, board)
    print(json.dumps(content, indent=1) if args.json else render(content, words))
    return 0


def render(content: dict[str, Any], packing: str = "") -> str:
    """Return the description as tables for people; ``packing`` says in words what is packed."""
    precisions = content["precisions"]
    blocks = [
        f"{content['name']}  {content['bytes']:,} bytes  format {content['format']}",
        f"model hash {content['model_hash']}",
        table(
            ("section", "part", "bytes", "present"),
            [(s["name"], s["part"], f"{s['bytes']:,}", "yes" if s["present"] else "no") for s in content["sections"]],
        ),
        table(
            ("layer", "kind", "exit", "output", "MACs", "weight bytes", "storage", *precisions),
            [_layer(each) for each in content["layers"]],
        ),
        table(
            ("exit", "origin", "classes", "reached after"),
            [(e["name"], e["origin"], e["classes"] or "-", _short(e["last_layer"])) for e in content["exits"]],
        ),
        table(
            ("path", "precisions", "exit", "MACs", "accuracy", "ECE", "auto stops from"),
            [row for path in content["paths"] for row in _path(path)],
        ),
        _arena(content["arena"]),
    ]
    if "ram" in content:
        blocks.append(render_memory(content["ram"]))
        if content["ram"]["bands"]:
            blocks.append(table(BAND_HEAD, band_rows(content["ram"])))
    if packing:
        blocks.append(packing)
    if "costs" in content:
        blocks += [table(*rows(each)) for each in content["costs"]["precisions"]]
        blocks.append("\n".join(f"{what}: {source}" for what, source in content["costs"]["provenance"].items()))
        if content["costs"]["measured"]:
            seen = content["costs"]["measured"]
            blocks += [table(*measured_rows(seen)), f"these go before the model's: {seen['provenance']}"]
    if content["boards"]:
        blocks.append(
            table(
                ("board", "clock Hz", "pJ/cycle", "cycles to the last exit"),
                [
                    (b["name"], b["clock_hz"], b["energy_pj_per_cycle"], f"{b['cycles_of_path_0']:,}")
                    for b in content["boards"]
                ],
            )
        )
    if content["nvm_plans"]:
        blocks.append(
            table(("power cuts on", "strategy", "commit every", "warning", "NVM bytes", "tensors"), _nvm(content))
        )
    if content["notes"]:
        blocks.append("notes\n" + "\n".join(f"  {note}" for note in content["notes"]))
    return "\n\n".join(blocks)


def _layer(each: dict[str, Any]) -> tuple[str, ...]:
    shape = "×".join(str(extent) for extent in each["shape"])
    bits = each["bits"] or ()
    return (
        _short(each["name"]),
        each["kind"],
        each["exit"] or "",
        shape,
        f"{each['macs']:,}" if each["macs"] else "",
        f"{each['weight_bytes']:,}" if each["weight_bytes"] else "",
        each["storage"] or "",
        *(str(value) for value in bits),
    )


def _short(name: str) -> str:
    """Return the part of a fused layer's name that says most, at most 40 characters."""
    first = name.split(";")[0]
    return first if len(first) <= _NAME_WIDTH else "…" + first[1 - _NAME_WIDTH :]


def _path(path: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for index, point in enumerate(path["points"]):
        accuracy = "-" if point["accuracy"] is None else f"{100 * point['accuracy']:.1f} %"
        error = point["calibration_error"]
        rows.append(
            (
                path["name"] if index == 0 else "",
                path["precisions"][index],
                point["exit"],
                f"{point['macs']:,}",
                accuracy,
                "-" if error is None else f"{100 * error:.1f} %",
                f"{point['auto_threshold']:.3f}",
            )
        )
    return rows


def _arena(arena: dict[str, int]) -> str:
    text = f"arena {arena['tensor_bytes']:,} bytes of tensors + {arena['scratch_bytes']:,} of scratch"
    if arena["scratch_f32_bytes"]:
        text += f"; f32 {4 * arena['tensor_bytes']:,} + {arena['scratch_f32_bytes']:,}"
    return text


def _nvm(content: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (
            plan["board"],
            plan["strategy"],
            f"{plan['commit_cycles']:,} cycles" if plan["commit_cycles"] else "-",
            f"{plan['warn_v']:.3f} V" if plan["warn_v"] else "-",
            f"{plan['total_bytes']:,}",
            str(plan["tensors_kept"]),
        )
        for plan in content["nvm_plans"]
    ]


def table(head: tuple[str, ...], rows: list[Any]) -> str:
    """Return rows under a head, columns aligned."""
    texts = [head, *(tuple(str(cell) for cell in row) + ("",) * (len(head) - len(row)) for row in rows)]
    widths = [max(len(row[column]) for row in texts) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in texts]
    return "\n".join(lines)
