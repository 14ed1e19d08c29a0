# SPDX-License-Identifier: Apache-2.0
"""``joulet footprint``: energy, carbon and water of an inference, operation and making, with stated factors."""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from joulet.errors import UsageError
from joulet.footprint import EFFICIENCY, GRID, WATER, Factor, Factors, Footprint, Item, footprint, together
from joulet.metered_run import EdgeRecord
from joulet.profile.figures import Profile, load_profile
from joulet.records import RunRecord
from joulet.units import format_quantity

FORMAT = "joulet-footprint-1"
EPILOG = """\
SOURCE is a profile (joulet profile --out) or the folder of a run (joulet run). Of a run, what the device drew in all is divided by
its answers.

  joulet footprint kws.json
  joulet footprint kws.json --grid "56gCO2e/kWh;RTE, France 2023" --supply-efficiency 85%
  joulet footprint kws.json --embodied "1.9kgCO2e;our LCA" --lifetime 5y --per-day 86400
  joulet footprint kws.json ad.json --path w8 --exit final --sum --json

A factor is VALUE;SOURCE; the source is printed with it, and one without says that it was given here. Making the device is counted
only where --embodied or --embodied-water say what it took, since that differs by more than 150 times between simple and complex
devices (Pirson and Bol 2021, arXiv:2105.02082); it is spread over the inferences of --lifetime: --per-day of them a day, or as many
as fit into the share --duty of the time. All of the device is laid to its inferences. Of profiles
sleep between inferences is not counted, of runs it is, with losses of converter and store.

Intervals are those of the energy, 95 %; factors have none here and are known far less well. --sum adds one of each source as one
inference. What was measured, simulated and modelled is not added up unless --mix-provenances asks for it, and is then named so.
"""
_CARBON = {"gCO2e": 1.0, "kgCO2e": 1e3, "tCO2e": 1e6, "g": 1.0, "kg": 1e3}
_UNITS: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "grid": ("gCO2e/kWh", {f"{name}/kWh": scale for name, scale in _CARBON.items()}),
    "water": ("L/kWh", {"L/kWh": 1.0, "mL/kWh": 1e-3, "l/kWh": 1.0}),
    "supply-efficiency": ("", {"%": 1e-2, "": 1.0}),
    "embodied": ("gCO2e", _CARBON),
    "embodied-water": ("L", {"L": 1.0, "l": 1.0, "mL": 1e-3, "m3": 1e3}),
    "lifetime": ("s", {"y": 365.25 * 86400.0, "d": 86400.0, "h": 3600.0, "s": 1.0}),
    "per-day": ("", {"": 1.0}),
    "duty": ("", {"%": 1e-2, "": 1.0}),
}
_SHARES = ("supply-efficiency", "duty")
_NUMBER = re.compile(r"\s*(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)\s*(\S*)\s*")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "footprint",
        help="energy, carbon and water of an inference, operation and making, with stated factors",
        description="Tell what an inference costs in energy, carbon and water, and what share of making the device it bears.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="profiles, folders of runs")
    parser.add_argument("--path", metavar="NAME", help="only this path of profiles (all)")
    parser.add_argument("--exit", metavar="NAME", help="only this exit of profiles (all)")
    parser.add_argument("--sum", action="store_true", help="one of each source, as one inference")
    parser.add_argument(
        "--mix-provenances", action="store_true", help="sum what was measured, simulated and modelled too"
    )
    factors = parser.add_argument_group("factors, as VALUE;SOURCE")
    factors.add_argument("--grid", metavar="F", help=f"carbon of electricity ({GRID.value:g}{GRID.unit})")
    factors.add_argument("--water", metavar="F", help=f"water of electricity ({WATER.value:g}{WATER.unit})")
    factors.add_argument("--supply-efficiency", metavar="F", help="energy at the board over that at the wall (100%%)")
    factors.add_argument("--embodied", metavar="F", help="carbon of making the device, such as 1.9kgCO2e (not counted)")
    factors.add_argument("--embodied-water", metavar="F", help="water of making it, such as 40L (not counted)")
    factors.add_argument("--lifetime", metavar="F", help="of the device, such as 5y")
    factors.add_argument("--per-day", metavar="F", help="inferences a day, or")
    factors.add_argument("--duty", metavar="F", help="share of the time that it computes, such as 2%%")
    parser.add_argument("--csv", type=Path, metavar="FILE.csv", help="write the rows there")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write what --json prints there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(args: argparse.Namespace) -> int:
    """Tell; return the exit code."""
    factors = _factors(args)
    groups = [list(_items(source, args.path, args.exit)) for source in args.sources]
    items = [item for group in groups for item in group]
    if args.sum:
        for source, group in zip(args.sources, groups, strict=True):
            if len(group) != 1:
                raise UsageError(f"--sum: '{source}' has {len(group)} rows; name one with --path and --exit")
        items.append(together(items, mix=args.mix_provenances))
    rows = [footprint(item, factors) for item in items]
    table = {
        "format": FORMAT,
        "factors": asdict(factors),
        "rows": [asdict(row) for row in rows],
        "notes": _notes(factors),
    }
    text = json.dumps(_finite(table), indent=2)
    if args.csv is not None:
        args.csv.write_text(_csv(rows), encoding="utf-8")
    if args.out is not None:
        args.out.write_text(text + "\n", encoding="utf-8")
    print(text if args.json else text_of(rows, factors))
    return 0


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


