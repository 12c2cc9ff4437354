"""Hooks and fixtures of all tests.

Live tests need root, and leave the kernel unchanged.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.default_signals import default_signals
from tests.golden_files import Golden
from tests.kernel_lock import RUN, hold_kernel_lock, own_prefix
from tests.missing import IN_CI, skip_outside_ci

MOUNTED = pytest.StashKey[bool]()
"""Whether this run mounted /sys/fs/bpf."""


LIVE = Path(__file__).parent / "live"
KEPT = pytest.StashKey[list[str]]()
"""Lines about descriptors and programs that the run, or an xdist worker, left."""
KEPT_FDS = "kept_fds"
"""The key of these lines in the output of a pytest-xdist worker."""
LIMIT = pytest.StashKey[Any]()
"""The settings of pytest-timeout for a test."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add ``--update-golden``. Without pytest-timeout the tests have no time limit."""
    parser.addoption(
        "--update-golden", action="store_true", help="write tests/golden anew instead of comparing"
    )
    if not pluginmanager.hasplugin("timeout"):
        parser.addini("timeout", "a limit for each test, in seconds: not kept here")


def pytest_configure() -> None:
    """Mark the programs that this run starts."""
    os.environ[RUN] = str(os.getpid())


@pytest.fixture(autouse=True)
def _restore_signal_mask() -> Iterator[None]:
    """Restore the signal mask, because a transaction leaves signals blocked."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: object) -> Generator[None, object, object]:
    """Keep the time limit of a test for its teardown."""
    item.stash[LIMIT] = settings
    return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Start a new time limit for the teardown: the test may have used its own."""
    if settings := item.stash.get(LIMIT, None):
        usual = float(item.config.getini("timeout"))
        _begin_limit(item, settings._replace(timeout=max(settings.timeout, usual)))


def _begin_limit(item: pytest.Item, settings: Any) -> None:
    """Start the time limit of a test now."""
    item.ihook.pytest_timeout_cancel_timer(item=item)
    item.ihook.pytest_timeout_set_timer(item=item, settings=settings)


@pytest.fixture(scope="session", autouse=True)
def signals_are_heeded() -> Iterator[None]:
    """Restore SIGINT and SIGHUP if this run was started with them ignored."""
    with default_signals():
        yield


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """Compare a text with a file of ``tests/golden``."""
    return Golden(update=request.config.getoption("--update-golden"))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip live tests without root; in CI they fail. Skip tests that need a missing feature."""
    if item.get_closest_marker("live") and os.geteuid() != 0:
        skip_outside_ci("live tests need root")
    if marks := list(item.iter_markers("needs")):
        from tests.kernel_features import require  # looks at the kernel's types

        for mark in marks:
            for feature in mark.args:
                require(feature)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name long bytes after their argument.

    Compressed data contains the time, but a test must have the same name in each run.
    """
    return argname if isinstance(val, bytes) and len(val) > 16 else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of tests/live."""
    for item in items:
        if "live" in item.path.parts:
            item.add_marker(pytest.mark.live)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail a run that left descriptors or programs.

    In CI, also fail a run of all live tests in which none passed.
    """
    kept = session.config.stash.setdefault(KEPT, [])
    kept += _kept_fds()
    if output := getattr(session.config, "workeroutput", None):
        output[KEPT_FDS] = kept
    elif session.exitstatus == 0 and (_tell(session, kept) or _lacks_live_tests(session)):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Collect the lines of a pytest-xdist worker."""
    node.config.stash.setdefault(KEPT, []).extend(getattr(node, "workeroutput", {}).get(KEPT_FDS, ()))


def _kept_fds() -> list[str]:
    from tests.open_fds import unclosed_fds

    checks = sys.modules.get("tests.leak_check")  # only live tests import it
    return [*unclosed_fds(), *(checks.unfreed_programs(wait=True) if checks else ())]


def _tell(session: pytest.Session, kept: list[str]) -> bool:
    """Print the lines; return whether there are any."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if kept and reporter:
        reporter.write_line("\n" + "\n".join(kept), red=True)
    return bool(kept)


def _lacks_live_tests(session: pytest.Session) -> bool:
    """Tell whether, in CI, this run has all live tests and none of them passed."""
    if not IN_CI or not any(LIVE.is_relative_to(session.startpath / word) for word in session.config.args):
        return False
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("passed", ()) if reporter else ()
    return not any("tests/live/" in report.nodeid for report in reports)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Unmount the bpffs of this run, unless it contains pins; the kernel makes .debug files."""
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
    """Check after every live test that the kernel is as before."""
    if not request.node.get_closest_marker("live") or os.geteuid() != 0:
        yield
        return
    settings = request.node.stash.get(LIMIT, None)
    if settings:
        request.node.ihook.pytest_timeout_cancel_timer(item=request.node)
    with hold_kernel_lock():
        if settings:  # the wait for other runs does not count
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
    """Mount /sys/fs/bpf until the end of the run, so that no command has to mount it.

    With each mount the kernel loads maps and programs.
    """
    from structops_cli.syscall import bpffs

    if bpffs.DEFAULT not in [item.path for item in bpffs.mounts()]:
        bpffs.mount()
        config.stash[MOUNTED] = True
