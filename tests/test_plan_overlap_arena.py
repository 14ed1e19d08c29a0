# SPDX-License-Identifier: Apache-2.0
"""The arena of a plan part: sound for any network, the same each time, as small as said, and refused when it is spoiled."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pytest
import random_ops
from board_tools import MODELS
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import tiny_quant_graph

from joulet._core import ffi, lib
from joulet.compile import compile_model
from joulet.container import layout
from joulet.container.arena_problem import arena_problem
from joulet.container.assemble import PartSection, assemble, read_table
from joulet.container.isa_plan import with_isa_plan
from joulet.container.read import Container
from joulet.container.write import write_container
from joulet.importers.tflite import load_tflite
from joulet.plan.overlap import NEVER, NOWHERE, Overlap
from joulet.plan.overlap_arena import ALIGN_BYTES, END_ALIGN_BYTES, ArenaOp, ArenaTensor, OverlapPlan, plan_overlapping
from joulet.quant.bare import bare_quant_graph

ISA = "ARMV6M"  # plain C: runs here
NAMES = ("tiny", *sorted(path.stem for path in MODELS.glob("*.tflite")))
Problem = tuple[tuple[ArenaTensor | None, ...], tuple[ArenaOp, ...]]


def faults(problem: Problem, plan: OverlapPlan) -> list[str]:
    """Say anew what must hold: pair by pair, and scratch against all that is needed while an op runs."""
    tensors, ops = problem
    found = []

    def span(tensor: int) -> tuple[int, int]:
        known, offset = tensors[tensor], plan.offsets[tensor]
        assert known is not None
        assert offset is not None
        return offset, offset + known.bytes

    def disjoint(a: tuple[int, int], b: tuple[int, int]) -> bool:
        return a[1] <= b[0] or b[1] <= a[0]

    placed = [index for index, tensor in enumerate(tensors) if tensor is not None]
    for tensor in placed:
        known = tensors[tensor]
        assert known is not None
        if span(tensor)[0] < 0 or span(tensor)[1] > plan.tensor_bytes or span(tensor)[0] % ALIGN_BYTES:
            found.append(f"tensor {tensor} lies outside")
        for time, op in enumerate(ops):
            if not max(known.first, 0) <= time <= known.last:
                continue
            scratch = plan.arena_bytes - -(-op.scratch_bytes // END_ALIGN_BYTES) * END_ALIGN_BYTES, plan.arena_bytes
            if scratch[0] < 0 or (op.scratch_bytes and not disjoint(span(tensor), scratch)):
                found.append(f"op {time}'s scratch meets tensor {tensor}")
            if time == known.first or op.output == tensor or disjoint(span(tensor), span(op.output)):
                continue
            rules = [rule for source, rule in op.inputs if source == tensor]
            gap = span(tensor)[0] - span(op.output)[0]
            if time != known.last or not rules or not all(rule.allows(gap) for rule in rules):
                found.append(f"op {time} writes over tensor {tensor}")
    inputs = [tensor for tensor in placed if getattr(tensors[tensor], "first", 0) < 0]
    found += [
        f"inputs {a}, {b} meet" for a in inputs for b in inputs if a < b and not disjoint(span(a), span(b))
    ]  # fmt: skip
    return found


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Chains with branches, joins, ops that grow and shrink, dead ends, and scratch."""
    tensors = [ArenaTensor(bytes=draw(st.integers(1, 200)), first=-1, last=-1) for _ in range(draw(st.integers(1, 2)))]
    ops: list[ArenaOp] = []
    for time in range(draw(st.integers(1, 12))):
        sources = draw(st.lists(st.integers(max(len(tensors) - 3, 0), len(tensors) - 1), min_size=1, max_size=2))
        inputs = []
        for source in sources:
            pixel = draw(st.sampled_from((1, 1, 3, 8)))
            by_pixel = pixel * draw(st.integers(-3, 20))
            rule = Overlap(distance=by_pixel + pixel * draw(st.integers(0, 8)), by_pixel=by_pixel, pixel_bytes=pixel)
            inputs.append((source, draw(st.sampled_from((rule, rule, NOWHERE)))))
            old = tensors[source]
            tensors[source] = ArenaTensor(bytes=old.bytes, first=old.first, last=time)
        tensors.append(ArenaTensor(bytes=draw(st.integers(1, 200)), first=time, last=time))
        scratch = draw(st.sampled_from((0, 5, 60, 150)))
        ops.append(ArenaOp(inputs=tuple(inputs), output=len(tensors) - 1, scratch_bytes=scratch))
    end = len(ops)
    keep = draw(st.lists(st.integers(0, len(tensors) - 1), max_size=2))
    for tensor in {len(tensors) - 1, *keep}:
        tensors[tensor] = ArenaTensor(bytes=tensors[tensor].bytes, first=tensors[tensor].first, last=end)
    return tuple(tensors), tuple(ops)


