# SPDX-License-Identifier: Apache-2.0
"""Clocks and power modes: what the kernel makes of a wish, and that everything is put back, whatever ends a run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from edge_world import World, WorldEngine
from meter_trees import machine, plant

from joulet.edge import EdgeSettings, points_of_ladder, run
from joulet.edge.account import parse_cap
from joulet.edge.metered import Metered
from joulet.edge.points import with_levels
from joulet.errors import KnobError, UsageError
from joulet.knobs import held, left_behind, open_knob, restore
from joulet.knobs.keep import note_paths
from joulet.meters import Machine
from joulet.tools.main import main

CPUFREQ = "sys/devices/system/cpu/cpufreq"
NVPMODEL_CONF = """
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=7W >
< POWER_MODEL ID=2 NAME=10W >
< PM_CONFIG DEFAULT=2 >
"""


def policy(number: int, low: int, top: int, listed: str | None = None) -> dict[str, object]:
    folder = f"{CPUFREQ}/policy{number}"
    files: dict[str, object] = {
        f"{folder}/scaling_max_freq": top, f"{folder}/scaling_min_freq": low, f"{folder}/cpuinfo_min_freq": low,
        f"{folder}/cpuinfo_max_freq": top, f"{folder}/scaling_governor": "schedutil",
    }  # fmt: skip
    if listed is not None:
        files[f"{folder}/scaling_available_frequencies"] = listed
    return files


# a Raspberry Pi 5 has one policy that lists its clocks; a machine with two kinds of cores has two that do not
PI5 = {
    **policy(
        0, 1_500_000, 2_400_000, "1500000 1600000 1700000 1800000 1900000 2000000 2100000 2200000 2300000 2400000 "
    )
}
TWO = {**policy(0, 400_000, 3_000_000), **policy(4, 300_000, 2_000_000)}
BOOT = {"proc/sys/kernel/random/boot_id": "one"}


def clocks(root: Path) -> dict[str, str]:
    return {p.name: (p / "scaling_max_freq").read_text().strip() for p in sorted((root / CPUFREQ).glob("policy*"))}


def rounding(step: int) -> Callable[[Path, str], None]:
    """Return a kernel that takes the next multiple of a clock."""

    def write(path: Path, text: str) -> None:
        path.write_text(f"{int(text) // step * step}\n")

    return write


def alive(root: Path) -> Machine:
    """Return a machine in which this process is alive since tick 77."""
    stat = f"{os.getpid()} (a b) " + " ".join(["S"] + ["1"] * 18 + ["77", "0"])
    plant(root, {**BOOT, f"proc/{os.getpid()}/stat": stat})
    return machine(root)


def test_levels_are_clocks_that_there_are(tmp_path: Path) -> None:
    plant(tmp_path, PI5)
    knob = open_knob("auto", machine(tmp_path))
    assert knob.levels == ("2400MHz", "1900MHz", "1500MHz")  # 60 % is below the lowest, and 40 % the same again
    assert knob.speeds == pytest.approx((1.0, 1900 / 2400, 1500 / 2400))
    knob.set(1)
    assert clocks(tmp_path) == {"policy0": "1900000"}
    assert knob.level == 1
    assert (tmp_path / CPUFREQ / "policy0" / "scaling_governor").read_text().strip() == "schedutil"


def test_all_kinds_of_cores_go_together_and_rounding_is_told(tmp_path: Path) -> None:
    plant(tmp_path, TWO)
    knob = open_knob("cpufreq", machine(tmp_path), rounding(700_000))
    knob.set(2)
    assert clocks(tmp_path) == {"policy0": "1400000", "policy4": "700000"}
    assert "cpufreq policy0: 1800000 kHz was rounded to 1400000 kHz" in knob.notes


def test_nothing_above_what_was_set_before(tmp_path: Path) -> None:
    plant(tmp_path, PI5)
    (tmp_path / CPUFREQ / "policy0" / "scaling_max_freq").write_text("2000000\n")
    knob = open_knob("cpufreq", machine(tmp_path))
    assert knob.levels[0] == "2000MHz"
    deaf = open_knob("cpufreq", machine(tmp_path), lambda path, text: None)
    (tmp_path / CPUFREQ / "policy0" / "scaling_max_freq").write_text("2400000\n")
    with pytest.raises(KnobError, match="above what it was"):
        deaf.set(1)


def test_a_machine_without_the_knob_says_so(tmp_path: Path) -> None:
    with pytest.raises(KnobError, match="does not scale clocks; leave out --dvfs"):
        open_knob("auto", machine(tmp_path))
    with pytest.raises(KnobError, match="nvpmodel is not on this machine"):
        open_knob("nvpmodel", machine(tmp_path))
    with pytest.raises(UsageError, match="--dvfs fan"):
        open_knob("fan", machine(tmp_path))


def test_permission_denied_names_the_remedy(tmp_path: Path) -> None:
    plant(tmp_path, {**PI5, **BOOT})

    def write(path: Path, text: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    with pytest.raises(KnobError, match=r"run as root, or sudo chmod a\+w .*scaling_max_freq"):
        open_knob("cpufreq", machine(tmp_path), write).set(1)


def test_a_knob_is_put_back_after_a_run_and_after_an_error(tmp_path: Path) -> None:
    plant(tmp_path, TWO)
    around = alive(tmp_path)
    knob = open_knob("cpufreq", around)
    with held(knob, around):
        assert json.loads(note_paths(around)[0].read_text())["saved"] == {"policy0": "3000000", "policy4": "2000000"}
        knob.set(2)
        assert clocks(tmp_path)["policy0"] != "3000000"
    assert clocks(tmp_path) == {"policy0": "3000000", "policy4": "2000000"}
    with pytest.raises(ZeroDivisionError), held(knob, around):
        knob.set(1 // 0)
    assert clocks(tmp_path) == {"policy0": "3000000", "policy4": "2000000"}
    assert not any(path.exists() for path in note_paths(around))


def test_one_run_at_a_time(tmp_path: Path) -> None:
    plant(tmp_path, PI5)
    around = alive(tmp_path)
    knob = open_knob("cpufreq", around)
    with held(knob, around), pytest.raises(KnobError, match=f"process {os.getpid()} holds cpufreq"), held(knob, around):
        pass


def crash(root: Path, **changed: object) -> Machine:
    """Leave behind what a run leaves that was killed at a low clock."""
    around = machine(root)
    note = {
        "format": "joulet knob 1", "knob": "cpufreq", "saved": {"policy0": "2400000"}, "process": 4_000_000, "started": "5",
        "boot": "one", **changed,
    }  # fmt: skip
    plant(root, BOOT)
    note_paths(around)[0].parent.mkdir(parents=True, exist_ok=True)
    note_paths(around)[0].write_text(json.dumps(note))
    (root / CPUFREQ / "policy0" / "scaling_max_freq").write_text("1500000\n")
    return around


def test_what_a_crash_left_behind_is_put_back(tmp_path: Path) -> None:
    plant(tmp_path, PI5)
    around = crash(tmp_path)
    assert [note.kind for note in left_behind(around)] == ["cpufreq"]
    assert restore(around) == ["cpufreq: put back to policy0 2400000"]
    assert clocks(tmp_path) == {"policy0": "2400000"}
    assert restore(around) == []


def test_the_next_run_puts_it_back_first(tmp_path: Path) -> None:
    plant(tmp_path, PI5)
    crash(tmp_path)
    around = alive(tmp_path)
    knob = open_knob("cpufreq", around)
    assert knob.levels == ("1500MHz",)  # it is taken for how things are, which must not be written down
    with pytest.raises(KnobError, match="has left cpufreq behind"), held(knob, around):
        pass
    restore(around)
    knob = open_knob("cpufreq", around)
    assert knob.levels[0] == "2400MHz"
    with held(knob, around):
        knob.set(1)
    assert clocks(tmp_path) == {"policy0": "2400000"}


def test_a_note_from_before_a_reboot_is_dropped(tmp_path: Path) -> None:
    plant(tmp_path, PI5)
    around = crash(tmp_path, boot="another")
    assert "restarted since" in restore(around)[0]
    assert clocks(tmp_path) == {"policy0": "1500000"}  # whatever the system has set since
    assert not left_behind(around)


@pytest.mark.parametrize(
    "changed",
    [
        {"format": "joulet knob 9"},
        {"saved": 3},
        {"saved": {"../../../../etc/passwd": "1"}},
        {"saved": {"policy0": "1; reboot"}},
        {"knob": "fan"},
        {"saved": {"policy9": "1"}},
    ],
)
def test_a_note_that_is_not_ours_changes_nothing(tmp_path: Path, changed: dict[str, object]) -> None:
    plant(tmp_path, PI5)
    around = crash(tmp_path, **changed)
    with pytest.raises(KnobError):
        restore(around)
    assert clocks(tmp_path) == {"policy0": "1500000"}
    assert note_paths(around)[0].exists()


class Jetson:
    """nvpmodel and jetson_clocks as programs: what they are told, and what they say."""

    def __init__(self, mode: int, *, reboot: int | None = None, deaf: bool = False) -> None:
        self.mode, self.reboot, self.deaf = mode, reboot, deaf
        self.told: list[list[str]] = []

    def run(self, command: Sequence[str]) -> tuple[int, str]:
        self.told.append(list(command))
        if command[0] == "jetson_clocks":
            if list(command[1:2]) == ["--store"]:
                Path(command[2]).write_text("clocks")
            return 0, ""
        if command[1] == "-m":
            number = int(command[2])
            if number == self.reboot:
                return 0, "NVPM WARN: Reboot required for changing to this power mode. DO YOU WANT TO REBOOT NOW?"
            self.mode = self.mode if self.deaf else number
            return 0, ""
        return 0, f"NV Power Mode: whatever\n{self.mode}\n"

    def machine(self, root: Path) -> Machine:
        plant(root, {**BOOT, "etc/nvpmodel.conf": NVPMODEL_CONF})
        return machine(root, run=self.run, find_program=lambda name: f"/usr/sbin/{name}")


def test_power_modes_of_a_jetson(tmp_path: Path) -> None:
    jetson = Jetson(2)
    around = jetson.machine(tmp_path)
    knob = open_knob("auto", around)
    assert knob.name == "nvpmodel"
    assert knob.levels == ("10W", "MAXN", "7W")  # the one that was found first
    with held(knob, around):
        knob.set(2)
        assert jetson.mode == 1
    assert jetson.mode == 2
    jetson.mode = 1
    crash_note = {
        "format": "joulet knob 1",
        "knob": "nvpmodel",
        "saved": {"mode": "2"},
        "process": 4_000_000,
        "started": "5",
        "boot": "x",
    }
    note_paths(around)[0].write_text(json.dumps(crash_note))
    assert restore(around) == ["nvpmodel: put back to mode 2"]  # a mode outlives a reboot
    assert jetson.mode == 2


def test_a_mode_that_needs_a_reboot_or_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(KnobError, match="needs a reboot"):
        open_knob("nvpmodel", Jetson(2, reboot=0).machine(tmp_path)).set(1)
    with pytest.raises(KnobError, match="mode 2 is set instead"):
        open_knob("nvpmodel", Jetson(2, deaf=True).machine(tmp_path)).set(1)


def test_pinned_clocks_are_let_go(tmp_path: Path) -> None:
    jetson = Jetson(0)
    around = jetson.machine(tmp_path)
    knob = open_knob("jetson_clocks", around)
    with held(knob, around):
        knob.set(0)
    assert [words[1:2] for words in jetson.told] == [["--store"], [], ["--restore"]]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGKILL])
def test_signals(tmp_path: Path, number: signal.Signals) -> None:
    plant(tmp_path, {**PI5, **BOOT})
    script = (
        "import signal, sys, time; from pathlib import Path\n"
        "from joulet.knobs import held, open_knob; from joulet.meters import Machine\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell leaves ignored in the background\n"
        "around = Machine(root=Path(sys.argv[1]))\n"
        "knob = open_knob('cpufreq', around)\n"
        "with held(knob, around):\n"
        "    knob.set(1); print('low', flush=True); time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"low\n"
    assert clocks(tmp_path) == {"policy0": "1900000"}
    process.send_signal(number)
    process.wait(10)
    process.stdout.close()
    around = machine(tmp_path)
    if number == signal.SIGKILL:
        assert clocks(tmp_path) == {"policy0": "1900000"}
        assert restore(around) == ["cpufreq: put back to policy0 2400000"]
    elif number != signal.SIGINT:
        assert process.returncode == 128 + number
    assert clocks(tmp_path) == {"policy0": "2400000"}
    assert not left_behind(around)


def test_the_clock_is_an_operating_point(tmp_path: Path) -> None:
    """A lower clock draws less per inference here, so that more of the good answers fit under the cap."""
    points = {"small": (0.02, 6.0, 0.6), "large": (0.1, 12.0, 0.9)}

    def score(root: Path, *, turn: bool) -> tuple[float, dict[str, int]]:
        world = World(root, points)
        plant(root, {**PI5, **BOOT})
        around = world.machine()

        def write(path: Path, text: str) -> None:
            path.write_text(text)
            world.speed = int(text) / 2_400_000

        metered = Metered("rapl", around, rate_hz=None, allow_estimate=False)
        world.ticks.append(metered.poll)
        ladder = points_of_ladder(list(points), [0.02, 0.1], [0.6, 0.9])
        knob = open_knob("cpufreq", around, write)
        if turn:
            ladder = with_levels(ladder, knob.levels, knob.speeds)
        record = run(
            WorldEngine(world), [np.arange(50, dtype=np.int16).reshape(50, 1)], np.arange(50) % 4, ladder, metered, around,
            EdgeSettings(period_s=0.2, duration_s=120.0, window_s=5.0, cap=parse_cap("5W")), knob=knob if turn else None,
        )  # fmt: skip
        assert record.cap is not None
        assert record.cap.kept
        return (record.correct or 0) / record.arrived, {point.name: point.chosen for point in record.points}

    fixed, _ = score(tmp_path / "fixed", turn=False)
    turned, chosen = score(tmp_path / "turned", turn=True)
    assert turned > fixed + 0.03
    assert chosen["large/1500MHz"] > 300


def test_doctor_puts_back(capsys: pytest.CaptureFixture[str]) -> None:
    if any(path.exists() for path in note_paths(Machine())):
        pytest.skip("a run of this machine holds a knob")
    assert main(["doctor", "--restore", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"ok": True, "restored": []}
