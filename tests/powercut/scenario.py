# SPDX-License-Identifier: Apache-2.0
"""One inference on a virtual board that may lose its power at any instruction."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from joulet.boards import load_board
from joulet.container.layout import CODES, NO_OFFSET
from joulet.container.read import Container
from joulet.emulator.board import VirtualBoard
from joulet.emulator.power import BenchSupply, Phase
from joulet.firmware.build import Firmware
from joulet.firmware.slots import samples_slot, session_slot
from joulet.link import wire
from joulet.live.journal import read_journal

# firmware/progress.c
RECORDS_AT, RECORD_ROOM = 65536, 256
TENSORS_AT = RECORDS_AT + 2 * RECORD_ROOM
RING_STRIDE = 64  # firmware/ring.c
HEAD = np.dtype([("tag", "<u4"), ("sequence", "<u4"), ("bytes", "<u4"), ("crc32", "<u4")])
_EVERY_EXIT = 0x100
_INPUT = CODES["TensorFlag"]["INPUT"]
_SIZES = {CODES["DType"]["S8"]: 1, CODES["DType"]["S32"]: 4, CODES["DType"]["F32"]: 4}
RECORD = np.dtype(
    [
        ("sequence", "<u4"),
        ("epoch", "<u4"),
        ("build_id", "u1", (8,)),
        ("model_hash", "u1", (8,)),
        ("spent_ticks", "<u8"),
        ("macs", "<u8"),
        ("ops_run", "<u4"),
        ("unit", "<u4"),
        ("path", "<u2"),
        ("next_op", "<u2"),
        ("segment", "u1"),
        ("started", "u1"),
        ("entered", "u1"),
        ("reserved0", "u1"),
        ("event", wire.dtype("EventRecord")),
        ("running", "u1"),
        ("target", "u1"),
        ("reserved1", "u1", (2,)),
        ("part_to", "<u4"),
        ("crc32", "<u4"),
    ]
)


class Supply(BenchSupply):
    """A bench supply whose voltage the test sets."""

    voltage_v: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What runs: a model by name, the strategy, the path, and the exit that is the last to answer.

    ``every`` evaluates and commits each exit on the way. ``commit_cycles`` and ``warn_mv`` are those of the session.
    """

    model: str
    strategy: str
    path: str
    exit: int
    every: bool = True
    commit_cycles: int = 200_000
    warn_mv: int = 0
    board: str = "virtual_m4"

    @property
    def name(self) -> str:
        """Of the case, as a campaign shows it."""
        variant = "-RELAXED" if self.relaxed else "-FLASH" if self.board.endswith("_flash") else ""
        return f"{self.model}/{self.strategy}{variant}/{self.path}@{self.exit}"

    @property
    def relaxed(self) -> bool:
        """Whether memory falls behind while the store is full, though every tile is kept else."""
        return self.strategy == "IN_NVM" and self.warn_mv > 0

    @property
    def warned(self) -> bool:
        """Whether the firmware acts on a falling voltage."""
        return self.strategy == "JIT_COPY" or self.relaxed


WARN_MV = 2200


