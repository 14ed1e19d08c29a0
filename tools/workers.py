# SPDX-License-Identifier: Apache-2.0
"""Where the jobs of a sweep run: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, InvalidStateError, ProcessPoolExecutor
from contextlib import contextmanager

from joulet.errors import MissingDependencyError, UsageError

_WAIT_S = 20
# a worker is one thread: what numpy's libraries would start on top of it only gets in the way of the others
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_executor(spec: str) -> str | None:
    """Return the address of a Dask scheduler, or None for ``local``.

    Raises
    ------
    UsageError
        If the text is neither.
    """
    if spec == "local":
        return None
    match = re.fullmatch(r"dask://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):(\d{1,5})", spec)
    if match is None:
        raise UsageError(f"--executor {spec}: write local or dask://HOST:PORT, such as dask://127.0.0.1:8786")
    return f"tcp://{match[1]}:{match[2]}"


@contextmanager
def local_workers(count: int) -> Iterator[Executor]:
    """Give a pool of processes; on an interrupt they are ended at once, with what they were doing."""
    before = set(multiprocessing.active_children())
    ours = [name for name in _ONE_THREAD if name not in os.environ]
    os.environ.update(dict.fromkeys(ours, "1"))  # the workers inherit it
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker)
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        _end_now(set(multiprocessing.active_children()) - before)
        raise
    finally:
        for name in ours:
            os.environ.pop(name, None)


def _end_now(workers: set[multiprocessing.process.BaseProcess]) -> None:
    before = threading.excepthook

    def hook(told: threading.ExceptHookArgs) -> None:
        # the pool's own thread stumbles over what was cancelled when it finds its workers gone (Python before 3.12)
        if not issubclass(told.exc_type, InvalidStateError):
            before(told)

    threading.excepthook = hook
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join()


def _begin_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)  # killed without a chance to end its workers


@contextmanager
def dask_workers(address: str) -> Iterator[Executor]:
    """Give the executor of a Dask cluster that runs already; it goes on running afterwards.

    Raises
    ------
    MissingDependencyError
        If ``distributed`` is not installed.
    UsageError
        If there is no scheduler at the address, or it has no worker.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingDependencyError(
            "a Dask cluster needs the package distributed; install it with pip install 'joulet[cluster]'"
        ) from error
    try:
        client = Client(address, timeout=_WAIT_S, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise UsageError(f"no Dask scheduler answers at {address} ({error}); start one with dask scheduler") from error
    try:
        client.wait_for_workers(1, timeout=_WAIT_S)
    except TimeoutError as error:
        client.close()
        raise UsageError(f"the Dask scheduler at {address} has no worker; start one with dask worker") from error
    try:
        # the same job may be wanted twice, and a job that failed is told, not repeated
        yield client.get_executor(pure=False, retries=0)
    finally:
        client.close()
