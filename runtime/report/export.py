# SPDX-License-Identifier: Apache-2.0
"""Simulation records as CSV and JSON and back, and everything that a study leaves, in one folder."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

from joulet.errors import DataError, MissingDependencyError
from joulet.records import PriceMap, SimulationRecord
from joulet.report import plots
from joulet.report.archive import plain, read_text, save_bytes, typed
from joulet.report.comparison import PageNotes, render_comparison
from joulet.report.example import Timelines

_COUNTED = ("exits_taken", "paths_taken")
_EXPANDED = ("energy_nj", "provenance")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written, and what was left out with the reason, for people."""

    files: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


def comparison_json(records: Sequence[SimulationRecord]) -> str:
    """Return a JSON list with one object a record, its keys the fields of :class:`SimulationRecord`.

    Raises
    ------
    DataError
        If a figure is not finite; JSON has no word for it.
    """
    lines = [_object(record, index) for index, record in enumerate(records)]
    return "[" + ",\n".join(lines) + "]\n"


def _object(record: SimulationRecord, index: int) -> str:
    try:
        return json.dumps(plain(record), separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise DataError(f"record {index} ({record.policy} on {record.trace}): {_not_finite(record)}") from error


def _not_finite(record: SimulationRecord) -> str:
    bad = [name for name, value in _flat(record).items() if isinstance(value, float) and not math.isfinite(value)]
    return f"{', '.join(bad) or 'blocks'} must be finite; give None for what is not known"


def comparison_from_json(text: str, *, name: str = "comparison") -> list[SimulationRecord]:
    """Return the records that ``text`` holds; the inverse of :func:`comparison_json`.

    Raises
    ------
    DataError
        If the text is not such a list; ``name`` and the number of the record are in the message.
    """
    try:
        content = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{name}: no list of simulation records ({error}); give a comparison.json") from error
    if not isinstance(content, list):
        raise DataError(f"{name}: no list of simulation records; give a comparison.json")
    return [_record(item, f"{name}: record {index}") for index, item in enumerate(content)]


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a figure")


def _record(item: object, name: str) -> SimulationRecord:
    try:
        return cast(SimulationRecord, typed(SimulationRecord, item))
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{name} is damaged ({error}); simulate again") from error


def read_comparison(path: Path) -> list[SimulationRecord]:
    """Return the records of a comparison.json, gzipped or not, so that a report can be made again."""
    return comparison_from_json(read_text(path, remedy="no text; give a comparison.json"), name=path.name)


def comparison_csv(records: Sequence[SimulationRecord]) -> str:
    """Return a CSV with one line a record: flat columns with units in their names, empty where a figure is not known.

    ``energy_nj`` and ``provenance`` have a column for each of their entries (``energy_nj.compute``), ``exits_taken``
    and ``paths_taken`` one for each index; of the blocks it tells the number. The JSON has all of them.
    """
    rows = [_flat(record) for record in records]
    names = [field.name for field in dataclasses.fields(SimulationRecord)]
    found = dict.fromkeys(column for row in rows for column in row)
    columns = sorted(found, key=lambda column: names.index(column.partition(".")[0].removeprefix("n_")))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _flat(record: SimulationRecord) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name in _EXPANDED:
            row |= {f"{field.name}.{key}": item for key, item in value.items()}
        elif field.name in _COUNTED:
            row |= {f"{field.name}.{index}": count for index, count in enumerate(value)}
        elif field.name == "blocks":
            row["n_blocks"] = len(value)
        else:
            row[field.name] = value
    return row


def write_comparison(
    folder: Path,
    records: Sequence[SimulationRecord],
    *,
    title: str,
    timelines: Timelines | None = None,
    price_maps: Sequence[PriceMap] = (),
    notes: PageNotes | None = None,
) -> Written:
    """Write comparison.html, .csv and .json, and the figures as PNG where matplotlib is installed.

    Nothing is written unless all of it could be made; each file is written whole or not at all. Parameters and errors
    are those of :func:`joulet.report.render_comparison`; ``folder`` is made if need be.
    """
    page = render_comparison(records, title=title, timelines=timelines, price_maps=price_maps, notes=notes)
    contents: dict[str, bytes] = {
        "comparison.html": page.encode(),
        "comparison.csv": comparison_csv(records).encode(),
        "comparison.json": comparison_json(records).encode(),
    }
    left_out: list[str] = []
    try:
        contents |= plots.figures(records, price_maps=price_maps)
    except MissingDependencyError as error:
        left_out.append(f"figures as PNG: {error}")
    return Written(files=_save(folder, contents), left_out=tuple(left_out))


def _save(folder: Path, contents: Mapping[str, bytes]) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(save_bytes(folder / name, content) for name, content in contents.items())
