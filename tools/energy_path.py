# SPDX-License-Identifier: Apache-2.0
"""Options of the energy path, and what they name: harvester, converter and store."""

from __future__ import annotations

import argparse
from pathlib import Path

from joulet.energy.battery import Battery
from joulet.energy.bq25570 import bq25570, load_buck_tables
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.seam import Converter, Storage
from joulet.errors import UsageError
from joulet.records import LoadFigures
from joulet.units import parse_quantity

_EFFICIENCY, _QUIESCENT = 0.8, "1.5uW"
_CHARGE_EFFICIENCY = 0.95
_SELF_DISCHARGE_TAU_S = 1.3e8  # 2 % a month


def add_path_options(group: argparse._ArgumentGroup) -> None:
    """Add the options of store and converter."""
    stores = group.add_mutually_exclusive_group()
    stores.add_argument("--capacitor", default="4.7mF", metavar="C", help="store (4.7mF)")
    stores.add_argument("--battery", metavar="E", help="a battery instead, from the board's brown-out to its maximum")
    group.add_argument("--leakage", metavar="R", help="leakage resistance of the capacitor (1Mohm)")
    group.add_argument("--esr", default="0ohm", metavar="R", help="series resistance of the store (0ohm)")
    group.add_argument("--start-voltage", metavar="V", help="store at the start (the board's power-good threshold)")
    group.add_argument(
        "--converter",
        default="constant",
        metavar="NAME",
        help="constant, or bq25570; bq25570:PARTS.zip@1.8V takes its measured output stage from an archive (constant)",
    )
    group.add_argument("--efficiency", type=float, metavar="X", help=f"of the constant converter, 0..1 ({_EFFICIENCY})")
    group.add_argument("--quiescent", metavar="P", help=f"drawn by the constant converter ({_QUIESCENT})")


def make_converter(args: argparse.Namespace) -> Converter:
    """Return the converter that the options name."""
    name, _, source = args.converter.partition(":")
    if name == "constant" and not source:
        return ConstantConverter(
            _EFFICIENCY if args.efficiency is None else args.efficiency,
            quiescent_w=parse_quantity(args.quiescent or _QUIESCENT, "W", what="--quiescent", allow_zero=True),
        )
    if name != "bq25570":
        raise UsageError(f"--converter: no converter '{args.converter}'; there are: constant, bq25570")
    if args.efficiency is not None or args.quiescent is not None:
        raise UsageError("--efficiency and --quiescent belong to --converter constant; a bq25570 has its own")
    if not source:
        return bq25570()
    path, at, volts = source.rpartition("@")
    if not at:
        raise UsageError(f"--converter: '{source}' names no output voltage; write PARTS.zip@1.8V")
    stage = load_buck_tables(path, parse_quantity(volts, "V", what="--converter"))
    return bq25570(buck=stage, buck_provenance=f"measured: buck efficiency at {volts}, {Path(path).name}")


def make_storage(args: argparse.Namespace, load: LoadFigures) -> Storage:
    """Return the store that the options name."""
    volts = load.on_v
    if args.start_voltage is not None:
        volts = parse_quantity(args.start_voltage, "V", what="--start-voltage", allow_zero=True)
    esr_ohm = parse_quantity(args.esr, "ohm", what="--esr", allow_zero=True)
    if args.battery is None:
        return Capacitor(
            parse_quantity(args.capacitor, "F", what="--capacitor"),
            max_v=load.max_v,
            initial_v=volts,
            leakage_ohm=parse_quantity(args.leakage or "1Mohm", "ohm", what="--leakage"),
            esr_ohm=esr_ohm,
        )
    if args.leakage is not None:
        raise UsageError("--leakage belongs to --capacitor; a battery discharges itself by 2 % a month")
    return Battery(
        parse_quantity(args.battery, "J", what="--battery"),
        empty_v=load.off_v,
        full_v=load.max_v,
        initial_v=volts,
        charge_efficiency=_CHARGE_EFFICIENCY,
        self_discharge_tau_s=_SELF_DISCHARGE_TAU_S,
        esr_ohm=esr_ohm,
    )
