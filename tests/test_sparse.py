# SPDX-License-Identifier: Apache-2.0
"""Absent blocks: what the border refuses, when a plan takes them up, and what pruning makes of a network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import sparse_cases
from board_tools import MODELS

from joulet._core import lib
from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.container import layout
from joulet.container.assemble import PartSection, assemble, read_table
from joulet.container.checked import Checked
from joulet.container.isa_plan import with_isa_plan
from joulet.container.kernel_use import kernel_use
from joulet.container.needs import SPARSE, stored_copies
from joulet.container.read import Container
from joulet.engine.host import HostEngine
from joulet.errors import ContainerError, UsageError
from joulet.importers.load import load_model
from joulet.plan.copies import planned_copies
from joulet.plan.cost import board_costs
from joulet.plan.packings.sparse import block_skips
from joulet.plan.step_costs import step_bills
from joulet.quant.bare import with_exit
from joulet.quant.block_order import BlockShape, made_up, presence, sparing_order
from joulet.quant.on_engine import execute_on_engine
from joulet.quant.pruning import Pruned, prunable, pruned
from joulet.quant.recover import weights_of
from joulet.quant.rounding import round_present

ISAS = ("ARMV6M", "ARMV7EM", "MVE")
BOARDS = {"ARMV6M": "virtual_m0plus", "ARMV7EM": "virtual_m4", "MVE": "qemu_mps3_an547"}
REFUSED = -29
SHAPE = BlockShape(rows=2, elements=4)
HEAD = 20  # of SPARSE with one weight, whose offset is the last word [bytes]


def layer(absent: float, channels: tuple[int, int] = (32, 6)) -> bytes:
    return sparse_cases.conv(2, absent=absent, out=(1, 6), kernel=(1, 1), channels=channels, zero=-128)


# the plan part


@pytest.mark.parametrize("isa", ISAS)
def test_a_part_without_sparse_copies_is_as_ever(isa: str) -> None:
    planned = with_isa_plan(layer(0.5), isa)
    assert "SPARSE" not in {section.name for section in read_table(planned).sections}
    assert version_of(planned) == layout.PACKING_VERSION


@pytest.mark.parametrize("isa", ISAS)
def test_a_part_with_them_is_for_readers_that_know_them(isa: str) -> None:
    planned = sparse_cases.sparse_plan(layer(0.5), isa)
    assert version_of(planned) == layout.PACKING_VERSION_SPARSE
    assert stored_copies(Container.from_bytes(planned), isa) == {(0, SPARSE)}
    assert Container.from_bytes(planned).model_hash == Container.from_bytes(layer(0.5)).model_hash
    assert kernel_use(planned, isa) == replace(kernel_use(planned, isa), isa=0, reference=0, sparse=True)


def version_of(planned: bytes) -> int:
    section = next(s for s in read_table(planned).sections if s.name == "PACKED")
    return int(np.frombuffer(planned, layout.dtype("Packed"), 1, section.offset)[0]["version"])


def test_the_host_runs_the_plain_c_of_cores_without_simd() -> None:
    content = sparse_cases.conv(4, absent=0.6, out=(3, 5), kernel=(3, 3), channels=(8, 6))
    planned = sparse_cases.sparse_plan(content, "ARMV6M")
    reference = HostEngine(content, isa="REF")
    x = [np.random.default_rng(0).integers(-128, 128, (3, *i.shape)).astype(np.int8) for i in reference.inputs]
    np.testing.assert_array_equal(HostEngine(planned, isa="ARMV6M").infer(x).outputs[0], reference.infer(x).outputs[0])


def test_a_part_that_lacks_them_is_said_to() -> None:
    planned = sparse_cases.sparse_plan(layer(0.5), "ARMV6M")
    sections = [s for s in read_table(planned).sections if s.name != "SPARSE"]
    without = assemble([PartSection(s.name, planned[s.offset : s.offset + s.size_bytes], s.part) for s in sections])
    with pytest.raises(ContainerError, match="sparse copies"):
        stored_copies(Container.from_bytes(without), "ARMV6M")
    assert status_of(without, "ARMV6M") < 0


# the border


def with_sparse(planned: bytes, change: bytes) -> bytes:
    """Return the container with other bytes in SPARSE, its checksums right."""
    return assemble(
        [
            PartSection(s.name, change if s.name == "SPARSE" else planned[s.offset : s.offset + s.size_bytes], s.part)
            for s in read_table(planned).sections
        ]
    )


def sparse_of(planned: bytes) -> bytes:
    section = next(s for s in read_table(planned).sections if s.name == "SPARSE")
    return planned[section.offset : section.offset + section.size_bytes]


def status_of(planned: bytes, isa: str) -> int:
    checked = Checked(planned)
    return int(lib.jlt_container_use(checked.view, layout.CODES["Isa"][isa], False))


def leaves_armv6m(content: bytes, groups: int, pairs: int) -> bool:
    """Walk the blocks as the kernel does."""
    at = HEAD + 4 * 2 * pairs
    for _ in range(pairs):
        if at + 2 > len(content):
            return True
        blocks = int.from_bytes(content[at : at + 2], "little")
        at += 2
        met = -1
        for _ in range(blocks):
            if at + 9 > len(content):
                return True
            met += content[at] + 1
            at += 9
            if met >= groups:
                return True
        if blocks == 0:
            return True
    return False


def leaves_armv7em(content: bytes, groups: int, pairs: int) -> bool:
    """Walk the turns as the kernel does."""
    at = HEAD
    for _ in range(pairs):
        if at + 4 > len(content):
            return True
        turn, met = content[at] & 3, -1
        at += 4
        while True:
            if at + 36 + 4 > len(content):
                return True
            for place in range(turn, 4):
                met += content[at + place] + 1
                if met >= groups:
                    return True
            turn = 0
            at += 36
            if content[at : at + 4] == b"\xff" * 4:
                break
        at += 4 + 16
        if at > len(content):
            return True
    return False


def leaves_mve(content: bytes, groups: int, pairs: int) -> bool:
    """Walk the vectors as the kernel does; channels are filled up to fours."""
    pairs += pairs % 2
    at = HEAD + 4 * 2 * pairs
    for _ in range(pairs):
        if at + 1 > len(content):
            return True
        vectors = content[at] + 1
        at += 1
        if at + 36 * vectors > len(content):
            return True
        for _ in range(vectors):
            if max(content[at : at + 4]) >= groups:
                return True
            at += 36
    return False


@pytest.mark.parametrize("isa", ISAS)
def test_an_index_that_leaves_the_patch_or_the_section_is_refused(isa: str) -> None:
    planned = sparse_cases.sparse_plan(layer(0.5), isa)
    whole = sparse_of(planned)
    leaves = {"ARMV6M": leaves_armv6m, "ARMV7EM": leaves_armv7em, "MVE": leaves_mve}[isa]
    rng = np.random.default_rng(1)
    seen = {True: 0, False: 0}
    assert status_of(planned, isa) != REFUSED
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(int(rng.integers(1, 4))):
            content[int(rng.integers(HEAD, len(content)))] = int(rng.choice([0, 1, 2, 7, 8, 128, 255]))
        refused = status_of(with_sparse(planned, bytes(content)), isa) == REFUSED
        assert refused == leaves(bytes(content), 8, 3)
        seen[refused] += 1
    assert min(seen.values()) > 20


@pytest.mark.parametrize("isa", ISAS)
def test_a_head_that_does_not_fit_is_refused(isa: str) -> None:
    planned = sparse_cases.sparse_plan(layer(0.5), isa)
    whole = sparse_of(planned)
    for at, value in ((0, len(whole) + 4), (0, 0), (4, 2), (16, 0), (16, 21), (16, len(whole)), (16, 0xFFFFFFFC)):
        content = bytearray(whole)
        content[at : at + 4] = value.to_bytes(4, "little")
        assert status_of(with_sparse(planned, bytes(content)), isa) < 0, (at, value)
    for cut in range(HEAD, len(whole), 7):
        content = bytearray(whole[:cut])
        content[0:4] = cut.to_bytes(4, "little")
        assert status_of(with_sparse(planned, bytes(content)), isa) == REFUSED


@pytest.mark.parametrize("absent", [[], [0], [3], [0, 1, 2], list(range(700)), [5, *range(10, 690)]])
def test_skips_lead_to_every_block(absent: list[int]) -> None:
    present = np.ones(700, np.bool_)
    present[absent] = False
    skips, stored = block_skips(present, 254)
    at, met = -1, []
    for skip in skips.tolist():
        at += skip + 1
        met.append(at)
    assert met == stored.tolist()
    assert set(np.flatnonzero(present)) <= set(met)
    assert len(met) >= 1


# the planner


@pytest.mark.parametrize("isa", ISAS)
def test_a_plan_takes_them_up_where_the_cost_model_gains(isa: str) -> None:
    board = load_board(BOARDS[isa])
    kinds = {}
    for absent in (0.03, 0.5):
        container = Container.from_bytes(
            sparse_cases.conv(6, absent=absent, out=(8, 8), kernel=(1, 1), channels=(64, 64))
        )
        copies = planned_copies(container, board)
        assert copies is not None
        kinds[absent] = {bits for _, bits in copies}
        bill = step_bills(container, board, 0, copies)[0]
        assert bill.weights_from == ("packed" if absent < 0.1 else "sparse")
        dense = step_bills(container, board, 0, frozenset({(0, 8)}))[0]
        assert bill.cycles <= dense.cycles
        assert int(board_costs(container, board).cycles[0, 0]) == bill.cycles
    assert kinds == {0.03: {8}, 0.5: {SPARSE}}


# pruning


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, 16)) @ rng.normal(size=(16, 16))
    return rng.normal(size=(6, 16)) * 40, x.T @ x / len(x), rng


def loss(gap: np.ndarray, moment: np.ndarray) -> float:
    return float(np.einsum("ok,kl,ol->", gap, moment, gap))


def test_the_block_that_goes_first_is_the_one_that_costs_least() -> None:
    for seed in range(5):
        weights, moment, _ = drawn(seed)
        order = sparing_order(weights, moment, np.ones(6), SHAPE)
        assert sorted(map(tuple, order.tolist())) == [(g, b) for g in range(3) for b in range(4)]
        costs = {}
        for place, (group, block) in enumerate(order.tolist()):
            present = presence(order[place : place + 1], 1, weights.shape, SHAPE)
            costs[group, block] = loss(weights - made_up(weights, moment, present, SHAPE), moment)
        assert min(costs, key=costs.__getitem__) == tuple(order[0])


def test_what_stays_makes_up_by_least_squares() -> None:
    weights, moment, rng = drawn(1)
    order = sparing_order(weights, moment, np.ones(6), SHAPE)
    present = presence(order, 5, weights.shape, SHAPE)
    assert (~present).sum() == 5 * 8
    made = made_up(weights, moment, present, SHAPE)
    assert (made[~present] == 0).all()
    best = loss(weights - made, moment)
    assert best < loss(weights * ~present, moment)
    for _ in range(20):
        assert best <= loss(weights - made - 0.1 * rng.normal(size=made.shape) * present, moment)
    rounded = round_present(made, moment, present)
    assert (rounded[~present] == 0).all()
    assert loss(weights - rounded, moment) <= 1.02 * loss(weights - np.rint(made), moment)


def test_a_network_keeps_its_limit() -> None:
    graph = with_exit(load_model(MODELS / "residual_int8.tflite"))
    layers = prunable(graph, SHAPE)
    assert layers
    shape = graph.tensors[graph.inputs[0]].shape
    feeds = {graph.inputs[0]: np.random.default_rng(0).integers(-128, 128, (160, *shape[1:])).astype(np.int8)}

    def cut(limit: float) -> Pruned:
        return pruned(
            execute_on_engine,
            graph,
            feeds,
            shape=SHAPE,
            cycles_of=lambda _, absent: 1000 * (1.1 - absent),
            layers=layers,
            limit=limit,
        )

    assert cut(1e-9).loss <= 1e-9
    some = cut(0.9)
    assert some.loss <= 0.9
    assert some.absent
    assert some.saved_cycles == pytest.approx(sum(1000 * share for share in some.absent.values()))
    for index, share in some.absent.items():
        q = weights_of(some.graph, index)
        blocks = q.reshape(len(q) // 2, 2, -1, 4).any(axis=(1, 3))
        assert 1 - blocks.mean() >= share - 0.5 / blocks.size
    assert "at every precision" in some.note(0.9)


def test_compile_makes_a_container_that_the_board_skips_blocks_of() -> None:
    model = MODELS / "conv_int8.tflite"
    shape = load_model(model).tensors[load_model(model).inputs[0]].shape
    x = np.random.default_rng(0).integers(-128, 128, (48, *shape[1:])).astype(np.int8)
    found = compile_model(
        model, data={"input_0": x}, board="virtual_m4", exits="off", precisions=("w8", "w4"), sparse=0.9
    )
    container = Container.from_bytes(found.container)
    copies = planned_copies(container, load_board("virtual_m4")) or frozenset()
    sparse = {weight for weight, bits in copies if bits == SPARSE}
    assert sparse
    layers = container.layers.reshape(2, -1)["bits"]
    assert (layers[:, sorted(sparse)] == 8).all()
    assert (layers[1] == 4).any()
    assert any(note.startswith("sparse: ") for note in found.report.notes)
    planned = with_isa_plan(found.container, "ARMV7EM", copies=copies)
    assert kernel_use(planned, "ARMV7EM").sparse


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sparse": 0.0, "board": "virtual_m4", "data": {}}, "above 0"),
        ({"sparse": 0.01, "board": "virtual_m4"}, "--data"),
        ({"sparse": 0.01, "data": {}}, "--board"),
        ({"sparse": 0.01, "board": "virtual_m4", "data": {}, "recover": "trade"}, "one of them"),
    ],
)
def test_what_does_not_go_together_is_said(options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        compile_model(MODELS / "conv_int8.tflite", **options)  # type: ignore[arg-type]
