# SPDX-License-Identifier: Apache-2.0
"""The plan part for one instruction set: packed weights, and the arena that its kernels want."""

from __future__ import annotations

import numpy as np

from joulet.container import layout
from joulet.container.arena_problem import arena_problem, conv_params
from joulet.container.assemble import PartSection, SectionInfo, assemble, read_table
from joulet.container.checked import Checked
from joulet.container.needs import (
    SHARED,
    SPARSE,
    Copies,
    IsaNeeds,
    isa_needs,
    isa_part,
    packed_section,
    scratch_of,
    wanted_copies,
)
from joulet.container.pool import record
from joulet.container.read import Container
from joulet.container.sparse import sparse_copies, sparse_section
from joulet.container.values import weight_scales, weight_values
from joulet.errors import PlanError
from joulet.plan.bands import M4_PRICES, BandPlan, plan_banded
from joulet.plan.memories import TwoMemories, plan_in_two
from joulet.plan.overlap_arena import ArenaOp, ArenaTensor, OverlapPlan, plan_overlapping
from joulet.plan.packings import pack
from joulet.records import BandPrices

_CODES = {code: name for name, code in layout.CODES["OpCode"].items()}
_MICROCONTROLLERS = frozenset({"ARMV6M", "ARMV7EM", "MVE"})
ALIGN_BYTES = 64
_ARENA_ALIGN_BYTES = 16
Problem = tuple[tuple[ArenaTensor | None, ...], tuple[ArenaOp, ...]]
Arenas = dict[tuple[object, ...], BandPlan]
"""Arenas that were planned before, of one network: a search asks for the same ones many times."""


def with_isa_plan(
    container: bytes,
    isa: str,
    *,
    copies: Copies | None = None,
    ram_bytes: int | None = None,
    prices: BandPrices = M4_PRICES,
    memories: TwoMemories | None = None,
    known: Arenas | None = None,
) -> bytes:
    """Return the container with a plan part for an instruction set; one for the same set is replaced.

    The model hash stays. A container without its low planes is returned as it is: what it lacks cannot be laid out again, and the
    reference kernels run it.

    Parameters
    ----------
    container : bytes
        A .jlt container.
    isa : str
        Name as in ``layout.CODES["Isa"]``; REF takes nothing away and adds nothing.
    copies : frozenset, optional
        Weights to pack, as (index, bits), (index, SHARED) or (index, SPARSE); the others are left to the reference kernels. All
        that some kernel reads without, a copy for each of its precisions, none of them sparse.
    ram_bytes : int, optional
        Most that tensors and scratch may take: where whole tensors take more, ops run in bands. As near as it gets where nothing
        does, which :func:`arena_bytes` tells.
    prices : BandPrices
        What bands cost on the core.
    memories : TwoMemories, optional
        Two memories in place of ``ram_bytes``: where whole tensors do not fit the fast one, some lie in the other, or ops run in
        bands, whichever costs less.
    known : dict, optional
        Arenas of this network, which are taken from here and added.

    Raises
    ------
    ContainerError
        For bytes that are no container.
    PlanError
        For a container that the engine refuses.
    """
    table = read_table(container)
    if isa == "REF" or not all(section.present for section in table.sections):
        return container
    code = layout.CODES["Isa"][isa]
    decoded = Container.from_bytes(container)
    needs = isa_needs(decoded, code)
    taken = isa_part(decoded, isa)
    kept = [
        PartSection(s.name, container[s.offset : s.offset + s.size_bytes], s.part)
        for s in table.sections
        if s.part == 0 or s.part != taken
    ]
    part = 1 + max(each.part for each in kept)
    chosen = frozenset(wanted_copies(decoded, needs)) if copies is None else copies
    problem = arena_problem(decoded, scratch_of(decoded, needs, chosen))
    arenas: Arenas = {} if known is None else known
    key = (isa, problem, ram_bytes, prices, memories)
    if key not in arenas:
        arenas[key] = _arena(decoded, isa, problem, ram_bytes, prices, memories)
    memory = _memory(arenas[key], len(decoded.tensors), part)
    sparse = _sparse(decoded, isa, needs, chosen, part)
    version = layout.PACKING_VERSION_SPARSE if sparse else layout.PACKING_VERSION
    return assemble(
        [*kept, *memory, PartSection("PACKED", _packed(decoded, isa, needs, chosen, version), part), *sparse]
    )


