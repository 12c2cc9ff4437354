"""Which kernels can be had, and getting one: Debian's, kept in the store even after Debian has replaced them."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from struct import unpack_from
from typing import NamedTuple

from structops_cli.errors import NotFoundError, UnsupportedError
from structops_cli.vm.apt import KERNELS, SID, Source, download, names, refresh, unpack
from structops_cli.vm.store import alone_in, store_folder, whole_folder

__all__ = [
    "DEFAULT_FLAVOUR",
    "Kernel",
    "Offer",
    "best_match",
    "kept_kernels",
    "kernel_for",
    "offered_kernels",
]

DEFAULT_FLAVOUR = "cloud-amd64"
"""The smaller of Debian's two; ``amd64`` has HID and many drivers more."""
NEWEST = "newest"
"""The word for the newest of all."""
IMAGE = "linux-image-"
PARTS = ("linux-binary-", "linux-base-", "linux-modules-")
"""From 6.19 on ``linux-image`` is empty, or nearly, and these hold the kernel."""
SETUP_BYTES = 0x206
"""The part of a bzImage's header that says how large it is, up to the mark that says that it is one."""
_RELEASE = re.compile(r"(\d+\.\d+(?:[\w.+~]|-(?=\d))*)-((?:cloud-)?amd64)")

_NEWEST = re.compile(rf"({NEWEST})-((?:cloud-)?amd64)")


class Offer(NamedTuple):
    """A kernel that a source has, by its release (what ``uname -r`` says)."""

    release: str
    source: Source


class Kernel(NamedTuple):
    """A kernel in the store: ``image`` boots, ``modules`` is the folder that has ``kernel/`` in it."""

    release: str
    folder: str

    @property
    def image(self) -> str:
        """Return the path of the bzImage."""
        return os.path.join(self.folder, "vmlinuz")

    @property
    def modules(self) -> str:
        """Return the folder of its modules."""
        return os.path.join(self.folder, "modules")

    @property
    def config(self) -> str:
        """Return the path of its configuration, as Debian has it in /boot."""
        return os.path.join(self.folder, "config")

    @property
    def is_whole(self) -> bool:
        """Tell whether all of it is there."""
        return os.path.isdir(self.modules) and _reaches_its_end(self.image)


def offered_kernels(source: Source = KERNELS) -> list[Offer]:
    """Return what Debian has now, newest first.

    Of superseded ones Debian may keep ``linux-image`` and ``linux-binary``, which
    are signed, without the modules: those are left out.
    """
    refresh(source)
    images, *parts = (
        {name.removeprefix(prefix) for name in names(source, prefix)} for prefix in (IMAGE, *PARTS)
    )
    split = set[str]().union(*parts)
    whole = images - split | images.intersection(*parts)
    # 6.12-amd64 is not a kernel, it only names the package of one
    releases = (release for release in whole if _RELEASE.fullmatch(release) and release.count(".") > 1)
    return [Offer(release, source) for release in _newest_first(releases)]


def kept_kernels() -> list[Kernel]:
    """Return what the store has, newest first."""
    top = store_folder("kernels")
    releases = (name for name in os.listdir(top) if _RELEASE.fullmatch(name))
    found = (Kernel(release, os.path.join(top, release)) for release in _newest_first(releases))
    return [kernel for kernel in found if kernel.is_whole]


def kernel_for(wanted: str, *, newest: bool = False, said: Callable[[str], object] = str) -> Kernel:
    """Return the kernel that a user's word means, fetched when the store has none that fits.

    ``wanted`` is a version as ``6.12`` or ``6.12.117``, optionally with a
    flavour behind it (``6.12-amd64``), a whole release, or the word ``newest``, which may have one too.
    ``newest`` looks at what Debian has now even if the store has one that fits,
    as a word without a dot (``6``, ``newest``) does: it means another series
    from time to time. Where Debian cannot be asked, such a word means the newest
    that is kept, and ``said`` is told so. Raises ``NotFoundError`` when nobody has it.
    """
    kept = {kernel.release: kernel for kernel in kept_kernels()}
    release = best_match(wanted, kept)
    if release is None or newest or "." not in wanted:
        try:
            offer = _offer_for(wanted)
            return kept.get(offer.release) or _fetched(offer)
        except UnsupportedError as error:
            if release is None or newest:
                raise
            said(f"note: {release} is the newest that is kept: {error}")
    return kept[release]


