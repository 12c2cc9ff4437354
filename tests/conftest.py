"""What every test relies on: the guard of the live tests, and a machine that is left as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.alone import alone_on_this_machine
from tests.golden_files import Golden
from tests.patience import patient

IN_CI = os.environ.get("CI") == "true"
MOUNTED = pytest.StashKey[bool]()
"""Whether this run has mounted the machine's bpffs."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that writes the golden files anew."""
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden anew instead of comparing"
    )


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Return what compares a text with a file of ``tests/golden``."""
    return Golden(update=request.config.getoption("--update-golden"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Live tests need root. Elsewhere than in CI they may be left out; in CI that is a failure."""
    if item.get_closest_marker("live") and os.geteuid() != 0:
        if IN_CI:
            pytest.fail("the live tests need root, and in CI they must run", pytrace=False)
        pytest.skip("live: needs root")
    if marks := list(item.iter_markers("needs")):
        from tests.needs import require  # looks at the kernel's types

        for mark in marks:
            for feature in mark.args:
                require(feature)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lies in tests/live is a live test."""
    for item in items:
        if "live" in item.path.parts:
            item.add_marker(pytest.mark.live)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that went well and left something open, or in CI a whole one without a live test that passed."""
    if session.exitstatus == 0 and (_keeps_fds(session) or _lacks_live_tests(session)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _keeps_fds(session: pytest.Session) -> bool:
    """Tell whether a descriptor is open that nobody will close, and say which."""
    from tests.open_fds import unclosed_fds

    kept = unclosed_fds()
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if kept and reporter:
        reporter.write_line("\n" + "\n".join(kept), red=True)
    return bool(kept)


def _lacks_live_tests(session: pytest.Session) -> bool:
    if not IN_CI or session.config.args_source is not pytest.Config.ArgsSource.TESTPATHS:
        return False
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("passed", ()) if reporter else ()
    return not any("tests/live/" in report.nodeid for report in reports)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take away what this run mounted, unless somebody has pinned something there since. The debug files are the kernel's."""
    if not config.stash.get(MOUNTED, False):
        return
    from structops_cli.syscall import bpffs

    with alone_on_this_machine():
        if set(os.listdir(bpffs.DEFAULT)) <= {"maps.debug", "progs.debug"}:
            bpffs.unmount()


class Footprint(dict[str, frozenset[object]]):
    """What of the kernel's a test could leave behind, by sort: everything is a set of ids or names."""


def take_footprint() -> Footprint:
    """Look at maps, programs, links, pins, mounts, congestion controls and namespaces."""
    from structops_cli.net.congestion_controls import read_congestion_controls
    from structops_cli.syscall import bpf, bpffs

    controls = read_congestion_controls()
    mounts = bpffs.mounts()
    return Footprint(
        maps=frozenset(bpf.map_ids()),
        programs=frozenset(bpf.prog_ids()),
        links=frozenset(bpf.link_ids()),
        mounts=frozenset(item.path for item in mounts),
        pins=frozenset(path for item in mounts for path in bpffs.pins(item.path)),
        available=frozenset(controls.available),
        allowed=frozenset(controls.allowed),
        default=frozenset([controls.default]),
        namespaces=frozenset(os.listdir("/run/netns")) if os.path.isdir("/run/netns") else frozenset(),
    )


@pytest.fixture(autouse=True)
def machine_left_as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hold, for every live test, that the kernel is afterwards as it was before."""
    if not request.node.get_closest_marker("live") or os.geteuid() != 0:
        yield
        return
    with alone_on_this_machine():
        _mount_bpffs(request.config)
        before = take_footprint()
        yield
        _assert_same(before)


def _mount_bpffs(config: pytest.Config) -> None:
    """Mount the bpffs that commands would mount for themselves, so that no test is the one that leaves it behind.

    Unmounted at the end of the run. Not for each test: the kernel makes maps and programs of its own with a mount.
    """
    from structops_cli.syscall import bpffs

    if bpffs.DEFAULT not in [item.path for item in bpffs.mounts()]:
        bpffs.mount()
        config.stash[MOUNTED] = True


def _assert_same(before: Footprint) -> None:
    """Compare, giving the kernel a moment: it frees maps and programs after an RCU grace period."""
    import time

    deadline = time.monotonic() + patient(5)
    while True:
        after = take_footprint()
        if after == before or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    left = {
        sort: sorted(map(str, after[sort] - before[sort])) for sort in after if after[sort] - before[sort]
    }
    gone = {
        sort: sorted(map(str, before[sort] - after[sort])) for sort in after if before[sort] - after[sort]
    }
    assert not left, f"left behind: {left}"
    assert not gone, f"taken away: {gone}"
