"""``structops vm``."""

from __future__ import annotations

import os
import signal
import sys

import click

from structops_cli.cli.numbers import Seconds
from structops_cli.cli.output import Output, common_options, table
from structops_cli.cli.vm_options import file_from, variable_from, wish_from
from structops_cli.errors import ExitCode, StructopsError
from structops_cli.vm.archives import HOME, Job
from structops_cli.vm.emulator import Machine
from structops_cli.vm.guest import GuestRun, run_in_guest
from structops_cli.vm.kernels import Kernel, Offer, best_match, kept_kernels, kernel_for, offered_kernels
from structops_cli.vm.results import has, write_back


@click.group()
@common_options
def command() -> None:
    """Run commands on other kernels: Debian's, booted by QEMU. Needs no root."""


@command.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "-k",
    "--kernel",
    "wanted",
    metavar="VERSION",
    required=True,
    help="As 6.12, 6.12-amd64, newest or a whole release.",
)
@click.option("--newest", is_flag=True, help="Look for a newer one of that version, even if one is kept.")
@click.option(
    "--file",
    "files",
    metavar="PATH[:GUEST]",
    multiple=True,
    help=f"Take a file or folder along; GUEST counts from {HOME}.",
)
@click.option("--fetch", "fetched", metavar="GUEST:PATH", multiple=True, help="Bring a file or folder back.")
@click.option("--module", "modules", metavar="NAME", multiple=True, help="Take one more kernel module along.")
@click.option(
    "--env",
    "environment",
    metavar="NAME=VALUE",
    multiple=True,
    help="Set a variable of the command's environment.",
)
@click.option(
    "--timeout",
    metavar="SECONDS",
    type=Seconds(min=1),
    default=120.0,
    show_default=True,
    help="For booting and the command together.",
)
@click.option(
    "--memory",
    metavar="MIB",
    type=click.IntRange(min=128),
    default=1024,
    show_default=True,
    help="Of the guest.",
)
@click.option(
    "--cpus",
    metavar="N",
    type=click.IntRange(1, 255),
    default=1,
    show_default=True,
    help="Of the guest.",
)
@click.argument("words", metavar="COMMAND...", nargs=-1, required=True)
@common_options
@click.pass_obj
def run(
    output: Output,
    wanted: str,
    newest: bool,
    files: tuple[str, ...],
    fetched: tuple[str, ...],
    modules: tuple[str, ...],
    environment: tuple[str, ...],
    timeout: float,
    memory: int,
    cpus: int,
    words: tuple[str, ...],
) -> int:
    """Run COMMAND as root on another kernel, and end with its exit code.

    The guest has this structops, Python, bash, ip and busybox, and a bpffs on
    /sys/fs/bpf. What COMMAND prints comes out as it is printed; its stdin is
    empty: hand it a --file. A kernel that does not boot ends with 77, one that
    dies with 1, and what could not be brought back with 3.
    """
    wishes = [wish_from(item) for item in fetched]
    job = Job(
        words,
        files=tuple(file_from(item) for item in files),
        fetch=tuple(os.path.join(HOME, there) for there, _ in wishes),
        environment=tuple(variable_from(item) for item in environment),
    )
    signal.signal(signal.SIGTERM, _ended)
    kernel = kernel_for(wanted, newest=newest, report=output.note)
    output.debug(f"booting {kernel.release}")
    outcome = _run(output, kernel, job, modules, timeout, Machine(memory, cpus))
    output.debug(f"{kernel.release}: booted in {outcome.boot_s:.1f} s, ran {outcome.run_s:.1f} s")
    missing = [there for there, _ in wishes if not has(outcome.results, os.path.join(HOME, there))]
    output.result("vm run", lambda: {**_told(outcome), "missing": missing}, str)
    for there, here in wishes:
        if there not in missing:
            write_back(outcome.results, os.path.join(HOME, there), here)
    if missing and not output.json:
        output.note(f"note: the guest has no {', '.join(missing)}")
    return outcome.results.exit_code or int(ExitCode.NO_MATCH if missing else ExitCode.DONE)


@command.command()
@click.option("--all", "whole", is_flag=True, help="List every release, not only the newest of each version.")
@common_options
@click.pass_obj
def kernels(output: Output, whole: bool) -> None:
    """List the kernels that Debian has now, and those that are kept here."""
    kept = {kernel.release for kernel in kept_kernels()}
    offers = _offers(output, kept)
    releases = list(dict.fromkeys([*(offer.release for offer in offers), *sorted(kept)]))
    if not whole:
        releases = _newest_of_each(releases, kept)
    rows = [_row(release, kept, offers) for release in releases]
    header = ("VERSION", "RELEASE", "KEPT", "OFFERED")
    output.result(
        "vm kernels",
        {"kernels": rows},
        lambda: table(header, [[_said(value) for value in row.values()] for row in rows]),
    )


def _run(
    output: Output, kernel: Kernel, job: Job, modules: tuple[str, ...], timeout_s: float, machine: Machine
) -> GuestRun:
    """Run the job and pass on the output of its command. For JSON, an error has the output."""
    stdout, stderr = bytearray(), bytearray()
    heard = (stdout.extend, stderr.extend) if output.json else (_to_stdout, _to_stderr)
    try:
        return run_in_guest(
            kernel,
            job,
            timeout_s=timeout_s,
            machine=machine,
            modules=modules,
            stdout=heard[0],
            stderr=heard[1],
        )
    except StructopsError as error:
        if output.json:
            error.add(stdout=stdout.decode(errors="replace"), stderr=stderr.decode(errors="replace"))
        elif error.fields.get("console"):
            for line in [*error.fields["console"].split("\n"), ""]:
                output.note(line.expandtabs())
        raise


def _offers(output: Output, kept: set[str]) -> list[Offer]:
    """Return Debian's kernels. If Debian is unreachable and a kernel is kept, note it instead."""
    try:
        return offered_kernels()
    except StructopsError as error:
        if not kept:
            raise
        output.note(f"note: only what is kept: {error}")
        return []


def _ended(*unused: object) -> None:
    sys.exit(128 + signal.SIGTERM)  # the exception ends the guest and removes its files


def _row(release: str, kept: set[str], offers: list[Offer]) -> dict[str, object]:
    return {
        "version": _series(release),
        "release": release,
        "kept": release in kept,
        "offered": any(offer.release == release for offer in offers),
    }


def _newest_of_each(releases: list[str], kept: set[str]) -> list[str]:
    """Return the newest release of each version and flavour, and all kept releases."""
    keys = {(_series(release), release.endswith("cloud-amd64")) for release in releases}
    newest = {best_match(f"{series}-{'cloud-' * cloud}amd64", releases) for series, cloud in keys}
    return [release for release in releases if release in newest or release in kept]


def _series(release: str) -> str:
    return ".".join(release.partition("-")[0].partition("+")[0].split(".")[:2])


def _said(value: object) -> object:
    return {True: "yes", False: "-"}.get(value, value) if isinstance(value, bool) else value


def _told(outcome: GuestRun) -> dict[str, object]:
    return {
        "release": outcome.release,
        "kvm": outcome.kvm,
        "exit_code": outcome.results.exit_code,
        "stdout": outcome.stdout.decode(errors="replace"),
        "stderr": outcome.stderr.decode(errors="replace"),
        "boot_s": round(outcome.boot_s, 2),
        "run_s": round(outcome.run_s, 2),
    }


def _to_stdout(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.flush()


def _to_stderr(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.flush()
