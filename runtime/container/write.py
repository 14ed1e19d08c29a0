# SPDX-License-Identifier: Apache-2.0
"""QuantGraph -> container bytes. The same input gives the same bytes, on any machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from joulet.container import layout
from joulet.container.assemble import PartSection, assemble
from joulet.container.parts import board_section
from joulet.container.pool import Pool, encode_params, record
from joulet.errors import PlanError
from joulet.ir import DType, ExitOrigin, QuantGraph
from joulet.plan.arena import ArenaPlan, plan_arena
from joulet.plan.lower import lower
from joulet.plan.scratch import scratch_bytes
from joulet.plan.steps import Lowered, WeightBlock
from joulet.records import BoardCosts

JsonValue = object
_DTYPES = {DType.S8: "S8", DType.S32: "S32", DType.F32: "F32"}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Laid:
    """A lowered network with its arena, as far as a cost model needs it before the container is written."""

    lowered: Lowered
    arena: ArenaPlan


def lay_out(source: QuantGraph) -> Laid:
    """Lower a quantised graph and place its tensors."""
    lowered = lower(source)
    return Laid(lowered=lowered, arena=plan_arena(lowered))


def write_container(
    source: QuantGraph, *, meta: Mapping[str, JsonValue] | None = None, boards: tuple[BoardCosts, ...] = ()
) -> bytes:
    """Lower, plan and serialise.

    Parameters
    ----------
    source
        The quantised graph.
    meta
        Further entries of META (JSON values), such as ``labels``; they replace entries of the same name.
    boards
        One plan part is written for each.

    Raises
    ------
    PlanError
        For a model that exceeds a limit of the format or a cost table of the wrong size.
    """
    return write_laid(lay_out(source), meta=meta, boards=boards)


def write_laid(
    laid: Laid, *, meta: Mapping[str, JsonValue] | None = None, boards: tuple[BoardCosts, ...] = ()
) -> bytes:
    """Serialise a network that is laid out already; see :func:`write_container`."""
    lowered = laid.lowered
    _check_limits(lowered)
    pool = Pool()
    planes = _Planes()
    tensors = _tensors(lowered, pool)
    ops = _ops(lowered, pool)
    weights, layers = _weights(lowered, pool, planes)
    paths, confidence = _paths(lowered.source)
    sections = [
        PartSection("META", _meta(lowered, meta)),
        PartSection("MODEL", _model(lowered)),
        PartSection("TENSORS", tensors),
        PartSection("OPS", ops),
        PartSection("WEIGHTS", weights),
        PartSection("LAYERS", layers),
        PartSection("PRECISIONS", _precisions(lowered.source)),
        PartSection("EXITS", _exits(lowered)),
        PartSection("PATHS", paths),
        PartSection("CONFIDENCE", confidence),
        PartSection("POOL", pool.bytes()),
        PartSection("DATA_S8", bytes(planes.plain)),
        PartSection("PLANE_HIGH", bytes(planes.high)),
        PartSection("PLANE_LOW", bytes(planes.low)),
        PartSection("DATA_F32", bytes(planes.floats)),
        PartSection("ARENA", _arena(laid)),
    ]
    always = {"META", "WEIGHTS", "LAYERS", "CONFIDENCE", "POOL"}
    kept = [each for each in sections if each.content or each.name in always]
    for number, board in enumerate(boards, start=1):
        kept.append(
            PartSection("BOARD", board_section(board, len(lowered.source.precisions), len(lowered.steps)), part=number)
        )
    return assemble(kept)


class _Planes:
    """Growing weight sections; every block starts at a multiple of 16."""

    def __init__(self) -> None:
        self.plain = bytearray()
        self.high = bytearray()
        self.low = bytearray()
        self.floats = bytearray()

    @staticmethod
    def append(section: bytearray, content: bytes) -> int:
        section.extend(bytes(-len(section) % 16))
        offset = len(section)
        section.extend(content)
        return offset


def pack_nibbles(values: npt.NDArray[np.uint8]) -> bytes:
    """Pack rows of nibbles, two a byte, low nibble first; a row takes ``(n + 1) // 2`` bytes."""
    rows, width = values.shape
    padded = np.zeros((rows, width + width % 2), np.uint8)
    padded[:, :width] = values
    return bytes((padded[:, 0::2] | (padded[:, 1::2] << 4)).astype(np.uint8).tobytes())


def split_nested(values: npt.NDArray[np.int8]) -> tuple[bytes, bytes]:
    """Return the high and low nibble planes of int8 weights ``(rows, row_elements)`` in offset-binary."""
    offset_binary: npt.NDArray[np.uint8] = (values.astype(np.int16) + 128).astype(np.uint8)
    return pack_nibbles(offset_binary >> np.uint8(4)), pack_nibbles(offset_binary & np.uint8(15))