class Machine:
    """A virtual board with one inference before it.

    Attributes
    ----------
    board
        The board; its power is ``supply``.
    commits
        Called at the end of each commit phase.
    """

    def __init__(
        self, case: Case, container: bytes, sample: tuple[np.ndarray, ...], firmware: Firmware | None = None
    ) -> None:
        self.case, self.container = case, Container.from_bytes(container)
        self.board = VirtualBoard(case.board, firmware=firmware)
        slots = self.board.facts.slots
        load = load_board(case.board).load
        self._load = load
        paths = [str(each["name"] if isinstance(each, dict) else each) for each in self.container.meta["paths"]]
        self.path = paths.index(case.path)
        self.board.load(slots["model"].address, container)
        self.board.load(slots["samples"].address, samples_slot([x[None] for x in sample]))
        self.board.power_on()
        self.board.run()  # as after flashing: all sums are checked once
        self.board.cut()
        session = session_slot(
            autostart=1,
            period_us=1_000_000_000_000,
            deadline_us=1_000_000_000_000,
            end_us=1_000_000_000_000,
            capacity_nf=100_000,
            off_mv=1800,
            full_mv=3600,
            on_mv=2400,
            sleep_nw=1000,
            energy_fj_per_cycle=load.energy_pj_per_cycle * 1000,
            dearness_q16=65536,
            strategy=wire.CODES["Strategy"][case.strategy],
            commit_cycles=case.commit_cycles,
            warn_mv=case.warn_mv or (WARN_MV if case.strategy == "JIT_COPY" else 0),
            fixed_path=self.path,
            fixed_exit=case.exit | (_EVERY_EXIT if case.every else 0),
        )
        self.board.load(slots["session"].address, session)
        self.epoch = zlib.crc32(session[64:])
        self.places = self._places()
        self.commits: Callable[[], None] | None = None
        self.board.on_phase = self._phase
        self.renew()

    def renew(self) -> None:
        """Begin anew at time 0, with nothing under way."""
        self.supply = Supply(self._load)
        self.board.power = self.supply
        self.board.fram.data[wire.JOURNAL_AT :] = bytes(len(self.board.fram.data) - wire.JOURNAL_AT)
        # a journal that begins, and a ring that is full of what is of no use any more
        for name, byte in (("nvm", b"\xff"), ("progress", b"\x5a")) if self.board.keeps_in_flash else ():
            slot = self.board.facts.slots[name]
            self.board.load(slot.address, byte * slot.size)

    def _phase(self, before: Phase, after: Phase) -> None:
        if before is Phase.COMMIT and after is not Phase.COMMIT and self.commits is not None:
            self.commits()

    def _places(self) -> dict[int, tuple[int, int]]:
        """Return (offset, bytes) of each tensor that is kept, as the firmware places them."""
        places, at = {}, TENSORS_AT
        for index, tensor in enumerate(self.container.tensors):
            if int(self.container.arena_offsets[index]) == NO_OFFSET or int(tensor["flags"]) & _INPUT:
                continue
            n_bytes = int(tensor["elements"]) * _SIZES[int(tensor["dtype"])]
            places[index] = (at, n_bytes)
            at += -(-n_bytes // 4) * 4
        return places

    def tensor(self, index: int) -> bytes:
        """Return what memory holds of a tensor; of a ring, what its newest entry holds."""
        at, n_bytes = self.places[index]
        if self.board.keeps_in_flash:
            return self._in_entry(index)
        return bytes(self.board.fram.data[at : at + n_bytes])

    def record(self) -> np.void | None:
        """Return the newest valid progress record."""
        if self.board.keeps_in_flash:
            content = self.entry()
            return None if content is None else np.frombuffer(content[: RECORD.itemsize], RECORD, 1)[0]
        found = None
        for slot in range(2):
            at = RECORDS_AT + slot * RECORD_ROOM
            raw = bytes(self.board.fram.data[at : at + RECORD.itemsize])
            record = np.frombuffer(raw, RECORD, 1)[0]
            whole = zlib.crc32(raw[: RECORD.fields["crc32"][1]]) == int(record["crc32"])
            ours = whole and int(record["epoch"]) == self.epoch
            if ours and (found is None or int(record["sequence"]) > int(found["sequence"])):
                found = record
        return found

    def answers(self) -> np.ndarray:
        """Return the valid records of the journal."""
        return read_journal(self.board.kept(), self.epoch, flash=self.board.keeps_in_flash)

    def entry(self) -> bytes | None:
        """Return the content of the newest valid entry of the ring in flash (firmware/ring.c)."""
        ring, found = self.board.slot("progress"), None
        for at in range(0, len(ring) - HEAD.itemsize, RING_STRIDE):
            raw = ring[at : at + HEAD.itemsize]
            head = np.frombuffer(raw, HEAD, 1)[0]
            begin, n_bytes = at + HEAD.itemsize, int(head["bytes"])
            tail = begin + -(-n_bytes // 8) * 8
            if zlib.crc32(raw[:-4]) != int(head["crc32"]) or tail + 8 > len(ring):
                continue
            content = ring[begin : begin + n_bytes]
            crc = zlib.crc32(content, int(head["crc32"]))
            whole = np.frombuffer(ring, "<u4", 2, tail).tolist() == [int(head["sequence"]), crc]
            if whole and (found is None or int(head["sequence"]) > found[0]):
                found = int(head["sequence"]), content
        return None if found is None else found[1]

    def _in_entry(self, index: int) -> bytes:
        content, record = self.entry(), self.record()
        assert content is not None
        assert record is not None
        at = RECORD.itemsize
        for tensor in sorted(self.live(int(record["next_op"])) if record["running"] else ()):
            n_bytes = self.places[tensor][1]
            if tensor == index:
                return content[at : at + n_bytes]
            at += n_bytes
        return b""

    def live(self, next_op: int) -> set[int]:
        """Return the kept tensors that ops from ``next_op`` on read; straight from the container, not from the engine."""
        made, needed = set(), set()
        for index, op in enumerate(self.container.ops):
            if index < next_op:
                made.add(int(op["output"]))
            else:
                needed |= {int(t) for t in op["inputs"][: int(op["n_inputs"])]} & made
        return needed & set(self.places)
