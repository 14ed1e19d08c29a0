# SPDX-License-Identifier: Apache-2.0
"""The whole campaign: four benchmark models, three strategies and one of them relaxed, w8, w4 and a switch, every exit.

::

    make powercut CUTS=100000 SEED=1
    python -m powercut.campaign --cuts 200 --models tiny                 # without the shared data
    python -m powercut.campaign --replay 'kws/IN_NVM/w8@3' --cut 1234567 --depth 2

The last line of the output is JSON. Exit code 1 when anything was wrong.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache, lru_cache
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from band_cases import blocks
from memory_cases import in_halves

from joulet.boards import load_board
from joulet.compile import compile_model
from joulet.container.isa_plan import with_isa_plan
from joulet.engine.host import HostEngine
from powercut.runner import Runner, Tally, seeds
from powercut.scenario import WARN_MV, Case

BOARD = "virtual_m4"
STRATEGIES = ("IN_NVM", "IN_NVM-RELAXED", "JIT_COPY", "RESTART_FROM_EXIT")
IN_FLASH = ("JIT_COPY-FLASH", "RESTART_FROM_EXIT-FLASH")  # of models whose copies fit a ring
FLASH_MODELS = ("tiny", "ad", "kws")
PATHS = ("w8", "w4", "w4>w8@0")
MODELS = {
    "kws": "kws_ref_model_int8",
    "vww": "vww_96_int8",
    "ic": "ic_resnet8_int8",
    "ad": "ad01_int8",
}
WHOLE_EVERY = 50  # one cut in so many runs on to its answer
PIECE = 100  # cuts of one case at a time
TELL_S = 30.0  # between two lines of progress, unless somebody looks on


@cache
def model_of(name: str, shared: str) -> tuple[bytes, tuple[np.ndarray, ...]]:
    """Return a container with two early exits and the board's plan, and an input. ``tiny`` needs no shared data.

    Nor do ``bands``, of which most ops run in bands, and which has one exit, and ``memories``: ``tiny`` with every other tensor
    in the slow one of two memories.
    """
    isa = load_board(BOARD).isa
    if name == "bands":
        x = np.random.default_rng(7).integers(-128, 128, (12, 12, 4)).astype(np.int8)
        return with_isa_plan(blocks(2, side=12, channels=4), isa, ram_bytes=0), (x,)
    if name == "memories":
        content, sample = _compiled("tiny", shared)
        return in_halves(content, isa), sample
    content, sample = _compiled(name, shared)
    return with_isa_plan(content, isa), sample


def _compiled(name: str, shared: str) -> tuple[bytes, tuple[np.ndarray, ...]]:
    root = Path(__file__).resolve().parents[2]
    path = (
        root / "tests" / "models" / "residual_int8.tflite"
        if name == "tiny"
        else Path(shared) / "data" / "mlperf_tiny" / "models" / f"{MODELS[name]}.tflite"
    )
    bare = HostEngine(compile_model(path, exits="off").container)
    info = bare.inputs[0]
    limits = np.iinfo(np.dtype(info.dtype.str))
    rng = np.random.default_rng(7)
    x = rng.integers(limits.min, limits.max, (96, *info.shape[1:]), info.dtype.str, endpoint=True)
    if int(np.prod(bare.outputs[0].shape[1:])) == int(np.prod(info.shape[1:])):  # an autoencoder has no classes
        return compile_model(path, data={"input_0": x}, exits="off").container, (x[0],)
    labels = bare.infer([x]).outputs[0].reshape(len(x), -1).argmax(axis=1)
    return compile_model(path, data={"input_0": x, "labels": labels}, exits=2).container, (x[0],)


def cases(models: Sequence[str], shared: str) -> list[Case]:
    """Return all cases of some models."""
    found = []
    for model, strategy, path in itertools.product(models, STRATEGIES + IN_FLASH, PATHS):
        engine = HostEngine(model_of(model, shared)[0])
        if path in engine.path_names and (strategy in STRATEGIES or model in FLASH_MODELS):
            found += [
                Case(
                    model=model,
                    strategy=strategy.removesuffix("-RELAXED").removesuffix("-FLASH"),
                    board=_board_of(model, strategy),
                    path=path,
                    exit=exit,
                    every=every,
                    warn_mv=WARN_MV if strategy.endswith("-RELAXED") else 0,
                )
                for exit in range(engine.n_exits)
                for every in ((True,) if exit == engine.n_exits - 1 else (False,))
            ]
    return found


def _board_of(model: str, strategy: str) -> str:
    if strategy in IN_FLASH:
        return "virtual_m4_flash"
    return "virtual_m4_two" if model == "memories" else BOARD


@lru_cache(maxsize=1)
def runner_of(case: Case, shared: str) -> Runner:
    """Return the runner of a case. Its pieces follow each other, and each runner holds a board and its snapshots."""
    gc.collect()  # the board before it is a cycle, through its hooks
    return Runner(case, *model_of(case.model, shared))


def piece(case: Case, shared: str, seed: int, count: int) -> Tally:
    """Make some cuts of a case; every other one is followed by a second."""
    runner, tally = runner_of(case, shared), Tally()
    for index, each in enumerate(seeds(seed, count)):
        tally.add(runner.cut(each, depth=1 + index % 2, whole=index % WHOLE_EVERY == 0))
        if tally.cuts >= count:
            break
    return tally


def main(argv: Sequence[str] | None = None) -> int:
    """Run the campaign; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--cuts", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", metavar="CASE", help="one case, as a failure names it")
    parser.add_argument("--cut", type=int, metavar="SEED", help="with --replay: the seed of the cut")
    parser.add_argument("--depth", type=int, default=1, help="with --replay")
    args = parser.parse_args(argv)
    shared = str(args.shared)
    models = [args.replay.split("/")[0]] if args.replay else args.models.split(",")
    every = cases(models, shared)
    if args.replay:
        runner = runner_of(next(case for case in every if case.name == args.replay), shared)
        tally = runner.cut(args.cut, depth=args.depth, whole=True)
        tally.add(runner.cut(args.cut, depth=args.depth))
    else:
        tally = _campaign(every, shared, args.cuts, args.seed, args.jobs)
    if args.replay:
        for failure in tally.failures:
            print(f"FAILED {failure}", file=sys.stderr)
    keys = ("cuts", "wrong_answers", "lost_commits", "unbootable", "max_redone_intervals")
    print(json.dumps({key: getattr(tally, key) for key in keys}))
    return int(bool(tally.wrong_answers or tally.lost_commits or tally.unbootable or tally.max_redone_intervals > 1))


