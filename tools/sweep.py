# SPDX-License-Identifier: Apache-2.0
"""``joulet sweep``: a study of policies over models, traces, stores and arrivals, on all cores or on a cluster."""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

import joulet
import joulet.policies
from joulet.errors import DataError, JouletError, UsageError
from joulet.records import SimulationRecord
from joulet.report.archive import save_bytes
from joulet.simulate.job import Job, prepare_model
from joulet.simulate.study import Model, Study, load_study
from joulet.simulate.sweep import Digests, JobEnd, Key, RecordsFile, events_of, job_id, left_to_do, run_study, weight
from joulet.tools.progress import Progress, left_over
from joulet.tools.sweep_report import cell_title, summary, summary_text, write_report
from joulet.tools.workers import check_executor, cores, dask_workers, local_workers

FORMAT = "joulet sweep folder 1"
EPILOG = """\
A study is a TOML file. Paths in it are relative to it; a list makes a cell of each of its values:

  policies = ["shadow", "linear", "best-fixed"]     # as joulet simulate takes them; the first is held
                                                    # against the others
  arrivals = ["periodic", "poisson", "bursty"]      # with the period below, as in "bursty:5x{{gap}}/{{burst}}"; or
                                                    # in full: "poisson:0.2/s"
  harvest_ratio = [0.3, 1, 3]                       # mean harvest over what full-depth w8 asks for; or scale
  store_inferences = [0.5, 1, 5]                    # or capacitor = ["1mF", "10mF"]

  [options]                                         # for all cells, here or in a model or trace; the latter win
  leakage = "1Mohm"                                 # with a unit, or leakage_ohm = 1e6; there are also
                                                    # {options}

  [[model]]
  name = "kws"
  file = "kws.jlt"                                  # or a .tflite with compile = {{data = "fit.npz", exits = 3}}
  data = "kws_eval.npz"
  period = "2s"                                     # mean time between events

  [[trace]]
  file = "sun.csv.gz"                               # or a source such as "constant:200uW"
  family = "solar"
  duration = "30d"
  period = {{kws = "30s"}}                            # wins over the model's; one for all models: period = "30s"
  train = ["other.csv.gz"]                          # learned policies learn from these instead of from other days

The folder gets records.jsonl (a line for every policy and cell, written as cells end), comparison.html, .csv, .json and
.png, manifest.json (versions, hashes, options, failures), events.jsonl (what stderr says when it is no terminal) and the
containers that were compiled. --resume goes on after an interrupt, and adds what a longer study names; slices may share a
folder. With dask:// the folder, the study and joulet itself must be where the workers see them under the same paths.

  joulet sweep study.toml --out results
  joulet sweep study.toml --out results --slice 1/40 --jobs 2
  joulet sweep study.toml --out results --resume --executor dask://10.0.0.1:8786

Exit codes: 0 ok, 1 a cell failed or a ledger does not close, 2 usage.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's parser."""
    from joulet.simulate.options import option_names

    names = sorted(set(option_names().values()))
    own = ("policies", "arrivals", "harvest_ratio", "store_inferences", "capacitor_f", "scale", "train", "family")
    parser = subparsers.add_parser(
        "sweep",
        help="a study: policies over models, traces, stores and arrivals, on all cores or a cluster",
        description="Simulate every cell of a study, keep each result as it comes, and write one comparison of all.",
        epilog=EPILOG.format(options=_wrapped([name for name in names if name not in own])),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("study", type=Path, metavar="STUDY.toml", help="what to simulate; see below")
    parser.add_argument("--out", type=Path, default=Path("joulet-sweep"), metavar="DIR", help="folder (joulet-sweep)")
    parser.add_argument("--jobs", type=int, metavar="N", help="local processes (one a core)")
    parser.add_argument("--executor", default="local", metavar="WHERE", help="local, or dask://HOST:PORT (local)")
    parser.add_argument("--slice", default="1/1", metavar="K/N", help="only the K-th of N parts, cells drawn at random")
    parser.add_argument("--resume", action="store_true", help="keep what the folder holds and do what is missing")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="outcomes of the engine (in the folder)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")


def _wrapped(names: Sequence[str]) -> str:
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) > 66:
            lines.append("")
        lines[-1] += f"{name}, "
    return ("\n" + " " * 52 + "# ").join(line.strip() for line in lines).rstrip(", ")