def has_isa_plan(container: bytes, isa: str) -> bool:
    """Tell whether a container brings a plan part for an instruction set.

    Raises
    ------
    ContainerError
        For bytes that are no container.
    """
    return packed_section(container, read_table(container).sections, isa) is not None


def arena_bytes(container: bytes, isa: str) -> int:
    """Return what integer paths need of RAM on a board of an instruction set: by its plan part, else by the generic plan [bytes].

    Raises
    ------
    ContainerError
        For bytes that are no container.
    """
    at = next(s.offset for s in _sections_of(container, isa) if s.name == "ARENA")
    arena = np.frombuffer(container, layout.dtype("Arena"), 1, at)[0]
    return sum(
        -(-int(arena[field]) // _ARENA_ALIGN_BYTES) * _ARENA_ALIGN_BYTES for field in ("tensor_bytes", "scratch_bytes")
    )


def slow_bytes(container: bytes, isa: str) -> int:
    """Return how much of :func:`arena_bytes` lies in a second memory, by the plan part for an instruction set [bytes].

    Raises
    ------
    ContainerError
        For bytes that are no container.
    """
    found = next((s for s in _sections_of(container, isa) if s.name == "MEMORIES"), None)
    if found is None:
        return 0
    return int(np.frombuffer(container, layout.dtype("Memories"), 1, found.offset)[0]["slow_bytes"])


def fast_bytes(container: bytes, isa: str) -> int:
    """Return what integer paths need of a board's first memory: all of :func:`arena_bytes`, unless it has a second [bytes].

    Raises
    ------
    ContainerError
        For bytes that are no container.
    """
    return arena_bytes(container, isa) - slow_bytes(container, isa)


def slow_tensors(container: Container, isa: str) -> frozenset[int]:
    """Return the tensors that lie in a second memory, by the plan part for an instruction set."""
    border = slow_bytes(container.data, isa)
    if not border:
        return frozenset()
    at = next(s.offset for s in _sections_of(container.data, isa) if s.name == "ARENA") + layout.dtype("Arena").itemsize
    offsets = np.frombuffer(container.data, "<u4", len(container.tensors), at)
    return frozenset(int(tensor) for tensor in np.flatnonzero(offsets < border))


def band_groups(container: bytes, isa: str) -> list[tuple[int, tuple[int, ...]]]:
    """Return the band groups of the plan part for an instruction set: first op, and rows of each op; FORMAT.md §6.

    Raises
    ------
    ContainerError
        For bytes that are no container.
    """
    found = next((s for s in _sections_of(container, isa) if s.name == "BANDS"), None)
    if found is None:
        return []
    kind = layout.dtype("BandGroup")
    records = np.frombuffer(container, kind, found.size_bytes // kind.itemsize, found.offset)
    return [(int(each["first_op"]), tuple(each["rows"][: int(each["n_ops"])].tolist())) for each in records]


def _sections_of(container: bytes, isa: str) -> list[SectionInfo]:
    """Return the sections of the part whose plan is for an instruction set; those of the generic part without one."""
    sections = read_table(container).sections
    packed = packed_section(container, sections, isa)
    return [section for section in sections if section.part == (0 if packed is None else packed.part)]


def _sparse(container: Container, isa: str, needs: list[IsaNeeds], copies: Copies, part: int) -> list[PartSection]:
    """Return SPARSE where there are sparse copies."""
    if all(bits != SPARSE for _, bits in copies):
        return []
    content = sparse_section(container, copies, sparse_copies(container, isa, needs))
    return [] if content is None else [PartSection("SPARSE", content, part)]


def _packed(container: Container, isa: str, needs: list[IsaNeeds], copies: Copies, version: int) -> bytes:
    n_weights = len(container.weights)
    packings = np.full((n_weights, 2), layout.NO_OFFSET, np.uint32)
    head = layout.dtype("Packed").itemsize + packings.nbytes
    body = bytearray()
    for op, need in enumerate(needs):
        weight = int(container.ops[op]["weight"])
        if weight == layout.NO_INDEX:
            continue
        for columns, bits in (([0], 8), ([1], 4), ([0, 1], SHARED)):
            there = (packings[weight, columns] != layout.NO_OFFSET).any()
            if (weight, bits) not in copies or need.packed[bits] == 0 or there:
                continue
            content = pack(
                isa,
                _CODES[int(container.ops[op]["code"])],
                weight_values(container, weight),
                conv_params(container, op),
                bits,
                weight_scales(container, weight),
            )
            if len(content) != need.packed[bits]:
                raise PlanError(
                    f"op {op}: {len(content)} bytes packed for {isa} at {bits} bits, the kernel reads {need.packed[bits]}"
                )
            body.extend(bytes(-(head + len(body)) % ALIGN_BYTES))
            packings[weight, columns] = head + len(body)
            body.extend(content)
    header = record("Packed", isa=layout.CODES["Isa"][isa], n_weights=n_weights, version=version)
    return header + packings.astype("<u4").tobytes() + bytes(body)


def _arena(
    container: Container,
    isa: str,
    problem: Problem,
    ram_bytes: int | None,
    prices: BandPrices,
    memories: TwoMemories | None,
) -> BandPlan:
    # where memory is plenty and an engine is made in a moment, the orders by rule will do
    plan = plan_overlapping(*problem) if isa in _MICROCONTROLLERS else plan_overlapping(*problem, exchanges=0)
    code = layout.CODES["Isa"][isa]
    if memories is not None:
        return _divided(container, code, problem, memories, plan, prices)
    if ram_bytes is None:
        return BandPlan(arena=plan, groups=())
    return plan_banded(Checked(container.data), code, problem, ram_bytes, whole=plan, prices=prices)


def _divided(
    container: Container, isa: int, problem: Problem, memories: TwoMemories, whole: OverlapPlan, prices: BandPrices
) -> BandPlan:
    """Return an arena for two memories: whole in the fast one, or the cheaper of two memories and of bands in the fast one."""
    fast_bytes = memories.fast_bytes
    if whole.arena_bytes <= fast_bytes and memories.slow is None:
        return BandPlan(arena=whole, groups=())
    placed = plan_in_two(problem, memories)
    if memories.slow is None:
        banded = plan_banded(Checked(container.data), isa, problem, fast_bytes, whole=whole, prices=prices)
        cycles = sum(group.cycles(prices) for group in banded.groups)
        if banded.arena.arena_bytes <= fast_bytes and (placed is None or cycles < placed.wait_cycles):
            return banded
    if placed is None:
        raise PlanError(
            f"tensors and scratch fit no two memories of {fast_bytes:,} and {memories.slow_bytes:,} bytes; scratch alone takes "
            f"{max(op.scratch_bytes for op in problem[1]):,} of the first"
        )
    return BandPlan(arena=placed.arena, groups=())


def _memory(plan: BandPlan, n_tensors: int, part: int) -> list[PartSection]:
    """Return ARENA, and BANDS where ops run in bands."""
    header = record(
        "Arena",
        tensor_bytes=plan.arena.tensor_bytes,
        scratch_bytes=plan.arena.scratch_bytes,
        scratch_f32_bytes=0,
        n_tensors=n_tensors,
    )
    offsets = [layout.NO_OFFSET if offset is None else offset for offset in plan.arena.offsets]
    arena = PartSection("ARENA", header + np.array(offsets, "<u4").tobytes(), part)
    if plan.arena.slow_bytes:
        memories = record("Memories", slow_bytes=plan.arena.slow_bytes)
        return [arena, PartSection("MEMORIES", memories, part)]
    if not plan.groups:
        return [arena]
    bands = b"".join(
        record(
            "BandGroup",
            first_op=group.first,
            n_ops=len(group.rows),
            rows=(*group.rows, *[0] * (layout.MAX_BAND_OPS - len(group.rows))),
        )
        for group in plan.groups
    )
    return [arena, PartSection("BANDS", bands, part)]
