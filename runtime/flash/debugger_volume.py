# SPDX-License-Identifier: Apache-2.0
"""Flash through the volume that the debugger of a board offers (ST-LINK, DAPLink, J-Link): copy a file, look for FAIL.TXT.

A copy can leave holes without any FAIL.TXT, so the handshake after it is what counts.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulet.errors import FlashError, UsageError
from joulet.flash.facts import FlashFacts
from joulet.flash.flasher import Device, OnEvent, Options, Result, log, one_of, task
from joulet.flash.image import Image, write_hex
from joulet.flash.surroundings import Surroundings
from joulet.flash.volumes import Volume, at_mount, copy_onto, find_volumes, look_at, read_text

_SETTLES_WITHIN_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeFlasher:
    """Copies a file onto the debugger's volume."""

    facts: FlashFacts
    options: Options
    around: Surroundings
    via: str = "volume"

    def probe(self) -> list[Device]:
        """Return the debuggers' volumes that carry this board's name, or the one asked for."""
        if self.options.mount is not None:
            return [_device(at_mount(self.options.mount, "debugger"))]
        if not self.facts.volume_names:
            raise UsageError(f"{self.facts.board} has no debugger volume known to its board.toml; use another --via")
        names = tuple(name.lower() for name in self.facts.volume_names)
        volumes = (volume for volume in find_volumes(self.around) if volume.kind == "debugger")
        return [_device(volume) for volume in volumes if volume.path.name.lower().startswith(names)]

    def plan(self, image: Image) -> list[str]:
        """Return the steps in words."""
        return [
            f"find the debugger's volume (named {' or '.join(self.facts.volume_names) or 'by --mount'})",
            f"copy the image of {image.size_bytes} bytes as .bin (ST-LINK) or .hex (DAPLink, J-Link)",
            f"wait up to {_SETTLES_WITHIN_S:.0f} s until the volume has come again, and look for FAIL.TXT",
        ]

    def flash(self, image: Image, on_event: OnEvent) -> Result:
        """Copy the image; fail with the text of FAIL.TXT if the debugger writes one."""
        device = one_of(self.probe(), None, "--mount")
        if self.options.mount is not None:
            volume = at_mount(self.options.mount, "debugger")
        else:
            volume = next(v for v in find_volumes(self.around) if str(v.path) == device.id)
        name, data = self._file(volume, image)
        stale = read_text(volume.path / "FAIL.TXT")
        with task(on_event, "program", f"copying {name} to {volume.path}", len(data)) as copying:
            copy_onto(volume.path / name, data, copying.advance)
        with task(on_event, "restart", "waiting for the debugger"):
            self._settle(volume, name, stale, on_event)
        return Result(via=self.via, device=device.id, bytes_written=image.size_bytes, read_back=False)

    def _file(self, volume: Volume, image: Image) -> tuple[str, bytes]:
        # an ST-LINK puts .bin at the start of flash; only newer ones take .hex
        if volume.model == "debugger" and image.base == self.facts.base:
            return "JOULET.BIN", image.to_bytes(self.facts.base)
        return "JOULET.HEX", write_hex(image)

    def _settle(self, volume: Volume, name: str, stale: str | None, on_event: OnEvent) -> None:
        """Wait until the volume was mounted anew (our file is gone) or tells a failure."""
        fail = volume.path / "FAIL.TXT"

        def settled() -> bool:
            text = read_text(fail)
            return (text is not None and text != stale) or not (volume.path / name).exists()

        came_again = self.around.wait_for(settled, _SETTLES_WITHIN_S)
        if came_again and look_at(volume.path) is None:
            came_again = self.around.wait_for(lambda: look_at(volume.path) is not None, _SETTLES_WITHIN_S)
        text = read_text(fail)
        if text is not None and (came_again or text != stale):
            raise FlashError(
                f"the debugger at '{volume.path}' refused the image: {' '.join(text.split()) or 'FAIL.TXT'}"
            )
        if not came_again:
            message = (
                f"'{volume.path}' did not come again within {_SETTLES_WITHIN_S:.0f} s; only the handshake can tell"
            )
            log(on_event, "warning", message)


def _device(volume: Volume) -> Device:
    return Device(via="volume", id=str(volume.path), description=volume.model or "debugger volume")
