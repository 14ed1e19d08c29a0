# SPDX-License-Identifier: Apache-2.0
"""``joulet power``: what rails draw, live."""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TextIO

from joulet.errors import MeterError, UsageError
from joulet.link import Board
from joulet.meters.machine import Machine
from joulet.meters.open import find_sources
from joulet.meters.seam import Reading
from joulet.meters.tally import Figures, Tally, total_w
from joulet.meters.watch import Happening, Watch
from joulet.units import format_quantity, format_time, parse_quantity

EPILOG = """\
SOURCE is KIND[:WHERE][,OPTION=VALUE]…; several may be given. Without one, the best that --list finds is taken.

  jetson                                    labelled rails of an NVIDIA Jetson
  pi5                                       PMIC of a Raspberry Pi 5
  rapl                                      processor of Intel or AMD (with --allow-estimate: rapl,tdp=15W)
  battery[:BAT0]                            battery of a laptop, fuel gauges that Linux drives
  hwmon[:NAME], iio[:NAME]                  monitors that Linux drives
  ina228:/dev/i2c-1@0x40,shunt=15mOhm       a chip on I2C, read directly: ina219, ina226, ina228, ina237, ina238,
                                            ina260, ina3221; options shunt, max, range, average, channels
  ltc2942:/dev/i2c-1,shunt=50mOhm           a fuel gauge that counts charge; max17048:…,capacity=2Ah only estimates
  joulescope:000415                         Joulescope JS110 or JS220 by its number (joulet[joulescope])
  ppk2:/dev/ttyACM0,voltage=3.3V            Nordic PPK2, 100,000 samples a second; mode=source supplies the board
  lpm01a:/dev/ttyACM0,voltage=3V            ST LPM01A; rate=1kHz, mode=static; supplies the board while it measures
  board:/dev/ttyACM0                        a board's own counter over its line; board:virtual:virtual_m4 is a program
  replay:FILE.csv, replay:FILE.ppk2         a recording; speed=10, voltage=3.3V where it has currents only
  simulated:10mW,swing=5mW,period=2s        a formula

  joulet power --list
  joulet power                              rails live; m marks (energy counts from there), q ends it
  joulet power rapl battery --duration 1min --csv draw.csv
  joulet power ina226:1@0x40,shunt=100mOhm --rate 50 --json | jq .data.power_w

min, mean and max are over the last --window; the mean is energy over time. Energy is the meter's own count where it has one,
else the trapezoids between readings. A source that is missing or cannot be read is an error; one that goes away later is
waited for, and the time it was away is missing from its energy and said. --allow-estimate also takes what is not measured.
"""
_LATE_PERIODS = 5.0


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    parser = subparsers.add_parser(
        "power",
        help="what rails draw, live: meters, boards, this machine",
        description="Read power from meters and show it live: rails, voltage, min, mean and max over a window, energy.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="see below")
    parser.add_argument("--list", action="store_true", help="list the sources of this machine, and end")
    parser.add_argument("--duration", metavar="T", help="how long (until q or Ctrl-C)")
    parser.add_argument("--rate", type=float, default=10.0, metavar="N", help="readings a second (10)")
    parser.add_argument("--window", default="10s", metavar="T", help="of min, mean and max (10s)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write every reading there, line by line")
    parser.add_argument(
        "--web",
        nargs="?",
        type=int,
        const=0,
        metavar="PORT",
        help="also serve a page that plots live, and /metrics for Prometheus",
    )
    parser.add_argument("--allow-estimate", action="store_true", help="also take what is not measured, marked as such")
    parser.add_argument("--json", action="store_true", help="print JSON Lines: note, reading, event, summary")


def run(args: argparse.Namespace) -> int:
    """Read until the end; return the exit code."""
    machine = Machine(open_board=_open_board)
    if args.list:
        return _list(machine, args.json)
    if not 0.01 <= args.rate <= 1000.0:
        raise UsageError(f"--rate is {args.rate:g}; it is from 0.01 to 1000 readings a second")
    duration_s = math.inf if args.duration is None else parse_quantity(args.duration, "s", what="--duration")
    window_s = parse_quantity(args.window, "s", what="--window")
    return watch(args, machine, duration_s, window_s)


@contextmanager
def _open_board(where: str) -> Iterator[Board]:
    from joulet.tools.engines import open_board

    spec = where if where.partition(":")[0] in ("virtual", "qemu", "serial") else f"serial:{where}"
    with open_board(spec, {}) as (board, _):
        yield board


def _list(machine: Machine, as_json: bool) -> int:
    found = find_sources(machine)
    if as_json:
        sources = [{"source": each.source, "what": each.what, "problem": each.problem or None} for each in found]
        print(json.dumps({"sources": sources}))
        return 0
    for each in found:
        print(f"  {each.source:<18} {each.what}" + (f"\n{'':>21}NOT READABLE: {each.problem}" if each.problem else ""))
    if not found:
        print("  this machine has no rails that it tells of: no Jetson, Raspberry Pi 5, RAPL, hwmon, iio or battery")
    print("  meters on I2C and USB are named: joulet power --help")
    return 0


def best_source(machine: Machine) -> str:
    """Return the first source of this machine that can be read.

    Raises
    ------
    MeterError
        If there is none.
    """
    found = find_sources(machine)
    for each in found:
        if not each.problem:
            return each.source
    problems = " ".join(each.problem for each in found)
    raise MeterError(
        f"no source of power can be read on this machine. {problems} Name one: joulet power --help".replace("  ", " ")
    )


def watch(args: argparse.Namespace, machine: Machine, duration_s: float, window_s: float) -> int:
    """Read sources and show them until time is over."""
    sources = args.sources or [best_source(machine)]
    period_s = 1.0 / args.rate
    late_s = max(1.0, _LATE_PERIODS * period_s)
    began_s = machine.clock()
    with ExitStack() as stack:
        watch = Watch(sources, machine, allow_estimate=args.allow_estimate, late_s=late_s)
        stack.callback(watch.close)
        tally = Tally(window_s, late_s)
        file = stack.enter_context(args.csv.open("w", encoding="utf-8")) if args.csv is not None else None
        show = _shower(args, began_s, window_s)
        stack.callback(show.close)
        log = _Csv(file, began_s) if file is not None else None
        try:
            next_s = began_s
            while True:
                readings, news = watch.poll()
                for source in watch.lost:
                    tally.interrupt(source, machine.clock())
                for source, reading in readings:
                    tally.add(source, reading)
                if log is not None:
                    log.write(readings, news)
                word = show.update(readings, news, tally)
                if word == "mark":
                    tally.mark()
                next_s = max(next_s + period_s, machine.clock() - period_s)
                if word == "quit" or watch.over or machine.clock() - began_s >= duration_s:
                    break
                machine.sleep(max(0.0, min(next_s - machine.clock(), began_s + duration_s - machine.clock())))
        except KeyboardInterrupt:
            pass
        show.finish(tally)
    return 0


def reading_record(source: str, reading: Reading, began_s: float) -> dict[str, Any]:
    """Return a reading as what JSON and CSV hold; times count from the beginning."""
    return {
        "time_s": round(reading.time_s - began_s, 6),
        "source": source,
        "rail": reading.rail,
        "voltage_v": reading.voltage_v,
        "current_a": reading.current_a,
        "power_w": reading.power_w,
        "low_w": reading.low_w,
        "high_w": reading.high_w,
        "energy_j": reading.energy_j,
        "lost_s": reading.lost_s,
        "counts": reading.counts,
        "quality": list(reading.quality.words()),
        "provenance": reading.provenance,
    }


class _Csv:
    """Readings as lines, each written whole and at once; events are comments."""

    _COLUMNS = ("time_s", "source", "rail", "voltage_v", "current_a", "power_w", "energy_j", "quality", "provenance")

    def __init__(self, file: TextIO, began_s: float) -> None:
        self._file, self._began_s = file, began_s
        file.write(",".join(self._COLUMNS) + "\n")

    def write(self, readings: list[tuple[str, Reading]], news: list[Happening]) -> None:
        lines = [f"# {each.time_s - self._began_s:.3f} s {each.kind} {each.source} {each.text}" for each in news]
        for source, reading in readings:
            record = reading_record(source, reading, self._began_s) | {"quality": "+".join(reading.quality.words())}
            lines.append(",".join(_cell(record[column]) for column in self._COLUMNS))
        if lines:
            self._file.write("\n".join(lines) + "\n")
            self._file.flush()


def _cell(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:.9g}" if isinstance(value, float) else str(value)
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text


def summary_record(tally: Tally) -> list[dict[str, Any]]:
    """Return what is known of each rail at the end."""
    return [
        {
            "source": source,
            "rail": f.rail,
            "energy_j": f.energy_j,
            "covered_s": f.covered_s,
            "missed_s": f.missed_s,
            "coverage": f.covered_s / (f.covered_s + f.missed_s) if f.covered_s + f.missed_s > 0.0 else None,
            "lost": f.lost,
            "window_s": f.window_s,
            "min_w": f.min_w,
            "mean_w": f.mean_w,
            "max_w": f.max_w,
            "counts": f.reading.counts,
            "quality": list(f.reading.quality.words()),
            "provenance": f.reading.provenance,
        }
        for source, f in tally.figures()
    ]


class _Json:
    """JSON Lines."""

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s

    def update(self, readings: list[tuple[str, Reading]], news: list[Happening], tally: Tally) -> str:
        for each in news:
            data = {
                "time_s": round(each.time_s - self._began_s, 6),
                "kind": each.kind,
                "source": each.source,
                "text": each.text,
            }
            _print_json("note" if each.kind == "note" else "event", data)
        for source, reading in readings:
            _print_json("reading", reading_record(source, reading, self._began_s))
        return ""

    def finish(self, tally: Tally) -> None:
        _print_json("summary", {"rails": summary_record(tally)})

    def close(self) -> None:
        """Nothing is held."""


def _print_json(kind: str, data: dict[str, Any]) -> None:
    print(json.dumps({"type": kind, "data": data}), flush=True)


class _Plain:
    """A line a rail and second, for logs and pipes."""

    def __init__(self, began_s: float) -> None:
        self._began_s = began_s
        self._told_s = -math.inf

    def update(self, readings: list[tuple[str, Reading]], news: list[Happening], tally: Tally) -> str:
        for each in news:
            print(happening_line(each, self._began_s), flush=True)
        now_s = max((reading.time_s for _, reading in readings), default=-math.inf)
        if now_s - self._told_s >= 1.0:
            self._told_s = now_s
            for _, figures in tally.figures():
                print(figures_line(figures, now_s - self._began_s), flush=True)
        return ""

    def finish(self, tally: Tally) -> None:
        for source, f in tally.figures():
            missing = f", {format_time(f.missed_s)} missing" if f.missed_s > 0.0 else ""
            print(
                f"{source}: {f.rail} {format_quantity(f.energy_j, 'J', digits=5)} in {format_time(f.covered_s)}{missing}; "
                f"{f.reading.provenance}"
            )

    def close(self) -> None:
        """Nothing is held."""


def happening_line(each: Happening, began_s: float) -> str:
    """Return an event for people."""
    about = f"{each.source}: " if each.source else ""
    return f"{each.time_s - began_s:9.1f} s  {each.kind}: {about}{each.text}"


def figures_line(f: Figures, time_s: float) -> str:
    """Return one rail for people."""
    r = f.reading
    parts = [
        f"{time_s:9.1f} s  {f.rail:<16}",
        f"{_q(r.voltage_v, 'V'):>9} {_q(r.current_a, 'A'):>9} {_q(r.power_w, 'W'):>9}",
    ]
    parts.append(
        f"min {_q(f.min_w, 'W')}, mean {_q(f.mean_w, 'W')}, max {_q(f.max_w, 'W')} over {format_time(f.window_s)}"
    )
    parts.append(f"{format_quantity(f.energy_j, 'J', digits=4)}")
    words = r.quality.words()
    return "  ".join([*parts, "/".join(words)]) if words else "  ".join(parts)


def _q(value: float | None, unit: str) -> str:
    return "-" if value is None else format_quantity(value, unit, digits=4)


def _shower(args: argparse.Namespace, began_s: float, window_s: float) -> Any:
    view = _terminal(args, began_s, window_s)
    if args.web is None:
        return view
    from joulet.tools.power_web import WebView

    web = WebView(view, args.web, began_s, window_s)
    print(f"joulet: live at {web.address}, for Prometheus at {web.address}metrics", file=sys.stderr, flush=True)
    return web


def _terminal(args: argparse.Namespace, began_s: float, window_s: float) -> Any:
    if args.json:
        return _Json(began_s)
    if sys.stdout.isatty():
        from joulet.tools.power_view import View

        return View(began_s, window_s)
    return _Plain(began_s)


__all__ = ["add_parser", "best_source", "figures_line", "happening_line", "run", "total_w"]
