# SPDX-License-Identifier: Apache-2.0
"""Options of the energy path, and what they name: harvester, converter and store."""

from __future__ import annotations

import argparse

from joulet.energy.path import CONVERTERS, EFFICIENCY, QUIESCENT_W, make_converter, make_storage
from joulet.energy.seam import Converter, Storage
from joulet.records import LoadFigures
from joulet.units import format_quantity, parse_quantity

CAPACITOR = "4.7mF"


def add_path_options(group: argparse._ArgumentGroup, *, several: bool = False) -> None:
    """Add the options of store and converter; where there may be several stores, they are lists."""
    more, plural = (",…", "s") if several else ("", "")
    stores = group.add_mutually_exclusive_group()
    stores.add_argument("--capacitor", metavar=f"C{more}", help=f"store{plural} ({CAPACITOR})")
    stores.add_argument(
        "--battery", metavar=f"E{more}", help="a battery instead, from the board's brown-out to its maximum"
    )
    if several:
        stores.add_argument("--store-inferences", metavar="N,…", help="capacitors by full-depth inferences instead")
    group.add_argument("--leakage", metavar="R", help="leakage resistance of the capacitor (1Mohm)")
    group.add_argument("--esr", default="0ohm", metavar="R", help="series resistance of the store (0ohm)")
    group.add_argument("--start-voltage", metavar="V", help="store at the start (the board's power-good threshold)")
    group.add_argument("--converter", default="constant", metavar="NAME", help=f"{CONVERTERS} (constant)")
    group.add_argument("--efficiency", type=float, metavar="X", help=f"of the constant converter, 0..1 ({EFFICIENCY})")
    quiescent = format_quantity(QUIESCENT_W, "W").replace(" ", "")
    group.add_argument("--quiescent", metavar="P", help=f"drawn by the constant converter ({quiescent})")


def converter_of(args: argparse.Namespace) -> Converter:
    """Return the converter that the options name."""
    return make_converter(args.converter, efficiency=args.efficiency, quiescent_w=quiescent_w(args))


def storage_of(args: argparse.Namespace, load: LoadFigures) -> Storage:
    """Return the store that the options name."""
    capacitor = args.capacitor or (None if args.battery else CAPACITOR)
    return make_storage(
        load,
        capacitor_f=None if capacitor is None else parse_quantity(capacitor, "F", what="--capacitor"),
        battery_j=None if args.battery is None else parse_quantity(args.battery, "J", what="--battery"),
        leakage_ohm=leakage_ohm(args),
        esr_ohm=esr_ohm(args),
        start_v=start_v(args),
    )


def quiescent_w(args: argparse.Namespace) -> float | None:
    """Return ``--quiescent`` [W]."""
    if args.quiescent is None:
        return None
    return parse_quantity(args.quiescent, "W", what="--quiescent", allow_zero=True)


def leakage_ohm(args: argparse.Namespace) -> float | None:
    """Return ``--leakage`` [ohm]."""
    return None if args.leakage is None else parse_quantity(args.leakage, "ohm", what="--leakage")


def esr_ohm(args: argparse.Namespace) -> float:
    """Return ``--esr`` [ohm]."""
    return parse_quantity(args.esr, "ohm", what="--esr", allow_zero=True)


def start_v(args: argparse.Namespace) -> float | None:
    """Return ``--start-voltage`` [V]."""
    if args.start_voltage is None:
        return None
    return parse_quantity(args.start_voltage, "V", what="--start-voltage", allow_zero=True)
