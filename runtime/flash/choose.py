# SPDX-License-Identifier: Apache-2.0
"""Which way onto the board: the one asked for, or the first that is ready, in the order of preference."""

from __future__ import annotations

from joulet.errors import FlashError, JouletError, UsageError
from joulet.flash.debugger_volume import VolumeFlasher
from joulet.flash.external import OpenocdFlasher, ProbeRsFlasher
from joulet.flash.facts import WAYS, FlashFacts
from joulet.flash.flasher import Flasher, OnEvent, Options, log
from joulet.flash.stm32_uart import Stm32UartFlasher
from joulet.flash.surroundings import Surroundings
from joulet.flash.swd import PyocdFlasher
from joulet.flash.uf2_volume import Uf2Flasher

_NOTHING_THERE = {
    "pyocd": "no probe is plugged in, or it may not be used (joulet doctor prints the udev rule)",
    "uf2": "no boot loader's volume is mounted: hold the boot button while plugging the board in",
    "volume": "no debugger's volume of this board is mounted",
}


def make_flasher(via: str, facts: FlashFacts, options: Options, around: Surroundings) -> Flasher:
    """Return the flasher for one way, whether or not it is ready.

    Raises
    ------
    UsageError
        If there is no such way.
    """
    if via == "pyocd":
        return PyocdFlasher(facts=facts, options=options, around=around)
    if via == "uf2":
        return Uf2Flasher(facts=facts, options=options, around=around)
    if via == "volume":
        return VolumeFlasher(facts=facts, options=options, around=around)
    if via == "stm32-uart":
        return Stm32UartFlasher(facts=facts, options=options, around=around)
    if via == "openocd":
        return OpenocdFlasher(facts=facts, options=options, around=around)
    if via == "probe-rs":
        return ProbeRsFlasher(facts=facts, options=options, around=around)
    raise UsageError(f"--via {via}: there are {', '.join(WAYS)}")


def choose_flasher(facts: FlashFacts, options: Options, around: Surroundings, on_event: OnEvent) -> Flasher:
    """Return the first way that knows this board and has something to flash through.

    Raises
    ------
    FlashError
        If no way is ready; the message says of each why not.
    """
    if not facts.ways:
        raise FlashError(f"the [flash] table of {facts.board} names no way to flash it")
    reasons = []
    for via in facts.ways:
        flasher = make_flasher(via, facts, options, around)
        try:
            devices = flasher.probe()
        except JouletError as error:
            reasons.append(f"{via}: {error}")
            continue
        if devices:
            listed = ", ".join(f"{device.description} {device.id}" for device in devices)
            log(on_event, "info", f"flashing via {via}: {listed}")
            return flasher
        reasons.append(f"{via}: {_NOTHING_THERE.get(via, 'nothing is plugged in')}")
    raise FlashError(f"no way onto {facts.board} is ready. " + "; ".join(reasons))
