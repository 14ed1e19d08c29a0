# SPDX-License-Identifier: Apache-2.0
"""Containers: what is written comes back, damage is refused, the same model gives the same bytes."""

from __future__ import annotations

import dataclasses
import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import tiny_board, tiny_quant_graph

from joulet.container import layout
from joulet.container.assemble import HEADER_BYTES, SECTION_BYTES, read_table, without_low_planes
from joulet.container.pool import record
from joulet.container.read import Container
from joulet.container.write import lay_out, pack_nibbles, split_nested, write_container, write_laid
from joulet.errors import ContainerError, PlanError
from joulet.plan import steps as step_records
from joulet.plan.lower import lower

PRECISIONS = ("w8", "w4", "mix", "f32")


@pytest.fixture(scope="module")
def tiny() -> bytes:
    laid = lay_out(tiny_quant_graph(PRECISIONS))
    board = tiny_board(len(PRECISIONS), len(laid.lowered.steps))
    return write_laid(laid, meta={"labels": ["a", "b", "c"]}, boards=(board,))


@pytest.fixture(scope="module")
def tiny_nested() -> bytes:
    return write_container(tiny_quant_graph(("w8", "w4")))


def test_records_come_back(tiny: bytes) -> None:
    lowered = lower(tiny_quant_graph(PRECISIONS))
    container = Container.from_bytes(tiny)
    assert [int(op["code"]) for op in container.ops] == [layout.CODES["OpCode"][s.code] for s in lowered.steps]
    assert [int(op["segment"]) for op in container.ops] == [s.segment for s in lowered.steps]
    assert [int(t["elements"]) for t in container.tensors] == [s.elements for s in lowered.slots]
    assert [int(e["last_op"]) for e in container.exits] == [e.last_op for e in lowered.exits]
    assert container.precision_names == PRECISIONS
    assert container.meta["labels"] == ["a", "b", "c"]
    assert [e["name"] for e in container.meta["exits"]] == ["early", "final"]
    bits = container.layers["bits"].reshape(len(PRECISIONS), -1)
    assert [set(row.tolist()) for row in bits] == [{8}, {4}, {8}, {32}]


def test_parameters_come_back(tiny: bytes) -> None:
    lowered = lower(tiny_quant_graph(PRECISIONS))
    container = Container.from_bytes(tiny)
    for op, step in zip(container.ops, lowered.steps, strict=True):
        name = type(step.params).__name__
        read = np.frombuffer(container.pool, layout.dtype(name), 1, int(op["params_offset"]))[0]
        for field in dataclasses.fields(step.params):
            expected = getattr(step.params, field.name)
            if field.name not in ("table", "function"):
                np.testing.assert_allclose(read[field.name], expected, rtol=1e-7)


