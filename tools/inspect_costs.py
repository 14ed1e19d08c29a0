# SPDX-License-Identifier: Apache-2.0
"""The part of ``joulet inspect`` that needs a board: memory, and what each step costs there."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from joulet.boards import Board, load_board
from joulet.container.band_view import walked_groups
from joulet.container.isa_plan import arena_bytes, fast_bytes, slow_bytes, slow_tensors, with_isa_plan
from joulet.container.ram import input_room_bytes, ram_of
from joulet.container.read import Container
from joulet.plan.copies import copies_on, copies_text, copy_bills
from joulet.plan.on_board import planned_for
from joulet.plan.step_costs import step_bills
from joulet.tools.inspect_measured import measured, step_figures

_HEAD = (
    "step", "op", "kernels", "MACs", "RAM read", "RAM written", "weights", "from", "flash read", "bytes/MAC", "cycles", "nJ",
    "bound",
)  # fmt: skip
_NAME_WIDTH = 28
_OF_SLOW = ("slow_read_bytes", "slow_written_bytes", "wait_cycles")  # of bytes and cycles before them
_SLOW_HEAD = ("slow read", "slow written", "waits")


BAND_HEAD = ("bands", "ops", "rows in a band", "rows held", "held bytes", "whole", "copied", "kernel calls")


def memory(container: Container, name: str, limit_bytes: int | None = None) -> dict[str, Any]:
    """Return the RAM that integer paths take on a board [bytes], with whole tensors and, where ops run in bands, with these.

    Parameters
    ----------
    container : Container
        Whose groups are shown, unless they are planned anew.
    name : str
        Board.
    limit_bytes : int, optional
        Plan groups for an arena of so many bytes.
    """
    board = load_board(name)
    copies = copies_on(container, board) or frozenset()
    ram = ram_of(container, board.isa, copies)
    content = {"board": board.name, "isa": board.isa, **asdict(ram), "total_bytes": ram.total_bytes}
    planned = container.data
    if limit_bytes is not None:
        planned = with_isa_plan(planned, board.isa, copies=copies, ram_bytes=limit_bytes, prices=board.cycles.bands)
    groups = walked_groups(planned, board.isa)
    bands: dict[str, Any] = {}
    if groups:
        arena = arena_bytes(planned, board.isa)
        bands = {
            "arena_bytes": arena,
            "total_bytes": arena + ram.state_bytes,
            "groups": [asdict(each) for each in groups],
        }
    if board.slow is None:
        return {**content, "bands": bands}
    return {**content, "bands": bands, "memories": _memories(container.data, board, limit_bytes)}


def _memories(container: bytes, board: Board, limit_bytes: int | None) -> dict[str, Any]:
    """Return what a plan for the board takes of its two memories [bytes]."""
    planned = planned_for(container, board, ram_limit=limit_bytes)
    inputs = input_room_bytes(Container.from_bytes(planned))
    assert board.slow is not None
    return {
        "fast_bytes": fast_bytes(planned, board.isa),
        "slow_bytes": slow_bytes(planned, board.isa),
        "input_bytes": inputs,
        "fast_room_bytes": board.slow.fast_arena_bytes,
        "slow_room_bytes": board.slow.bytes,
        "slow_tensors": sorted(slow_tensors(Container.from_bytes(planned), board.isa)),
    }


def band_rows(ram: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the table of groups."""
    lines: list[tuple[str, ...]] = []
    for each in ram["bands"]["groups"]:
        lines.append(
            (
                f"ops {each['first_op']}..{each['last_op']}",
                " ".join(each["ops"]),
                str(each["rows"][-1]),
                " ".join(str(rows) for rows in each["rows"][:-1]),
                f"{sum(each['room_bytes']):,}",
                f"{sum(each['whole_bytes']):,}",
                f"{each['moved_bytes']:,}",
                f"{each['calls']:,}",
            )
        )
    return lines


def packed(container: Container, name: str) -> tuple[dict[str, Any], str]:
    """Return which packed copies a container has on a board, as JSON and in words."""
    board = load_board(name)
    bills = copy_bills(container, board, copies_on(container, board))
    content = {"isa": board.isa, "slot_bytes": board.model_bytes, "copies": [asdict(bill) for bill in bills]}
    return content, copies_text(bills, board)