# factors


def _factors(args: argparse.Namespace) -> Factors:
    found = {name: parse_factor(name, getattr(args, name.replace("-", "_"))) for name in _UNITS}
    return Factors(
        grid=found["grid"] or GRID,
        water=found["water"] or WATER,
        efficiency=found["supply-efficiency"] or EFFICIENCY,
        embodied=found["embodied"],
        embodied_water=found["embodied-water"],
        lifetime=found["lifetime"],
        per_day=found["per-day"],
        duty=found["duty"],
    )


def parse_factor(name: str, text: str | None) -> Factor | None:
    """Return ``VALUE;SOURCE`` of an option in its base unit, None for None.

    Raises
    ------
    UsageError
        If it is no number with a unit of the option, or a share above one.
    """
    if text is None:
        return None
    value, _, source = text.partition(";")
    unit, scales = _UNITS[name]
    match = _NUMBER.fullmatch(value)
    if match is None or match[2] not in scales:
        units = ", ".join(each for each in scales if each) or "none"
        raise UsageError(f"--{name} {text}: give a number with a unit ({units}), and its source behind a semicolon")
    number = float(match[1]) * scales[match[2]]
    zero_allowed = name in ("grid", "water", "embodied", "embodied-water")
    if not math.isfinite(number) or (number == 0.0 and not zero_allowed) or (name in _SHARES and number > 1.0):
        raise UsageError(f"--{name} {text}: must be {'zero or more' if zero_allowed else 'more than zero'}"
                         + (" and at most 100 %" if name in _SHARES else ""))  # fmt: skip
    return Factor(value=number, unit=unit, source=source.strip() or "given on the command line, no source stated")


# sources


def _items(source: Path, path: str | None, exit: str | None) -> Iterator[Item]:
    if source.is_dir() or source.name.endswith(".json.gz"):
        from joulet.report import find, read_any

        record = read_any(find(source))
        yield _of_metered(source, record) if isinstance(record, EdgeRecord) else _of_run(source, record)
        return
    profile = load_profile(source)
    found = list(_of_profile(source, profile, path, exit))
    if not found:
        raise UsageError(
            f"'{source}' has no row of path {path or '(any)'} and exit {exit or '(any)'}; it has "
            + ", ".join(f"{row.path} to {row.exit}" for row in profile.rows)
        )
    yield from found


def _of_profile(source: Path, profile: Profile, path: str | None, exit: str | None) -> Iterator[Item]:
    for row in profile.rows:
        if path in (None, row.path) and exit in (None, row.exit):
            yield Item(
                source=source.name, what=f"{row.path} to {row.exit}", kind=kind_of(profile), provenance=profile.provenance,
                energy_j=row.energy_j.mean, low_j=max(0.0, row.energy_j.low), high_j=row.energy_j.high,
                latency_s=row.latency_s.mean,
            )  # fmt: skip


def kind_of(profile: Profile) -> str:
    """Return whether energies of a profile are measured, simulated or estimated."""
    words = profile.provenance.lower()
    if words.startswith("simulated") or profile.meter.startswith("simulated"):
        return "simulated"
    if "estimate" in words or any("estimate" in note for note in profile.notes):
        return "estimated"
    return "measured"


