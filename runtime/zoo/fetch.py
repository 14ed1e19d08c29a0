# SPDX-License-Identifier: Apache-2.0
"""Files from their owners' servers: whole and with the hash that was expected, or not there at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from joulet.errors import DataError, UsageError

MAX_BYTES = 4 << 30
_CHUNK = 1 << 20
_TIMEOUT_S = 30.0


def fetch(
    url: str, sha256: str, path: Path, *, force: bool = False, progress: Callable[[str, int, int], None] | None = None
) -> None:
    """Download one file.

    Parameters
    ----------
    url
        http or https.
    sha256
        64 hex digits; what arrives with another hash is thrown away.
    path
        Where it goes; written beside it first, and put there whole. A file with the right hash is left as it is.
    force
        Replace a file that is there with another hash.
    progress
        Called with (what, bytes done, bytes in all).

    Raises
    ------
    UsageError
        If another file is there, or the URL is none.
    DataError
        If it cannot be fetched, or is not what was expected.
    """
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"'{url}' is no http or https address")
    if path.exists():
        if _hash_of(path) == sha256:
            return
        if not force:
            raise UsageError(f"'{path}' is there and is another file; move it away, or say --force to replace it")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            found = _download(url, file.write, path.name, progress)
        if found != sha256:
            raise DataError(f"{url}: arrived with sha256 {found}, {sha256} was expected; nothing was kept")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _download(
    url: str, write: Callable[[bytes], int], what: str, progress: Callable[[str, int, int], None] | None
) -> str:  # fmt: skip
    digest, done = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
            total = int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(_CHUNK):
                done += len(chunk)
                if done > MAX_BYTES:
                    raise DataError(f"{url}: is over {MAX_BYTES:,} bytes; nothing was kept")
                digest.update(chunk)
                write(chunk)
                if progress and total:
                    progress(f"fetching {what}", min(done, total), total)
    except (OSError, ValueError, urllib.error.HTTPError) as error:
        raise DataError(
            f"{url}: cannot be fetched ({error}); fetch it by hand and give its folder, --from DIR"
        ) from error
    if total and done != total:
        raise DataError(f"{url}: ended after {done:,} of {total:,} bytes; nothing was kept, try again")
    return digest.hexdigest()


def _hash_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