def test_nested_weights_and_biases_come_back(tiny_nested: bytes) -> None:
    lowered = lower(tiny_quant_graph(("w8", "w4")))
    container = Container.from_bytes(tiny_nested)
    planes = {name: np.frombuffer(container.section(name), np.uint8) for name in ("PLANE_HIGH", "PLANE_LOW")}
    for index, (entry, block) in enumerate(zip(container.weights, lowered.weights, strict=True)):
        rows, width = block.values.shape
        start, size = int(entry["offset"]), rows * ((width + 1) // 2)
        nibbles = []
        for plane in planes.values():
            packed = plane[start : start + size].reshape(rows, -1)
            nibbles.append(np.stack([packed & 15, packed >> 4], axis=-1).reshape(rows, -1)[:, :width].astype(int))
        np.testing.assert_array_equal(16 * nibbles[0] + nibbles[1] - 128, block.values)
        offset = int(container.layers[index]["bias_offset"])
        bias = np.frombuffer(container.pool, "<i4", block.channels, offset)
        np.testing.assert_array_equal(bias, block.biases[0])


def test_board_part_comes_back_and_leaves_the_model_hash_alone(tiny: bytes) -> None:
    container = Container.from_bytes(tiny)
    laid = lay_out(tiny_quant_graph(PRECISIONS))
    plain = Container.from_bytes(write_laid(laid, meta={"labels": ["a", "b", "c"]}))
    assert plain.model_hash == container.model_hash
    assert container.boards[0].name == "bench"
    np.testing.assert_array_equal(
        container.boards[0].cycles, tiny_board(len(PRECISIONS), len(laid.lowered.steps)).cycles
    )


def test_the_same_model_gives_the_same_bytes(tiny_nested: bytes) -> None:
    assert write_container(tiny_quant_graph(("w8", "w4"))) == tiny_nested


def test_sections_are_aligned(tiny: bytes) -> None:
    for section in read_table(tiny).sections:
        align = layout.LOW_PLANE_ALIGN_BYTES if section.name == "PLANE_LOW" else layout.SECTION_ALIGN_BYTES
        assert section.offset % align == 0


def test_low_planes_may_be_left_out(tiny: bytes) -> None:
    small = without_low_planes(tiny)
    container = Container.from_bytes(small)
    assert len(small) < len(tiny)
    assert container.model_hash == Container.from_bytes(tiny).model_hash
    assert container.section("PLANE_LOW") == b""
    assert container.section("PLANE_HIGH") == Container.from_bytes(tiny).section("PLANE_HIGH")
    assert len(container.boards) == 1
    assert without_low_planes(small) == small


def test_every_bit_of_header_and_table_is_guarded(tiny_nested: bytes) -> None:
    end = HEADER_BYTES + SECTION_BYTES * len(read_table(tiny_nested).sections)
    for position in range(end * 8):
        damaged = bytearray(tiny_nested)
        damaged[position // 8] ^= 1 << position % 8
        with pytest.raises(ContainerError):
            read_table(bytes(damaged))


def test_damage_in_any_section_is_noticed(tiny: bytes) -> None:
    for section in read_table(tiny).sections:
        damaged = bytearray(tiny)
        damaged[section.offset + section.size_bytes // 2] ^= 0x10
        with pytest.raises(ContainerError, match=section.name):
            Container.from_bytes(bytes(damaged))


@given(st.integers(0, 2**32))
def test_truncation_is_noticed(tiny_nested: bytes, seed: int) -> None:
    cut = random.Random(seed).randrange(len(tiny_nested))
    with pytest.raises(ContainerError):
        Container.from_bytes(tiny_nested[:cut])


@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_refused(content: bytes) -> None:
    for data in (content, layout.MAGIC + content):
        with pytest.raises(ContainerError):
            Container.from_bytes(data)


def _forge(container: bytes, position: int, value: bytes) -> bytes:
    """Overwrite bytes of the head and repair its CRC."""
    forged = bytearray(container)
    forged[position : position + len(value)] = value
    end = HEADER_BYTES + SECTION_BYTES * struct.unpack_from("<H", forged, 16)[0]
    forged[20:24] = bytes(4)
    forged[20:24] = struct.pack("<I", zlib.crc32(forged[:end]))
    return bytes(forged)


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (8, struct.pack("<H", 2), "INV-2"),
        (HEADER_BYTES + 8, struct.pack("<I", 65), "INV-6"),
        (HEADER_BYTES + 4, struct.pack("<I", 0), "INV-8"),
        (HEADER_BYTES + SECTION_BYTES, struct.pack("<H", 1), "INV-9"),
        (32, bytes(32), "INV-10"),
    ],
)
def test_forged_heads_are_refused_by_name(tiny_nested: bytes, position: int, value: bytes, message: str) -> None:
    with pytest.raises(ContainerError, match=message):
        read_table(_forge(tiny_nested, position, value))


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 2**32))
def test_nibble_planes_hold_every_weight(rows: int, width: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(-128, 128, (rows, width)).astype(np.int8)
    high, low = split_nested(values)
    assert len(high) == len(low) == rows * ((width + 1) // 2)
    first = (values[0, 0].astype(int) + 128) >> 4
    assert high[0] & 15 == first
    assert pack_nibbles(np.array([[1, 2, 3]], np.uint8)) == bytes([0x21, 0x03])


def test_parameter_classes_mirror_the_records() -> None:
    names = [name for name in layout.STRUCTS if name.endswith("Params")]
    for name in names:
        declared = [field.name for field in layout.STRUCTS[name][1] if field.name != "reserved"]
        assert [field.name for field in dataclasses.fields(getattr(step_records, name))] == declared
    assert len(names) == 11


def test_a_value_that_does_not_fit_its_field_is_refused() -> None:
    with pytest.raises(PlanError, match=r"Layer\.bits"):
        record("Layer", bits=256)


def test_a_cost_table_of_the_wrong_size_is_refused() -> None:
    with pytest.raises(PlanError, match="bench"):
        write_container(tiny_quant_graph(), boards=(tiny_board(1, 2),))