def best_match(wanted: str, releases: Iterable[str]) -> str | None:
    """Return the newest release that a user's word means, or None."""
    version, flavour = wanted, DEFAULT_FLAVOUR
    if whole := _RELEASE.fullmatch(wanted) or _NEWEST.fullmatch(wanted):
        version, flavour = whole.groups()
    fitting = [
        release
        for release in releases
        if (parts := _RELEASE.fullmatch(release))
        and parts[2] == flavour
        and (version == NEWEST or re.match(rf"{re.escape(version)}(?![\d])", parts[1]))
    ]
    return next(iter(_newest_first(fitting)), None)


def _offer_for(wanted: str) -> Offer:
    seen: list[str] = []
    for source in (KERNELS, SID):
        offers = {offer.release: offer for offer in offered_kernels(source)}
        release = best_match(wanted, offers)
        if release is not None:
            return offers[release]
        seen += offers
    series = {match[0] for release in seen if (match := re.match(r"\d+\.\d+", release))}
    raise NotFoundError(
        f"Debian has no kernel {wanted}",
        why=f"there are {', '.join(sorted(series, key=_order))}",
        hint="structops vm kernels lists what can be had",
        candidates=sorted(seen, key=_order),
    )


def _fetched(offer: Offer) -> Kernel:
    top = store_folder("kernels")
    kernel = Kernel(offer.release, os.path.join(top, offer.release))
    with alone_in(top):
        if not kernel.is_whole:
            shutil.rmtree(kernel.folder, ignore_errors=True)
            with whole_folder(kernel.folder) as part:
                _fill(offer, part)
    return kernel


def _fill(offer: Offer, folder: str) -> None:
    """Fetch and unpack the packages of a kernel, and keep what booting takes."""
    offered = {name for prefix in (IMAGE, *PARTS) for name in names(offer.source, prefix + offer.release)}
    packages = [prefix + offer.release for prefix in (IMAGE, *PARTS) if prefix + offer.release in offered]
    with tempfile.TemporaryDirectory(dir=folder) as place:
        unpack(download(offer.source, packages, place), place)
        shutil.move(
            _first(place, f"boot/vmlinuz-{offer.release}", _modules(offer, "vmlinuz")), f"{folder}/vmlinuz"
        )
        shutil.move(
            _first(place, f"boot/config-{offer.release}", _modules(offer, "config")), f"{folder}/config"
        )
        shutil.move(_first(place, f"lib/modules/{offer.release}", _modules(offer, "")), f"{folder}/modules")


def _reaches_its_end(image: str) -> bool:
    """Tell whether a bzImage has all that its setup header says that it has (Documentation/arch/x86/boot.rst)."""
    try:
        with open(image, "rb") as file:
            head, size = file.read(SETUP_BYTES), os.fstat(file.fileno()).st_size
    except OSError:
        return False
    if len(head) < SETUP_BYTES or head[0x202:] != b"HdrS":
        return False
    paragraphs: int = unpack_from("<I", head, 0x1F4)[0]
    return (head[0x1F1] + 1) * 512 + paragraphs * 16 <= size


def _modules(offer: Offer, name: str) -> str:
    return f"usr/lib/modules/{offer.release}/{name}".rstrip("/")


def _first(folder: str, *paths: str) -> str:
    """Return the first of some paths that is there; Debian has moved things over the years."""
    for path in paths:
        if os.path.exists(os.path.join(folder, path)):
            return os.path.join(folder, path)
    raise NotFoundError(
        f"the package has no {paths[0]}", why="Debian has changed the layout of its kernel packages"
    )


def _newest_first(releases: Iterable[str]) -> list[str]:
    return sorted(releases, key=_order, reverse=True)


def _order(release: str) -> tuple[list[int], str]:
    return [int(number) for number in re.findall(r"\d+", release.replace("amd64", ""))], release
