# SPDX-License-Identifier: Apache-2.0
"""Flash through the volume of a UF2 boot loader: copy one file; the volume goes away when all of it was taken."""

from __future__ import annotations

from dataclasses import dataclass

from joulet.errors import DataError, FlashError, UsageError
from joulet.flash.facts import FlashFacts
from joulet.flash.flasher import Device, OnEvent, Options, Result, one_of, task
from joulet.flash.image import Image
from joulet.flash.surroundings import Surroundings
from joulet.flash.uf2 import BLOCK_BYTES, family_name, read_uf2, write_uf2
from joulet.flash.volumes import Volume, at_mount, copy_onto, find_volumes

_GONE_WITHIN_S = 15.0
_FILE = "JOULET.UF2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Uf2Flasher:
    """Copies a UF2 file onto the boot loader's volume."""

    facts: FlashFacts
    options: Options
    around: Surroundings
    via: str = "uf2"

    def probe(self) -> list[Device]:
        """Return the UF2 volumes that are for this board."""
        self._family()
        if self.options.mount is not None:
            volume = at_mount(self.options.mount, "uf2")
            self._check_board(volume)
            return [_device(volume)]
        return [_device(volume) for volume in find_volumes(self.around) if self._is_for_board(volume)]

    def plan(self, image: Image) -> list[str]:
        """Return the steps in words."""
        blocks = len(tuple(image.pages(256)))
        return [
            "find the volume with INFO_UF2.TXT and compare its Board-ID",
            f"copy {_FILE}: {blocks} blocks of {BLOCK_BYTES} bytes for {family_name(self._family())}",
            f"wait up to {_GONE_WITHIN_S:.0f} s for the volume to go away, which is how the boot loader says it took all",
        ]

    def flash(self, image: Image, on_event: OnEvent) -> Result:
        """Copy the image and wait until the volume goes away."""
        device = one_of(self.probe(), None, "--mount")
        volume = at_mount(self.options.mount, "uf2") if self.options.mount else self._volume(device)
        self._check_family(volume)
        data = write_uf2(image, self._family())
        with task(on_event, "program", f"copying to {volume.path}", len(data)) as copying:
            copy_onto(volume.path / _FILE, data, copying.advance)
        with task(on_event, "restart", "waiting for the board to restart"):
            gone = self.around.wait_for(lambda: not (volume.path / "INFO_UF2.TXT").exists(), _GONE_WITHIN_S)
            if not gone:
                raise FlashError(
                    f"the volume '{volume.path}' is still there after {_GONE_WITHIN_S:.0f} s: its boot loader ignored "
                    f"blocks (is it a board of family {family_name(self._family())}?); unplug it, hold its boot button, retry"
                )
        return Result(via=self.via, device=device.id, bytes_written=image.size_bytes, read_back=False)

    def _volume(self, device: Device) -> Volume:
        return next(volume for volume in find_volumes(self.around) if str(volume.path) == device.id)

    def _family(self) -> int:
        if self.facts.family is None:
            raise UsageError(
                f"{self.facts.board} has no UF2 boot loader (no family in its board.toml); use another --via"
            )
        return self.facts.family

    def _is_for_board(self, volume: Volume) -> bool:
        return volume.kind == "uf2" and volume.board_id.lower().startswith(
            tuple(name.lower() for name in self.facts.uf2_board_ids)
        )

    def _check_board(self, volume: Volume) -> None:
        if not self._is_for_board(volume):
            wanted = " or ".join(self.facts.uf2_board_ids)
            raise UsageError(
                f"'{volume.path}' is the volume of '{volume.board_id}', not of {self.facts.board} ({wanted}): wrong board"
            )

    def _check_family(self, volume: Volume) -> None:
        """Compare with the program that the volume shows as CURRENT.UF2, where it shows one."""
        try:
            with (volume.path / "CURRENT.UF2").open("rb") as file:
                block = bytearray(file.read(BLOCK_BYTES))
            block[20:28] = (0).to_bytes(4, "little") + (1).to_bytes(4, "little")  # as if it were the only block
            family = read_uf2(bytes(block)).family
        except (OSError, DataError):
            return
        if family is not None and family != self._family():
            raise FlashError(
                f"'{volume.path}' runs {family_name(family)}, not {family_name(self._family())}: wrong board, nothing written"
            )


def _device(volume: Volume) -> Device:
    return Device(via="uf2", id=str(volume.path), description=volume.model or volume.board_id or "UF2 boot loader")
