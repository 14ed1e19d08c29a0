# SPDX-License-Identifier: Apache-2.0
"""The PPK2: our driver and Nordic users' ``ppk2-api`` on the same simulated kit must see the same; losses must be seen.

``ppk2-api`` is under the GPL: it runs in a process of its own and is never imported here.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ppk2_pty import on_pty, ramp, steady

from joulet.errors import LinkError, MeterError, UsageError
from joulet.meters import Machine, Quality, Samples, Stream, open_meter
from joulet.meters.machine import UsbPort
from joulet.meters.ppk2 import Ppk2, levels
from joulet.meters.ppk2_device import DevicePort, Ppk2Device
from joulet.meters.ppk2_wire import RANGE_ENDS_A, Decoder, Modifiers, encode, parse_metadata, regulator
from joulet.meters.tally import Tally
from joulet.meters.watch import Watch

# the judge: what an ordinary user of ppk2-api writes; prints µA and logic of a fixed number of samples
JUDGE = """
import sys, time
from ppk2_api.ppk2_api import PPK2_API
kit = PPK2_API(sys.argv[1], timeout=1)
assert kit.get_modifiers(), "no metadata"
kit.use_ampere_meter()
kit.set_source_voltage(3300)
kit.start_measuring()
values, bits, deadline = [], [], time.time() + 30
while len(values) < int(sys.argv[2]) and time.time() < deadline:
    data = kit.get_data()
    if data:
        found, logic = kit.get_samples(data)
        values += found
        bits += logic
    time.sleep(0.005)
kit.stop_measuring()
for value, logic in zip(values, bits):
    print(repr(value), logic)