@settings(max_examples=150, deadline=None)
@given(problems())
def test_any_network_is_placed_soundly_and_the_same_each_time(problem: Problem) -> None:
    plan = plan_overlapping(*problem, exchanges=40)
    assert faults(problem, plan) == []
    assert plan == plan_overlapping(*problem, exchanges=40)
    assert plan.scratch_bytes >= 0
    apart = sum(-(-tensor.bytes // ALIGN_BYTES) * ALIGN_BYTES for tensor in problem[0] if tensor is not None)
    assert plan.tensor_bytes <= apart
    assert plan_overlapping(*problem, exchanges=80).arena_bytes <= plan.arena_bytes


def test_a_chain_slides_and_its_scratch_goes_where_tensors_were() -> None:
    slide = Overlap(distance=8, by_pixel=8)
    tensors = (
        ArenaTensor(bytes=400, first=-1, last=0),
        ArenaTensor(bytes=400, first=0, last=1),
        ArenaTensor(bytes=40, first=1, last=2),
        ArenaTensor(bytes=40, first=2, last=3),
    )
    ops = tuple(
        ArenaOp(inputs=((index, slide),), output=index + 1, scratch_bytes=scratch)
        for index, scratch in enumerate((0, 0, 300))
    )
    plan = plan_overlapping(tensors, ops)
    assert plan.arena_bytes == 416  # 400 + 8, rounded up; the 300 of scratch are inside
    assert faults((tensors, ops), plan) == []


@functools.cache
def model(name: str) -> bytes:
    """Return a small model with a plan part."""
    graph = tiny_quant_graph() if name == "tiny" else bare_quant_graph(load_tflite(MODELS / f"{name}.tflite"))
    return with_isa_plan(write_container(graph), ISA)


def opened(content: bytes) -> tuple[int, object, object]:
    """Check a container and take up its plan part; return the status, the view, and what must be kept meanwhile."""
    room = np.zeros(len(content) + 64, np.uint8)
    at = -room.ctypes.data % 64
    room[at : at + len(content)] = np.frombuffer(content, np.uint8)
    view = ffi.new("jlt_container_t *")
    status = lib.jlt_container_check(ffi.cast("void *", room.ctypes.data + at), len(content), view)
    return status or lib.jlt_container_use(view, layout.CODES["Isa"][ISA], False), view, room


def arena_of_part(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return header fields and offsets of the plan part's ARENA."""
    info = next(s for s in read_table(content).sections if s.name == "ARENA" and s.part)
    words = np.frombuffer(content, "<u4", info.size_bytes // 4, info.offset)
    return words[:4].copy(), words[4:].copy()


def with_arena(content: bytes, head: np.ndarray, offsets: np.ndarray) -> bytes:
    """Return the container with another ARENA in its plan part."""
    arena = np.concatenate([head, offsets]).astype("<u4").tobytes()
    return assemble(
        [
            PartSection(
                s.name,
                arena if s.name == "ARENA" and s.part else content[s.offset : s.offset + s.size_bytes],
                s.part,
            )
            for s in read_table(content).sections
        ]
    )


def problem_of(content: bytes) -> Problem:
    """Return what was planned, with the scratch that the kernels ask for."""
    _, view, _room = opened(content)
    needs = ffi.new("jlt_isa_needs_t *")
    scratch = []
    for op in range(view.model.n_ops):  # type: ignore[attr-defined]
        assert lib.jlt_isa_needs(view, layout.CODES["Isa"][ISA], op, needs) == 0
        scratch.append(int(needs.scratch_bytes))
    return arena_problem(Container.from_bytes(content), scratch)


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_takes_what_is_planned(name: str) -> None:
    content = model(name)
    status, _, _room = opened(content)
    assert status == 0
    head, offsets = arena_of_part(content)
    plan = plan_overlapping(*problem_of(content))
    assert [None if offset == layout.NO_OFFSET else offset for offset in offsets] == list(plan.offsets)
    assert (head[0], head[1]) == (plan.tensor_bytes, plan.scratch_bytes)
    canonical = Container.from_bytes(content).arena
    assert (
        plan.arena_bytes
        <= -(-int(canonical["tensor_bytes"]) // 16) * 16 + -(-int(canonical["scratch_bytes"]) // 16) * 16
    )


@pytest.mark.parametrize(
    "name", ["tiny", "residual_int8", "conv_int8", "pools_int8", "arithmetic_int8", "classic_uint8"]
)
def test_a_plan_that_somebody_changed_is_refused_unless_it_is_sound_too(name: str) -> None:
    content = model(name)
    problem = problem_of(content)
    head, offsets = arena_of_part(content)
    rng = np.random.default_rng(1)
    movable = np.flatnonzero(offsets != layout.NO_OFFSET)
    verdicts = set()
    for _ in range(60):
        changed, words = head.copy(), offsets.copy()
        for tensor in rng.choice(movable, rng.integers(1, 3)):
            moved = int(words[tensor]) + ALIGN_BYTES * int(rng.choice([-8, -2, -1, 1, 2, 8, 40]))
            words[tensor] = max(moved, 0)
        changed[1] = max(int(changed[1]) + 16 * int(rng.integers(-2, 2)), 0)
        plan = OverlapPlan(
            offsets=tuple(None if offset == layout.NO_OFFSET else int(offset) for offset in words),
            tensor_bytes=int(changed[0]),
            arena_bytes=-(-int(changed[0]) // 16) * 16 + int(changed[1]),
        )
        refused = opened(with_arena(content, changed, words))[0] != 0
        found = faults(problem, plan)
        # answers of early exits are planned to live longer than the engine asks for
        assert refused == bool(found) or (name == "tiny" and found), found
        verdicts.add(refused)
    assert verdicts == {True, False}


def test_generic_arenas_overlap_only_in_place() -> None:
    """f32 kernels run there too, and read as they like."""
    content = model("conv_int8")
    head, offsets = arena_of_part(content)
    canonical = next(s for s in read_table(content).sections if s.name == "ARENA" and not s.part)
    arena = np.concatenate([head, offsets]).astype("<u4")
    arena[1] = np.frombuffer(content, "<u4", 4, canonical.offset)[1]
    swapped = [
        PartSection(s.name, arena.tobytes() if s == canonical else content[s.offset : s.offset + s.size_bytes], s.part)
        for s in read_table(content).sections
    ]
    assert opened(assemble(swapped))[0] == -18


@pytest.mark.parametrize("name", sorted(random_ops.OPS))
def test_the_engine_takes_plans_of_random_shapes(name: str) -> None:
    for seed in range(12):
        content = write_container(bare_quant_graph(load_tflite(random_ops.model(name, seed))))
        assert opened(with_isa_plan(content, ISA))[0] == 0


TENSOR_BYTES = {  # no extra exits; TFLM's head takes 16,000 / 73,728 / 49,152 / 768
    "kws_ref_model_int8": 9_548,
    "vww_96_int8": 36_874,
    "ic_resnet8_int8": 33_328,
    "ad01_int8": 768,
}


@pytest.mark.parametrize("name", TENSOR_BYTES)
def test_tensors_of_the_benchmark_models_take_no_more_than_this(shared_data: Path, name: str) -> None:
    """3 % more would fail; a smaller arena is a reason to change the table."""
    compiled = compile_model(shared_data / "mlperf_tiny" / "models" / f"{name}.tflite", exits="off").container
    planned = with_isa_plan(compiled, ISA)
    status, _, _room = opened(planned)
    assert status == 0
    tensors, ops = arena_problem(Container.from_bytes(compiled), [0] * len(Container.from_bytes(compiled).ops))
    assert plan_overlapping(tensors, ops).tensor_bytes <= TENSOR_BYTES[name]


def test_the_largest_distance_is_no_distance() -> None:
    assert not NOWHERE.allows(NEVER - 1)