def _check_limits(lowered: Lowered) -> None:
    source = lowered.source
    counts = (
        ("inputs", len(lowered.inputs), 1, layout.MAX_INPUTS),
        ("outputs", len(lowered.outputs), 1, layout.MAX_OUTPUTS),
        ("exits", len(lowered.exits), 1, layout.MAX_EXITS),
        ("precisions", len(source.precisions), 1, 255),
        ("paths", len(source.paths), 1, layout.NO_INDEX - 1),
        ("tensors", len(lowered.slots), 1, layout.MAX_TENSORS),
        ("ops", len(lowered.steps), 1, layout.MAX_OPS),
    )
    for what, count, low, high in counts:
        if not low <= count <= high:
            raise PlanError(f"model {source.graph.name!r} has {count} {what}; a container holds {low} to {high}")


def _model(lowered: Lowered) -> bytes:
    source = lowered.source
    return record(
        "Model",
        n_tensors=len(lowered.slots),
        n_ops=len(lowered.steps),
        n_weights=len(lowered.weights),
        n_precisions=len(source.precisions),
        n_exits=len(lowered.exits),
        n_paths=len(source.paths),
        n_inputs=len(lowered.inputs),
        n_outputs=len(lowered.outputs),
        inputs=_padded(lowered.inputs, layout.MAX_INPUTS),
        outputs=_padded(lowered.outputs, layout.MAX_OUTPUTS),
    )


def _padded(values: Sequence[int], count: int, fill: int = layout.NO_INDEX) -> tuple[int, ...]:
    return (*values, *(fill,) * (count - len(values)))


def _tensors(lowered: Lowered, pool: Pool) -> bytes:
    flag = layout.CODES["TensorFlag"]
    parts = []
    for index, slot in enumerate(lowered.slots):
        flags = flag["INPUT"] * (index in lowered.inputs) | flag["OUTPUT"] * (index in lowered.outputs)
        flags |= flag["CONST"] * (slot.data is not None) | flag["BORDER_U8"] * slot.border_u8
        parts.append(
            record(
                "Tensor",
                dtype=layout.CODES["DType"][_DTYPES[slot.dtype]],
                rank=len(slot.shape),
                flags=flags,
                elements=slot.elements,
                dims=_padded(slot.shape, layout.MAX_RANK, 1),
                scale=slot.scale,
                zero_point=slot.zero_point,
                const_offset=layout.NO_OFFSET if slot.data is None else pool.append(slot.data.tobytes()),
            )
        )
    return b"".join(parts)


def _ops(lowered: Lowered, pool: Pool) -> bytes:
    parts = []
    for step in lowered.steps:
        params = encode_params(step.params) + step.tail
        offset = pool.append(params)
        parts.append(
            record(
                "Op",
                code=layout.CODES["OpCode"][step.code],
                exit=layout.BACKBONE if step.exit is None else step.exit,
                segment=step.segment,
                n_inputs=len(step.inputs),
                inputs=_padded(step.inputs, 2),
                output=step.output,
                weight=layout.NO_INDEX if step.weight is None else step.weight,
                params_offset=offset,
                params_bytes=len(params),
                macs=step.macs,
            )
        )
    return b"".join(parts)


def _weights(lowered: Lowered, pool: Pool, planes: _Planes) -> tuple[bytes, bytes]:
    weights = []
    n_precisions = len(lowered.source.precisions)
    layers: list[list[bytes]] = [[] for _ in range(n_precisions)]
    for block in lowered.weights:
        weights.append(_weight(block, pool, planes))
        offsets: dict[bytes, int] = {}
        for precision, (bits, bias) in enumerate(zip(block.bits, block.biases, strict=True)):
            offset = layout.NO_OFFSET
            if bits != 32:
                content = bias.astype("<i4").tobytes()
                offset = offsets[content] if content in offsets else pool.append(content)
                offsets[content] = offset
            layers[precision].append(record("Layer", bits=bits, bias_offset=offset))
    return b"".join(weights), b"".join(b"".join(each) for each in layers)


