# SPDX-License-Identifier: Apache-2.0
"""The NVM section: what a container says about surviving power cuts on one board."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulet.container import layout
from joulet.container.pool import record
from joulet.errors import ContainerError, PlanError

STRATEGIES = {code: name.lower().replace("_", "-") for name, code in layout.CODES["NvmStrategy"].items()}
_CODES = {name: code for code, name in STRATEGIES.items()}
_HEADER = layout.dtype("NvmPlan")


@dataclass(frozen=True, slots=True, kw_only=True)
class NvmPlan:
    """How an inference outlives power cuts on one board.

    Attributes
    ----------
    board
        Name, at most 31 ASCII characters.
    strategy
        ``in-nvm`` (outputs are written through, part by part), ``jit-copy`` (what is live is copied at a voltage warning)
        or ``restart-from-exit`` (what is live is copied at exits only).
    commit_cycles
        in-nvm: cycles to aim for between two commits; else 0.
    warn_mv
        jit-copy: copy when the store is at or below this [mV]; else 0.
    interval_ops
        Ops, by index, that one interval between commits may reach over.
    record_bytes
        Size of a progress record that was planned with.
    copy_bytes, copies
        Bytes of one copy of the tensors, and how many there are.
    offsets
        One a tensor, into a copy [bytes]; None where nothing is kept.
    """

    board: str
    strategy: str
    commit_cycles: int
    warn_mv: int
    interval_ops: int
    record_bytes: int
    copy_bytes: int
    copies: int
    offsets: tuple[int | None, ...]

    @property
    def total_bytes(self) -> int:
        """Bytes of all copies."""
        return self.copies * self.copy_bytes


def nvm_section(plan: NvmPlan, n_tensors: int) -> bytes:
    """Return the content of an NVM section.

    Raises
    ------
    PlanError
        For a plan of another model, or a name that does not fit.
    """
    if len(plan.offsets) != n_tensors:
        raise PlanError(f"board {plan.board!r}: offsets for {len(plan.offsets)} tensors, the model has {n_tensors}")
    name = plan.board.encode("ascii", "replace")
    if len(name) > 31:
        raise PlanError(f"board {plan.board!r}: the name is longer than 31 characters")
    header = record(
        "NvmPlan",
        name=tuple(name.ljust(32, b"\0")),
        strategy=_CODES[plan.strategy],
        commit_cycles=plan.commit_cycles,
        warn_mv=plan.warn_mv,
        interval_ops=plan.interval_ops,
        record_bytes=plan.record_bytes,
        copy_bytes=plan.copy_bytes,
        copies=plan.copies,
        total_bytes=plan.total_bytes,
        n_tensors=n_tensors,
        flags=0,
    )
    offsets = [layout.NO_OFFSET if offset is None else offset for offset in plan.offsets]
    return header + np.array(offsets, "<u4").tobytes()


def read_nvm_plan(content: bytes, part: int, n_tensors: int) -> NvmPlan:
    """Decode an NVM section; the engine checks lives and overlaps.

    Raises
    ------
    ContainerError
        For a section of the wrong size or with impossible counts.
    """
    if len(content) != _HEADER.itemsize + 4 * n_tensors:
        raise ContainerError(
            f"NVM of part {part} holds {len(content)} bytes, not one plan of {n_tensors} tensors (INV-31)"
        )
    header = np.frombuffer(content, _HEADER, 1)[0]
    values = {name: int(header[name]) for name in _HEADER.names or () if name != "name"}
    copies = 1 if STRATEGIES.get(values["strategy"]) == "in-nvm" else 2
    if (
        values["strategy"] not in STRATEGIES
        or values["n_tensors"] != n_tensors
        or values["copies"] != copies
        or values["total_bytes"] != copies * values["copy_bytes"]
    ):
        raise ContainerError(f"NVM of part {part} has a strategy or counts that cannot be (INV-31)")
    offsets = np.frombuffer(content, "<u4", offset=_HEADER.itemsize)
    return NvmPlan(
        board=header["name"].tobytes().rstrip(b"\0").decode("ascii", errors="replace"),
        strategy=STRATEGIES[values["strategy"]],
        commit_cycles=values["commit_cycles"],
        warn_mv=values["warn_mv"],
        interval_ops=values["interval_ops"],
        record_bytes=values["record_bytes"],
        copy_bytes=values["copy_bytes"],
        copies=copies,
        offsets=tuple(None if offset == layout.NO_OFFSET else int(offset) for offset in offsets),
    )