def costs(container: Container, name: str) -> dict[str, Any]:
    """Return what each step costs on a board at every integer precision."""
    board = load_board(name)
    if board.slow is not None:
        container = Container.from_bytes(planned_for(container.data, board))
    seen = measured(container, board)
    stored = copies_on(container, board)
    precisions = []
    for index, record in enumerate(container.precisions):
        if int(record["is_f32"]):
            continue
        known = step_figures(seen, container.precision_names[index]) if seen is not None else {}
        steps = [
            {**asdict(bill), "accesses_per_mac": bill.accesses_per_mac, "measured_j": known.get(op)}
            for op, bill in enumerate(step_bills(container, board, index, stored))
        ]
        precisions.append({"precision": container.precision_names[index], "steps": steps})
    return {
        "board": board.name,
        "rates": asdict(board.roof),
        "provenance": {
            "cycles": board.provenance.get("cycles", ""),
            "energy": _energy(board),
            "roof": board.provenance.get("roof", ""),
        },
        "precisions": precisions,
        "measured": seen,
    }


def _energy(board: Board) -> str:
    return board.provenance.get("pj_per_cycle", "")


def render_memory(content: dict[str, Any]) -> str:
    """Return the line on memory."""
    return (
        (
            f"RAM on {content['board']} ({content['isa']}): {content['total_bytes']:,} bytes = arena {content['arena_bytes']:,} "
            f"+ state {content['state_bytes']:,}; tensors alone {content['activation_bytes']:,}, "
            f"scratch up to {content['scratch_bytes']:,}"
        )
        + (
            f"\nin bands: {content['bands']['total_bytes']:,} bytes = arena {content['bands']['arena_bytes']:,} + state"
            if content["bands"]
            else ""
        )
        + _memories_text(content.get("memories"))
    )


def _memories_text(memories: dict[str, Any] | None) -> str:
    if memories is None:
        return ""
    return (
        f"\ntwo memories: {memories['fast_bytes']:,} bytes of {memories['fast_room_bytes']:,} in the fast one, "
        f"{memories['slow_bytes']:,} of {memories['slow_room_bytes']:,} in the slow one ({len(memories['slow_tensors'])} tensors), "
        f"and {memories['input_bytes']:,} there for the input"
    )


def rows(precision: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return head and rows of one precision's table, the sum last."""
    steps = precision["steps"]
    lines = [_row(step) for step in steps]
    keys = (
        "macs",
        "arena_read_bytes",
        "arena_written_bytes",
        "weight_bytes",
        "flash_read_bytes",
        "cycles",
        "energy_nj",
        *_OF_SLOW,
    )
    total = {key: sum(step[key] for step in steps) for key in keys}
    moved = total["arena_read_bytes"] + total["arena_written_bytes"] + total["flash_read_bytes"]
    each = moved / total["macs"] if total["macs"] else None
    lines.append(
        _row(
            {
                **total,
                "name": "all steps",
                "op": "",
                "kernels": "",
                "weights_from": "",
                "bound": "",
                "accesses_per_mac": each,
            }
        )
    )
    more = ("measured nJ",) if any(step.get("measured_j") for step in steps) else ()
    slow = any(step[key] for step in steps for key in _OF_SLOW)
    if slow:
        at = 1 + _HEAD.index("bound")
        lines = [
            (*line[:at], *(f"{step[key]:,}" for key in _OF_SLOW), *line[at:])
            for line, step in zip(lines, [*steps, total], strict=True)
        ]
    return (f"{precision['precision']}: {_HEAD[0]}", *_HEAD[1:], *(_SLOW_HEAD if slow else ()), *more), lines


def _row(step: dict[str, Any]) -> tuple[str, ...]:
    name = str(step["name"]).split(";")[0]
    return (
        name if len(name) <= _NAME_WIDTH else "…" + name[1 - _NAME_WIDTH :],
        step["op"],
        step["kernels"],
        *(f"{step[key]:,}" for key in ("macs", "arena_read_bytes", "arena_written_bytes", "weight_bytes")),
        step["weights_from"],
        f"{step['flash_read_bytes']:,}",
        "-" if step["accesses_per_mac"] is None else f"{step['accesses_per_mac']:.2f}",
        f"{step['cycles']:,}",
        f"{step['energy_nj']:,.0f}",
        step["bound"],
        *_seen(step),
    )


def _seen(step: dict[str, Any]) -> tuple[str, ...]:
    figure = step.get("measured_j")
    if figure is None:
        return ()
    return (f"{1e9 * figure['mean']:,.0f} ({1e9 * figure['low']:,.0f} to {1e9 * figure['high']:,.0f})",)
