"""No connection fails during an update, and nothing leaks.

``make update-load`` repeats the test a hundred times.
"""

from __future__ import annotations

import sys

import pytest

from tests.kernel_features import LINKS, needs
from tests.live.update_load import CONNECTIONS, run, text
from tests.time_scale import EMULATED

UPDATES, CONNECTED = (2, 20) if EMULATED else (4, CONNECTIONS)


@needs(LINKS)
def test_connections_at_full_speed_notice_nothing(
    name: str, bpf_root: str, request: pytest.FixtureRequest
) -> None:
    load = run(name, f"{bpf_root}/structops", UPDATES, 1.0, connections=CONNECTED)
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        sys.stdout.write(f"\n{text(load)}")
    assert (load.updates, load.connections, load.failed) == (UPDATES, CONNECTED, ())
    # a shared emulated processor may stop for seconds
    assert load.total_bytes if EMULATED else all(load.during), "every second carried data"
    assert not {sort: count for sort, count in load.left.items() if count > 0}
