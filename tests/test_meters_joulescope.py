# SPDX-License-Identifier: Apache-2.0
"""Joulescope through its maker's driver: the double speaks as ``pyjoulescope_driver`` documents, names and topics included."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from meter_trees import machine, plant

from joulet.errors import MeterError, MissingDependencyError, UsageError
from joulet.meters import Machine, Quality, Reading, open_meter
from joulet.meters.joulescope import Joulescope
from joulet.meters.spec import parse_spec
from joulet.meters.tally import Tally

RATE_HZ = 1_000_000


class FakeDriver:
    """Two methods more than the real one: ``flow`` lets power pass, ``reset`` clears the accumulators."""

    def __init__(self, *paths: str, broken: bool = False) -> None:
        self.paths, self.broken = list(paths), broken
        self.log: list[tuple[Any, ...]] = []
        self.subscribers: dict[str, Callable[[str, Any], None]] = {}
        self.sample, self.energy_j = 5_000_000, 123.0  # it has run for a while before we came
        self.finalized = False

    def device_paths(self, timeout: float | None = None) -> list[str]:
        return self.paths

    def open(self, device_prefix: str, mode: str | None = None, timeout: float | None = None) -> None:
        if self.broken:
            raise RuntimeError("jsdrv_open timed out")
        self.log.append(("open", device_prefix, mode))

    def close(self, device_prefix: str, timeout: float | None = None) -> None:
        self.log.append(("close", device_prefix))

    def publish(self, topic: str, value: Any, timeout: float | None = None) -> None:
        self.log.append(("publish", topic, value))

    def subscribe(self, topic: str, flags: Any, fn: Callable[[str, Any], None], timeout: float | None = None) -> None:
        self.subscribers[topic] = fn

    def unsubscribe(self, topic: str, fn: Callable[[str, Any], None], timeout: float | None = None) -> None:
        assert self.subscribers[topic] == fn
        del self.subscribers[topic]

    def finalize(self, timeout: float | None = None) -> None:
        self.finalized = True

    def flow(self, seconds: float, power_w: float, *, told: bool = True) -> None:
        begin, self.sample = self.sample, self.sample + round(seconds * RATE_HZ)
        self.energy_j += power_w * seconds
        signals = {
            name: {what: {"value": value * factor, "units": unit}
                   for what, factor in (("avg", 1.0), ("std", 0.1), ("min", 0.5), ("max", 2.0))}
            for name, value, unit in (("current", power_w / 5.0, "A"), ("voltage", 5.0, "V"), ("power", power_w, "W"))
        }  # fmt: skip
        message = {
            "time": {
                "samples": {"value": [begin, self.sample], "units": "samples"},
                "sample_freq": {"value": RATE_HZ, "units": "Hz"},
            },
            "signals": signals,
            "accumulators": {"charge": {"value": 1.0, "units": "C"}, "energy": {"value": self.energy_j, "units": "J"}},
            "source": {"value": "sensor"},
        }
        if told:
            for topic, fn in list(self.subscribers.items()):
                fn(topic, message)


def scope(driver: FakeDriver, text: str = "joulescope", around: Machine | None = None) -> Joulescope:
    return Joulescope(around or Machine(), parse_spec(text), lambda: driver)


def test_energy_is_what_the_instrument_adds_up() -> None:
    driver = FakeDriver("u/js220/000415")
    meter = scope(driver)
    assert ("open", "u/js220/000415", "defaults") in driver.log
    assert ("publish", "u/js220/000415/s/stats/scnt", 100_000) in driver.log
    assert ("publish", "u/js220/000415/s/i/range/mode", "auto") in driver.log
    assert meter.read() == ()
    driver.flow(0.1, 2.0)
    driver.flow(0.1, 4.0)
    (reading,) = meter.read()
    assert reading.power_w == pytest.approx(3.0)
    assert (reading.voltage_v, reading.current_a) == (pytest.approx(5.0), pytest.approx(0.6))
    assert (reading.low_w, reading.high_w) == (pytest.approx(1.0), pytest.approx(8.0))
    assert reading.energy_j == pytest.approx(0.6)
    assert reading.covered_s == pytest.approx(0.2)
    assert "JS220 000415" in reading.provenance
    assert reading.provenance.startswith("measured")
    # a message that is lost costs no joule
    driver.flow(1.0, 7.0, told=False)
    driver.flow(0.1, 1.0)
    (reading,) = meter.read()
    assert reading.energy_j == pytest.approx(0.6 + 7.0 + 0.1)
    assert reading.covered_s == pytest.approx(1.3)
    assert reading.quality == Quality.OK
    meter.close()
    assert driver.finalized
    assert not driver.subscribers


def test_it_adds_up_in_a_tally() -> None:
    driver, tally = FakeDriver("u/js220/1"), Tally(10.0, 1.0)
    meter, readings = scope(driver), list[Reading]()
    for k in range(50):
        driver.flow(0.1, 1.0 + k % 3)
        readings += meter.read()
    for reading in readings:
        tally.add("", reading)
    ((_, figures),) = tally.figures()
    first = 0.1 * 1.0  # a tally counts from the first reading on
    assert figures.energy_j == pytest.approx(sum(0.1 * (1.0 + k % 3) for k in range(50)) - first)


def test_counting_anew_is_seen() -> None:
    driver = FakeDriver("u/js220/1")
    meter = scope(driver)
    driver.flow(1.0, 1.0)
    meter.read()
    driver.flow(1.0, 1.0)  # not read before it begins anew
    driver.sample, driver.energy_j = 0, 0.0
    driver.flow(1.0, 3.0)
    (reading,) = meter.read()
    assert Quality.GAP in reading.quality
    assert reading.energy_j == pytest.approx(5.0)
    assert reading.covered_s == pytest.approx(3.0)


def test_a_js110_tells_twice_a_second_by_itself() -> None:
    driver = FakeDriver("u/js110/002557")
    meter = scope(driver)
    assert list(driver.subscribers) == ["u/js110/002557/s/sstats/value"]
    assert not any("scnt" in str(entry) for entry in driver.log)
    driver.flow(0.5, 2.0)
    assert meter.read()[0].energy_j == pytest.approx(1.0)


def test_one_among_several_is_named() -> None:
    driver = FakeDriver("u/js220/1", "u/js110/2")
    with pytest.raises(MeterError, match="several are plugged in, name one; there are: u/js110/2, u/js220/1"):
        scope(driver)
    assert driver.finalized
    assert scope(FakeDriver("u/js220/1", "u/js110/2"), "joulescope:2")._path == "u/js110/2"
    with pytest.raises(MeterError, match="no such instrument"):
        scope(FakeDriver("u/js220/1"), "joulescope:9")
    with pytest.raises(MeterError, match="udev rules"):
        scope(FakeDriver())
    with pytest.raises(MeterError, match="not known here"):
        scope(FakeDriver("u/js999/1"))
    with pytest.raises(UsageError, match="rate is one of"):
        scope(FakeDriver("u/js220/1"), "joulescope,rate=3")


def test_trouble_is_said_and_the_driver_let_go() -> None:
    driver = FakeDriver("u/js220/1", broken=True)
    with pytest.raises(MeterError, match="the driver says 'jsdrv_open timed out'"):
        scope(driver)
    assert driver.finalized


def test_silence_is_an_error(tmp_path: Path) -> None:
    plant(tmp_path, {})
    now = [0.0]
    meter = scope(FakeDriver("u/js220/1"), around=machine(tmp_path, clock=lambda: now[0]))
    now[0] = 2.0
    assert meter.read() == ()
    now[0] = 4.0
    with pytest.raises(MeterError, match=r"nothing has come for 4\.0 s"):
        meter.read()


def test_a_message_of_another_form_is_an_error() -> None:
    driver = FakeDriver("u/js220/1")
    meter = scope(driver)
    driver.subscribers["u/js220/1/s/stats/value"]("t", {"time": {}})
    with pytest.raises(MeterError, match="a message lacks 'samples'"):
        meter.read()


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pyjoulescope_driver", None)
    with pytest.raises(MissingDependencyError, match=r"joulet\[joulescope\]"):
        open_meter("joulescope")


def test_the_double_has_the_form_of_the_real_driver() -> None:
    real = pytest.importorskip("pyjoulescope_driver", reason="pip install 'joulet[joulescope]'").Driver
    for name in ("device_paths", "open", "close", "publish", "subscribe", "unsubscribe", "finalize"):
        double = list(inspect.signature(getattr(FakeDriver, name)).parameters)
        assert list(inspect.signature(getattr(real, name)).parameters) == double, name
