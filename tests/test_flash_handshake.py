# SPDX-License-Identifier: Apache-2.0
"""An image with the real firmware in it, on a virtual board: what the handshake sees of a good copy and of one with holes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flash_machines import Time, machine
from test_flash_image import make_build
from thumb import need_tools

from joulet.container.read import Container
from joulet.flash.build import Build, read_build
from joulet.flash.flasher import Result
from joulet.flash.image import Image, read_elf
from joulet.flash.verify import verify

MODEL = Path(__file__).resolve().parent / "golden" / "containers" / "v1" / "tiny.jlt"
BOARD = "virtual_m4"
RESULT = Result(via="volume", device="d", bytes_written=1, read_back=False)


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Return firmware and a model in one image, read back from a build folder."""
    need_tools()
    from joulet.firmware.build import build_firmware

    firmware = build_firmware(BOARD)
    model = MODEL.read_bytes()
    segments = (*read_elf(firmware.elf).segments, (model_address(), model))
    folder = make_build(
        tmp_path_factory.mktemp("build"),
        Image.of(segments),
        BOARD,
        build_id=firmware.build_id.hex(),
        model_hash=Container.from_bytes(model).model_hash.hex(),
    )
    return read_build(folder)


def model_address() -> int:
    """Return where the board looks for a container."""
    from joulet.boards import board_table

    return int(board_table(BOARD)["slots"]["model"]["address"])


def on_board(image: Image, hole: tuple[int, int] | None = None) -> Callable[[], Any]:
    """Put an image onto a new virtual board, but for a hole (address, bytes); return what connects to it."""
    from joulet.emulator.board import VirtualBoard, VirtualPort
    from joulet.link import connect

    board = VirtualBoard(BOARD)
    board.core.flash[:] = 0xFF
    for address, data in image.segments:
        board.load(address, data)
    if hole is not None:
        board.load(hole[0], b"\xff" * hole[1])
    board.power_on()
    return lambda: lambda port, baud, timeout_s: connect(VirtualPort(board), timeout_s=timeout_s)


def _verify(build: Build, connect: Callable[[], Any], root: Path) -> Result:
    return verify(RESULT, build, "virtual", machine(root, time=Time()), lambda event: None, connect=connect)


def test_a_good_copy_is_verified(build: Build, tmp_path: Path) -> None:
    result = _verify(build, on_board(build.image), tmp_path)
    assert result.verified, result.reason


@pytest.mark.parametrize("offset", [0, 0x400, 0x1000])
def test_a_hole_in_the_model_is_seen_by_the_board(build: Build, tmp_path: Path, offset: int) -> None:
    assert offset + 256 < len(MODEL.read_bytes())
    result = _verify(build, on_board(build.image, (model_address() + offset, 256)), tmp_path)
    assert not result.verified
    assert "refuses the model" in result.reason


def test_a_board_without_its_firmware_does_not_answer(build: Build, tmp_path: Path) -> None:
    result = _verify(build, on_board(build.image, (build.image.base, 1024)), tmp_path)
    assert not result.verified
    assert "no handshake" in result.reason


def test_another_build_is_told_apart(build: Build, tmp_path: Path) -> None:
    import dataclasses

    other = dataclasses.replace(build, build_id=bytes(8))
    result = _verify(other, on_board(build.image), tmp_path)
    assert f"runs build {build.build_id.hex()} ({BOARD})" in result.reason


@pytest.mark.parametrize("share", [0.35, 0.6, 0.8, 0.97])
def test_a_hole_in_the_firmware_is_seen_by_its_sum(build: Build, tmp_path: Path, share: float) -> None:
    address, data = build.image.segments[0]
    hole = address + int(share * len(data)) // 64 * 64
    assert build.image.part(hole, 64) != b"\xff" * 64
    result = _verify(build, on_board(build.image, (hole, 64)), tmp_path)
    assert not result.verified
    assert "holes" in result.reason or "no handshake" in result.reason


def test_holes_in_a_model_that_was_trusted_before_are_seen(build: Build, tmp_path: Path) -> None:
    """The board has checked this very model once; a bad copy under the same header must not pass for it."""
    from joulet.emulator.board import VirtualBoard, VirtualPort
    from joulet.link import connect

    board = VirtualBoard(BOARD)
    board.core.flash[:] = 0xFF
    for address, data in build.image.segments:
        board.load(address, data)
    board.power_on()
    board.run()
    board.load(model_address() + 0x1000, b"\xff" * 64)
    board.power_on()

    def reconnect(port: str, *, baud: int, timeout_s: float) -> Any:
        return connect(VirtualPort(board), timeout_s=timeout_s)

    for _ in range(2):
        result = _verify(build, lambda: reconnect, tmp_path)
        assert not result.verified
        board.power_on()