def _weight(block: WeightBlock, pool: Pool, planes: _Planes) -> bytes:
    if block.storage == "nested":
        high, low = split_nested(block.values)
        offset = planes.append(planes.high, high)
        planes.append(planes.low, low)
    else:
        offset = planes.append(planes.plain, block.values.tobytes())
    f32_offset = layout.NO_OFFSET
    if block.float_values is not None and block.float_bias is not None:
        content = block.float_values.astype("<f4").tobytes() + block.float_bias.astype("<f4").tobytes()
        f32_offset = planes.append(planes.floats, content)
    return record(
        "Weight",
        storage=layout.CODES["Storage"]["NESTED" if block.storage == "nested" else "S8"],
        rounding=layout.CODES["Rounding"]["ONCE" if block.rounds_once else "TWICE"],
        channels=block.channels,
        rows=block.values.shape[0],
        row_elements=block.values.shape[1],
        offset=offset,
        f32_offset=f32_offset,
        zero_point=block.zero_point,
        n_multipliers=len(block.multipliers),
        multiplier_offset=pool.append(np.array(block.multipliers, "<i4").tobytes()),
        shift_offset=pool.append(np.array(block.shifts, "<i4").tobytes()),
    )


def _precisions(source: QuantGraph) -> bytes:
    parts = []
    for precision in source.precisions:
        bits = set(precision.bits.values())
        if 32 in bits and bits != {32}:
            raise PlanError(f"precision {precision.name!r} mixes f32 with integer layers; use 32 bits for all or none")
        is_f32 = bits == {32} or (not bits and precision.name == "f32")
        parts.append(record("Precision", name=_ascii(precision.name, 12), is_f32=int(is_f32)))
    return b"".join(parts)


def _ascii(name: str, size: int) -> tuple[int, ...]:
    if not name.isascii() or not name.isprintable() or not 0 < len(name) < size:
        raise PlanError(f"name {name!r}: give 1 to {size - 1} printable ASCII characters")
    return tuple(name.encode("ascii").ljust(size, b"\0"))


def _exits(lowered: Lowered) -> bytes:
    flag = layout.CODES["ExitFlag"]
    parts = []
    for each in lowered.exits:
        flags = flag["IMPORTED"] * (each.origin is ExitOrigin.IMPORTED) | flag["REFIT"] * (
            each.origin is ExitOrigin.REFIT
        )
        parts.append(
            record(
                "Exit",
                logits=each.logits,
                output=each.output,
                last_op=each.last_op,
                n_classes=each.n_classes,
                flags=flags | flag["CLASSES"] * (each.n_classes > 0),
            )
        )
    return b"".join(parts)


def _paths(source: QuantGraph) -> tuple[bytes, bytes]:
    tables: dict[bytes, int] = {}
    parts = []
    for path in source.paths:
        indices = []
        for each, table in zip(source.graph.exits, path.confidence_q15, strict=True):
            if each.n_classes == 0:
                indices.append(layout.NO_INDEX)
                continue
            if len(table) != layout.CONFIDENCE_BINS:
                raise PlanError(f"path {path.name!r}: a confidence table has {len(table)} bins, not 32")
            content = np.array(table, "<u2").tobytes()
            indices.append(tables.setdefault(content, len(tables)))
        parts.append(
            record(
                "Path",
                precisions=_padded(path.precisions, layout.MAX_EXITS, 0),
                confidence=_padded(indices, layout.MAX_EXITS),
                accuracy_q15=_padded(path.accuracy_q15, layout.MAX_EXITS, 0),
                auto_threshold_q15=_padded(path.auto_threshold_q15, layout.MAX_EXITS, 0),
            )
        )
    return b"".join(parts), b"".join(tables)


def _arena(laid: Laid) -> bytes:
    steps = laid.lowered.steps
    has_f32 = any(32 in block.bits for block in laid.lowered.weights)
    header = record(
        "Arena",
        tensor_bytes=laid.arena.tensor_bytes,
        scratch_bytes=max(scratch_bytes(step, f32=False) for step in steps),
        scratch_f32_bytes=max(scratch_bytes(step, f32=True) for step in steps) if has_f32 else 0,
        n_tensors=len(laid.arena.offsets),
    )
    offsets = [layout.NO_OFFSET if offset is None else offset for offset in laid.arena.offsets]
    return header + np.array(offsets, "<u4").tobytes()


def _meta(lowered: Lowered, extra: Mapping[str, JsonValue] | None) -> bytes:
    graph = lowered.source.graph
    content: dict[str, JsonValue] = {
        "name": graph.name,
        "tensors": [slot.name for slot in lowered.slots],
        "ops": [{"name": step.name, "kind": step.code.lower()} for step in lowered.steps],
        "exits": [{"name": each.name, "origin": each.origin.value} for each in lowered.exits],
        "paths": [path.name for path in lowered.source.paths],
        "notes": list(lowered.source.notes),
        "source": dict(graph.source),
        **(extra or {}),
    }
    return json.dumps(content, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