@dataclass(slots=True, kw_only=True)
class Sweep:
    """A sweep while it goes on: the study, its folder, and what came of it."""

    study: Study
    chosen: tuple[int, ...]
    folder: Path
    options: dict[str, Any]
    digests: Digests = field(default_factory=Digests)
    ids: list[str] = field(default_factory=list)
    kept: dict[Key, SimulationRecord] = field(default_factory=dict)
    resumed: int = 0
    failures: list[dict[str, Any]] = field(default_factory=list)
    code: list[str] = field(default_factory=list)

    @property
    def file(self) -> RecordsFile:
        """The records on the disk."""
        return RecordsFile(self.folder / "records.jsonl")

    def found(self) -> list[SimulationRecord]:
        """Return all records of the whole study that are known, in its order and under its names."""
        return [
            self.study.named(index, spec, self.kept[(key, spec)])
            for index, (key, job) in enumerate(zip(self.ids, self.study.jobs, strict=True))
            for spec in job.policies
            if (key, spec) in self.kept
        ]


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    address = check_executor(args.executor)
    if args.jobs is not None and args.jobs < 1:
        raise UsageError(f"--jobs is {args.jobs}; it must be 1 or more")
    study = load_study(args.study, models_folder=args.out.absolute() / "models", cache=_cache(args))
    sweep = Sweep(
        study=study,
        chosen=_slice(args.slice, len(study.jobs)),
        folder=args.out.absolute(),
        options={key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()},
    )
    if args.dry_run:
        print(_plan(sweep, as_json=args.json))
        return 0
    open_folder(sweep, resume=args.resume)
    with Progress(sys.stderr, live=sys.stderr.isatty(), file=sweep.folder / "events.jsonl") as progress:
        try:
            with _ended_by_sigterm():
                _prepare(sweep, progress)
                _simulate(sweep, progress, address, args.jobs or cores())
                return _finish(sweep, progress, as_json=args.json)
        except KeyboardInterrupt:
            _write_manifest(sweep, "interrupted")
            kept = f"{len(sweep.kept):,} records are kept in {sweep.file.path}"
            progress.log("warning", f"interrupted; {kept}; the same command with --resume goes on")
            raise


def _cache(args: argparse.Namespace) -> Path:
    cache: Path = args.cache or args.out / "cache"
    return cache.absolute()


def _slice(text: str, count: int) -> tuple[int, ...]:
    part, _, parts = text.partition("/")
    if not (part.isdigit() and parts.isdigit() and 1 <= int(part) <= int(parts)):
        raise UsageError(f"--slice {text}: write K/N with K from 1 to N, such as 1/40")
    # shuffled, always in the same way: each part has something of everything, and all parts together have all
    order = np.random.default_rng(0).permutation(count)[int(part) - 1 :: int(parts)]
    if not len(order):
        raise UsageError(f"--slice {text}: there are only {count} cells")
    return tuple(sorted(order.tolist()))


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Take SIGTERM, which schedulers of clusters send, like Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def open_folder(sweep: Sweep, *, resume: bool) -> None:
    """Make the folder, or refuse one that must not be written to.

    Raises
    ------
    UsageError
        If it is a file, holds something else, or holds an earlier sweep and ``resume`` is False.
    """
    folder = sweep.folder
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder}: is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()):
        manifest = _manifest_of(folder)
        if manifest.get("format") != FORMAT:
            raise UsageError(f"--out {folder}: holds other files; name a new folder or one of an earlier sweep")
        if not resume:
            raise UsageError(f"--out {folder}: holds an earlier sweep; --resume goes on with it, or name a new folder")
        sweep.code = [each for each in manifest.get("code_sha256", []) if isinstance(each, str)]
    mine = code_sha256()
    sweep.code = [*(each for each in sweep.code if each != mine), mine]
    folder.mkdir(parents=True, exist_ok=True)
    _write_manifest(sweep, "begun")
    save_bytes(folder / "study.toml", sweep.study.file.read_bytes())


