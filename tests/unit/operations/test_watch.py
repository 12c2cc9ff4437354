"""Two looks compared: which events they make, in which order."""

from __future__ import annotations

from structops_cli.operations.watch import SETTLE_S, Event, Snapshot, compare, settled
from structops_cli.runtime.holders import DefaultReference
from structops_cli.runtime.live_map import LiveMap, MapState
from tests.unit.operations.live_maps import live


def look(
    *maps: LiveMap, defaults: tuple[DefaultReference, ...] = (), detached: tuple[int, ...] = ()
) -> Snapshot:
    return Snapshot(
        1.0,
        {item.info.id: item for item in maps},
        {use.netns: use for use in defaults},
        frozenset(detached),
    )


def events(before: Snapshot, after: Snapshot) -> list[Event]:
    return list(compare(before, after))


def kinds(before: Snapshot, after: Snapshot) -> list[tuple[str, int | None]]:
    return [(event.kind, event.map_id) for event in compare(before, after)]


REGISTERED, RETIRED, READY = live(7, "registered", 1, link=3), live(7, "retired", 2), live(7, "ready", 0)


def test_nothing_is_different() -> None:
    assert events(look(REGISTERED), look(REGISTERED._replace(refcnt=9))) == []


def test_registered_now_or_later() -> None:
    for before in (look(), look(READY), look(live(7, "unset", 0)), look(RETIRED)):
        assert kinds(before, look(REGISTERED)) == [("registered", 7)]
    assert kinds(look(), look(READY)) == []


def test_what_was_never_registered_goes_without_a_word() -> None:
    assert events(look(READY), look()) == []


def test_retired_and_freed() -> None:
    [event] = events(look(REGISTERED), look(RETIRED))
    assert (event.kind, event.holders) == ("retired", 2)
    assert kinds(look(RETIRED), look()) == [("freed", 7)]
    assert kinds(look(REGISTERED), look()) == [("retired", 7), ("freed", 7)]
    assert kinds(look(REGISTERED), look(READY)) == [("retired", 7)]  # its map is held open


def test_a_retired_one_that_only_a_pin_keeps_is_not_retired_again() -> None:
    assert events(look(RETIRED), look(READY)) == []


def test_another_map_behind_the_link() -> None:
    after = look(RETIRED, live(8, "registered", 1, link=3))
    replaced, retired = events(look(REGISTERED), after)
    assert (replaced.kind, replaced.map_id, replaced.old_map_id, replaced.link_id) == ("replaced", 8, 7, 3)
    assert (retired.kind, retired.map_id) == ("retired", 7)
    ready = live(8, "ready", 0)
    assert kinds(look(REGISTERED, ready), after) == [("replaced", 8), ("retired", 7)]


def test_a_detached_link_and_what_comes_of_it() -> None:
    [detached, retired] = events(look(REGISTERED), look(RETIRED, detached=(3,)))
    assert (detached.kind, detached.link_id, detached.map_id) == ("detached", 3, 7)
    assert retired.kind == "retired"
    assert kinds(look(RETIRED), look(RETIRED, detached=(3,))) == []


def test_ejected() -> None:
    ejected = REGISTERED._replace(state=MapState.EJECTED, reason="stalled")
    [event] = events(look(REGISTERED), look(ejected))
    assert (event.kind, event.reason) == ("ejected", "stalled")
    assert kinds(look(ejected), look()) == [("retired", 7), ("freed", 7)]


def test_defaults_of_namespaces_that_stay() -> None:
    old, new = DefaultReference(5, "t_a", 7), DefaultReference(5, "t_a", 8)
    [event] = events(look(defaults=(old,)), look(defaults=(new,)))
    assert (event.kind, event.netns, event.name, event.before) == ("default", 5, "t_a", "t_a")
    assert (event.old_map_id, event.map_id) == (7, 8)
    [event] = events(look(defaults=(old,)), look(defaults=(DefaultReference(5, "cubic", 0),)))
    assert (event.name, event.before, event.map_id) == ("cubic", "t_a", None)
    assert events(look(defaults=(old,)), look()) == []
    assert events(look(), look(defaults=(old,))) == []


def test_a_namespace_that_got_the_inode_of_another_is_another() -> None:
    """Its default did not change: it was never what the other one's was."""
    old, new = DefaultReference(5, "t_a", 7, cookie=1), DefaultReference(5, "cubic", 0, cookie=2)
    assert events(look(defaults=(old,)), look(defaults=(new,))) == []
    [event] = events(look(defaults=(old,)), look(defaults=(new._replace(cookie=1),)))
    assert (event.name, event.before) == ("cubic", "t_a")


def test_a_map_that_is_just_being_linked_is_not_retired() -> None:
    """LINK_UPDATE holds the new map before the link names it."""
    ready, held = live(7, "ready", 0), live(7, "retired", 1)
    since: dict[int, float] = {}
    assert settled({7: ready}, {7: held}, since, 10.0)[7].state == "ready"
    assert settled({7: ready}, {7: held}, since, 10.0 + SETTLE_S / 2)[7].state == "ready"
    assert settled({7: ready}, {7: held}, since, 10.0 + SETTLE_S)[7].state == "retired"
    assert settled({7: ready}, {7: REGISTERED}, since, 11.0)[7].state == "registered"
    assert since == {}


def test_one_that_was_registered_is_retired_at_once() -> None:
    since: dict[int, float] = {}
    assert settled({7: REGISTERED}, {7: RETIRED}, since, 10.0)[7].state == "retired"
    assert settled({7: RETIRED}, {7: RETIRED}, since, 10.5)[7].state == "retired"
    assert since == {}


def test_what_has_gone_is_forgotten() -> None:
    since: dict[int, float] = {}
    settled({}, {7: live(7, "retired", 1)}, since, 10.0)
    assert since
    settled({7: READY}, {}, since, 11.0)
    assert since == {}
