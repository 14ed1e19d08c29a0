# SPDX-License-Identifier: Apache-2.0
"""``joulet power --web``: what the server answers and refuses, and the page in a real headless browser."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest

from joulet.tools.power_web import PAGE

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def serving(*words: str) -> Iterator[int]:
    """Run the command as a user does; yield the port it listens on."""
    command = [sys.executable, "-m", "joulet.tools.main", "power", *words, "--web", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        match = re.search(r"http://127\.0\.0\.1:(\d+)/", line)
        assert match is not None, line
        yield int(match[1])
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


def get(port: int, path: str, **headers: str) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, answer.getheader("Content-Type") or "", text


def wait_for_points(port: int) -> dict[str, object]:
    for _ in range(200):
        data = json.loads(get(port, "/data?since=0")[2])
        if data["rails"] and len(data["rails"][0]["points"]) >= 60:
            return dict(data)
        subprocess.run(["sleep", "0.05"], check=False)
    pytest.fail("no points")


def test_data_goes_on_from_where_the_page_is_and_metrics_are_text() -> None:
    with serving("simulated:10mW,swing=5mW", "--rate", "50") as port:
        data = wait_for_points(port)
        rail = data["rails"][0]  # type: ignore[index]
        assert rail["rail"] == "simulated"
        assert 5e-3 <= rail["min_w"] <= rail["mean_w"] <= rail["max_w"] <= 15e-3
        later = json.loads(get(port, f"/data?since={data['last']}")[2])
        assert all(time_s > rail["points"][-1][0] for time_s, _ in later["rails"][0]["points"])
        status, kind, text = get(port, "/metrics")
        assert (status, kind.split(";")[0]) == (200, "text/plain")
        assert re.search(
            r'^joulet_power_watts\{source="simulated:10mW,swing=5mW",rail="simulated",counts="true"\} 0\.0', text, re.M
        )


def test_the_server_answers_this_machine_only() -> None:
    with serving("simulated:10mW") as port:
        assert get(port, "/")[0] == 200
        assert get(port, "/", Host="evil.example:80")[0] == 403
        assert get(port, "/etc/passwd")[0] == 404
        assert get(port, "/mark")[0] == 404  # only the page itself sends the header
        assert get(port, "/mark", **{"X-Joulet": "1"})[0] == 200
        assert get(port, "/data?since=-1x")[0] == 200


def test_the_page_loads_nothing_from_elsewhere() -> None:
    class Links(HTMLParser):
        found: list[str] = []  # noqa: RUF012

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found += [value or "" for name, value in attrs if name in ("src", "href")]

    parser = Links()
    parser.feed(PAGE)
    assert parser.found == []
    assert "http" not in PAGE.replace("http-equiv", "")


def test_the_page_plots_live_in_a_browser(tmp_path: Path) -> None:
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        if os.environ.get("CI"):
            pytest.fail("CI lacks a browser (Debian: chromium)")
        pytest.skip("needs a headless browser (Debian: chromium)")
    with serving("simulated:10mW,swing=5mW", "--rate", "50") as port:
        wait_for_points(port)
        shot = tmp_path / "page.png"
        common = [
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path}",
            "--virtual-time-budget=3000",
        ]
        address = f"http://127.0.0.1:{port}/"
        done = subprocess.run([*common, "--dump-dom", address], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr[-1000:]
        taken = subprocess.run(
            [*common, f"--screenshot={shot}", "--window-size=900,700", address],
            capture_output=True,
            check=False,
            timeout=60,
        )
        assert taken.returncode == 0
    assert ">live<" in done.stdout
    assert re.search(r"<td[^>]*>simulated</td><td>3\.3 V</td>", done.stdout)
    assert re.search(r"<td>[\d.]+ mW</td>", done.stdout)
    colours = pixels(shot)
    assert colours.get((0x2A, 0x78, 0xD6), 0) > 30  # the line of the first rail is on the canvas


def pixels(path: Path) -> dict[tuple[int, ...], int]:
    """Return how many pixels of a picture have which colour."""
    image = pytest.importorskip("matplotlib.image", reason="reading a picture needs matplotlib")
    import numpy as np

    rows = (np.asarray(image.imread(path))[:, :, :3] * 255).round().astype(int).reshape(-1, 3)
    found, counts = np.unique(rows, axis=0, return_counts=True)
    return {tuple(int(each) for each in colour): int(count) for colour, count in zip(found, counts, strict=True)}
