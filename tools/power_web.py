# SPDX-License-Identifier: Apache-2.0
"""``joulet power --web``: a page on this machine that plots live, the figures as JSON, and /metrics for Prometheus.

It listens on 127.0.0.1 only and answers GET alone; requests that name another host are refused (a foreign page must not read
it through a name that it points here).
"""

from __future__ import annotations

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from joulet.errors import UsageError
from joulet.meters.prometheus import CONTENT_TYPE, metrics_text
from joulet.meters.seam import Reading
from joulet.meters.tally import Figures, Tally
from joulet.meters.watch import Happening

_KEPT = 6000  # points a rail: ten minutes at ten a second
_NEWS = 20


class Board:
    """What the page shows; written by the loop that reads, read by the server's threads."""

    def __init__(self, began_s: float, window_s: float) -> None:
        self._began_s, self._window_s = began_s, window_s
        self._lock = threading.Lock()
        self._points: dict[tuple[str, str], deque[tuple[int, float, float]]] = {}
        self._news: deque[dict[str, Any]] = deque(maxlen=_NEWS)
        self._figures: list[tuple[str, Figures]] = []
        self._count = 0
        self.wants_mark = False

    def update(self, readings: list[tuple[str, Reading]], news: list[Happening], tally: Tally) -> str:
        """Take what is new; returns ``mark`` when somebody pressed the button."""
        with self._lock:
            for source, reading in readings:
                if reading.power_w is not None:
                    points = self._points.setdefault((source, reading.rail), deque(maxlen=_KEPT))
                    self._count += 1
                    points.append((self._count, reading.time_s - self._began_s, reading.power_w))
            for each in news:
                line = {
                    "time_s": each.time_s - self._began_s,
                    "kind": each.kind,
                    "source": each.source,
                    "text": each.text,
                }
                self._news.append(line)
            self._figures = tally.figures()
            mark, self.wants_mark = self.wants_mark, False
        return "mark" if mark else ""

    def since(self, number: int) -> dict[str, Any]:
        """Return the figures now, and all points after one."""
        with self._lock:
            rails = []
            for source, f in self._figures:
                points = self._points.get((source, f.rail), ())
                fresh = [[time_s, power_w] for count, time_s, power_w in points if count > number]
                rails.append(_rail(source, f) | {"points": fresh})
            return {"last": self._count, "window_s": self._window_s, "rails": rails, "news": list(self._news)}

    def metrics(self) -> str:
        """Return the figures for Prometheus."""
        with self._lock:
            return metrics_text(self._figures)


def _rail(source: str, f: Figures) -> dict[str, Any]:
    r = f.reading
    return {
        "source": source, "rail": f.rail, "lost": f.lost,
        **({"voltage_v": None, "current_a": None, "power_w": None} if f.lost else
           {"voltage_v": r.voltage_v, "current_a": r.current_a, "power_w": r.power_w}),
        "min_w": f.min_w, "mean_w": f.mean_w, "max_w": f.max_w, "energy_j": f.energy_j, "missed_s": f.missed_s,
        "quality": ["lost"] if f.lost else list(r.quality.words()), "provenance": r.provenance, "counts": r.counts,
    }  # fmt: skip


class WebView:
    """The server, beside another view that goes on showing; use it in place of that view."""

    def __init__(self, beside: Any, port: int, began_s: float, window_s: float) -> None:
        self._beside = beside
        self.board = Board(began_s, window_s)
        handler = type("Handler", (_Handler,), {"board": self.board})
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError as error:
            raise UsageError(
                f"--web {port}: cannot listen there: {error.strerror or error}; give another port"
            ) from error
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def update(self, readings: list[tuple[str, Reading]], news: list[Happening], tally: Tally) -> str:
        """Show what is new in both."""
        word = self.board.update(readings, news, tally)
        return str(self._beside.update(readings, news, tally)) or word

    def finish(self, tally: Tally) -> None:
        """Let the other view end."""
        self._beside.finish(tally)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._beside.close()


