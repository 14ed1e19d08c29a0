# SPDX-License-Identifier: Apache-2.0
"""No step may find its inputs overwritten, whichever exit is asked for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_quant_graph

from joulet.ir import DType, ExitOrigin
from joulet.plan.arena import ALIGN_BYTES, ArenaPlan, lifetimes, plan_arena
from joulet.plan.lower import lower
from joulet.plan.movement import copy_params
from joulet.plan.steps import BinaryParams, Lowered, LoweredExit, LutParams, Slot, Step, pad_six


def simulate(lowered: Lowered, plan: ArenaPlan, wanted: int) -> None:
    """Write every tensor's name over its bytes and check at each read that it is still there."""
    memory: list[int | None] = [None] * plan.tensor_bytes
    written: set[int] = set()

    def span(slot: int) -> range:
        offset = plan.offsets[slot]
        assert offset is not None
        return range(offset, offset + lowered.slots[slot].bytes)

    def write(slot: int) -> None:
        for address in span(slot):
            memory[address] = slot
        written.add(slot)

    def check(slot: int, when: str) -> None:
        if lowered.slots[slot].data is None:
            assert slot in written, f"slot {slot} is read before it is written, {when}"
            assert all(memory[address] == slot for address in span(slot)), f"slot {slot} is overwritten, {when}"

    for slot in lowered.inputs:
        write(slot)
    for time, step in enumerate(lowered.steps[: lowered.exits[wanted].last_op + 1]):
        if step.exit in (None, wanted):
            for slot in step.inputs:
                check(slot, f"step {time}")
            write(step.output)
    check(lowered.exits[wanted].output, "answer")
    check(lowered.exits[wanted].logits, "logits")


def _slot(index: int, elements: int) -> Slot:
    return Slot(
        name=f"t{index}", shape=(elements,), dtype=DType.S8, scale=1.0, zero_point=0, data=None, border_u8=False
    )


def _binary(elements: int) -> BinaryParams:
    zeros = dict.fromkeys(BinaryParams.__dataclass_fields__, 0)
    stride = pad_six((1,), 0)
    return BinaryParams(**{**zeros, "dims": pad_six((elements,), 1), "stride_a": stride, "stride_b": stride})  # type: ignore[arg-type]


@st.composite
def networks(draw: st.DrawFn) -> Lowered:
    """Random steps: chains, joins, in-place candidates, multi-writer outputs, and one head in the middle."""
    slots = [_slot(0, draw(st.integers(1, 300)))]
    steps: list[Step] = []
    backbone = [0]
    head_at = draw(st.integers(1, 6))
    exits: list[LoweredExit] = []
    for number in range(draw(st.integers(7, 16))):
        is_head = number == head_at
        source = draw(st.sampled_from(backbone))
        kind = draw(st.sampled_from(("LUT", "ADD", "COPY", "GROW")))
        elements = slots[source].elements if kind != "GROW" else draw(st.integers(1, 300))
        target = len(slots)
        slots.append(_slot(target, elements))
        same = [each for each in backbone if slots[each].elements == elements]
        common = {
            "name": str(number),
            "output": target,
            "exit": 0 if is_head else None,
            "segment": int(number > head_at),
        }
        if kind == "LUT":
            params = LutParams(table=bytes(256), function="relu", alpha=0.0)
            steps.append(Step(code="LUT", inputs=(source,), params=params, **common))
        elif kind == "ADD":
            other = draw(st.sampled_from(same))
            steps.append(Step(code="ADD", inputs=(source, other), params=_binary(elements), **common))
        else:
            for part in {source, draw(st.sampled_from(backbone))}:
                steps.append(Step(code="COPY", inputs=(part,), params=copy_params((1,), (1,)), **common))
        if is_head:
            exits.append(_exit(target, len(steps) - 1))
        else:
            backbone.append(target)
    exits.append(_exit(backbone[-1], len(steps) - 1))
    source_graph = tiny_quant_graph()
    return Lowered(
        slots=tuple(slots),
        steps=tuple(steps),
        weights=(),
        inputs=(0,),
        outputs=(backbone[-1],),
        exits=tuple(exits),
        source=source_graph,
    )