def _campaign(every: Sequence[Case], shared: str, cuts: int, seed: int, jobs: int) -> Tally:
    """Share the cuts out over the cases and run them on all cores."""
    tally, begun_s = Tally(), time.monotonic()
    tell_s = begun_s
    share = -(-cuts // len(every))
    with ProcessPoolExecutor(jobs) as pool:
        waiting = {}
        for number, case in enumerate(every):
            for part, start in enumerate(range(0, share, PIECE)):
                count = min(PIECE, share - start)
                waiting[pool.submit(piece, case, shared, seed * 1_000_003 + number * 1009 + part, count)] = case
        for done in as_completed(waiting):
            new = done.result()
            for failure in new.failures[:2]:
                print(f"FAILED {failure}", file=sys.stderr, flush=True)
            tally.add(new)
            now_s = time.monotonic()
            if sys.stderr.isatty() or now_s >= tell_s:
                tell_s = now_s + TELL_S
                rate = tally.cuts / (now_s - begun_s)
                wrong = tally.wrong_answers + tally.lost_commits + tally.unbootable
                print(f"{tally.cuts:>8} of {share * len(every)} cuts, {wrong} wrong, {rate:.0f}/s", flush=True)
    print(f"{len(every)} cases, {tally.whole} cuts followed to their answer, {time.monotonic() - begun_s:.0f} s")
    return tally


if __name__ == "__main__":
    sys.exit(main())
