"""The plan for each namespace: refusals, saved state, namespaces left alone, and the order."""

from __future__ import annotations

from typing import cast

import pytest

from structops_cli.errors import NotFoundError, StructopsError
from structops_cli.net.congestion_controls import CongestionControls
from structops_cli.net.namespaces import NetNamespace
from structops_cli.net.sysctls import DefaultSysctl
from structops_cli.operations.default_plan import another_default, plan_default, plan_restore
from structops_cli.operations.state_store import SavedDefault

CONTROLS = CongestionControls(("reno", "bbr", "cubic", "t_new"), ("reno", "bbr"), "bbr")


class Held:
    """A default that is only read."""

    def __init__(self, title: str, default: str, *, initial: bool = False) -> None:
        self.identity = sum(title.encode())
        self.namespace = NetNamespace(self.identity, f"/run/netns/{title}", (title,), (), initial)
        self._default = default

    def read(self) -> str:
        return self._default


def sysctls(*held: Held) -> list[DefaultSysctl]:
    return cast("list[DefaultSysctl]", list(held))


def remembered(held: Held, previous: str, name: str) -> dict[int, SavedDefault]:
    return {held.identity: SavedDefault(held.identity, previous, name)}


def test_what_was_before_is_remembered() -> None:
    one = Held("t_one", "bbr")
    plan = plan_default("reno", sysctls(one), {}, CONTROLS, allow=False)
    [step] = plan.defaults
    assert (step.before, step.after, step.saved_after) == (
        "bbr",
        "reno",
        SavedDefault(one.identity, "bbr", "reno"),
    )
    assert (plan.allow, plan.left) == ((), ())


def test_the_same_again_is_no_change_and_keeps_what_is_remembered() -> None:
    one = Held("t_one", "reno")
    [step] = plan_default(
        "reno", sysctls(one), remembered(one, "bbr", "reno"), CONTROLS, allow=False
    ).defaults
    assert not step.change.is_change
    assert step.saved_after == step.saved_before


def test_what_somebody_elses_change_made_stale_is_forgotten() -> None:
    one = Held("t_one", "reno")
    [step] = plan_default(
        "reno", sysctls(one), remembered(one, "bbr", "cubic"), CONTROLS, allow=False
    ).defaults
    assert step.saved_after is None
    assert step.change.is_change


def test_a_name_that_is_not_allowed_is_refused_or_allowed_first() -> None:
    places = sysctls(Held("t_one", "bbr"), Held("t_two", "t_new"))
    with pytest.raises(StructopsError, match="cannot make t_new the default of t_one:") as raised:
        plan_default("t_new", places, {}, CONTROLS, allow=False)
    assert "until reboot" in raised.value.why
    assert raised.value.hint.startswith("structops default t_new --allow --netns t_one adds it to the list")
    assert plan_default("t_new", places, {}, CONTROLS, allow=True).allow == ("t_new",)


def test_where_it_is_the_default_already_it_need_not_be_allowed() -> None:
    plan = plan_default("t_new", sysctls(Held("t_two", "t_new")), {}, CONTROLS, allow=False)
    assert plan.allow == ()


def test_the_initial_namespace_comes_first_and_allows_it_for_the_others() -> None:
    """Its default gets on the list by being that (tcp_set_default_congestion_control)."""
    places = sysctls(Held("t_one", "bbr"), Held("host", "bbr", initial=True))
    plan = plan_default("t_new", places, {}, CONTROLS, allow=False)
    assert [step.sysctl.namespace.title for step in plan.defaults] == ["initial", "t_one"]
    assert (plan.allow, plan.allowed_thereby) == ((), ("t_new",))
    already = sysctls(Held("t_one", "bbr"), Held("host", "t_new", initial=True))
    with pytest.raises(StructopsError, match="cannot make t_new the default of t_one:"):
        plan_default("t_new", already, {}, CONTROLS, allow=False)


def test_what_could_not_be_undone_comes_last() -> None:
    places = sysctls(Held("t_one", "cubic"), Held("t_two", "bbr"))
    plan = plan_default("reno", places, {}, CONTROLS, allow=False)
    assert [step.sysctl.namespace.title for step in plan.defaults] == ["t_two", "t_one"]


def test_what_is_not_registered_is_refused() -> None:
    with pytest.raises(NotFoundError, match="no congestion control t_old is registered"):
        plan_default("t_old", sysctls(Held("t_one", "bbr")), {}, CONTROLS, allow=True)


def test_putting_back() -> None:
    one = Held("t_one", "t_new")
    plan = plan_restore(sysctls(one), remembered(one, "bbr", "t_new"), CONTROLS, allow=False, force=False)
    [step] = plan.defaults
    assert (step.before, step.after, step.saved_after) == ("t_new", "bbr", None)


@pytest.mark.parametrize(
    ("default", "previous", "name", "why"),
    [
        ("reno", "bbr", "t_new", "somebody else changed it"),
        ("t_new", "t_gone", "t_new", "t_gone is not registered any more"),
        ("t_new", "cubic", "t_new", "cubic is not in tcp_allowed_congestion_control"),
    ],
)
def test_what_is_not_put_back(default: str, previous: str, name: str, why: str) -> None:
    one = Held("t_one", default)
    plan = plan_restore(sysctls(one), remembered(one, previous, name), CONTROLS, allow=False, force=False)
    assert plan.defaults == ()
    assert why in plan.left[0].why


def test_force_and_allow_put_back_what_else_is_left() -> None:
    one, two = Held("t_one", "reno"), Held("t_two", "t_new")
    known = remembered(one, "bbr", "t_new") | remembered(two, "cubic", "t_new")
    plan = plan_restore(sysctls(one, two), known, CONTROLS, allow=True, force=True)
    assert {step.after for step in plan.defaults} == {"bbr", "cubic"}
    assert (plan.allow, plan.left) == (("cubic",), ())


def test_who_was_put_back_by_hand_is_only_forgotten() -> None:
    one = Held("t_one", "bbr")
    [step] = plan_restore(
        sysctls(one), remembered(one, "bbr", "t_new"), CONTROLS, allow=False, force=False
    ).defaults
    assert (step.before, step.after, step.saved_after) == ("bbr", "bbr", None)


def test_the_commands_that_give_namespaces_another_default() -> None:
    initial, one, two = Held("initial", "t_new", initial=True), Held("t_one", "t_new"), Held("t two", "t_new")

    def commands(*entries: tuple[Held, str, str] | Held) -> str:
        known = [
            (item.namespace, "t_new", None)
            if isinstance(item, Held)
            else (item[0].namespace, "t_new", SavedDefault(item[0].identity, *item[1:]))
            for item in entries
        ]
        return another_default(known, CONTROLS)

    assert commands(one, two) == "structops default NAME --netns t_one --netns 't two'"
    assert commands((one, "bbr", "t_new"), (two, "reno", "t_new")) == (
        "structops default --restore --netns t_one --netns 't two'"
    )
    assert commands((one, "cubic", "t_new")) == "structops default --restore --allow --netns t_one"
    assert commands((initial, "cubic", "t_new")) == "structops default --restore --netns initial"
    # the previous one is gone, somebody else has set the default since, or the saved state says nothing new
    for saved in (("t_gone", "t_new"), ("bbr", "reno"), ("t_new", "t_new")):
        assert commands((one, *saved)) == "structops default NAME --netns t_one"
    assert commands((one, "bbr", "t_new"), two) == (
        "structops default --restore --netns t_one && structops default NAME --netns 't two'"
    )