class _Handler(BaseHTTPRequestHandler):
    board: Board
    server_version = "joulet"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        if (self.headers.get("Host") or "").rpartition(":")[0] not in ("127.0.0.1", "localhost"):
            self.send_error(403, "this page is for this machine only")
            return
        url = urlsplit(self.path)
        if url.path == "/":
            self._send(PAGE, "text/html; charset=utf-8")
        elif url.path == "/data":
            number = parse_qs(url.query).get("since", ["0"])[0]
            self._send(json.dumps(self.board.since(int(number) if number.isdecimal() else 0)), "application/json")
        elif url.path == "/mark" and self.headers.get("X-Joulet") == "1":  # a foreign page cannot send that
            self.board.wants_mark = True
            self._send("{}", "application/json")
        elif url.path == "/metrics":
            self._send(self.board.metrics(), CONTENT_TYPE)
        else:
            self.send_error(404)

    def _send(self, text: str, kind: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the terminal belongs to the view."""


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>joulet power</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
 :root { color-scheme: light dark; font: 15px/1.4 system-ui, sans-serif; }
 body { margin: 1.5rem auto; max-width: 70rem; padding: 0 1rem; }
 canvas { width: 100%; height: 22rem; display: block; }
 table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
 td, th { text-align: right; padding: .2rem .6rem; border-bottom: 1px solid #8884; }
 td:first-child, th:first-child, td:last-child, th:last-child { text-align: left; }
 .part { opacity: .6; } #news { white-space: pre-wrap; font: 13px/1.4 ui-monospace, monospace; }
 #state.lost { color: #c33; }
</style></head><body>
<h1>Power</h1>
<p><button id="mark">mark</button> <label><input type="checkbox" id="zero" checked> from zero</label> ·
 <label>over <input id="span" type="number" value="60" min="1" max="3600" style="width:5em"> s</label>
 · <span id="state">waiting</span></p>
<canvas id="plot" role="img" aria-label="power over time"></canvas>
<table><thead><tr><th>rail</th><th>voltage</th><th>current</th><th>power</th><th>min</th><th>mean</th><th>max</th><th>energy</th>
<th>missing</th><th>quality</th></tr></thead><tbody id="rails"></tbody></table>
<p id="window"></p><div id="news"></div>
<script>
"use strict";
const colours = ["#2a78d6", "#d9822b", "#3a9b5c", "#b5479a", "#c0392b", "#6b6bd6", "#8a7a1f", "#2aa5a5"];
const series = new Map(), el = id => document.getElementById(id);
let last = 0;
function si(value, unit) {
  if (value === null || value === undefined) return "-";
  if (value === 0) return "0 " + unit;
  const steps = [["G", 1e9], ["M", 1e6], ["k", 1e3], ["", 1], ["m", 1e-3], ["µ", 1e-6], ["n", 1e-9], ["p", 1e-12]];
  const [prefix, scale] = steps.find(s => Math.abs(value) >= 0.9995 * s[1]) || steps[steps.length - 1];
  return Number((value / scale).toPrecision(4)) + " " + prefix + unit;
}
function cell(row, text) { const td = document.createElement("td"); td.textContent = text; row.append(td); return td; }
function show(data) {
  last = data.last;
  const body = el("rails");
  body.replaceChildren();
  data.rails.forEach((rail, i) => {
    const key = rail.source + " " + rail.rail, row = document.createElement("tr");
    if (!series.has(key)) series.set(key, {points: [], colour: colours[i % colours.length]});
    const line = series.get(key);
    line.points.push(...rail.points);
    if (line.points.length > 20000) line.points.splice(0, line.points.length - 20000);
    row.className = rail.counts ? "" : "part";
    const name = cell(row, rail.rail);
    name.style.color = line.colour;
    name.title = rail.source + ": " + rail.provenance;
    for (const [v, u] of [[rail.voltage_v, "V"], [rail.current_a, "A"], [rail.power_w, "W"], [rail.min_w, "W"],
      [rail.mean_w, "W"], [rail.max_w, "W"], [rail.energy_j, "J"], [rail.missed_s, "s"]]) cell(row, si(v, u));
    cell(row, rail.quality.join(" "));
    body.append(row);
  });
  el("window").textContent = "min, mean and max over the last " + data.window_s + " s; energy since the mark";
  el("news").textContent = data.news.map(n => n.time_s.toFixed(1) + " s  " + n.kind + ": " + n.source + " " + n.text).join("\\n");
  draw();
}
function draw() {
  const canvas = el("plot"), ratio = devicePixelRatio || 1, w = canvas.clientWidth, h = canvas.clientHeight;
  canvas.width = w * ratio; canvas.height = h * ratio;
  const g = canvas.getContext("2d");
  g.scale(ratio, ratio);
  const span = Math.max(1, Number(el("span").value) || 60), left = 70, bottom = h - 24;
  let end = 0, low = el("zero").checked ? 0 : Infinity, high = -Infinity;
  for (const s of series.values()) if (s.points.length) end = Math.max(end, s.points[s.points.length - 1][0]);
  const start = end - span;
  for (const s of series.values())
    for (const [t, p] of s.points) if (t >= start) { low = Math.min(low, p); high = Math.max(high, p); }
  if (!(high > -Infinity)) return;
  if (high <= low) high = low + (Math.abs(low) || 1) * 0.1;
  high += 0.05 * (high - low);
  const x = t => left + (t - start) / span * (w - left - 8), y = p => bottom - (p - low) / (high - low) * (bottom - 8);
  g.font = "12px system-ui"; g.fillStyle = g.strokeStyle = getComputedStyle(document.body).color;
  g.globalAlpha = 0.7;
  for (let i = 0; i <= 4; i++) {
    const p = low + (high - low) * i / 4;
    g.fillText(si(p, "W"), 4, y(p) + 4);
    g.globalAlpha = 0.15; g.beginPath(); g.moveTo(left, y(p)); g.lineTo(w - 8, y(p)); g.stroke(); g.globalAlpha = 0.7;
  }
  const digits = span < 12 ? 1 : 0;
  for (let i = 0; i <= 6; i++) {
    const t = start + span * i / 6;
    if (t < 0) continue;  // before the first reading there is nothing
    g.textAlign = i === 6 ? "right" : "center";
    g.fillText(t.toFixed(digits) + " s", x(t), h - 6);
  }
  g.textAlign = "left";
  g.globalAlpha = 1; g.lineWidth = 1.5;
  for (const s of series.values()) {
    g.strokeStyle = s.colour; g.beginPath();
    let before = null;
    for (const [t, p] of s.points) {
      if (t < start) continue;
      if (before === null || t - before > 2) g.moveTo(x(t), y(p)); else g.lineTo(x(t), y(p));
      before = t;
    }
    g.stroke();
  }
}
async function turn() {
  try {
    const answer = await fetch("/data?since=" + last);
    show(await answer.json());
    el("state").textContent = "live"; el("state").className = "";
  } catch (error) { el("state").textContent = "joulet power has ended"; el("state").className = "lost"; }
  setTimeout(turn, 200);
}
el("mark").onclick = () => fetch("/mark", {headers: {"X-Joulet": "1"}});
addEventListener("resize", draw);
turn();
</script></body></html>
"""
