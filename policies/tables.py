# SPDX-License-Identifier: Apache-2.0
"""Policy tables: the bytes that a board's governor decides from, csrc/POLICY.md, and what they say in C."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from joulet.errors import PolicyError

MAGIC, VERSION, HEADER_BYTES = 0x50544C4A, 1, 64
BYTES_LIMIT = 8192
NO_NODE = 255
_HEADER = struct.Struct("<IHHII16s8BHBBIIHBBII")
LINK = np.dtype([("path", "u1"), ("exit", "u1")])
OPTION = np.dtype([("gain", "<u4"), ("cost_q16", "<u4"), ("need_q16", "<u4"), ("step", "<u4")])
_ARRAYS = {
    "slow_nw": np.dtype("<u4"),
    "harvest_nw": np.dtype("<u4"),
    "links": LINK,
    "options": OPTION,
    "stop_gain": np.dtype("<u4"),
    "menus": np.dtype("<u2"),
    "borders_q15": np.dtype("<u2"),
    "worth": np.dtype("<u2"),
    "node_of": np.dtype("u1"),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PolicyTable:
    """Everything a governor needs, as integers.

    Attributes
    ----------
    n_levels, n_slots, n_slow, n_harvest, n_nodes, n_bins, n_paths, n_exits
        Sizes; ``n_slots`` divides 48.
    gain_q
        Right answers are counted in 2^−gain_q.
    mean_shift, slow_shift, window_us
        Of the quick and the slow mean of harvest.
    inflow_q32
        Levels q16 that 2²⁰ fJ bring, × 2³².
    patience_q15
        P(an event that waits is not pushed out).
    slow_nw
        ``(n_slow − 1,)`` borders of levels of the slow mean [nW].
    harvest_nw
        ``(n_slow, n_harvest − 1)`` borders of levels of the quick mean [nW].
    links
        ``(n_links,)`` path, exit: where a step leads.
    options
        ``(n_options,)`` gain, cost_q16, need_q16 (of the first step), step (256 × its time in units of 256 µs, rounded up,
        plus the index of its link).
    stop_gain
        ``(n_nodes, n_bins)``.
    menus
        ``(1 + n_nodes · n_bins + 1,)`` first option of each menu; the start's first.
    borders_q15
        ``(n_nodes, n_bins − 1)``.
    worth
        ``(n_slots, n_slow, n_harvest, n_levels)`` in 2^(8 − gain_q).
    node_of
        ``(n_paths, n_exits)``; 255 where a path is not used.
    model_hash
        First 16 bytes of the container's.
    """

    n_levels: int
    n_slots: int
    n_slow: int
    n_harvest: int
    n_nodes: int
    n_bins: int
    n_paths: int
    n_exits: int
    gain_q: int
    mean_shift: int
    slow_shift: int
    window_us: int
    inflow_q32: int
    patience_q15: int
    slow_nw: npt.NDArray[np.uint32]
    harvest_nw: npt.NDArray[np.uint32]
    links: npt.NDArray[np.void]
    options: npt.NDArray[np.void]
    stop_gain: npt.NDArray[np.uint32]
    menus: npt.NDArray[np.uint16]
    borders_q15: npt.NDArray[np.uint16]
    worth: npt.NDArray[np.uint16]
    node_of: npt.NDArray[np.uint8]
    model_hash: bytes = bytes(16)

    def to_bytes(self) -> bytes:
        """Return the table as a board takes it.

        Raises
        ------
        PolicyError
            If it is larger than a board reserves for it.
        """
        body = b"".join(_padded(np.ascontiguousarray(getattr(self, name), kind)) for name, kind in _ARRAYS.items())
        total = HEADER_BYTES + len(body)
        if total > BYTES_LIMIT:
            raise PolicyError(
                f"policy table of {total:,} bytes; at most {BYTES_LIMIT:,}: use fewer levels, slots or bins"
            )
        counts = (self.n_levels, self.n_slots, self.n_harvest, self.n_nodes, self.n_bins, len(self.links))
        header = _HEADER.pack(
            MAGIC, VERSION, HEADER_BYTES, total, zlib.crc32(body), self.model_hash, *counts, self.n_paths, self.n_exits,
            len(self.options), self.gain_q, self.mean_shift, self.window_us, self.inflow_q32, self.patience_q15, self.n_slow,
            self.slow_shift, 0, 0,
        )  # fmt: skip
        return header + body

    @classmethod
    def from_bytes(cls, data: bytes) -> PolicyTable:
        """Read a table; the inverse of :meth:`to_bytes`.

        Raises
        ------
        PolicyError
            If the bytes are not a whole, undamaged table.
        """
        if len(data) < HEADER_BYTES:
            raise PolicyError(f"policy table: {len(data)} bytes are too few for a header of {HEADER_BYTES}")
        (
            magic, version, header_bytes, total, crc, model_hash, n_levels, n_slots, n_harvest, n_nodes, n_bins, n_links,
            n_paths, n_exits, n_options, gain_q, mean_shift, window_us, inflow_q32, patience_q15, n_slow, slow_shift, *_,
        ) = _HEADER.unpack_from(data)  # fmt: skip
        if (magic, version, header_bytes, total) != (MAGIC, VERSION, HEADER_BYTES, len(data)):
            raise PolicyError("policy table: not one of this version, or cut short; export it again")
        if zlib.crc32(data[HEADER_BYTES:]) != crc:
            raise PolicyError("policy table: its checksum does not match; export it again")
        states = n_nodes * n_bins
        shapes: dict[str, tuple[int, ...]] = {
            "slow_nw": (max(n_slow - 1, 0),), "harvest_nw": (n_slow, max(n_harvest - 1, 0)), "links": (n_links,),
            "options": (n_options,),
            "stop_gain": (n_nodes, n_bins), "menus": (states + 2,), "borders_q15": (n_nodes, max(n_bins - 1, 0)),
            "worth": (n_slots, n_slow, n_harvest, n_levels), "node_of": (n_paths, n_exits),
        }  # fmt: skip
        arrays = _split(data, shapes)
        return cls(
            n_levels=n_levels, n_slots=n_slots, n_slow=n_slow, slow_shift=slow_shift, n_harvest=n_harvest,
            n_nodes=n_nodes, n_bins=n_bins, n_paths=n_paths,
            n_exits=n_exits, gain_q=gain_q, mean_shift=mean_shift, window_us=window_us, inflow_q32=inflow_q32,
            patience_q15=patience_q15, model_hash=model_hash, **arrays,
        )  # fmt: skip

    def to_c(self, name: str = "jlt_policy_table") -> str:
        """Return C source that defines the table as a ``const`` array in flash."""
        words = np.frombuffer(self.to_bytes(), "<u4")
        rows = [", ".join(f"0x{word:08X}" for word in words[at : at + 8].tolist()) for at in range(0, len(words), 8)]
        body = ",\n".join(f"  {row}" for row in rows)
        sizes = ", ".join(f"{f.name} {getattr(self, f.name)}" for f in fields(self) if f.name.startswith("n_"))
        return (
            "// SPDX-License-Identifier: Apache-2.0\n"
            f"// A policy table for jlt_governor_check, generated: {sizes}.\n"
            "#include <stdint.h>\n\n"
            f"extern const uint32_t {name}[{len(words)}];\n\n"
            f"const uint32_t {name}[{len(words)}] = {{\n{body},\n}};\n"
        )


def _padded(array: npt.NDArray[Any]) -> bytes:
    raw = array.tobytes()
    return raw + bytes(-len(raw) % 4)


def _split(data: bytes, shapes: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    at = HEADER_BYTES
    for name, kind in _ARRAYS.items():
        count = int(np.prod(shapes[name], dtype=np.int64))
        if at + count * kind.itemsize > len(data):
            raise PolicyError("policy table: sizes do not fit its length; export it again")
        arrays[name] = np.frombuffer(data, kind, count, at).reshape(shapes[name])
        at += (count * kind.itemsize + 3) & ~3
    if at != len(data):
        raise PolicyError("policy table: sizes do not fit its length; export it again")
    return arrays
