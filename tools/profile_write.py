# SPDX-License-Identifier: Apache-2.0
"""Where ``joulet profile`` writes measured costs back to: a board's file, or a container."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulet.boards import board_table, load_board
from joulet.container.parts import with_measured
from joulet.container.read import Container
from joulet.errors import DataError, UsageError
from joulet.measured import Figure, MeasuredCosts, MeasuredExit, MeasuredStep, measured_from, merged, refuse_two_kinds
from joulet.profile.figures import Interval, Profile

_OURS = {"like", "energy", "measured"}  # what a board's file holds that is written here


def measured_of(profile: Profile, wall_s: float) -> MeasuredCosts:
    """Return a profile as a cost table of its board; ``wall_s`` is the time of day, for its provenance.

    Raises
    ------
    DataError
        If an interval is not known.
    """
    kind = "simulated" if profile.provenance.startswith("simulated") else "measured"
    day = time.strftime("%Y-%m-%d", time.gmtime(wall_s))
    return MeasuredCosts(
        board=profile.board,
        model_hash=profile.model_hash,
        kind=kind,
        provenance=f"{profile.provenance}; by {profile.sync.method}, {day}",
        exits=tuple(
            MeasuredExit(
                path=row.path, exit=row.exit, n=row.n, energy_j=_figure(row.energy_j, f"{row.path} to {row.exit}"),
                latency_s=_figure(row.latency_s, f"{row.path} to {row.exit}"),
            )
            for row in profile.rows
        ),
        steps=tuple(
            MeasuredStep(
                precision=row.precision, op=row.op, energy_j=_figure(row.energy_j, row.name),
                latency_s=_figure(row.latency_s, row.name),
            )
            for row in (profile.steps.rows if profile.steps is not None else ())
        ),
        steps_provenance=f"{profile.steps.provenance}; {profile.steps.method}, {day}" if profile.steps is not None else "",
    )  # fmt: skip


def _figure(found: Interval, what: str) -> Figure:
    if not (math.isfinite(found.low) and math.isfinite(found.high)):
        raise DataError(
            f"{what}: one inference tells no interval, and without one nothing is written; give more --repeats"
        )
    return Figure(mean=found.mean, low=max(0.0, found.low), high=found.high)


def write_container(path: Path, model: bytes, costs: MeasuredCosts, *, replace: bool) -> None:
    """Write a container with measured costs; those of the same board that it holds are kept where there are no new ones.

    Raises
    ------
    UsageError
        If it holds costs of the other kind, unless ``replace``.
    """
    old = next((each for each in Container.from_bytes(model).measured if each.board == costs.board), None)
    if old is not None and not replace:
        costs = merged(old, costs, "the container")
    data = with_measured(model, costs)
    if not Container.from_bytes(data).measured:
        raise UsageError("the container lacks its low planes and cannot be laid out again; give the whole one")
    _put(path, data)


def write_board(path: Path, costs: MeasuredCosts, *, replace: bool) -> None:
    """Write a board's file: like the board, with the energy of a cycle that was measured and the model's costs.

    Raises
    ------
    UsageError
        If the file holds costs of the other kind, unless ``replace``, or anything that is not written here.
    """
    if path.suffix != ".toml":
        raise UsageError(f"--write-board {path}: the name of a board's file ends in .toml")
    tables: list[MeasuredCosts] = []
    name = costs.board
    if path.exists():
        tables = [each for each in _read(path, name) if not (replace and each.kind != costs.kind)]
    for each in tables:
        refuse_two_kinds(each.kind, costs.kind, f"'{path}'")
    same = [each for each in tables if each.model_hash == costs.model_hash]
    new = costs if replace or not same else merged(same[0], costs, f"'{path}'")
    tables = [*(each for each in tables if each.model_hash != costs.model_hash), new]
    pj = max(1, round(1e12 * new.power_w / load_board(name).load.clock_hz))
    _put(path, _toml(name, pj, tables).encode())
    load_board(path)  # what is written can be read


def _read(path: Path, name: str) -> list[MeasuredCosts]:
    own = board_table(path, bare=True)
    strange = set(own) - _OURS | set(own.get("energy", {})) - {"pj_per_cycle", "pj_per_cycle_provenance"}
    if strange or own.get("like") != name:
        what = f"is like '{own.get('like')}', not '{name}'" if not strange else f"holds {', '.join(sorted(strange))}"
        raise UsageError(
            f"'{path}' {what}, which joulet profile did not write and would lose: give another name, and like = \"{path}\" there"
        )
    try:
        return [measured_from(each) for each in own.get("measured", ())]
    except ValueError as error:
        raise UsageError(f"'{path}': {error}") from error


def _toml(name: str, pj: int, tables: list[MeasuredCosts]) -> str:
    lines = [
        "# SPDX-License-Identifier: Apache-2.0",
        "# Written by joulet profile --write-board; figures are [mean, low, high] of a 95 % interval.",
        f"like = {json.dumps(name)}",
        "",
        "[energy]",
        f"pj_per_cycle = {pj}",
        f"pj_per_cycle_provenance = {json.dumps(tables[-1].provenance)}",
    ]
    for costs in tables:
        lines += ["", "[[measured]]"]
        for key, value in costs.to_dict().items():
            if isinstance(value, list):
                lines += [f"{key} = [", *(f"  {_inline(row)}," for row in value), "]"]
            else:
                lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def _inline(row: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {json.dumps(value)}" for key, value in row.items()) + " }"


def _put(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    try:
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write '{path}': {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
