"""Find Debian's kernels and fetch one. The store keeps it after Debian has replaced it."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from struct import unpack_from
from typing import NamedTuple

from structops_cli.errors import NotFoundError, UnsupportedError
from structops_cli.vm.apt import KERNELS, SID, PackageSource, download, package_names, unpack, update_lists
from structops_cli.vm.store import atomic_folder, locked_folder, store_folder

DEFAULT_FLAVOUR = "cloud-amd64"
"""Debian's smaller flavour; ``amd64`` has HID and many more drivers."""
NEWEST = "newest"
"""The version that means the newest kernel."""
IMAGE = "linux-image-"
PARTS = ("linux-binary-", "linux-base-", "linux-modules-")
"""From 6.19 on these packages hold the kernel, and ``linux-image`` is nearly empty."""
SETUP_BYTES = 0x206
"""The part of a bzImage's header with its size and its magic."""
_RELEASE = re.compile(r"(\d+\.\d+(?:[\w.+~]|-(?=\d))*)-((?:cloud-)?amd64)")

_NEWEST = re.compile(rf"({NEWEST})-((?:cloud-)?amd64)")


class Offer(NamedTuple):
    """A kernel of a source; ``release`` is as in ``uname -r``."""

    release: str
    source: PackageSource


class Kernel(NamedTuple):
    """A kernel in the store; its folder of modules contains ``kernel/``."""

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
        """Return the path of its configuration."""
        return os.path.join(self.folder, "config")

    @property
    def is_complete(self) -> bool:
        """Tell whether the image and the modules exist."""
        return os.path.isdir(self.modules) and _is_complete_image(self.image)


def offered_kernels(source: PackageSource = KERNELS) -> list[Offer]:
    """Return the kernels of a source, newest first.

    Debian may keep ``linux-image`` and ``linux-binary`` of a superseded kernel,
    which are signed, without the modules. Such a kernel is left out.
    """
    update_lists(source)
    prefixes = (IMAGE, *PARTS)
    images, *parts = (
        {name.removeprefix(prefix) for name in package_names(source, prefix)} for prefix in prefixes
    )
    complete = images - set[str]().union(*parts) | images.intersection(*parts)
    # 6.12-amd64 is a metapackage, not a kernel
    releases = (release for release in complete if _RELEASE.fullmatch(release) and release.count(".") > 1)
    return [Offer(release, source) for release in _newest_first(releases)]


def kept_kernels() -> list[Kernel]:
    """Return the kernels of the store, newest first."""
    top = store_folder("kernels")
    releases = (name for name in os.listdir(top) if _RELEASE.fullmatch(name))
    found = (Kernel(release, os.path.join(top, release)) for release in _newest_first(releases))
    return [kernel for kernel in found if kernel.is_complete]


def kernel_for(wanted: str, *, newest: bool = False, report: Callable[[str], object] = str) -> Kernel:
    """Return the kernel that a user names, and fetch it if the store has none.

    ``wanted`` is a version (``6.12``, ``6.12.117``), a version with a flavour
    (``6.12-amd64``), a release, or ``newest``, with a flavour or without.
    ``newest=True`` asks Debian even if a kernel of the store fits. A word without
    a dot (``6``, ``newest``) asks Debian too, because its meaning changes with new
    series. If Debian does not answer, it means the newest kernel of the store, and
    ``report`` receives a note. Raises ``NotFoundError``.
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
            report(f"note: {release} is the newest that is kept: {error}")
    return kept[release]


def best_match(wanted: str, releases: Iterable[str]) -> str | None:
    """Return the newest release that ``wanted`` means, or None."""
    version, flavour = wanted, DEFAULT_FLAVOUR
    if match := _RELEASE.fullmatch(wanted) or _NEWEST.fullmatch(wanted):
        version, flavour = match.groups()
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
        hint="structops vm kernels lists the available kernels",
        candidates=sorted(seen, key=_order),
    )


def _fetched(offer: Offer) -> Kernel:
    top = store_folder("kernels")
    kernel = Kernel(offer.release, os.path.join(top, offer.release))
    with locked_folder(top):
        if not kernel.is_complete:
            shutil.rmtree(kernel.folder, ignore_errors=True)
            with atomic_folder(kernel.folder) as part:
                _fill(offer, part)
    return kernel


def _fill(offer: Offer, folder: str) -> None:
    """Fetch and unpack a kernel's packages, and keep its image, configuration and modules."""
    release, usr = offer.release, f"usr/lib/modules/{offer.release}"
    names = [prefix + release for prefix in (IMAGE, *PARTS)]
    packages = [name for name in names if name in package_names(offer.source, name)]
    with tempfile.TemporaryDirectory(dir=folder) as place:
        unpack(download(offer.source, packages, place), place)
        for name, paths in (
            ("vmlinuz", (f"boot/vmlinuz-{release}", f"{usr}/vmlinuz")),
            ("config", (f"boot/config-{release}", f"{usr}/config")),
            ("modules", (f"lib/modules/{release}", usr)),
        ):
            shutil.move(_first(place, *paths), f"{folder}/{name}")


def _is_complete_image(image: str) -> bool:
    """Tell whether a bzImage has the size of its header (Documentation/arch/x86/boot.rst)."""
    try:
        with open(image, "rb") as file:
            head, size = file.read(SETUP_BYTES), os.fstat(file.fileno()).st_size
    except OSError:
        return False
    if len(head) < SETUP_BYTES or head[0x202:] != b"HdrS":
        return False
    paragraphs: int = unpack_from("<I", head, 0x1F4)[0]
    return (head[0x1F1] + 1) * 512 + paragraphs * 16 <= size


def _first(folder: str, *paths: str) -> str:
    """Return the first path that exists: Debian has moved these files over the years."""
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
