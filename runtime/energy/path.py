# SPDX-License-Identifier: Apache-2.0
"""Converter and store from words and numbers, as options and studies give them."""

from __future__ import annotations

from pathlib import Path

from joulet.energy.battery import Battery
from joulet.energy.bq25570 import bq25570, load_buck_tables
from joulet.energy.capacitor import Capacitor
from joulet.energy.converter import ConstantConverter
from joulet.energy.seam import Converter, Storage
from joulet.errors import UsageError
from joulet.records import LoadFigures
from joulet.units import parse_quantity

CONVERTERS = "constant, or bq25570; bq25570:PARTS.zip@1.8V takes its measured output stage from an archive"
EFFICIENCY, QUIESCENT_W = 0.8, 1.5e-6  # of the constant converter
LEAKAGE_OHM = 1e6
CHARGE_EFFICIENCY = 0.95
SELF_DISCHARGE_TAU_S = 1.3e8  # 2 % a month


def make_converter(
    spec: str = "constant", *, efficiency: float | None = None, quiescent_w: float | None = None
) -> Converter:
    """Return the converter that a spec names.

    Parameters
    ----------
    spec : str
        As in :data:`CONVERTERS`.
    efficiency, quiescent_w : float, optional
        Of the constant converter, 0.8 and 1.5 µW without.

    Raises
    ------
    UsageError
        If there is none of that name, or figures are given for one that has its own.
    DataError
        If an archive cannot be read.
    """
    name, _, source = spec.partition(":")
    if name == "constant" and not source:
        return ConstantConverter(
            EFFICIENCY if efficiency is None else efficiency,
            quiescent_w=QUIESCENT_W if quiescent_w is None else quiescent_w,
        )
    if name != "bq25570":
        raise UsageError(f"converter: no converter '{spec}'; there are: constant, bq25570")
    if efficiency is not None or quiescent_w is not None:
        raise UsageError("efficiency and quiescent power belong to the constant converter; a bq25570 has its own")
    if not source:
        return bq25570()
    path, at, volts = source.rpartition("@")
    if not at:
        raise UsageError(f"converter: '{source}' names no output voltage; write PARTS.zip@1.8V")
    stage = load_buck_tables(path, parse_quantity(volts, "V", what="converter"))
    return bq25570(buck=stage, buck_provenance=f"measured: buck efficiency at {volts}, {Path(path).name}")


def make_storage(
    load: LoadFigures,
    *,
    capacitor_f: float | None = None,
    battery_j: float | None = None,
    leakage_ohm: float | None = None,
    esr_ohm: float = 0.0,
    start_v: float | None = None,
) -> Storage:
    """Return a capacitor, or a battery from the board's brown-out to its maximum.

    Parameters
    ----------
    load : LoadFigures
        Of the board.
    capacitor_f, battery_j : float, optional
        One of them [F], [J].
    leakage_ohm : float, optional
        Of a capacitor, 1 Mohm without; a battery discharges itself by 2 % a month [ohm].
    esr_ohm : float
        Series resistance [ohm].
    start_v : float, optional
        Voltage at the beginning; the board's power-good threshold without [V].

    Raises
    ------
    UsageError
        If the figures contradict each other.
    """
    volts = load.on_v if start_v is None else start_v
    if (capacitor_f is None) == (battery_j is None):
        raise UsageError("a store is needed: a capacitor or a battery, one of them")
    if capacitor_f is not None:
        return Capacitor(
            capacitor_f,
            max_v=load.max_v,
            initial_v=volts,
            leakage_ohm=LEAKAGE_OHM if leakage_ohm is None else leakage_ohm,
            esr_ohm=esr_ohm,
        )
    assert battery_j is not None
    if leakage_ohm is not None:
        raise UsageError("leakage belongs to a capacitor; a battery discharges itself by 2 % a month")
    return Battery(
        battery_j,
        empty_v=load.off_v,
        full_v=load.max_v,
        initial_v=volts,
        charge_efficiency=CHARGE_EFFICIENCY,
        self_discharge_tau_s=SELF_DISCHARGE_TAU_S,
        esr_ohm=esr_ohm,
    )
