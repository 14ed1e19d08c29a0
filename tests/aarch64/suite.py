# SPDX-License-Identifier: Apache-2.0
"""`make test` with a kept result for each file: what was cut short goes on where it was, and says what it took from before.

    python tests/aarch64/suite.py [--jobs N] [tests/test_x.py …]

A result counts as long as its digest does: that of every file of the checkout, but of other test files and of pages only
where the test file names them. What failed runs again. Where pytest's process dies, the file it died in has failed and the
rest goes on. Files that were quick when last recorded come first. Exit code 1 when anything failed, 130 when interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import re
import resource
import shlex
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kept import Kept, Result

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LISTED = ROOT / "build" / "checkout.list"  # the names of the checkout's files, each ended by a zero byte
OPTIONAL = re.compile(r"tests/test_\w+\.py|tests/aarch64/.*|\.ci/.*|[^/]*\.md")
LEFT_OUT = "not wall_clock"  # an emulator keeps to no bound on time
NO_LEAKS = "detect_leaks=0"  # the sanitizer looks for them by ptrace, which qemu-user has not; the core never allocates
INTERRUPTED = 2


def digests_of(tests: list[str]) -> dict[str, str]:
    """Return the digest of everything that each test file depends on."""
    names = sorted(name for name in LISTED.read_text().split("\0") if (ROOT / name).is_file())
    lines = {name: f"{hashlib.sha256((ROOT / name).read_bytes()).hexdigest()} {name}" for name in names}
    always = [line for name, line in lines.items() if not OPTIONAL.fullmatch(name)]
    digests = {}
    for test in tests:
        words = set(re.findall(r"\w+", (ROOT / test).read_text()))
        named = [line for name, line in lines.items() if OPTIONAL.fullmatch(name) and Path(name).stem in words]
        digests[test] = hashlib.sha256("\n".join([*always, *named, lines[test]]).encode()).hexdigest()[:16]
    return digests


def run(digests: dict[str, str], kept: Kept) -> bool:
    """Run the files, by one `make test` as long as its process lives; return whether that was to the end."""
    left = dict(digests)
    while left:
        for file in left:
            kept.forget(file)
        kept.digests.write_text(json.dumps(left))
        kept.exit.unlink(missing_ok=True)
        options = ["-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", "-m", LEFT_OUT]
        options += ["-p", "kept", "--kept", str(kept.folder), "--job", str(kept.job), *left]
        added = {"PYTHONPATH": str(HERE), "PYTEST_ADDOPTS": shlex.join(options), "ASAN_OPTIONS": NO_LEAKS}
        subprocess.run(["make", "test"], cwd=ROOT, env={**os.environ, **added}, check=False)
        if not kept.exit.is_file():
            blame(kept, left)
        elif int(kept.exit.read_text()) == INTERRUPTED:
            return False
        still = {file: digest for file, digest in left.items() if kept.read(file) is None}
        if still == left:
            raise SystemExit(f"pytest ran nothing of {len(left)} files, from {next(iter(left))} on: see above")
        left = still
    return True


def run_jobs(digests: dict[str, str], folder: Path, jobs: int) -> bool:
    """Deal the files out to that many processes; return whether all came to their end."""
    files = list(digests.items())
    shares = [dict(files[job::jobs]) for job in range(jobs)]
    with ThreadPoolExecutor(jobs) as pool:
        return all(pool.map(run, shares, (Kept(folder, job) for job in range(jobs))))


def blame(kept: Kept, digests: dict[str, str]) -> None:
    """Keep that the file failed in whose tests the process died."""
    if kept.running.is_file():
        file = kept.running.read_text()
        kept.write(Result(file=file, digest=digests[file], failed=[f"{file} (pytest's process died)"]))
        kept.running.unlink()


def known_seconds(recorded: Path) -> dict[str, float]:
    """Return how long each file took, by the table of an earlier run; nothing without one."""
    lines = recorded.read_text().splitlines() if recorded.is_file() else []
    rows = [line.split("\t") for line in lines if line.startswith("tests/")]
    return {row[0]: float(row[5]) for row in rows}


def table(results: list[Result]) -> str:
    """Return the results as columns with tabs between them, after what they are results of."""
    tree = os.environ.get("TREE", "unknown")
    lines = [
        f"# {platform.machine()}, Python {platform.python_version()}, git tree {tree}",
        "file\tpassed\tskipped\tleft out\tfailed\tseconds\tdigest",
    ]
    for result in sorted(results, key=lambda result: result.file):
        counts = (result.passed, sum(result.skipped.values()), result.left_out, len(result.failed))
        lines.append("\t".join([result.file, *map(str, counts), f"{result.seconds:.0f}", result.digest]))
    return "\n".join(lines) + "\n"


def summary(results: list[Result], files: int, earlier: int) -> str:
    """Return what all results come to, why tests were skipped, and which failed."""
    skipped: Counter[str] = Counter()
    for result in results:
        skipped.update(result.skipped)
    failed = [name for result in results for name in result.failed]
    lines = [
        f"{len(results)} of {files} files, {earlier} of them taken from before, of the same sources",
        f"{sum(result.passed for result in results)} passed, {sum(skipped.values())} skipped, "
        f"{sum(result.left_out for result in results)} left out ({LEFT_OUT}), {len(failed)} failed",
        f"{sum(result.seconds for result in results) / 60:.0f} minutes of tests; {cpu_minutes():.0f} minutes of CPU this time",
        *(f"skipped {count:5}: {reason}" for reason, count in skipped.most_common()),
        *(f"failed: {name}" for name in failed),
    ]
    return "\n".join(lines)


def cpu_minutes() -> float:
    """Return the CPU time of all that was run from here [min]."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / 60


def main() -> int:
    """Run what has no result yet; return the exit code."""
    parser = argparse.ArgumentParser(description="make test with a kept result for each file")
    parser.add_argument("files", nargs="*", help="test files (default: all)")
    parser.add_argument("--jobs", type=int, default=1, help="processes that share the files (default: 1)")
    parser.add_argument("--kept", type=Path, default=ROOT / "build" / "suite", help="folder of results (build/suite)")
    args = parser.parse_args()
    kept = Kept(args.kept.resolve())
    seconds = known_seconds(kept.folder / "results.tsv")
    files = args.files or [str(path.relative_to(ROOT)) for path in (ROOT / "tests").glob("test_*.py")]
    digests = digests_of(sorted(files, key=lambda file: (seconds.get(file, 0.0), file)))

    def valid() -> list[Result]:
        return [found for file in digests if (found := kept.read(file)) and found.digest == digests[file]]

    earlier = {result.file for result in valid() if not result.failed}
    todo = {file: digest for file, digest in digests.items() if file not in earlier}
    whole = run_jobs(todo, kept.folder, args.jobs)
    results = valid()
    print(summary(results, len(digests), len(earlier)))
    (kept.folder / "results.tsv").write_text(table(results))
    return int(any(result.failed for result in results)) if whole else 130


if __name__ == "__main__":
    sys.exit(main())
