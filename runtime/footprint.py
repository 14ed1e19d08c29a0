# SPDX-License-Identifier: Apache-2.0
"""Carbon and water of an inference: energy times stated factors, and a share of what making the device took.

Operational carbon and water are energy at the wall times a factor of the electricity. What making the device took is spread
over the inferences of its life, which follow from a lifetime and either inferences a day or the share of time that it computes.
Every factor has a source. What was measured, simulated and modelled is never summed unless asked, and then the sum says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from joulet.errors import DataError, UsageError

_J_PER_KWH = 3.6e6
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """A figure, its unit, and where it comes from."""

    value: float
    unit: str
    source: str


GRID = Factor(value=481.0, unit="gCO2e/kWh", source="world's mean of 2023, Ember, Yearly Electricity Data, July 2024")
WATER = Factor(
    value=3.142,
    unit="L/kWh",
    source="water consumed for electricity, mean of the U.S.: Li et al. 2023, arXiv:2304.03271",
)
EFFICIENCY = Factor(
    value=1.0, unit="", source="energy as at the board's supply: no charger, regulator or battery counted"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Factors:
    """What energies and devices are multiplied with.

    Attributes
    ----------
    grid, water
        Of the electricity [gCO2e/kWh], [L/kWh].
    efficiency
        Energy at the board's supply over that at the wall, above 0 to 1.
    embodied, embodied_water
        Of making the device, None where they are not counted [gCO2e], [L].
    lifetime
        Of the device [s].
    per_day, duty
        Inferences a day, or the share of time in which it computes, above 0 to 1; one of them.
    """

    grid: Factor = GRID
    water: Factor = WATER
    efficiency: Factor = EFFICIENCY
    embodied: Factor | None = None
    embodied_water: Factor | None = None
    lifetime: Factor | None = None
    per_day: Factor | None = None
    duty: Factor | None = None

    def __post_init__(self) -> None:
        if self.per_day is not None and self.duty is not None:
            raise UsageError("inferences a day and a duty exclude each other; give one of them")
        makes = self.embodied is not None or self.embodied_water is not None
        if makes and (self.lifetime is None or (self.per_day is None and self.duty is None)):
            raise UsageError(
                "what making the device took is spread over its inferences: say its --lifetime, and --per-day or --duty"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An inference: energy with its interval [J], time [s] (None where it is not known), and where they come from.

    ``kind`` is ``measured``, ``simulated``, ``modelled`` or ``estimated``, or several of them joined by `` + ``.
    """

    source: str
    what: str
    kind: str
    provenance: str
    energy_j: float
    low_j: float
    high_j: float
    latency_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Of one inference, in grams of CO2 equivalent and litres; pairs are the ends that the energy's interval gives.

    ``embodied_g`` and ``embodied_l`` are None where they are not counted; totals then hold operation alone. ``inferences`` is
    how many of them the device's life has.
    """

    item: Item
    operational_g: float
    operational_g_interval: tuple[float, float]
    embodied_g: float | None
    total_g: float
    operational_l: float
    operational_l_interval: tuple[float, float]
    embodied_l: float | None
    total_l: float
    inferences: float | None


def footprint(item: Item, factors: Factors) -> Footprint:
    """Return the footprint of one inference.

    Raises
    ------
    DataError
        If a duty is given for an item whose time is not known.
    """
    grid_g = factors.grid.value / _J_PER_KWH / factors.efficiency.value
    water_l = factors.water.value / _J_PER_KWH / factors.efficiency.value
    count = _inferences(item, factors)
    embodied_g = _share(factors.embodied, count)
    embodied_l = _share(factors.embodied_water, count)
    return Footprint(
        item=item,
        operational_g=item.energy_j * grid_g,
        operational_g_interval=(item.low_j * grid_g, item.high_j * grid_g),
        embodied_g=embodied_g,
        total_g=item.energy_j * grid_g + (embodied_g or 0.0),
        operational_l=item.energy_j * water_l,
        operational_l_interval=(item.low_j * water_l, item.high_j * water_l),
        embodied_l=embodied_l,
        total_l=item.energy_j * water_l + (embodied_l or 0.0),
        inferences=count,
    )


def _inferences(item: Item, factors: Factors) -> float | None:
    """Return the inferences of a device's life."""
    if factors.lifetime is None:
        return None
    if factors.per_day is not None:
        return factors.lifetime.value / _DAY_S * factors.per_day.value
    if factors.duty is None:
        return None
    if not item.latency_s:
        raise DataError(
            f"{item.source}, {item.what}: how long an inference takes is not known; give --per-day, not --duty"
        )
    return factors.lifetime.value * factors.duty.value / item.latency_s


def _share(factor: Factor | None, count: float | None) -> float | None:
    return None if factor is None or count is None else factor.value / count


def together(items: Sequence[Item], *, mix: bool = False) -> Item:
    """Return one of each as one inference; ends of intervals are added, which is wider than chance would have it.

    Raises
    ------
    UsageError
        If provenances differ, unless ``mix``; the sum then names them all.
    """
    kinds = tuple(dict.fromkeys(kind for item in items for kind in item.kind.split(" + ")))
    if len(kinds) > 1 and not mix:
        raise UsageError(
            f"these are {' and '.join(kinds)} energies, which are not summed unasked: --mix-provenances sums them and says so"
        )
    known = [item.latency_s for item in items if item.latency_s is not None]
    return Item(
        source="sum",
        what=" + ".join(f"{item.source} {item.what}" for item in items),
        kind=" + ".join(kinds),
        provenance="; ".join(dict.fromkeys(item.provenance for item in items)),
        energy_j=math.fsum(item.energy_j for item in items),
        low_j=math.fsum(item.low_j for item in items),
        high_j=math.fsum(item.high_j for item in items),
        latency_s=math.fsum(known) if len(known) == len(items) else None,
    )