def _of_run(source: Path, record: RunRecord) -> Item:
    served = record.summary.served
    if not served:
        raise UsageError(f"'{source}': the run answered nothing; there is no inference to lay its energy to")
    drawn_j = sum(pj for name, pj in record.ledger.spent_pj.items() if name != "clipped") * 1e-12
    energy_j = drawn_j / served
    cycle = record.provenance.get("pj_per_cycle", "not stated")
    return Item(
        source=source.name, what=f"an answer under {record.policy}", kind="modelled",
        provenance=f"modelled: a run's ledger over {served} answers; energy of a cycle {cycle}",
        energy_j=energy_j, low_j=-math.inf, high_j=math.inf, latency_s=None,
    )  # fmt: skip


def _of_metered(source: Path, record: EdgeRecord) -> Item:
    if not record.answered:
        raise UsageError(f"'{source}': the run answered nothing; there is no inference to lay its energy to")
    energy_j = record.energy_j / record.answered
    kinds = {text.partition(":")[0] for text in record.provenance}
    if "modelled" in kinds:
        kind = "simulated"
    else:
        kind = "measured" if kinds == {"measured"} and record.estimated_j == 0.0 else "estimated"
    return Item(
        source=source.name, what=f"an answer, {record.meter}", kind=kind,
        provenance=f"{'; '.join(record.provenance)}; over {record.answered} answers, idle power included",
        energy_j=energy_j, low_j=-math.inf, high_j=math.inf, latency_s=record.latency_s(0.5),
    )  # fmt: skip


# telling


def _notes(factors: Factors) -> list[str]:
    notes = []
    if factors.embodied is None:
        notes.append("making the device is not in the carbon: --embodied")
    if factors.embodied_water is None:
        notes.append("making the device is not in the water: --embodied-water")
    return [
        *notes,
        "of profiles, sleep between inferences is not counted; of runs it is",
        "intervals are those of energy; factors have none here",
    ]


def text_of(rows: list[Footprint], factors: Factors) -> str:
    """Return footprints for people."""
    head = (
        "source", "inference", "kind", "energy", "95 %", "carbon: operation", "making", "both", "water: operation", "making",
        "both",
    )  # fmt: skip
    table = [head, *(_cells(row) for row in rows)]
    widths = [max(len(row[column]) for row in table) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table]
    lines.append("")
    for name, factor in asdict(factors).items():
        if factor is not None:
            value = f"{factor['value']:g} {factor['unit']}".rstrip()
            lines.append(f"  {name.replace('_', ' ')}: {value} ({factor['source']})")
    lines += [
        f"  {source}: {text}" for source, text in dict.fromkeys((row.item.source, row.item.provenance) for row in rows)
    ]
    return "\n".join([*lines, *(f"  note: {note}" for note in _notes(factors))])


def _cells(row: Footprint) -> tuple[str, ...]:
    item = row.item
    known = math.isfinite(item.low_j) and math.isfinite(item.high_j)
    interval = f"{_q(item.low_j, 'J')} to {_q(item.high_j, 'J')}" if known else "unknown"
    return (
        item.source,
        item.what,
        item.kind,
        _q(item.energy_j, "J"),
        interval,
        _q(row.operational_g, "gCO2e"),
        _q(row.embodied_g, "gCO2e"),
        _q(row.total_g, "gCO2e") if row.embodied_g is not None else "-",
        _q(row.operational_l, "L"),
        _q(row.embodied_l, "L"),
        _q(row.total_l, "L") if row.embodied_l is not None else "-",
    )


def _q(value: float | None, unit: str) -> str:
    return "-" if value is None else format_quantity(value, unit, digits=4)


def _csv(rows: list[Footprint]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(
        ["source", "inference", "kind", "energy_j", "energy_low_j", "energy_high_j", "operational_gco2e", "embodied_gco2e",
         "total_gco2e", "operational_l", "embodied_l", "total_l", "inferences_of_life", "provenance"]
    )  # fmt: skip
    for row in rows:
        item = row.item
        writer.writerow(
            [item.source, item.what, item.kind, item.energy_j, _cell(item.low_j), _cell(item.high_j),
             row.operational_g, _cell(row.embodied_g),
             row.total_g, row.operational_l, _cell(row.embodied_l), row.total_l, _cell(row.inferences), item.provenance]
        )  # fmt: skip
    return out.getvalue()


def _cell(value: float | None) -> float | str:
    return "" if value is None or not math.isfinite(value) else value
