# SPDX-License-Identifier: Apache-2.0
"""Run the jobs of a study on any executor, and keep their records in a file that outlives an interrupt.

``records.jsonl`` has one JSON object a line: the fields of :class:`joulet.records.SimulationRecord`, ``job`` (the
identity of the cell, see :func:`job_id`) and ``spec`` (the policy as the study writes it).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, Future, as_completed
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from joulet.energy.load import load_harvester
from joulet.errors import DataError, JouletError
from joulet.records import SimulationRecord
from joulet.report.archive import plain, typed
from joulet.simulate.arrivals import parse_arrivals
from joulet.simulate.job import SHORTEST_S, Job, judge, make_cell

_NOT_IN_ID = ("policies", "cache")
_CELL_EVENTS = 10_000  # what a cell takes besides its events, in events; as seen on one core
_OWN_KEYS = ("job", "spec")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """What became of a job.

    Attributes
    ----------
    index, job
        Which one.
    records
        By policy, of those that ended well.
    errors
        What went wrong, by policy; under an empty name what ended the whole job.
    seconds
        Time it took, 0 where it never ran [s].
    """

    index: int
    job: Job
    records: Mapping[str, SimulationRecord] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


Worked = tuple[dict[str, SimulationRecord], dict[str, str], float]


def work(job: Job) -> Worked:
    """Judge every policy of a job; what a worker does. A policy that fails does not take the others with it."""
    began = time.perf_counter()
    records: dict[str, SimulationRecord] = {}
    errors: dict[str, str] = {}
    cell = make_cell(job)
    for spec in job.policies:
        try:
            records[spec] = judge(cell, spec, oracles=job.oracles)
        except Exception as error:  # a policy may be anyone's code, and hours of the others' work hang on it
            errors[spec] = _told(error)
    return records, errors, time.perf_counter() - began


def _told(error: BaseException) -> str:
    return str(error) if isinstance(error, JouletError) else f"{type(error).__name__}: {error}"


def run_study(
    jobs: Sequence[Job], executor: Executor, progress: Callable[[JobEnd], None] | None = None
) -> list[SimulationRecord]:
    """Run jobs, the largest first, and return the records of all that ended well, in the order of the jobs.

    Parameters
    ----------
    jobs
        What to do; models and data must be where the workers see them.
    executor
        Anything that has ``submit``: a process pool, a Dask client's ``get_executor()``. It is left open; what it has not
        begun is cancelled when this is interrupted.
    progress
        Told of every job as it ends, in this thread.

    Raises
    ------
    JouletError
        Without ``progress``, if a job failed: after all others have ended.
    """
    ends: dict[int, JobEnd] = {}
    order = sorted(range(len(jobs)), key=lambda index: -weight(jobs[index]))
    futures: dict[Future[Worked], int] = {}
    try:
        for index in order:
            futures[executor.submit(work, jobs[index])] = index
        for future in as_completed(futures):
            index = futures[future]
            ends[index] = _end(index, jobs[index], future)
            if progress is not None:
                progress(ends[index])
    finally:
        for future in futures:
            future.cancel()
    failed = [end for _, end in sorted(ends.items()) if end.errors]
    if failed and progress is None:
        spec, message = next(iter(failed[0].errors.items()))
        raise JouletError(
            f"{len(failed)} of {len(jobs)} jobs failed; job {failed[0].index}, policy '{spec}': {message}"
        )
    return [record for _, end in sorted(ends.items()) for record in end.records.values()]


def _end(index: int, job: Job, future: Future[Worked]) -> JobEnd:
    if future.cancelled():
        return JobEnd(index=index, job=job, errors={"": "cancelled by the executor, which lost its workers"})
    error = future.exception()
    if error is not None:
        return JobEnd(index=index, job=job, errors={"": _told(error)})
    records, errors, seconds = future.result()
    return JobEnd(index=index, job=job, records=records, errors=errors, seconds=seconds)


def weight(job: Job) -> float:
    """Return a guess of how long a job takes, by its events and policies; 0 where its trace cannot be read."""
    events = events_of(job)
    return (events + _CELL_EVENTS) * (len(job.policies) + 1) if events else 0.0


def events_of(job: Job) -> float:
    """Return the mean number of events of a job."""
    duration_s = job.duration_s
    if duration_s is None:
        try:
            duration_s = max(_span_s(job.trace), SHORTEST_S)
        except JouletError:
            return 0.0  # the job itself will say why
    events = duration_s / parse_arrivals(job.arrivals).mean_s
    return events if math.isfinite(events) else 0.0


@lru_cache(maxsize=64)
def _span_s(trace: str) -> float:
    return load_harvester(trace).span_s


class Digests:
    """SHA-256 of files, each read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """Return the digest of a file as hexadecimal digits."""
        if path not in self._known:
            self._known[path] = hashlib.sha256(path.read_bytes()).hexdigest()
        return self._known[path]


