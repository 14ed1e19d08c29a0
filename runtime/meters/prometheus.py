# SPDX-License-Identifier: Apache-2.0
"""Figures in the text format that Prometheus scrapes (exposition format 0.0.4)."""

from __future__ import annotations

from joulet.meters.tally import Figures

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METRICS = (
    ("joulet_power_watts", "gauge", "Power of a rail at the last reading."),
    ("joulet_voltage_volts", "gauge", "Voltage of a rail at the last reading."),
    ("joulet_current_amperes", "gauge", "Current of a rail at the last reading."),
    ("joulet_energy_joules_total", "counter", "Energy of a rail since joulet power began; net of what flowed back."),
    ("joulet_covered_seconds_total", "counter", "Time that the energy covers."),
    ("joulet_missed_seconds_total", "counter", "Time that no reading stands for."),
    ("joulet_reading_ok", "gauge", "1 when nothing is wrong with the last reading."),
)


def metrics_text(figures: list[tuple[str, Figures]]) -> str:
    """Return the figures of all rails; what a rail does not tell is left out."""
    lines = []
    for name, kind, about in _METRICS:
        rows = [(source, f, value) for source, f in figures if (value := _value(name, f)) is not None]
        if not rows:
            continue
        lines += [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]
        for source, f, value in rows:
            labels = {"source": source, "rail": f.rail, "counts": str(f.reading.counts).lower()}
            if name == "joulet_reading_ok":
                labels["quality"] = "+".join(f.reading.quality.words())
                labels["provenance"] = f.reading.provenance
            inner = ",".join(f'{key}="{_escape(text)}"' for key, text in labels.items())
            lines.append(f"{name}{{{inner}}} {value!r}")
    return "\n".join(lines) + "\n"


def _value(name: str, f: Figures) -> float | None:
    if f.lost and name in ("joulet_power_watts", "joulet_voltage_volts", "joulet_current_amperes"):
        return None  # an old value is no value
    return {
        "joulet_power_watts": f.reading.power_w,
        "joulet_voltage_volts": f.reading.voltage_v,
        "joulet_current_amperes": f.reading.current_a,
        "joulet_energy_joules_total": f.energy_j,
        "joulet_covered_seconds_total": f.covered_s,
        "joulet_missed_seconds_total": f.missed_s,
        "joulet_reading_ok": float(not f.lost and not f.reading.quality.words()),
    }[name]


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
