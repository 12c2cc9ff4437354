"""What every test relies on: the guard of the live tests, and a machine that is left as it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.default_signals import default_signals
from tests.golden_files import Golden
from tests.kernel_lock import RUN, hold_kernel_lock, own_prefix

IN_CI = os.environ.get("CI") == "true"
MOUNTED = pytest.StashKey[bool]()
"""Whether this run has mounted the machine's bpffs."""


LIVE = Path(__file__).parent / "live"
KEPT = pytest.StashKey[list[str]]()
"""Descriptors that are open at the end of the run, or of a process of it."""
KEPT_FDS = "kept_fds"
"""Of what a process of pytest-xdist gives back: its descriptors that nobody would close."""
LIMIT = pytest.StashKey[Any]()
"""The time limit of a test, as pytest-timeout has it."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the option that writes the golden files anew; a Python without pytest-timeout runs the tests without limits."""
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden anew instead of comparing"
    )
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", "a limit for each test, in seconds: not kept here")


def pytest_configure() -> None:
    """Mark the programs that this run starts."""
    os.environ[RUN] = str(os.getpid())


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: object) -> Generator[None, object, object]:
    """Note the limit of a test for its end."""
    item.stash[LIMIT] = settings
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Give the fixtures a time of their own: that of the test may be over, and a hanging fixture must not hang the run."""
    if settings := item.stash.get(LIMIT, None):
        usual = float(item.config.getini("timeout"))
        _begin_limit(item, settings._replace(timeout=max(settings.timeout, usual)))


def _begin_limit(item: pytest.Item, settings: Any) -> None:
    """Give a test its time from now on."""
    item.ihook.pytest_timeout_cancel_timer(item=item)
    item.ihook.pytest_timeout_set_timer(item=item, settings=settings)


@pytest.fixture(scope="session", autouse=True)
def signals_are_heeded() -> Iterator[None]:
    """Have SIGINT and SIGHUP end the programs that tests start, and SIGINT a test, where this run is to ignore them."""
    with default_signals():
        yield


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
        from tests.kernel_features import require  # looks at the kernel's types

        for mark in marks:
            for feature in mark.args:
                require(feature)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes after their argument: compressed ones hold the time, and both processes have to name a test alike."""
    return argname if isinstance(val, bytes) and len(val) > 16 else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever lies in tests/live is a live test."""
    for item in items:
        if "live" in item.path.parts:
            item.add_marker(pytest.mark.live)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that went well and left something open, or in CI one of all live tests of which none passed."""
    kept = session.config.stash.setdefault(KEPT, [])
    kept += _kept_fds()
    if output := getattr(session.config, "workeroutput", None):
        output[KEPT_FDS] = kept
    elif session.exitstatus == 0 and (_tell(session, kept) or _lacks_live_tests(session)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a process of pytest-xdist has kept open."""
    node.config.stash.setdefault(KEPT, []).extend(getattr(node, "workeroutput", {}).get(KEPT_FDS, ()))


def _kept_fds() -> list[str]:
    from tests.open_fds import unclosed_fds

    checks = sys.modules.get("tests.leak_check")  # imported by live tests only
    return [*unclosed_fds(), *(checks.unfreed_programs(wait=True) if checks else ())]


def _tell(session: pytest.Session, kept: list[str]) -> bool:
    """Name the descriptors that nobody would close; return whether there are any."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if kept and reporter:
        reporter.write_line("\n" + "\n".join(kept), red=True)
    return bool(kept)


def _lacks_live_tests(session: pytest.Session) -> bool:
    """Tell whether a run in CI was to have all live tests, and none of them passed."""
    if not IN_CI or not any(LIVE.is_relative_to(session.startpath / word) for word in session.config.args):
        return False
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("passed", ()) if reporter else ()
    return not any("tests/live/" in report.nodeid for report in reports)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Take away what this run mounted, unless somebody has pinned something there since. The debug files are the kernel's."""
    if not config.stash.get(MOUNTED, False):
        return
    from structops_cli.syscall import bpffs

    with hold_kernel_lock():
        if set(os.listdir(bpffs.DEFAULT)) <= {"maps.debug", "progs.debug"}:
            bpffs.unmount()


@pytest.fixture(autouse=True)
def machine_left_as_it_was(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Hold, for every live test, that the kernel is afterwards as it was before."""
    if not request.node.get_closest_marker("live") or os.geteuid() != 0:
        yield
        return
    settings = request.node.stash.get(LIMIT, None)
    if settings:
        request.node.ihook.pytest_timeout_cancel_timer(item=request.node)
    with hold_kernel_lock():
        if settings:  # other runs took what it waited
            _begin_limit(request.node, settings)
        _mount_bpffs(request.config)
        from tests.leak_check import check_unchanged
        from tests.leftovers import Owner
        from tests.snapshot import take_snapshot

        before = take_snapshot()
        yield
        owner = Owner(str(tmp_path_factory.getbasetemp()), own_prefix())
        check_unchanged(before, owner, request.node.nodeid)


def _mount_bpffs(config: pytest.Config) -> None:
    """Mount the bpffs that commands would mount for themselves, so that no test is the one that leaves it behind.

    Unmounted at the end of the run. Not for each test: the kernel makes maps and programs of its own with a mount.
    """
    from structops_cli.syscall import bpffs

    if bpffs.DEFAULT not in [item.path for item in bpffs.mounts()]:
        bpffs.mount()
        config.stash[MOUNTED] = True
