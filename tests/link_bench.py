# SPDX-License-Identifier: Apache-2.0
"""A virtual board on the bench, what it should answer, and frames as they are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from thumb import need_tools

from joulet.compile import compile_model
from joulet.emulator.board import VirtualBoard, VirtualPort
from joulet.engine.host import HostEngine
from joulet.link import Board, wire
from joulet.link.frames import Frame, FrameReader, encode

ROOT = Path(__file__).resolve().parents[1]
_M = wire.CODES["Message"]


def tiny_container() -> bytes:
    """Return a container with two exits and three paths."""
    return (ROOT / "tests" / "golden" / "containers" / "v1" / "tiny.jlt").read_bytes()


def other_container() -> bytes:
    """Return a container that differs from it in all its pages."""
    model = ROOT / "tests" / "models" / "residual_int8.tflite"
    return compile_model(model, exits="off", precisions=("w8",)).container


def alive(container: bytes = b"", name: str = "virtual_m4") -> VirtualBoard:
    """Return a board that has booted."""
    need_tools()
    board = VirtualBoard(name)
    if container:
        board.load(board.facts.slots["model"].address, container)
    board.power_on()
    return board


def inputs(container: bytes, count: int = 1, seed: int = 0) -> npt.NDArray[np.int8]:
    info = HostEngine(container).inputs[0]
    return np.random.default_rng(seed).integers(-128, 128, (count, *info.shape[1:]), dtype=np.int8)


class Expected:
    """What HostEngine answers, for every path and exit."""

    def __init__(self, container: bytes, x: npt.NDArray[np.int8]) -> None:
        engine = HostEngine(container)
        self.paths, self.exits = engine.path_names, engine.exit_names
        self._known = {
            (path, depth): engine.infer([x[None]], path=name, depth=depth)
            for path, name in enumerate(self.paths)
            for depth in range(len(self.exits))
        }

    def check(self, board: Board, path: int, depth: int) -> None:
        """Run one inference on the board and compare all of it."""
        reached = board.infer(path, depth)
        known = self._known[path, depth]
        assert board.answer() == known.outputs[0].tobytes()
        assert (reached.exit, reached.path) == (depth, path)
        assert reached.confidence_q15 == int(np.ravel(known.confidence_q15)[0])
        assert reached.macs == int(np.ravel(known.macs)[0])

    def check_all(self, board: Board) -> None:
        for path, depth in self._known:
            self.check(board, path, depth)


def raw(port: VirtualPort, name: str, sequence: int, payload: bytes = b"") -> list[Frame]:
    """Send one frame as it is; return what comes back."""
    port.write(encode(Frame(_M[name], sequence, payload)))
    return heard(port)


def heard(port: VirtualPort) -> list[Frame]:
    data = b""
    while more := port.read(4096, 0):
        data += more
    return FrameReader().feed(data)


_PAYLOADS = {
    "HELLO",
    "START",
    "STEP",
    "SWITCH",
    "READ",
    "BEGIN",
    "CHUNK",
    "INFER",
    "PRICE",
    "RUN",
    "PCM",
    "COMMIT",
    "ROLLBACK",
}


def any_request(rng: np.random.Generator) -> Frame:
    """Return a valid frame, BYE excepted, whose fields are small, extreme or anything."""
    name = [message for message in _M if message != "BYE"][int(rng.integers(0, len(_M) - 1))]
    sequence = int(rng.integers(0, 65_536))
    if name not in _PAYLOADS or rng.random() < 0.1:
        return Frame(_M[name], sequence, rng.bytes(int(rng.integers(0, 40))))
    record = np.zeros((), wire.dtype(name.capitalize()))
    for field in record.dtype.names or ():
        if record[field].shape:
            continue
        limits = np.iinfo(record[field].dtype)
        kind = rng.random()
        if kind < 0.6:
            record[field] = rng.integers(0, 6)
        elif kind < 0.7:
            record[field] = limits.max
        elif kind < 0.8:
            record[field] = rng.integers(0, min(int(limits.max), 600))
        else:
            record[field] = rng.integers(limits.min, limits.max, endpoint=True, dtype=record[field].dtype)
    payload = record.tobytes()
    if name in ("CHUNK", "PCM"):
        payload += rng.bytes(int(rng.integers(0, wire.MAX_PAYLOAD + 1 - len(payload))))
    return Frame(_M[name], sequence, payload)