def _exit(slot: int, last_op: int) -> LoweredExit:
    return LoweredExit(name="e", origin=ExitOrigin.ATTACHED, logits=slot, output=slot, last_op=last_op, n_classes=0)


@settings(max_examples=150, deadline=None)
@given(networks())
def test_no_live_tensor_is_overwritten(lowered: Lowered) -> None:
    plan = plan_arena(lowered)
    for wanted in range(len(lowered.exits)):
        simulate(lowered, plan, wanted)


@settings(max_examples=100, deadline=None)
@given(networks())
def test_buffers_that_live_together_lie_apart_and_aligned(lowered: Lowered) -> None:
    plan = plan_arena(lowered)
    assert plan.tensor_bytes >= plan.peak_live_bytes
    for index, a in enumerate(plan.buffers):
        start = plan.offsets[a.slots[0]]
        assert start is not None
        assert start % ALIGN_BYTES == 0
        assert start + a.bytes <= plan.tensor_bytes
        for b in plan.buffers[index + 1 :]:
            other = plan.offsets[b.slots[0]]
            assert other is not None
            apart = start + a.bytes <= other or other + b.bytes <= start
            assert apart or not a.life.overlaps(b.life)


def test_the_same_network_is_planned_the_same_way() -> None:
    first, second = (plan_arena(lower(tiny_quant_graph())) for _ in range(2))
    assert first == second


def test_an_element_wise_step_takes_over_its_dying_input() -> None:
    slots = (_slot(0, 32), _slot(1, 32), _slot(2, 32))
    table = LutParams(table=bytes(256), function="relu", alpha=0.0)
    steps = tuple(Step(code="LUT", name=str(i), inputs=(i,), output=i + 1, params=table) for i in range(2))
    lowered = Lowered(
        slots=slots, steps=steps, weights=(), inputs=(0,), outputs=(2,), exits=(_exit(2, 1),), source=tiny_quant_graph()
    )
    assert plan_arena(lowered).tensor_bytes == 32


def test_a_broadcast_input_is_not_taken_over() -> None:
    narrow = pad_six((4, 8), 1)
    params = replace(_binary(32), dims=narrow, stride_a=pad_six((0, 1), 0), stride_b=pad_six((8, 1), 0))
    slots = (_slot(0, 32), _slot(1, 32), _slot(2, 32))
    lowered = Lowered(
        slots=slots,
        steps=(Step(code="ADD", name="a", inputs=(0, 1), output=2, params=params),),
        weights=(),
        inputs=(0, 1),
        outputs=(2,),
        exits=(_exit(2, 0),),
        source=tiny_quant_graph(),
    )
    offsets = plan_arena(lowered).offsets
    assert offsets[2] == offsets[1] != offsets[0]


def test_logits_are_not_taken_over_by_their_own_exit() -> None:
    table = LutParams(table=bytes(256), function="relu", alpha=0.0)
    exit_with_logits = replace(_exit(1, 0), logits=0)
    lowered = Lowered(
        slots=(_slot(0, 32), _slot(1, 32)),
        steps=(Step(code="LUT", name="a", inputs=(0,), output=1, params=table),),
        weights=(),
        inputs=(0,),
        outputs=(1,),
        exits=(exit_with_logits,),
        source=tiny_quant_graph(),
    )
    offsets = plan_arena(lowered).offsets
    assert offsets[0] != offsets[1]


def test_answers_outlive_their_exit() -> None:
    lowered = lower(tiny_quant_graph())
    lives = lifetimes(lowered)
    early = lives[lowered.exits[0].output]
    assert early is not None
    assert early.last == len(lowered.steps)


@pytest.mark.parametrize("wanted", [0, 1])
def test_tiny_runs_undisturbed(wanted: int) -> None:
    lowered = lower(tiny_quant_graph())
    simulate(lowered, plan_arena(lowered), wanted)
