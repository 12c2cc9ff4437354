"""From an errno back to the rules that answer so."""

from __future__ import annotations

from collections import Counter
from errno import E2BIG, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, ENOLINK, EPERM, ERANGE

import pytest

from structops_cli.errors import ENOTSUPP, KernelError, UsageError
from structops_cli.struct_ops.capabilities import Capabilities
from structops_cli.struct_ops.catalogue import find_type
from structops_cli.struct_ops.explain import explained
from structops_cli.struct_ops.plan import MapPlan, plan_object
from structops_cli.struct_ops.rules.causes import UNDECIDED
from structops_cli.struct_ops.rules.diagnose import (
    ALL_RULES,
    errno_number,
    narrowed,
    only_cause,
    operations_named,
    possible_causes,
    refused_load,
    subsystem_refusal,
)
from structops_cli.struct_ops.rules.model import COMMANDS, MapModel, Model, World
from structops_cli.struct_ops.rules.rule import filled
from structops_cli.syscall.uapi import BPF_F_LINK, StructOpsState
from tests.synthetic_kernels import kernel
from tests.unit.struct_ops.objects import spec

TCP = find_type(kernel(), "tcp_congestion_ops")


@pytest.mark.parametrize("rule", ALL_RULES, ids=lambda rule: f"{rule.operation}-{rule.name}")
def test_every_rule_reads_as_a_sentence_without_a_case(rule: object) -> None:
    for sentence in (rule.why, rule.hint, rule.tell):  # type: ignore[attr-defined]
        said = filled(sentence)
        assert "{" not in said
        assert not said.endswith(".")
    assert rule.hint  # type: ignore[attr-defined]
    assert rule.operation in COMMANDS.values()  # type: ignore[attr-defined]


def test_a_rule_has_one_name_in_its_operation() -> None:
    names = Counter((rule.operation, rule.name) for rule in ALL_RULES)
    assert [name for name, count in names.items() if count > 1] == []


def test_every_known_errno_has_causes() -> None:
    for operation, errno in [*UNDECIDED, *((rule.operation, rule.errno) for rule in ALL_RULES if rule.errno)]:
        assert possible_causes(operation, errno), (operation, errno)


def test_the_likeliest_comes_first() -> None:
    assert possible_causes("MAP_UPDATE_ELEM", EINVAL)[0].rule == "required"
    assert possible_causes("MAP_UPDATE_ELEM", EINVAL)[-1].rule == "flags-zero"


def test_a_type_fills_in_its_words() -> None:
    plain, tcp = (possible_causes("LINK_CREATE", EEXIST, name)[0].hint for name in ("", "tcp_congestion_ops"))
    assert plain == "see structops list; choose another name with --set name=NAME"
    assert "net.ipv4.tcp_available_congestion_control" in tcp
    assert possible_causes("LINK_CREATE", EEXIST, "Qdisc_ops")[0].hint.endswith("--set id=NAME")


def test_what_a_subsystem_itself_answers_comes_before_what_all_do() -> None:
    first, *rest = possible_causes("LINK_CREATE", EINVAL, "hid_bpf_ops")
    assert "no HID device" in first.why
    assert rest == list(possible_causes("LINK_CREATE", EINVAL))
    refused = explained(KernelError("", errno=EINVAL, operation="LINK_CREATE"), "it", "hid_bpf_ops")
    assert refused.why.startswith(first.why)
    elsewhere = explained(KernelError("", errno=EINVAL, operation="MAP_CREATE"), "it", "hid_bpf_ops")
    assert "HID" not in elsewhere.why


@pytest.mark.parametrize(
    ("word", "commands"),
    [
        ("MAP_UPDATE_ELEM", ("MAP_UPDATE_ELEM",)),
        ("bpf_map_update_elem", ("MAP_UPDATE_ELEM",)),
        ("update", ("MAP_UPDATE_ELEM",)),
        ("next-key", ("MAP_GET_NEXT_KEY",)),
        ("register", ("MAP_UPDATE_ELEM", "LINK_CREATE")),
        ("BTF_LOAD", ("BTF_LOAD",)),
    ],
)
def test_operations_by_any_of_their_names(word: str, commands: tuple[str, ...]) -> None:
    assert operations_named(word) == commands


@pytest.mark.parametrize(
    ("word", "number"),
    [("EINVAL", 22), ("einval", 22), ("22", 22), ("-22", 22), ("524", 524), ("ENOTSUPP", 524)],
)
def test_errnos_by_name_or_number(word: str, number: int) -> None:
    assert errno_number(word) == number


@pytest.mark.parametrize("word", ["", "EWHAT", "0", "4096", "9" * 30, "²", "1.5"])
def test_what_is_no_errno(word: str) -> None:
    with pytest.raises(UsageError):
        errno_number(word)


