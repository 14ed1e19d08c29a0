# SPDX-License-Identifier: Apache-2.0
"""The LPM01A: bytes as UM2243 has them, the driver against a simulated shield on a pseudo terminal, losses by time stamps."""

from __future__ import annotations

import time

import numpy as np
import pytest
from lpm01a_pty import Shield, ascii_sample, binary_sample, on_pty

from joulet.errors import MeterError, UsageError
from joulet.link.port import Port, open_port
from joulet.meters import Machine, Reading, open_meter
from joulet.meters.lpm01a import Lpm01a
from joulet.meters.lpm01a_wire import Reader, decode_words


def test_samples_as_the_manual_prints_them() -> None:
    assert decode_words(np.array([0x52A0], np.uint16))[0] == pytest.approx(640.9e-6, rel=1e-4)
    heard = Reader(1000, binary=False).feed(b"6409-07\r\n0123+00\r\n")
    assert heard.current_a == pytest.approx([640.9e-6, 123.0])
    assert ascii_sample(640.9e-6) == "6409-07"
    assert decode_words(np.frombuffer(binary_sample(0.0123), ">u2"))[0] == pytest.approx(0.0123, rel=4e-3)


@pytest.mark.parametrize("piece", [1, 5, 1000])
def test_lines_may_come_in_halves(piece: int) -> None:
    text = b"TimeStamp: 000s 100ms, buff 00%\r\n1000-06\r\nevent 1 ris\r\n2000-06\r\nevent 2 fal\r\n3000-06\r\n40"
    reader = Reader(1000, binary=False)
    heard = [reader.feed(text[at : at + piece]) for at in range(0, len(text), piece)]
    assert [a for each in heard for a in each.current_a] == pytest.approx([1e-3, 2e-3, 3e-3])
    assert [level for each in heard for level in each.logic] == [0, 0x80, 0]
    assert reader.feed(b"00-06\n").current_a == pytest.approx([4e-3])


def test_binary_metadata_of_odd_size_lies_between_samples() -> None:
    stamp = b"\xf0\xf3" + (100).to_bytes(4, "big") + b"\x00\xff\xff"
    data = binary_sample(1e-3) + stamp + binary_sample(2e-3) + b"\xf0\xf2hello\xff\xff" + binary_sample(3e-3)
    for piece in (1, 3, 100):
        reader = Reader(100_000, binary=True)
        heard = [reader.feed(data[at : at + piece]) for at in range(0, len(data), piece)]
        assert [a for each in heard for a in each.current_a] == pytest.approx([1e-3, 2e-3, 3e-3], rel=4e-3)
        assert [text for each in heard for text in each.strange] == ["info hello"]


def open_terminal(url: str, baud: int) -> Port:
    """Open a pseudo terminal, which has no rate, at one that an emulated kernel has a name for."""
    assert baud == 3_686_400
    return open_port(url, 115_200)


TERMINAL = Machine(open_port=open_terminal)


def measure(port: str, count: int, more: str = "") -> tuple[np.ndarray, np.ndarray, Lpm01a]:
    meter = open_meter(f"lpm01a:{port},voltage=1.8V{more}", TERMINAL)
    assert isinstance(meter, Lpm01a)
    parts, ends_s = [], time.monotonic() + 20.0
    while sum(part.count for part in parts) < count and time.monotonic() < ends_s:
        parts.append(meter.samples(0.1))
    meter.close()
    return np.concatenate([p.current_a for p in parts]), np.concatenate([p.logic for p in parts]), meter


@pytest.mark.parametrize(("rate", "rel"), [("1kHz", 5e-4), ("20kHz", 4e-3)], ids=["ascii", "binary"])
def test_what_flows_is_what_is_read(rate: str, rel: float) -> None:
    shield = Shield(lambda index: (1e-3 + 1e-5 * (index % 100), index // 50 % 2))
    with on_pty(shield, limit=400) as port:
        current_a, logic, meter = measure(port, 400, f",rate={rate}")
    assert current_a == pytest.approx(1e-3 + 1e-5 * (np.arange(400) % 100), rel=rel)
    assert meter.lost == 0
    if rate == "1kHz":
        assert (logic >> 7).tolist() == [index // 50 % 2 for index in range(400)]
    assert shield.settings["volt"] == "1800m"
    assert shield.settings["pwr"] == "on nostatus"


def test_lost_samples_are_seen_by_the_time_stamps() -> None:
    with on_pty(Shield(lambda index: (1e-3, 0), drop=(130, 25)), limit=400) as port:
        current_a, _, meter = measure(port, 400)
    assert meter.lost == 25
    assert np.isnan(current_a).sum() == 25
    assert len(current_a) == 400


def test_energy_against_the_sum() -> None:
    shield = Shield(lambda index: (2e-3, 0))
    with on_pty(shield) as port:
        meter = open_meter(f"lpm01a:{port},voltage=3V", TERMINAL)
        readings: tuple[Reading, ...] = ()
        while not readings:
            time.sleep(0.1)
            readings = meter.read()
        meter.close()
    assert readings[0].power_w == pytest.approx(6e-3, rel=1e-3)
    assert readings[0].energy_j == pytest.approx(6e-3 * (readings[0].covered_s or 0.0), rel=1e-3)
    assert (readings[0].covered_s or 0.0) > 0.02


class Script:
    """A line that answers with given bytes."""

    def __init__(self, answer: bytes) -> None:
        self.answer = bytearray(answer)

    def write(self, data: bytes) -> None:
        """Nothing hears."""

    def read(self, n_bytes: int, timeout_s: float) -> bytes:
        data = bytes(self.answer[:n_bytes])
        del self.answer[:n_bytes]
        return data

    def close(self) -> None:
        """Nothing is held."""


def test_errors_name_the_thing() -> None:
    now = iter(range(1_000_000))
    around = Machine(open_port=lambda url, baud: Script(b""), clock=lambda: 0.01 * next(now))
    with pytest.raises(MeterError, match="nothing there answers like a LPM01A"):
        open_meter("lpm01a:/dev/x,voltage=3V", around)
    with pytest.raises(MeterError, match=r"1\.8 to 3\.3 V"):
        open_meter("lpm01a:/dev/x,voltage=5V")
    with pytest.raises(MeterError, match="rate is one of"):
        open_meter("lpm01a:/dev/x,voltage=3V,rate=3kHz")
    with pytest.raises(UsageError, match="give voltage"):
        open_meter("lpm01a:/dev/x")
    refusing = Shield(lambda index: (0.0, 0))
    refusing._answer = lambda line: b"PowerShield > error: busy\r\n"  # type: ignore[method-assign]
    with on_pty(refusing) as port, pytest.raises(MeterError, match="refuses 'htc'"):
        open_meter(f"lpm01a:{port},voltage=3V", TERMINAL)


def test_over_current_ends_the_measurement() -> None:
    reader = Reader(20_000, binary=True)
    assert reader.feed(b"\xf0\xf5overcurrent\xff\xff").strange == ["over-current overcurrent"]
    assert reader.feed(b"\xf0\xf4\xff\xff").ended
