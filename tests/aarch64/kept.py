# SPDX-License-Identifier: Apache-2.0
"""What each test file gave, kept in a folder; a pytest plugin (``-p kept --kept FOLDER --job N``) that writes it file by file.

The folder holds one JSON file a test file. For each process that runs tests, its folder ``job0`` … holds ``digests.json``
(written by ``suite.py``: its test files, and what each result is kept under), ``running`` (the file whose tests run) and
``exit`` (pytest's exit code; absent where the process died).
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest


@dataclass(slots=True, kw_only=True)
class Result:
    """What the tests of one file gave under one digest."""

    file: str
    digest: str
    passed: int = 0
    left_out: int = 0
    skipped: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    seconds: float = 0.0


class Kept:
    """The folder of results, as one process sees it."""

    def __init__(self, folder: Path, job: int = 0) -> None:
        self.folder, self.job = folder, job
        self._own = folder / f"job{job}"
        self._own.mkdir(parents=True, exist_ok=True)
        self.digests, self.running, self.exit = (self._own / name for name in ("digests.json", "running", "exit"))

    def read(self, file: str) -> Result | None:
        """Return the result of a test file, whatever its digest."""
        path = self._path(file)
        return Result(**json.loads(path.read_text())) if path.is_file() else None

    def write(self, result: Result) -> None:
        """Keep a result: whole or not at all."""
        part = self._own / "part"
        part.write_text(json.dumps(asdict(result), indent=1))
        part.replace(self._path(result.file))

    def forget(self, file: str) -> None:
        """Drop the result of a test file."""
        self._path(file).unlink(missing_ok=True)

    def _path(self, file: str) -> Path:
        return self.folder / f"{Path(file).stem}.json"


class Recorder:
    """Writes the result of a file when the last of its tests has run."""

    def __init__(self, kept: Kept) -> None:
        self.kept = kept
        digests = json.loads(kept.digests.read_text())
        self.results = {file: Result(file=file, digest=digest) for file, digest in digests.items()}

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file that is skipped, or fails, as a whole is done."""
        result = self.results.get(report.nodeid)
        if result is None or report.passed:
            return
        if report.skipped:
            _count_skip(result, report)
        else:
            result.failed.append(f"{report.nodeid} (collection)")
        self.kept.write(result)

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Count what an expression leaves out."""
        for item in items:
            self.results[_file(item.nodeid)].left_out += 1

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """A file of which every test is left out is done."""
        running = {_file(item.nodeid) for item in session.items}
        for file, result in self.results.items():
            if result.left_out and file not in running:
                self.kept.write(result)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, None]:
        """Note the file that runs; keep its result after its last test."""
        file = _file(item.nodeid)
        self.kept.running.write_text(file)
        begun_s = time.monotonic()
        yield
        result = self.results[file]
        result.seconds += time.monotonic() - begun_s
        if nextitem is None or _file(nextitem.nodeid) != file:
            self.kept.write(result)
            self.kept.running.unlink()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count a test."""
        result = self.results[_file(report.nodeid)]
        if report.failed:
            result.failed.append(report.nodeid if report.when == "call" else f"{report.nodeid} ({report.when})")
        elif report.skipped:
            _count_skip(result, report)
        elif report.when == "call":
            result.passed += 1

    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Say that pytest came to its end."""
        self.kept.exit.write_text(str(int(exitstatus)))


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def _count_skip(result: Result, report: pytest.TestReport | pytest.CollectReport) -> None:
    where = report.longrepr  # (file, line, reason) of a skip, a traceback of an expected failure
    reason = where[2].removeprefix("Skipped: ") if isinstance(where, tuple) else f"expected to fail: {report.wasxfail}"
    result.skipped[reason] = result.skipped.get(reason, 0) + 1


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the folder of results."""
    parser.addoption("--kept", type=Path, help="folder of results, one a test file")
    parser.addoption("--job", type=int, default=0, help="number of this process among those that share the folder")


def pytest_configure(config: pytest.Config) -> None:
    """Record into the folder."""
    config.pluginmanager.register(Recorder(Kept(config.getoption("--kept"), config.getoption("--job"))))