def test_what_is_no_operation() -> None:
    with pytest.raises(UsageError, match="dance names no operation"):
        operations_named("dance")


@pytest.mark.parametrize(
    ("operation", "errno", "flags", "state", "rules"),
    [
        ("MAP_DELETE_ELEM", ENOENT, 0, StructOpsState.INIT, ["never-registered"]),
        ("MAP_DELETE_ELEM", ENOENT, 0, StructOpsState.INUSE, []),
        ("MAP_UPDATE_ELEM", EBUSY, 0, StructOpsState.TOBEFREE, ["used-before"]),
        ("MAP_UPDATE_ELEM", EBUSY, 0, StructOpsState.INIT, ["one-at-a-time"]),
        ("LINK_CREATE", EINVAL, BPF_F_LINK, StructOpsState.INIT, ["not-ready"]),
        ("LINK_CREATE", EINVAL, 0, StructOpsState.INUSE, ["no-link-map"]),
        ("MAP_FREEZE", ENOTSUPP, 0, StructOpsState.INIT, ["never-frozen"]),
    ],
)
def test_a_live_map_narrows(operation: str, errno: int, flags: int, state: int, rules: list[str]) -> None:
    model = Model({"m": MapModel(TCP, flags, state, bytes(TCP.value.size_bytes))})
    left = narrowed(possible_causes(operation, errno), model, "m", World(fds=None))
    assert [item.rule for item in left] == rules


def test_one_cause_of_several_rules_is_the_cause() -> None:
    assert only_cause("LINK_CREATE", EEXIST) == only_cause("MAP_UPDATE_ELEM", EEXIST)
    cause = only_cause("LINK_UPDATE", ENOLINK)
    assert cause is not None
    assert cause.why == "the link is detached"
    assert only_cause("MAP_CREATE", EINVAL) is None, "several rules with several causes"
    assert only_cause("PROG_TEST_RUN", EINVAL) is None, "its sentence needs the words of a case"
    assert only_cause("MAP_CREATE", ENODEV) is None


def test_the_tables_state_no_cause_that_one_rule_states() -> None:
    for operation, errno in UNDECIDED:
        assert only_cause(operation, errno) is None, (operation, errno)


# The cause of a load


PROGRAM = plan_object(spec(), kernel()).programs[0]


@pytest.mark.parametrize(
    ("licence", "capabilities", "errno", "words"),
    [
        ("Proprietary", Capabilities(), EINVAL, "the object's is 'Proprietary'"),
        ("", Capabilities(), EINVAL, "the object's is 'missing'"),
        ("GPL", Capabilities(confused_indexes=frozenset({0})), EINVAL, "the member's index, 0,"),
        ("GPL", Capabilities(), EINVAL, "type, member or licence"),
        ("GPL", Capabilities(), EPERM, "type, member or licence"),
        ("GPL", Capabilities(), ENOTSUPP, "may not be implemented"),
    ],
)
def test_a_load_that_no_log_explains(
    licence: str, capabilities: Capabilities, errno: int, words: str
) -> None:
    plan = PROGRAM._replace(member=PROGRAM.member._replace(member_index=0))
    cause = refused_load(spec()._replace(licence=licence), plan, capabilities, errno, sleepable=False)
    assert words in cause.why


# The subsystem's own refusal


def planned(type_name: str, module: str = "") -> MapPlan:
    [one] = plan_object(spec(), kernel()).maps
    return one._replace(type=one.type._replace(name=type_name, module=module))


@pytest.mark.parametrize(
    ("errno", "words"),
    [
        (EINVAL, "refuses it by a rule of its own"),
        (ERANGE, "refuses it by a rule of its own"),
        (ENODEV, "refuses it by a rule of its own"),
        (EEXIST, "has one like it already"),
        (EBUSY, "takes no more of them"),
    ],
)
def test_an_unknown_subsystem_is_named(errno: int, words: str) -> None:
    for item, who in (
        (planned("t_ops", "t_module"), "module t_module"),
        (planned("t_ops"), "the subsystem of t_ops"),
    ):
        cause = subsystem_refusal(item.type, "LINK_CREATE", errno)
        assert cause is not None
        assert cause.why == f"{who} {words}"


@pytest.mark.parametrize(
    ("operation", "errno"),
    [("MAP_UPDATE_ELEM", E2BIG), ("MAP_UPDATE_ELEM", ENOTSUPP), ("OBJ_PIN", EEXIST), ("LINK_UPDATE", EINVAL)],
)
def test_the_kernels_own_answers_are_not_the_subsystems(operation: str, errno: int) -> None:
    assert subsystem_refusal(planned("t_ops", "t_module").type, operation, errno) is None


def test_a_known_subsystem_has_causes_of_its_own() -> None:
    assert subsystem_refusal(planned("tcp_congestion_ops").type, "MAP_UPDATE_ELEM", EINVAL) is None
