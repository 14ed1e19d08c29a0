# SPDX-License-Identifier: Apache-2.0
"""The part of ``joulet inspect --costs`` that shows what was measured beside what the model foretells."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from joulet.boards import Board
from joulet.container.read import Container
from joulet.plan.cost import board_costs, cost_table
from joulet.plan.measured import measured_on

_HEAD = ("path", "exit", "foretold nJ", "measured nJ", "95 %", "off by", "n")


def measured(container: Container, board: Board) -> dict[str, Any] | None:
    """Return measured costs of a container on a board beside the model's, None where nothing was measured."""
    found = measured_on(container, board)
    if found is None:
        return None
    costs = next((each for each in container.boards if each.name == board.name), None) or board_costs(container, board)
    table = cost_table(container, costs)
    rows = []
    for row in found.exits:
        step = table.steps[table.path_names.index(row.path)][0][table.exit_names.index(row.exit)]
        foretold_nj = None if step is None else step.cycles * costs.energy_pj_per_cycle / 1e3
        rows.append({**asdict(row), "foretold_nj": foretold_nj})
    return {
        "kind": found.kind,
        "provenance": found.provenance,
        "exits": rows,
        "steps": [asdict(step) for step in found.steps],
        "steps_provenance": found.steps_provenance,
    }


def measured_rows(content: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return head and rows of the table of exits."""
    return (f"{content['kind']}: {_HEAD[0]}", *_HEAD[1:]), [_row(row) for row in content["exits"]]


def _row(row: dict[str, Any]) -> tuple[str, ...]:
    figure, foretold_nj = row["energy_j"], row["foretold_nj"]
    mean_nj = 1e9 * figure["mean"]
    return (
        row["path"],
        row["exit"],
        "-" if foretold_nj is None else f"{foretold_nj:,.0f}",
        f"{mean_nj:,.0f}",
        f"{1e9 * figure['low']:,.0f} to {1e9 * figure['high']:,.0f}",
        "-" if foretold_nj is None else f"{100 * (foretold_nj / mean_nj - 1):+.1f} %",
        str(row["n"]),
    )


def step_figures(content: dict[str, Any], precision: str) -> dict[int, dict[str, float]]:
    """Return measured energies of the steps of a precision, by op."""
    return {step["op"]: step["energy_j"] for step in content["steps"] if step["precision"] == precision}
