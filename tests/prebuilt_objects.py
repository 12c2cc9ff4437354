"""Find objects on a machine without a compiler, by the request of a test.

Every request for an object is recorded, so that another machine can compile all of
them. ``STRUCTOPS_TEST_OBJECTS=FOLDER:REQUESTS`` names the folder of the objects, and
the folder in which new requests are recorded.
"""

from __future__ import annotations

import json
import os
import re
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import pytest

__all__ = ["PREBUILT", "ObjectRequest", "parse_request", "prebuilt", "record_request", "recorded_requests"]

PREBUILT = "STRUCTOPS_TEST_OBJECTS"
ANY_NAME = {"NAME": "t_of_any_name_x", "SECOND": "t_of_any_second"}
"""By macro: placeholders of the maximum length of a congestion control's name."""
_NAME = re.compile(r'^-D(NAME|SECOND)="(t_(?!of_any_)\w{1,13})"$', re.MULTILINE)


class ObjectRequest(NamedTuple):
    """An object that a test needs; ``source`` is relative to the repository."""

    source: str
    clang: str
    flags: tuple[str, ...]

    @property
    def of_this_tree(self) -> bool:
        """Tell whether the source is in the repository, not written by a test."""
        return not self.source.startswith("..")

    @property
    def key(self) -> str:
        """Return a file name that depends on neither compiler nor source text."""
        return sha256("\0".join([self.source, self.clang, *self.flags]).encode()).hexdigest()[:24]

    @property
    def for_any_name(self) -> ObjectRequest:
        """Return the request with placeholders, since each test registers another name."""
        return self._replace(flags=tuple(_NAME.sub(_any_name, flag) for flag in self.flags))

    @property
    def names(self) -> dict[str, str]:
        """Names to register, by macro."""
        return dict(_NAME.findall("\n".join(self.flags)))

    def renamed(self, data: bytes) -> bytes:
        """Replace the placeholders, each of which fills an array of 16 bytes."""
        for macro, name in self.names.items():
            old = ANY_NAME[macro].encode()
            data = data.replace(old, name.encode().ljust(len(old), b"\0"))
        return data

    @property
    def text(self) -> str:
        """Return the text that ``parse_request`` reads."""
        return json.dumps(self._asdict())


def parse_request(text: str | bytes) -> ObjectRequest:
    data = json.loads(text)
    return ObjectRequest(data["source"], data["clang"], tuple(data["flags"]))


def prebuilt(request: ObjectRequest) -> bytes | None:
    """Return a prebuilt object; None on a machine with a compiler."""
    folder, _, requests = os.environ.get(PREBUILT, "").partition(":")
    if not folder or not request.of_this_tree:
        return None
    if request.names:
        data = prebuilt(request.for_any_name)
        return data and request.renamed(data)
    path = Path(folder, request.key)
    if not path.exists():
        Path(requests).mkdir(exist_ok=True)
        Path(requests, request.key).write_text(request.text, encoding="utf-8")
        pytest.fail(f"{request.source} was not compiled with {' '.join(request.flags)} before", pytrace=False)
    return path.read_bytes()


def _any_name(found: re.Match[str]) -> str:
    return f'-D{found[1]}="{ANY_NAME[found[1]]}"'


def record_request(request: ObjectRequest, folder: Path) -> None:
    request = request.for_any_name
    path = folder / "requests" / request.key
    if request.of_this_tree and not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_text(request.text, encoding="utf-8")


def recorded_requests(folder: Path) -> list[ObjectRequest]:
    return [parse_request(path.read_bytes()) for path in (folder / "requests").glob("*")]