def _manifest_of(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "manifest.json").read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def code_sha256() -> str:
    """Return a digest of all code that a record depends on."""
    digest = hashlib.sha256()
    for package in (joulet, joulet.policies):
        folder = Path(str(package.__file__)).parent
        for path in sorted([*folder.rglob("*.py"), *folder.glob("_core*")]):
            digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def _prepare(sweep: Sweep, progress: Progress) -> None:
    """Compile what is to be compiled, run the engine once over all samples, and name every job."""
    for model in sweep.study.models:
        if model.compilation is not None:
            _compile(model, sweep, progress)
    jobs = sweep.study.jobs
    for model_file, data, board, cache in dict.fromkeys((j.model, j.data, j.board, j.cache) for j in jobs):
        task = f"engine {model_file.stem}"
        progress.begin(task, 1.0, f"{model_file.stem}: every sample through the engine")
        prepare_model(model_file, data, board, cache, lambda done, task=task: progress.advance(task, done, 1.0))
        progress.end(task)
    sweep.ids = [job_id(job, sweep.digests) for job in jobs]
    twice = next((index for index, key in enumerate(sweep.ids) if key in sweep.ids[:index]), None)
    if twice is not None:
        raise UsageError(f"{sweep.study.file.name}: two cells are the same: {cell_title(sweep.study, twice)}")
    kept = sweep.file.read()
    sweep.kept, sweep.resumed = dict(kept.records), len(kept.records)
    if sweep.resumed and len(sweep.code) > 1:
        progress.log(
            "warning", f"{sweep.resumed:,} records are kept that may come of other code; a new folder has none"
        )
    if kept.damaged:
        progress.log("warning", f"{kept.damaged} line(s) of {sweep.file.path} were cut or damaged; they are done again")


def _compile(model: Model, sweep: Sweep, progress: Progress) -> None:
    from joulet.compile import compile_model

    how = model.compilation
    assert how is not None
    assert model.source is not None
    made_from = {
        "source": sweep.digests.of(model.source),
        "data": sweep.digests.of(how.data) if how.data is not None else None,
        "exits": how.exits,
        "precisions": list(how.precisions),
        "seed": how.seed,
    }
    about = model.file.with_suffix(".json")
    if model.file.is_file() and about.is_file() and json.loads(about.read_text()).get("made_from") == made_from:
        return
    task = f"compile {model.name}"
    progress.begin(task, 1.0, f"{model.name}: compiling {model.source.name}")
    result = compile_model(
        model.source,
        data=how.data,
        exits=how.exits,
        precisions=how.precisions,
        seed=how.seed,
        progress=lambda what, done, total: progress.advance(
            task, done, total, step=what, said=f"({what} {done}/{total})"
        ),
    )
    model.file.parent.mkdir(exist_ok=True)
    save_bytes(model.file, result.container)
    save_bytes(about, (json.dumps({"made_from": made_from, **result.report.to_json()}, indent=1) + "\n").encode())
    progress.end(task, model_hash=result.report.model_hash)


def _simulate(sweep: Sweep, progress: Progress, address: str | None, count: int) -> None:
    """Run what is missing of the chosen cells, and keep every record as it comes."""
    missing = left_to_do(((sweep.ids[index], sweep.study.jobs[index]) for index in sweep.chosen), sweep.kept)
    if not missing:
        progress.log("info", f"nothing is missing in {len(sweep.chosen):,} cells")
        return
    index_of = {key: index for index, key in enumerate(sweep.ids)}
    jobs = [job for _, job in missing]
    indices = [index_of[key] for key, _ in missing]
    total = sum(weight(job) for job in jobs)
    cells_done, weight_done, began_s = 0, 0.0, progress.time_s()

    def ended(end: JobEnd) -> None:
        nonlocal cells_done, weight_done
        _keep(sweep, progress, indices[end.index], end)
        cells_done, weight_done = cells_done + 1, weight_done + weight(end.job)
        eta_s, left = left_over(progress.time_s() - began_s, weight_done, total)
        title = cell_title(sweep.study, indices[end.index])
        progress.advance(
            "cells",
            cells_done,
            len(jobs),
            said=f"{cells_done:,} of {len(jobs):,}, {len(sweep.failures)} failed{left} (last: {title})",
            always=True,
            eta_s=eta_s,
            job=sweep.ids[indices[end.index]],
            cell=title,
            seconds=round(end.seconds, 3),
        )

    with ExitStack() as stack:
        workers = local_workers(min(count, len(jobs))) if address is None else dask_workers(address)
        executor = stack.enter_context(workers)
        progress.begin("cells", len(jobs), "cells", executor=address or f"local, {min(count, len(jobs))}")
        run_study(jobs, executor, ended)
    progress.end("cells", failed=len(sweep.failures), seconds=round(progress.time_s() - began_s, 3))


