# SPDX-License-Identifier: Apache-2.0
"""Converters over power and voltage, worked by hand; harvesters laid out as arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest
from session_fakes import LOAD

from joulet.energy.banded import (
    BandedConverter,
    ConverterBand,
    OutputBand,
    with_output_stage,
    with_power_good,
)
from joulet.energy.converter import ConstantConverter, EfficiencyTable
from joulet.energy.segments import outputs_w, segments
from joulet.energy.trace import TraceHarvester
from joulet.errors import UsageError

COLD = ConverterBand(from_v=0.0, input=EfficiencyTable((1.0,), (0.05,)), quiescent_w=1e-7, min_input_w=15e-6)
WARM = ConverterBand(
    from_v=1.8,
    input=EfficiencyTable((1e-5, 1e-3), (0.5, 0.9)),
    quiescent_w=1e-6,
    min_input_w=5e-6,
    output=EfficiencyTable((1e-6, 1e-3), (0.5, 0.8)),
)


def test_each_band_has_its_own_efficiency_quiescent_power_and_least_input() -> None:
    converter = BandedConverter([COLD, WARM])
    assert converter.band_edges_v == (1.8,)
    assert converter.output_w(1e-4, 1.0) == pytest.approx(0.05e-4 - 1e-7)
    assert converter.output_w(14e-6, 1.0) == -1e-7
    assert converter.output_w(15e-6, 1.0) == pytest.approx(0.05 * 15e-6 - 1e-7)
    # an edge belongs to the band above, and so does no voltage at all
    for voltage_v in (1.8, 3.0, math.inf):
        assert converter.output_w(5.05e-4, voltage_v) == pytest.approx(0.7 * 5.05e-4 - 1e-6)
        assert converter.output_w(4e-6, voltage_v) == -1e-6
    assert converter.output_w(5.05e-4) == converter.output_w(5.05e-4, 3.0)


def test_the_output_stage_draws_more_than_the_load_gets() -> None:
    converter = BandedConverter([COLD, WARM])
    assert converter.draw_w(1e-3, 1.0) == 1e-3
    assert converter.draw_w(1e-3, 2.0) == pytest.approx(1e-3 / 0.8)
    assert converter.draw_w(1e-9, 2.0) == pytest.approx(2e-9)
    assert converter.draw_w(0.0, 2.0) == 0.0
    assert ConstantConverter(0.5).draw_w(1e-3, 2.0) == 1e-3


def test_an_output_stage_keeps_the_edges_of_both() -> None:
    low, high = EfficiencyTable((1.0,), (0.6,)), EfficiencyTable((1.0,), (0.7,))
    converter = BandedConverter(with_output_stage([COLD, WARM], [OutputBand(0.0, low), OutputBand(2.5, high)]))
    assert converter.band_edges_v == (1.8, 2.5)
    assert [converter.draw_w(1.0, v) for v in (1.0, 2.0, 3.0)] == pytest.approx([1 / 0.6, 1 / 0.6, 1 / 0.7])
    assert [converter.output_w(1e-3, v) for v in (2.0, 3.0)] == pytest.approx([9e-4 - 1e-6] * 2)


def test_power_good_of_the_converter_replaces_the_boards() -> None:
    assert with_power_good(LOAD, ConstantConverter(0.8)) is LOAD
    load = with_power_good(LOAD, BandedConverter([COLD, WARM], on_v=3.1, off_v=2.2))
    assert (load.on_v, load.off_v, load.max_v) == (3.1, 2.2, LOAD.max_v)
    with pytest.raises(UsageError, match="full store"):
        with_power_good(LOAD, BandedConverter([COLD], on_v=4.0, off_v=2.2))


def test_refuses_impossible_bands() -> None:
    with pytest.raises(UsageError, match="0 V"):
        BandedConverter([WARM])
    with pytest.raises(UsageError, match="rise"):
        BandedConverter([COLD, WARM, WARM])
    with pytest.raises(UsageError, match="power-good"):
        BandedConverter([COLD], on_v=2.0)
    with pytest.raises(UsageError, match="least input"):
        ConverterBand(from_v=0.0, input=COLD.input, min_input_w=-1.0)
    with pytest.raises(UsageError, match="output stage"):
        with_output_stage([COLD], [OutputBand(1.0, COLD.input)])


@pytest.mark.parametrize("loop", [False, True])
def test_segments_are_what_the_harvester_answers_one_by_one(loop: bool) -> None:
    trace = TraceHarvester(np.array([0.0, 0.1, 0.2, 5.0]), np.array([1.0, 2.0, 3.0, 4.0]), loop=loop)

    class Opaque:
        duration_s, provenance = math.inf, ""
        segment = trace.segment

    starts, powers = segments(trace, 11.7)
    slow_starts, slow_powers = segments(Opaque(), 11.7)
    assert starts[0] == 0.0
    assert np.all(np.diff(starts) > 0.0)
    if loop:  # asked one by one, rounding may leave slivers of one ulp at the seam
        lasting = np.diff([*slow_starts, 11.7]) > 1e-9
        slow_starts, slow_powers = slow_starts[lasting], slow_powers[lasting]
    np.testing.assert_allclose(starts, slow_starts, rtol=1e-12, atol=1e-12)
    assert powers.tolist() == slow_powers.tolist()
    assert starts[-1] < 11.7


def test_segments_need_an_end() -> None:
    with pytest.raises(UsageError, match="finite"):
        segments(TraceHarvester(np.array([0.0, 1.0]), np.ones(2), loop=True), math.inf)


def test_many_powers_at_once() -> None:
    converter = BandedConverter([COLD, WARM])
    powers = np.array([1e-3, 1e-4, 1e-3, 0.0])
    assert outputs_w(converter, powers, 1.0).tolist() == [converter.output_w(p, 1.0) for p in powers]