"""


def judged(port: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what ppk2-api sees: currents [A] and logic."""
    done = subprocess.run(
        [sys.executable, "-c", JUDGE, port, str(count)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [line.split() for line in done.stdout.splitlines()]
    return np.array([float(row[0]) for row in rows]) * 1e-6, np.array([int(row[1]) for row in rows], np.uint8)


def ours(port: str, count: int) -> tuple[np.ndarray, np.ndarray, Ppk2]:
    """Return what our driver sees."""
    meter = open_meter(f"ppk2:{port},voltage=3.3V")
    assert isinstance(meter, Ppk2)
    assert isinstance(meter, Stream)
    parts: list[Samples] = []
    deadline_s = time.monotonic() + 30.0
    while sum(part.count for part in parts) < count and time.monotonic() < deadline_s:
        parts.append(meter.samples(0.1))
    meter.close()
    return np.concatenate([p.current_a for p in parts]), np.concatenate([p.logic for p in parts]), meter


def odd() -> Modifiers:
    """Return a calibration in which every term matters."""
    nominal = Modifiers.nominal().values
    rows = {key: row.copy() for key, row in nominal.items()}
    rows["GS"][:] = [0.9, 1.1, 0.0, 2.0, 1.0]
    rows["GI"][:] = [1.01, 0.99, 1.02, 0.98, 1.0]
    rows["O"][:] = [112.0, 90.0, 84.0, 70.0, 61.0]
    rows["S"][:] = [1e-6, 0.0, 0.0001, 0.0, 0.0]
    rows["I"][:] = [0.0, 0.0, 0.0, 0.0001, -0.0002]
    rows["UG"][:] = [1.0, 1.001, 1.0, 0.999, 1.0]
    return parse_metadata(Modifiers(values=rows).text())  # as rounded on the wire


needs_judge = pytest.mark.skipif(
    importlib.util.find_spec("ppk2_api") is None, reason="the judge ppk2-api is not installed"
)


@needs_judge
@pytest.mark.parametrize("most_a", [0.05, 0.8], ids=["four-ranges", "five-ranges"])
def test_the_judge_and_we_see_the_same_through_every_range(most_a: float) -> None:
    count = 20_000
    with on_pty(Ppk2Device(ramp(most_a), odd()), limit=count) as pty:
        judge_a, judge_logic = judged(pty.name, count)
        # our decoder keeps the last eight words until it has seen that they are aligned only where the counter breaks
        driver_a, driver_logic, meter = ours(pty.name, count)
    assert len(judge_a) == len(driver_a) == count
    assert np.array_equal(judge_logic, driver_logic)
    assert driver_a == pytest.approx(judge_a, rel=1e-9, abs=1e-15)
    assert (meter.lost, meter.uncertain) == (0, 0)
    true_a = ramp(most_a)(0, count)[0]
    settled = np.abs(true_a - np.roll(true_a, 8)) < 1e-5  # elsewhere the filter holds on to what was
    assert driver_a[settled] == pytest.approx(true_a[settled], rel=0.02, abs=1e-3)


@needs_judge
def test_what_is_lost_is_nan_for_us_and_unnoticed_by_the_judge() -> None:
    count, at, gap = 4_000, 1_000, 7
    with on_pty(Ppk2Device(steady(0.004, logic=5)), limit=count, drop=[[at, gap]]) as pty:
        judge_a, _ = judged(pty.name, count - gap)
    with on_pty(Ppk2Device(steady(0.004, logic=5)), limit=count, drop=[[at, gap]]) as pty:
        driver_a, logic, meter = ours(pty.name, count)
    assert len(judge_a) == count - gap
    assert len(driver_a) == count
    # one more than was lost: the word after a loss may be two halves
    assert np.flatnonzero(np.isnan(driver_a)).tolist() == list(range(at, at + gap + 1))
    assert (meter.lost, meter.uncertain) == (gap + 1, 0)
    assert np.delete(driver_a, range(at, at + gap + 1)) == pytest.approx(np.delete(judge_a, at), rel=1e-9)
    assert set(logic[:at]) == {5}


def words(count: int, first: int = 0, amperes: float = 0.004) -> bytes:
    return encode(np.full(count, amperes), np.full(count, 0xA5, np.uint8), first, Modifiers.nominal(), 3.3)


@pytest.mark.parametrize("missing", [1, 2, 3, 5, 21, 250])
@pytest.mark.parametrize("piece", [1, 3, 64, 10_000])
def test_bytes_lost_anywhere_are_found_and_the_stream_is_aligned_again(missing: int, piece: int) -> None:
    data = words(400)
    data = data[:802] + data[802 + missing :]
    decoder = Decoder(Modifiers.nominal(), 3.3)
    parts = [decoder.feed(data[at : at + piece]) for at in range(0, len(data), piece)]
    current_a = np.concatenate([part.current_a for part in parts])
    touched = -(-(802 + missing) // 4) - 200  # words that lost a byte
    lost = sum(part.lost for part in parts)
    assert lost in (touched % 64, touched % 64 + 1)
    assert sum(part.uncertain for part in parts) == 1  # a multiple of 64 more may be missing, and that is said
    assert len(current_a) == 400 - 64 * (touched // 64)
    assert current_a[np.isfinite(current_a)] == pytest.approx(0.004, rel=2e-3)
    logic = np.concatenate([part.logic for part in parts])
    assert set(logic[np.isfinite(current_a)]) == {0xA5}


def test_the_counter_wraps_and_repeats_are_not_taken_twice() -> None:
    decoder = Decoder(Modifiers.nominal(), 3.3)
    assert len(decoder.feed(words(300)).current_a) == 300
    again = decoder.feed(words(64, 300) + words(100, 364))
    assert (len(again.current_a), again.lost) == (164, 0)


@pytest.mark.parametrize("left", [1, 2, 3, 5])
def test_the_end_of_a_word_from_before_is_no_sample(left: int) -> None:
    decoder = Decoder(Modifiers.nominal(), 3.3)
    parts = [decoder.feed(part) for part in (bytes(range(1, left + 1)), words(100)[:30], words(100)[30:])]
    current_a = np.concatenate([part.current_a for part in parts])
    assert len(current_a) == 100
    assert current_a == pytest.approx(0.004, rel=2e-3)
    assert sum(part.uncertain for part in parts) == 1


def test_encoding_is_the_inverse_of_reading_in_every_range() -> None:
    for index, amperes in enumerate([20e-6, 200e-6, 2e-3, 20e-3, 0.2]):
        decoder = Decoder(odd(), 3.3)
        data = encode(np.full(32, amperes), np.zeros(32, np.uint8), 0, odd(), 3.3)
        step_a = 4 * 1.8 / 163840 / odd().values["R"][index]
        assert np.searchsorted(RANGE_ENDS_A, amperes) == index
        assert decoder.feed(data).current_a == pytest.approx(amperes, abs=step_a)


def test_metadata_with_holes() -> None:
    found = parse_metadata("Calibrated: 1\nR0: 1000.5\nR1: 0\nGS0: -nan\nGI1: x\nS9: 4\nHW: 9173\nnonsense\nEND")
    assert found.calibrated
    assert found.values["R"][:2].tolist() == [1000.5, 101.65]
    assert found.values["GS"][0] == 1.0
    assert found.hardware == "9173"


def test_the_regulator_is_set_as_nordic_does() -> None:
    assert regulator(800) == bytes([0x0D, 3, 32])
    assert regulator(3300) == bytes([0x0D, 3 + 2532 // 256, 2532 % 256])
    assert regulator(9000) == regulator(5000)


def test_samples_of_an_earlier_run_may_lie_before_the_metadata() -> None:
    with on_pty(Ppk2Device(steady(0.004)), stale=words(500), limit=1000) as pty:
        current_a, _, _ = ours(pty.name, 1000)
    assert current_a == pytest.approx(0.004, rel=2e-3)


def test_what_is_no_kit_is_said() -> None:
    class Mute:
        def write(self, data: bytes) -> None: ...
        def read(self, n_bytes: int, timeout_s: float) -> bytes:
            return b""

        def close(self) -> None: ...

    with pytest.raises(MeterError, match="try the other one"):
        open_meter("ppk2:/dev/x,voltage=3V", Machine(open_port=lambda url, baud: Mute()))
    with pytest.raises(MeterError, match="cannot be opened"):
        open_meter("ppk2:/dev/nowhere,voltage=3V")
    with pytest.raises(MeterError, match="no PPK2 is plugged in"):
        open_meter("ppk2,voltage=3V", Machine(usb_ports=list))
    with pytest.raises(UsageError, match="give voltage"):
        open_meter("ppk2:/dev/x")
    with pytest.raises(MeterError, match=r"0\.8 to 5 V"):
        open_meter("ppk2:/dev/x,voltage=9V,mode=source")


class Line(DevicePort):
    """A kit whose time goes on by samples asked for; ``gone`` unplugs it."""

    def __init__(self, device: Ppk2Device) -> None:
        self.now = 0
        self.gone = False
        super().__init__(device, lambda: self.now)

    def read(self, n_bytes: int, timeout_s: float) -> bytes:
        if self.gone:
            raise LinkError("port '/dev/x' is gone")
        return super().read(n_bytes, timeout_s)


def test_readings_are_means_with_extremes_and_an_integral() -> None:
    device = Ppk2Device(
        lambda first, count: (0.002 + 0.002 * (np.arange(first, first + count) % 2), np.zeros(count, np.uint8))
    )
    line = Line(device)
    now = [0.0]
    kit = UsbPort(device="/dev/x", usb_id=(0x1915, 0xC00A))
    around = Machine(open_port=lambda url, baud: line, clock=lambda: now[0], usb_ports=lambda: [kit])
    meter = open_meter("ppk2,voltage=3V", around)
    assert meter.read() == ()
    line.now, now[0] = 100_000, 1.0
    (reading,) = meter.read()
    assert reading.power_w == pytest.approx(9e-3, rel=2e-3)
    assert (reading.low_w, reading.high_w) == pytest.approx((6e-3, 12e-3), rel=2e-3)
    assert reading.energy_j == pytest.approx(9e-3, rel=2e-3)
    assert reading.quality == Quality.OK
    # 64 samples of every 128 are lost, which the counter cannot tell: the clock does, once it is much
    line.now, now[0] = 200_000, 5.0
    (reading,) = meter.read()
    assert Quality.GAP in reading.quality
    assert (reading.time_s, reading.lost_s) == pytest.approx((5.0, 3.0))
    now[0] = 8.0
    with pytest.raises(MeterError, match="no samples for 3"):
        meter.read()
    line.gone = True
    with pytest.raises(MeterError, match="is gone"):
        meter.read()


def test_source_mode_supplies_the_board() -> None:
    device = Ppk2Device(steady(0.001))
    meter = open_meter("ppk2:x,voltage=1.8V,mode=source", Machine(open_port=lambda url, baud: Line(device)))
    assert (device.mode, device.running, device.millivolts, device.measuring) == (2, True, 1800, True)
    assert any("goes on" in note for note in meter.notes)
    meter.close()
    assert (device.running, device.measuring) == (True, False)


def test_levels_of_the_digital_inputs() -> None:
    assert levels(np.array([0b101], np.uint8))[0].tolist() == [True, False, True] + [False] * 5


def test_unplugged_and_plugged_in_again_on_a_terminal(tmp_path: Path) -> None:
    link = tmp_path / "ttyACM0"
    source = f"ppk2:{link},voltage=3V"
    kinds: list[str] = []
    tally, counts = Tally(60.0, 5.0), [0]

    def polled(watch: Watch, done: Callable[[], bool]) -> None:
        ends_s = time.monotonic() + 30.0
        while not done() and time.monotonic() < ends_s:
            readings, news = watch.poll()
            kinds.extend(each.kind for each in news if each.kind != "note")
            for name in watch.lost:
                tally.interrupt(name, time.monotonic())
            for name, reading in readings:
                tally.add(name, reading)
                counts[-1] += 1
            time.sleep(0.02)

    with on_pty(Ppk2Device(steady(0.004))) as pty:
        link.symlink_to(pty.name)
        watch = Watch([source], Machine(), allow_estimate=False, late_s=60.0)
        polled(watch, lambda: counts[-1] >= 5)
        link.unlink()
    polled(watch, lambda: bool(kinds))
    assert kinds == ["lost"]
    with on_pty(Ppk2Device(steady(0.004))) as pty:
        link.symlink_to(pty.name)
        counts.append(0)
        polled(watch, lambda: counts[-1] >= 5)
        watch.close()
    assert kinds == ["lost", "back"]
    ((_, f),) = tally.figures()
    assert f.missed_s > 1.0  # it is asked again after a second
    assert f.energy_j == pytest.approx(12e-3 * f.covered_s, rel=2e-3)
