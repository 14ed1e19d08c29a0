# SPDX-License-Identifier: Apache-2.0
"""Container bytes -> decoded records. Header, table, checksums and sizes are checked; the engine checks the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.container import layout
from joulet.container.assemble import SectionInfo, Table, read_table
from joulet.container.measured import read_measured
from joulet.container.nvm_plan import NvmPlan, read_nvm_plan
from joulet.errors import ContainerError, UsageError
from joulet.measured import MeasuredCosts
from joulet.records import BoardCosts

Records = npt.NDArray[np.void]
_OPTIONAL = frozenset(
    {
        "DATA_S8",
        "PLANE_HIGH",
        "PLANE_LOW",
        "DATA_F32",
        "BOARD",
        "NVM",
        "PACKED",
        "MEASURED",
        "BANDS",
        "SPARSE",
        "MEMORIES",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Container:
    """A decoded container. Records are read-only NumPy arrays with the fields of :mod:`joulet.container.layout`.

    ``layers`` is precision-major, ``(n_precisions * n_weights,)``; ``confidence`` is q15, ``(n_tables, 32)``;
    ``arena_offsets`` has one entry a tensor [bytes], NO_OFFSET for constants.
    """

    data: bytes
    table: Table
    meta: Mapping[str, Any]
    model: np.void
    tensors: Records
    ops: Records
    weights: Records
    layers: Records
    precisions: Records
    exits: Records
    paths: Records
    confidence: npt.NDArray[np.uint16]
    pool: bytes
    arena: np.void
    arena_offsets: npt.NDArray[np.uint32]
    boards: tuple[BoardCosts, ...]
    nvm_plans: tuple[NvmPlan, ...]
    measured: tuple[MeasuredCosts, ...]

    @property
    def model_hash(self) -> bytes:
        """SHA-256 of the canonical part."""
        return self.table.model_hash

    @property
    def sections(self) -> tuple[SectionInfo, ...]:
        """The section table."""
        return self.table.sections

    @property
    def precision_names(self) -> tuple[str, ...]:
        """Names of the precisions."""
        return tuple(_text(each["name"]) for each in self.precisions)

    def section(self, name: str) -> bytes:
        """Return the content of a canonical section; empty where it is absent."""
        return _content(self.data, self.table, name)

    @staticmethod
    def from_bytes(data: bytes) -> Container:
        """Decode a container.

        Raises
        ------
        ContainerError
            For bytes that fail the checks on header, table, checksums or sizes.
        """
        data = bytes(data)
        table = read_table(data)
        for name, (code, _) in layout.SECTIONS.items():
            if name not in _OPTIONAL and not any(s.code == code and s.part == 0 for s in table.sections):
                raise ContainerError(f"section {name} is missing (INV-9); compile the model again")
        model = _one("MODEL", "Model", data, table)
        records = {
            field: _records(section, struct, data, table, int(model[count]))
            for field, section, struct, count in (
                ("tensors", "TENSORS", "Tensor", "n_tensors"),
                ("ops", "OPS", "Op", "n_ops"),
                ("weights", "WEIGHTS", "Weight", "n_weights"),
                ("precisions", "PRECISIONS", "Precision", "n_precisions"),
                ("exits", "EXITS", "Exit", "n_exits"),
                ("paths", "PATHS", "Path", "n_paths"),
            )
        }
        layers = int(model["n_weights"]) * int(model["n_precisions"])
        arena, offsets = _arena(data, table, int(model["n_tensors"]))
        confidence = _content(data, table, "CONFIDENCE")
        if len(confidence) % (2 * layout.CONFIDENCE_BINS):
            raise ContainerError(f"CONFIDENCE holds {len(confidence)} bytes, no multiple of 64 (INV-12)")
        return Container(
            data=data,
            table=table,
            meta=_meta(_content(data, table, "META")),
            model=model,
            layers=_records("LAYERS", "Layer", data, table, layers),
            confidence=np.frombuffer(confidence, "<u2").reshape(-1, layout.CONFIDENCE_BINS),
            pool=_content(data, table, "POOL"),
            arena=arena,
            arena_offsets=offsets,
            boards=tuple(_board(s, data, model) for s in table.sections if s.name == "BOARD"),
            nvm_plans=tuple(
                read_nvm_plan(data[s.offset : s.offset + s.size_bytes], s.part, int(model["n_tensors"]))
                for s in table.sections
                if s.name == "NVM"
            ),
            measured=tuple(
                read_measured(data[s.offset : s.offset + s.size_bytes], s.part, table.model_hash)
                for s in table.sections
                if s.name == "MEASURED"
            ),
            **records,
        )

    @staticmethod
    def from_path(path: Path) -> Container:
        """Read and decode a container file.

        Raises
        ------
        UsageError
            When it cannot be read.
        ContainerError
            When it is damaged or no container.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UsageError(f"cannot read '{path}': {error.strerror or error}; give the path of a .jlt") from error
        try:
            return Container.from_bytes(data)
        except ContainerError as error:
            raise ContainerError(f"{path}: {error}") from error


