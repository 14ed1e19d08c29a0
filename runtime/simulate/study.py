# SPDX-License-Identifier: Apache-2.0
"""A study: a TOML file that names models, traces and conditions, and the cells that all of them together make.

::

    policies = ["shadow", "linear", "best-fixed"]     # the first is held against the others
    arrivals = ["periodic", "poisson", "bursty"]      # with the period of trace and model, or see below
    harvest_ratio = [0.3, 1, 3]                       # a list makes a cell of each of its values
    store_inferences = [0.5, 1, 5]                    # or capacitor = ["1mF", "10mF"]

    [options]                                         # what holds for all cells
    efficiency = 0.8
    leakage = "1Mohm"                                 # quantities with units; leakage_ohm = 1e6 is the same

    [[model]]
    name = "kws"
    file = "kws.jlt"                                  # all paths are relative to the study
    data = "kws_eval.npz"
    period = "2s"

    [[model]]
    name = "ic"
    file = "resnet8.tflite"                           # compiled before the first cell
    compile = {data = "ic_fit.npz", exits = 3, precisions = ["w8", "w4", "mix"]}
    data = "ic_eval.npz"
    period = "5s"

    [[trace]]
    file = "sun.csv.gz"                               # or a source such as "constant:200uW"
    family = "solar"
    duration = "30d"
    period = {kws = "30s", ic = "60s"}                # or one for all models; wins over the model's
    train = ["other.csv.gz"]
    clock_start = "7h"

Options are the fields of :class:`joulet.simulate.job.Job`, with their unit in the name or without. They may stand at the
top, in ``[options]``, in a model or in a trace; trace wins over model, model over the rest. ``arrivals`` are what
``joulet simulate`` takes, where ``{period}`` stands for the period, ``{gap}`` for a tenth of it and ``{burst}`` for as
many of it as a burst has events: ``periodic`` = ``periodic:{period}``, ``poisson`` = ``poisson:1/{period}``, ``bursty`` =
``bursty:5x{gap}/{burst}``.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from joulet.errors import UsageError
from joulet.policies import make_policy
from joulet.records import SimulationRecord
from joulet.simulate.arrivals import parse_arrivals
from joulet.simulate.job import BEST_FIXED, Job
from joulet.simulate.options import TUPLES, Entry, Options, read_options
from joulet.units import parse_quantity

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_KINDS = {"periodic": "periodic:{period}", "poisson": "poisson:1/{period}", "bursty": "bursty:5x{gap}/{burst}"}
_SOURCE = re.compile(r"(constant|markov|solar):")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
# options of which a cell has one or the other
_EITHER = (("capacitor_f", "store_inferences"), ("scale", "harvest_ratio"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Compilation:
    """How a .tflite becomes a container; as the options of ``joulet compile``."""

    data: Path | None = None
    exits: int | str = "auto"
    precisions: tuple[str, ...] = ("w8", "w4", "mix")
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of a study.

    Attributes
    ----------
    name
        What records call it.
    file
        The container.
    data
        Samples with labels.
    source, compilation
        Where the container is made by the study: from what, and how; None otherwise.
    """

    name: str
    file: Path
    data: Path
    source: Path | None = None
    compilation: Compilation | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CellName:
    """What the records of a cell call its model and its trace."""

    model: str
    trace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What a study file says; ``names`` has one entry a job."""

    file: Path
    models: tuple[Model, ...]
    jobs: tuple[Job, ...]
    names: tuple[CellName, ...]

    def named(self, index: int, spec: str, record: SimulationRecord) -> SimulationRecord:
        """Return a record of a job under the names of the study."""
        return replace(record, policy=spec, model=self.names[index].model, trace=self.names[index].trace)


def load_study(path: Path, *, models_folder: Path, cache: Path | None = None) -> Study:
    """Read a study file.

    Parameters
    ----------
    path
        The file; paths in it are relative to its folder.
    models_folder
        Where containers that the study compiles are to be found later.
    cache
        For outcomes of the engine; not part of a study.

    Raises
    ------
    UsageError
        If the file cannot be read, or a key, a value or a file that it names is wrong; the message names it.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot read '{path}': {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"'{path}' is no TOML: {error}") from error
    top = Entry(content, path.name, path.parent.resolve())
    table = top.get("options", {})
    if not isinstance(table, dict):
        raise UsageError(f"{path.name}: options must be a table: [options]")
    inner = read_options(Entry(table, f"{path.name}, [options]", top.folder))
    base = _over(_defaults(), _joined(read_options(top, but=("options", "model", "trace")), inner))
    models = [_model(entry, models_folder) for entry in top.tables("model")]
    traces = [_trace(entry) for entry in top.tables("trace")]
    _check_names(path.name, models, traces)
    pairs = [(trace, model) for trace in traces for model in models]
    found = [cell for trace, model in pairs for cell in _cells(path.name, base, trace, model, cache)]
    jobs = tuple(job for job, _ in found)
    return Study(
        file=path,
        models=tuple(model.about for model in models),
        jobs=jobs,
        names=_distinct(path.name, jobs, [name for _, name in found]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelEntry:
    about: Model
    period_s: float | None
    options: Options


@dataclass(frozen=True, slots=True, kw_only=True)
class _TraceEntry:
    name: str
    trace: str
    period_s: Mapping[str, float]  # by model, "" for all
    options: Options


def _defaults() -> dict[str, list[Any]]:
    found = {field.name: [field.default] for field in fields(Job) if field.default is not MISSING}
    return found | {"arrivals": ["periodic"]}


def _joined(one: Options, other: Options) -> Options:
    twice = sorted(set(one) & set(other))
    if twice:
        raise UsageError(f"{other.where}: {twice[0]} is also given at the top; give it once")
    joined = Options(one.where)
    joined.update(one)
    joined.update(other)
    return joined


def _over(below: Mapping[str, list[Any]], above: Options) -> dict[str, list[Any]]:
    """Return options with those above put over those below; one of either-or drops the other."""
    merged = dict(below)
    for pair in _EITHER:
        given = [name for name in pair if name in above]
        if len(given) == 2:
            raise UsageError(f"{above.where}: give {pair[0]} or {pair[1]}, not both")
        for name in pair if given else ():
            merged[name] = _defaults()[name]
    return merged | above


def _model(entry: Entry, folder: Path) -> _ModelEntry:
    file = entry.path("file")
    name = entry.text("name", file.stem)
    if not _NAME.fullmatch(name):
        raise UsageError(f"{entry.where}: name '{name}' must be letters, digits and _ . + - only")
    data, compiled = entry.path("data"), entry.get("compile")
    period = entry.get("period")
    about = Model(name=name, file=file, data=data)
    if compiled is not None:
        about = replace(
            about, file=folder / f"{name}.jlt", source=file, compilation=_compilation(entry.inner("compile", compiled))
        )
    elif file.suffix == ".tflite":
        raise UsageError(f'{entry.where}: {file.name} is no container; add compile = {{data = "FIT.npz", exits = 3}}')
    return _ModelEntry(
        about=about,
        period_s=None if period is None else _period_s(period, entry.where),
        options=read_options(entry, but=("name", "file", "data", "period", "compile")),
    )


def _compilation(entry: Entry) -> Compilation:
    entry.check_keys([field.name for field in fields(Compilation)])
    precisions = entry.get("precisions", list(Compilation().precisions))
    if isinstance(precisions, str):
        precisions = precisions.split(",")
    if not isinstance(precisions, list) or not all(isinstance(p, str) for p in precisions):
        raise UsageError(f'{entry.where}: precisions must be a list such as ["w8", "w4", "mix"]')
    exits, seed = entry.get("exits", "auto"), entry.get("seed", 0)
    if isinstance(exits, bool) or not isinstance(exits, (int, str)):
        raise UsageError(f'{entry.where}: exits must be a number, "auto" or "off"')
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise UsageError(f"{entry.where}: seed must be a whole number of zero or more")
    return Compilation(
        data=entry.path("data") if "data" in entry.table else None,
        exits=exits,
        precisions=tuple(p.strip() for p in precisions),
        seed=seed,
    )


def _trace(entry: Entry) -> _TraceEntry:
    text = entry.text("file")
    is_source = _SOURCE.match(text) is not None
    trace = text if is_source else str(entry.path("file"))
    period = entry.get("period", {})
    by_model = period if isinstance(period, dict) else {"": period}
    stem = text if is_source else Path(trace).name.removesuffix(".gz").removesuffix(".csv")
    return _TraceEntry(
        name=entry.text("name", stem),
        trace=trace,
        period_s={model: _period_s(value, entry.where) for model, value in by_model.items()},
        options=read_options(entry, but=("name", "file", "period")),
    )


def _period_s(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise UsageError(f'{where}: period must be a time such as "2s"')
    return parse_quantity(str(value), "s", what=f"{where}: period")


def _check_names(name: str, models: Sequence[_ModelEntry], traces: Sequence[_TraceEntry]) -> None:
    names = [model.about.name for model in models]
    twice = sorted({each for each in names if names.count(each) > 1})
    if twice:
        raise UsageError(f"{name}: two models are called '{twice[0]}'; give them different names")
    for trace in traces:
        strange = sorted(set(trace.period_s) - {"", *names})
        if strange:
            raise UsageError(f"{name}: trace {trace.name}: period of '{strange[0]}'; the models are {', '.join(names)}")


def _cells(
    name: str, base: Mapping[str, list[Any]], trace: _TraceEntry, model: _ModelEntry, cache: Path | None
) -> Iterator[tuple[Job, CellName]]:
    where = f"{name}: trace {trace.name}, model {model.about.name}"
    settings = _over(_over(base, model.options), trace.options)
    if "policies" not in settings:
        raise UsageError(f'{name}: policies are missing; name some, such as policies = ["shadow", "best-fixed"]')
    if settings["capacitor_f"] == [None] and settings["store_inferences"] == [None]:
        raise UsageError(f'{where}: a store is missing; give store_inferences = [5, 20] or capacitor = ["4.7mF"]')
    period_s = trace.period_s.get(model.about.name, trace.period_s.get("", model.period_s))
    settings["arrivals"] = [_arrivals(text, period_s, where) for text in settings["arrivals"]]
    for spec in settings["policies"][0]:
        if spec != BEST_FIXED:
            make_policy(spec)
    for values in itertools.product(*settings.values()):
        chosen = dict(zip(settings, values, strict=True))
        about = {"model": model.about.file, "data": model.about.data, "trace": trace.trace, "cache": cache}
        yield Job(**{**chosen, **about}), CellName(model=model.about.name, trace=trace.name)


def _arrivals(text: str, period_s: float | None, where: str) -> str:
    template = _KINDS.get(text, text)
    if period_s is None and "{" in template:
        raise UsageError(f"{where}: arrivals '{text}' need a period; give the trace or the model one")
    count = re.match(r"bursty:([0-9.]+)x", template)
    period = period_s or 0.0
    known = {"period": period, "gap": period / 10.0, "burst": period * float(count[1] if count else 1.0)}

    def filled(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise UsageError(
                f"{where}: arrivals '{text}': no {{{match[1]}}}; there are {{period}}, {{gap}} and {{burst}}"
            )
        return f"{known[match[1]]:.12g}s"

    return parse_arrivals(re.sub(r"\{(\w*)\}", filled, template)).spec


def _distinct(name: str, jobs: Sequence[Job], names: Sequence[CellName]) -> tuple[CellName, ...]:
    """Return names under which no two cells look the same: what only differs in other options says so by its trace."""
    groups: dict[tuple[object, ...], list[int]] = {}
    for index, (job, cell) in enumerate(zip(jobs, names, strict=True)):
        looks = (cell, job.board, job.family, job.arrivals, job.harvest_ratio, job.capacitor_f, job.store_inferences)
        groups.setdefault(looks, []).append(index)
    told = list(names)
    for indices in (group for group in groups.values() if len(group) > 1):
        varied = [
            option
            for option in (field.name for field in fields(Job) if field.name not in TUPLES)
            if len({getattr(jobs[index], option) for index in indices}) > 1
        ]
        for index in indices:
            said = ", ".join(f"{option}={getattr(jobs[index], option)}" for option in varied)
            told[index] = CellName(model=names[index].model, trace=f"{names[index].trace} ({said})")
        if len({told[index] for index in indices}) < len(indices):
            raise UsageError(f"{name}: two cells are the same: {names[indices[0]].model} on {names[indices[0]].trace}")
    return tuple(told)
