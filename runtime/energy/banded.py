# SPDX-License-Identifier: Apache-2.0
"""A converter whose behaviour changes with the store's voltage, in bands.

Within a band nothing depends on the voltage, so that between two edges all powers are constant and storage still
advances in closed form. Cold start is the lowest band, with a poor efficiency and a least input power.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from joulet.energy.converter import EfficiencyTable, check_quiescent
from joulet.energy.seam import Converter
from joulet.errors import UsageError
from joulet.records import LoadFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class ConverterBand:
    """How a converter behaves while the store's voltage is in one band.

    Attributes
    ----------
    from_v
        Lower edge; the band reaches to the next one's [V].
    input
        Efficiency over input power, quiescent power apart.
    quiescent_w
        Drawn from the store all the time, 0 or more [W].
    min_input_w
        Below this input power nothing is passed on [W].
    output
        Efficiency over the load's power; None where the load is fed straight from the store.
    """

    from_v: float
    input: EfficiencyTable
    quiescent_w: float = 0.0
    min_input_w: float = 0.0
    output: EfficiencyTable | None = None

    def __post_init__(self) -> None:
        check_quiescent(self.quiescent_w)
        if not (self.min_input_w >= 0.0 and math.isfinite(self.min_input_w)):
            raise UsageError(f"converter: least input power {self.min_input_w} W must be zero or more")


class BandedConverter:
    """A converter over power and voltage.

    Parameters
    ----------
    bands : sequence of ConverterBand
        Rising; the first begins at 0 V. A voltage on an edge belongs to the band above.
    on_v, off_v : float, optional
        The converter's own power-good signal, rising at ``on_v`` and falling at ``off_v`` [V]; see
        :func:`with_power_good`. Both or none.
    provenance : str
        Where the figures come from.
    """

    def __init__(
        self,
        bands: Sequence[ConverterBand],
        *,
        on_v: float | None = None,
        off_v: float | None = None,
        provenance: str = "",
    ) -> None:
        if not bands or bands[0].from_v != 0.0:
            raise UsageError("converter: the first band must begin at 0 V")
        edges_v = tuple(band.from_v for band in bands[1:])
        if any(not later > earlier for earlier, later in itertools.pairwise((0.0, *edges_v, math.inf))):
            raise UsageError(f"converter: the edges of bands must rise and be finite; they are {list(edges_v)} V")
        if (on_v is None) != (off_v is None) or (on_v is not None and off_v is not None and not 0.0 < off_v < on_v):
            raise UsageError(f"converter: power-good from {on_v} V to {off_v} V; give both, the first above the second")
        self.bands = tuple(bands)
        self.band_edges_v = edges_v
        self.on_v, self.off_v = on_v, off_v
        self.provenance = provenance or f"modelled: {len(bands)} bands of the store's voltage"

    def output_w(self, power_w: float, voltage_v: float = math.inf) -> float:
        """Return the power that reaches the store [W]; negative where the converter draws more than it passes on."""
        band = self._at(voltage_v)
        passed_w = band.input.at(power_w) * power_w if power_w >= band.min_input_w else 0.0
        return passed_w - band.quiescent_w

    def outputs_w(self, power_w: npt.NDArray[np.float64], voltage_v: float = math.inf) -> npt.NDArray[np.float64]:
        """Return what reaches the store at each of many powers [W]."""
        band = self._at(voltage_v)
        passed_w = np.where(power_w >= band.min_input_w, band.input.at_each(power_w) * power_w, 0.0)
        return passed_w - band.quiescent_w

    def draw_w(self, load_w: float, voltage_v: float = math.inf) -> float:
        """Return the power drawn from the store so that the load gets ``load_w`` [W]; 0 for no load."""
        output = self._at(voltage_v).output
        return load_w if output is None or load_w <= 0.0 else load_w / output.at(load_w)

    def _at(self, voltage_v: float) -> ConverterBand:
        return self.bands[bisect_right(self.band_edges_v, voltage_v)]


@dataclass(frozen=True, slots=True)
class OutputBand:
    """Efficiency of an output stage from one voltage of the store on; a list of them rises and begins at 0 V."""

    from_v: float
    table: EfficiencyTable


def with_output_stage(bands: Sequence[ConverterBand], stage: Sequence[OutputBand]) -> tuple[ConverterBand, ...]:
    """Return bands whose output stage is ``stage``; the edges of both are kept."""
    if not stage or stage[0].from_v != 0.0:
        raise UsageError("converter: the first band of an output stage must begin at 0 V")
    edges_v = sorted({band.from_v for band in bands} | {band.from_v for band in stage})
    inputs_v, outputs_v = [band.from_v for band in bands], [band.from_v for band in stage]
    return tuple(
        replace(
            bands[bisect_right(inputs_v, edge) - 1],
            from_v=edge,
            output=stage[bisect_right(outputs_v, edge) - 1].table,
        )
        for edge in edges_v
    )


def with_power_good(load: LoadFigures, converter: Converter) -> LoadFigures:
    """Return a board's figures with the converter's power-good thresholds in place of its own, where it has any.

    Raises
    ------
    UsageError
        If they do not fit under the board's maximum voltage.
    """
    if converter.on_v is None or converter.off_v is None:
        return load
    if not converter.off_v < converter.on_v <= load.max_v:
        raise UsageError(
            f"converter: power-good at {converter.on_v} V is above the {load.max_v} V of a full store; lower it"
        )
    return replace(load, on_v=converter.on_v, off_v=converter.off_v)