def _text(padded: npt.NDArray[np.uint8]) -> str:
    return padded.tobytes().rstrip(b"\0").decode("ascii", errors="replace")


def _content(data: bytes, table: Table, name: str) -> bytes:
    for each in table.sections:
        if each.name == name and each.part == 0 and each.present:
            return data[each.offset : each.offset + each.size_bytes]
    return b""


def _records(section: str, struct: str, data: bytes, table: Table, count: int) -> Records:
    content = _content(data, table, section)
    dtype = layout.dtype(struct)
    if len(content) != count * dtype.itemsize:
        raise ContainerError(f"{section} holds {len(content)} bytes, not {count} records of {dtype.itemsize} (INV-12)")
    return np.frombuffer(content, dtype)


def _one(section: str, struct: str, data: bytes, table: Table) -> np.void:
    record: np.void = _records(section, struct, data, table, 1)[0]
    return record


def _arena(data: bytes, table: Table, n_tensors: int) -> tuple[np.void, npt.NDArray[np.uint32]]:
    content = _content(data, table, "ARENA")
    size = layout.dtype("Arena").itemsize
    if len(content) != size + 4 * n_tensors:
        raise ContainerError(f"ARENA holds {len(content)} bytes, not {size} + 4 × {n_tensors} tensors (INV-12)")
    header: np.void = np.frombuffer(content, layout.dtype("Arena"), 1)[0]
    if int(header["n_tensors"]) != n_tensors:
        raise ContainerError(f"ARENA is for {int(header['n_tensors'])} tensors, the model has {n_tensors} (INV-12)")
    return header, np.frombuffer(content, "<u4", offset=size)


def _meta(content: bytes) -> Mapping[str, Any]:
    try:
        meta = json.loads(content)
    except ValueError as error:
        raise ContainerError(f"META is no JSON (INV-13): {error}") from error
    if not isinstance(meta, dict):
        raise ContainerError("META is no JSON object (INV-13)")
    return meta


def _board(info: SectionInfo, data: bytes, model: np.void) -> BoardCosts:
    content = data[info.offset : info.offset + info.size_bytes]
    size = layout.dtype("Board").itemsize
    shape = (int(model["n_precisions"]), int(model["n_ops"]))
    if not info.present or len(content) != size + 4 * shape[0] * shape[1]:
        raise ContainerError(f"BOARD of part {info.part} holds {len(content)} bytes, not {shape} cycles (INV-12)")
    header = np.frombuffer(content, layout.dtype("Board"), 1)[0]
    if (int(header["n_precisions"]), int(header["n_ops"])) != shape:
        raise ContainerError(f"BOARD of part {info.part} is for another model than this (INV-12)")
    return BoardCosts(
        name=_text(header["name"]),
        clock_hz=int(header["clock_hz"]),
        energy_pj_per_cycle=int(header["energy_pj_per_cycle"]),
        cycles=np.frombuffer(content, "<u4", offset=size).reshape(shape),
    )