def job_id(job: Job, digests: Digests) -> str:
    """Return what identifies a cell: its fields, files by name and content, without policies and cache.

    Fields at their defaults do not count, so that a field that Joulet gains does not make old records strangers.
    """
    said = {
        each.name: _identity(getattr(job, each.name), digests)
        for each in fields(Job)
        if each.name not in _NOT_IN_ID and getattr(job, each.name) != each.default
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _identity(value: Any, digests: Digests) -> Any:
    if isinstance(value, tuple):
        return [_identity(each, digests) for each in value]
    if isinstance(value, (str, Path)):
        path = Path(value)
        # a word such as the name of a board is no file, whatever lies in the folder that one happens to be in
        is_file = (isinstance(value, Path) or path.is_absolute()) and path.is_file()
        return [path.name, digests.of(path)] if is_file else str(value)
    return value


Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Records by (job, policy), the last of each; ``damaged`` counts lines that could not be read."""

    records: Mapping[Key, SimulationRecord]
    damaged: int


class RecordsFile:
    """``records.jsonl`` of a folder: appended to, a job at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, job: str, records: Mapping[str, SimulationRecord]) -> None:
        """Add the records of a job, all of them on the disk before this returns.

        Raises
        ------
        DataError
            If a figure is not finite; nothing is written then.
        """
        lines = "".join(_line(job, spec, record) for spec, record in records.items())
        with self.path.open("ab") as file:
            if file.tell() and not self._ends_whole():
                lines = f"\n{lines}"  # an interrupt cut the last line; it must not spoil the next one
            # one write, so that two slices that share a folder do not mix their lines
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def read(self) -> Kept:
        """Return what is there; a line cut by an interrupt is left out."""
        records: dict[Key, SimulationRecord] = {}
        damaged = 0
        for line in self.path.read_bytes().splitlines() if self.path.is_file() else ():
            parsed = _parsed(line)
            if parsed is not None:
                records[parsed[0]] = parsed[1]
            damaged += parsed is None and bool(line.strip())
        return Kept(records=records, damaged=damaged)


def _line(job: str, spec: str, record: SimulationRecord) -> str:
    try:
        return json.dumps({"job": job, "spec": spec, **plain(record)}, separators=(",", ":"), allow_nan=False) + "\n"
    except ValueError as error:
        raise DataError(f"policy '{spec}' on {record.trace}: a figure is not finite ({error})") from error


def _parsed(line: bytes) -> tuple[Key, SimulationRecord] | None:
    try:
        content = json.loads(line)
        key = (content["job"], content["spec"])
        about = {name: value for name, value in content.items() if name not in _OWN_KEYS}
        return key, cast(SimulationRecord, typed(SimulationRecord, about))
    except (ValueError, TypeError, KeyError):
        return None


def left_to_do(jobs: Iterable[tuple[str, Job]], kept: Mapping[Key, SimulationRecord]) -> list[tuple[str, Job]]:
    """Return the jobs that lack a record, each with the policies that it lacks only."""
    found = []
    for key, job in jobs:
        missing = tuple(spec for spec in job.policies if (key, spec) not in kept)
        if missing:
            found.append((key, replace(job, policies=missing)))
    return found