def _keep(sweep: Sweep, progress: Progress, index: int, end: JobEnd) -> None:
    key, errors = sweep.ids[index], dict(end.errors)
    named = {spec: sweep.study.named(index, spec, record) for spec, record in end.records.items()}
    if named:
        try:
            sweep.file.append(key, named)
            sweep.kept.update({(key, spec): record for spec, record in named.items()})
        except DataError as error:
            errors[""] = str(error)
    title = cell_title(sweep.study, index)
    for spec, message in errors.items():
        failure = {"job": key, "cell": title, "policy": spec or None, "error": message, "fields": job_fields(end.job)}
        sweep.failures.append(failure)
        progress.log("error", f"{title}{f', policy {spec}' if spec else ''}: {message}", **failure)


def job_fields(job: Job) -> dict[str, Any]:
    """Return the fields of a job as JSON knows them."""
    found = {each.name: getattr(job, each.name) for each in fields(job)}
    return {name: str(value) if isinstance(value, Path) else value for name, value in found.items()}


def _finish(sweep: Sweep, progress: Progress, *, as_json: bool) -> int:
    records = sweep.found()
    open_books = [record for record in records if not record.residual <= 1e-3]
    for record in open_books:
        progress.log("error", f"{record.model} on {record.trace}, {record.policy}: the ledger does not close")
    _write_manifest(sweep, "failed" if sweep.failures or open_books else "complete")
    files: list[Path] = []
    if records:
        progress.begin("report", 1.0)
        try:
            written = write_report(sweep.study, sweep.ids, sweep.kept, records, sweep.folder)
            files = list(written.files)
            for line in written.left_out:
                progress.log("info", line)
        except JouletError as error:
            sweep.failures.append({"job": None, "cell": "report", "policy": None, "error": str(error), "fields": {}})
            progress.log("error", f"report: {error}")
        progress.end("report")
    result = {
        "out": str(sweep.folder),
        "cells": len(sweep.study.jobs),
        "chosen": len(sweep.chosen),
        "records": len(records),
        "resumed": sweep.resumed,
        "failed": sweep.failures,
        **summary(records),
        "files": [str(path) for path in files],
    }
    print(json.dumps(result, indent=1) if as_json else summary_text(result))
    return 1 if sweep.failures or open_books else 0


def _write_manifest(sweep: Sweep, status: str) -> None:
    study, of = sweep.study, sweep.digests.of
    models = []
    for model in study.models:
        about: dict[str, Any] = {"name": model.name, "data": {"file": model.data.name, "sha256": of(model.data)}}
        if model.file.is_file():
            about |= {"file": model.file.name, "sha256": of(model.file)}
        if model.source is not None and model.compilation is not None:
            about |= {"source": model.source.name, "source_sha256": of(model.source)}
            about["compile"] = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(model.compilation).items()}
        models.append(about)
    traces = dict.fromkeys(trace for job in study.jobs for trace in (job.trace, *job.train))
    content = {
        "format": FORMAT,
        "status": status,
        "joulet": joulet.__version__,
        "code_sha256": sweep.code,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "study": {"file": study.file.name, "sha256": of(study.file)},
        "options": {key: value for key, value in sweep.options.items() if key not in ("command", "json", "dry_run")},
        "seeds": sorted({job.seed for job in study.jobs}),
        "models": models,
        "traces": [
            {"file": Path(trace).name, "sha256": of(Path(trace))} if Path(trace).is_absolute() else {"source": trace}
            for trace in traces
        ],
        "cells": len(study.jobs),
        "chosen": len(sweep.chosen),
        "records": len(sweep.kept),
        "failed": sweep.failures,
    }
    save_bytes(sweep.folder / "manifest.json", (json.dumps(content, indent=1) + "\n").encode())


def _plan(sweep: Sweep, *, as_json: bool) -> str:
    jobs = [(index, sweep.study.jobs[index]) for index in sweep.chosen]
    if as_json:
        cells = [
            {"model_name": sweep.study.names[index].model, **job_fields(job), "events": round(events_of(job))}
            for index, job in jobs
        ]
        return json.dumps({"cells": len(jobs), "of": len(sweep.study.jobs), "jobs": cells}, indent=1)
    groups: dict[tuple[str, str], list[Job]] = {}
    for index, job in jobs:
        groups.setdefault((sweep.study.names[index].model, sweep.study.names[index].trace), []).append(job)
    runs, events = sum(len(job.policies) for _, job in jobs), sum(events_of(job) for _, job in jobs)
    lines = [f"{len(jobs):,} of {len(sweep.study.jobs):,} cells, {runs:,} records, {events:,.0f} events"]
    lines += [
        f"  {model:10} {trace:40} {len(group):5,} cells  {sum(map(events_of, group)) / len(group):10,.0f} events each"
        for (model, trace), group in groups.items()
    ]
    return "\n".join(lines)
