# SPDX-License-Identifier: Apache-2.0
"""Does the PPK2's driver keep up? A simulated kit in a process of its own, in real time, and our driver on its terminal.

Prints samples, losses, and what of one core the driver took. Exit code 1 when a sample was lost or the share is above --share.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from joulet.meters import open_meter
from joulet.meters.ppk2 import Ppk2

KIT = Path(__file__).resolve().parents[1] / "ppk2_pty.py"


def main() -> int:
    """Measure; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--share", type=float, default=0.30, help="of one core that the driver may take")
    parser.add_argument("--ramp", action="store_true", help="a current that changes ranges all the time")
    args = parser.parse_args()
    wish = {"ramp": 0.05} if args.ramp else {"amperes": 0.005}
    kit = subprocess.Popen(
        [sys.executable, KIT, json.dumps(wish)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert kit.stdin is not None
    assert kit.stdout is not None
    meter = open_meter(f"ppk2:{kit.stdout.readline().strip()},voltage=3.3V")
    assert isinstance(meter, Ppk2)
    count = calls = 0
    began_s, cpu_s = time.monotonic(), time.process_time()
    while time.monotonic() - began_s < args.seconds:
        count += meter.samples(0.1).count
        calls += 1
        time.sleep(0.005)
    passed_s, spent_s = time.monotonic() - began_s, time.process_time() - cpu_s
    meter.close()
    kit.stdin.close()
    end = json.loads(kit.stdout.readline())
    kit.wait()
    share, behind = spent_s / passed_s, passed_s * meter.rate_hz - count
    print(f"{count:,} samples in {passed_s:.1f} s = {count / passed_s:,.0f} a second, in {calls:,} reads")
    print(f"lost {meter.lost}, uncertain {meter.uncertain}; the kit lost {end['overrun']} for want of a reader")
    print(f"{behind:,.0f} not yet read at the end")
    print(f"the driver took {100 * share:.1f} % of one core (at most {100 * args.share:.0f} %)")
    kept_up = behind < 0.5 * meter.rate_hz
    return 0 if meter.lost == meter.uncertain == end["overrun"] == 0 and kept_up and share <= args.share else 1


if __name__ == "__main__":
    sys.exit(main())
