"""The arithmetic of the bundled congestion controls, against what the RFCs say in real numbers.

The headers of ``bpf_objects`` that hold it know no kernel: here gcc compiles
them for the host, and each function is compared with the formula of its RFC,
computed with exact fractions (or floats, where a root is taken). The error
bounds are those that the headers promise.
"""

from __future__ import annotations

import ctypes
import math
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SOURCES = Path(__file__).resolve().parents[3] / "bpf_objects"

# Everything in the headers is inlined: one exported function for each.
SHIM = """
#include "cubic_epoch.h"
u32 t_ticks(u64 us) { return ticks_from_us(us); }
u32 t_root(u64 x) { return cube_root(x); }
u32 t_k(u64 w_max, u32 cwnd, u32 c) { return cubic_k(w_max, cwnd, c); }
u64 t_window(u64 w_max, u32 k, u32 t, u32 c) { return cubic_window(w_max, k, t, c); }
u64 t_target(u64 ahead, u32 cwnd) { return cubic_target(ahead, cwnd); }
u64 t_growth(u64 target, u32 cwnd, u32 acked) { return cubic_growth(target, cwnd, acked); }
u32 t_alpha(u32 beta) { return cubic_alpha(beta); }
u64 t_friendly(u32 alpha, u32 cwnd, u32 acked) { return cubic_friendly_growth(alpha, cwnd, acked); }
u64 t_w_max(u64 w_max, u32 cwnd, u32 beta, bool fast) { return cubic_new_w_max(w_max, cwnd, beta, fast); }
u32 t_double(struct window *w, u32 ssthresh, u32 acked) { return window_double(w, ssthresh, acked); }
void t_add(struct window *w, u32 acked, u32 permille) { window_add(w, acked, permille); }
u32 t_reduced(u32 segments, u32 permille) { return window_reduced(segments, permille); }
u32 t_clamped(u32 cwnd, u32 limit) { return window_clamped(cwnd, limit); }
void t_begin(struct cubic_epoch *e, u32 cwnd, const struct cubic_tunables *s) { cubic_epoch_begin(e, cwnd, s); }
void t_advance(struct cubic_epoch *e, u64 us, u32 rtt) { cubic_epoch_advance(e, us, rtt); }
void t_grow(struct cubic_epoch *e, struct window *w, u32 acked, u32 rtt, const struct cubic_tunables *s)
{ cubic_epoch_grow(e, w, acked, rtt, s); }
void t_end(struct cubic_epoch *e, u32 cwnd, const struct cubic_tunables *s) { cubic_epoch_end(e, cwnd, s); }
"""


class Window(ctypes.Structure):
    _fields_ = (("cwnd", ctypes.c_uint32), ("credit", ctypes.c_uint64))


class Tunables(ctypes.Structure):
    _fields_ = (
        ("c_permille", ctypes.c_uint32),
        ("beta_permille", ctypes.c_uint32),
        ("fast_convergence", ctypes.c_bool),
        ("reno_friendly", ctypes.c_bool),
    )


class Epoch(ctypes.Structure):
    _fields_ = (
        ("elapsed_us", ctypes.c_uint64),
        ("w_est_q32", ctypes.c_uint64),
        ("w_max_q10", ctypes.c_uint64),
        ("k_ticks", ctypes.c_uint32),
        ("cwnd_prior", ctypes.c_uint32),
    )


U32, U64, BOOL = ctypes.c_uint32, ctypes.c_uint64, ctypes.c_bool
WINDOW, EPOCH, TUNABLES = (ctypes.POINTER(of) for of in (Window, Epoch, Tunables))
SIGNATURES: dict[str, tuple[type | None, tuple[type, ...]]] = {
    "t_ticks": (U32, (U64,)),
    "t_root": (U32, (U64,)),
    "t_k": (U32, (U64, U32, U32)),
    "t_window": (U64, (U64, U32, U32, U32)),
    "t_target": (U64, (U64, U32)),
    "t_growth": (U64, (U64, U32, U32)),
    "t_alpha": (U32, (U32,)),
    "t_friendly": (U64, (U32, U32, U32)),
    "t_w_max": (U64, (U64, U32, U32, BOOL)),
    "t_double": (U32, (WINDOW, U32, U32)),
    "t_add": (None, (WINDOW, U32, U32)),
    "t_reduced": (U32, (U32, U32)),
    "t_clamped": (U32, (U32, U32)),
    "t_begin": (None, (EPOCH, U32, TUNABLES)),
    "t_advance": (None, (EPOCH, U64, U32)),
    "t_grow": (None, (EPOCH, WINDOW, U32, U32, TUNABLES)),
    "t_end": (None, (EPOCH, U32, TUNABLES)),
}

Q10, Q32 = 1 << 10, 1 << 32
TICKS_MAX = (1 << 20) - 1
WINDOW_MAX = 1 << 23

windows = st.integers(1, WINDOW_MAX)
windows_q10 = st.integers(0, WINDOW_MAX * Q10)
ticks = st.integers(0, TICKS_MAX)
c_permilles = st.integers(1, 8000)
permilles = st.integers(0, 1000)
acks = st.integers(0, 1 << 16)
examples = settings(derandomize=True, max_examples=100, deadline=None)


@pytest.fixture(scope="module")
def math_of(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = shutil.which("gcc")
    assert compiler is not None, "gcc, which the package's own build needs, is not installed"
    folder = tmp_path_factory.mktemp("algorithms")
    source, library = folder / "shim.c", folder / "shim.so"
    source.write_text(SHIM)
    flags = ("-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{SOURCES}")
    subprocess.run([compiler, *flags, str(source), "-o", str(library)], check=True)
    loaded = ctypes.CDLL(str(library))
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


# ---- cubic_math.h ------------------------------------------------------------------------------------------


@examples
@given(us=st.integers(0, TICKS_MAX * 15625 // 16))
def test_ticks_are_the_time_rounded_down(math_of: ctypes.CDLL, us: int) -> None:
    assert math_of.t_ticks(us) == math.floor(Fraction(us, 1_000_000) * 1024)


@pytest.mark.parametrize("us", [TICKS_MAX * 15625 // 16 + 1, 1 << 40, (1 << 64) - 1])
def test_time_beyond_the_last_tick_stays_there(math_of: ctypes.CDLL, us: int) -> None:
    assert math_of.t_ticks(us) == TICKS_MAX


@examples
@given(x=st.one_of(st.integers(0, (1 << 63) - 1), st.integers(0, 5000)))
def test_cube_root_is_the_floor(math_of: ctypes.CDLL, x: int) -> None:
    root = math_of.t_root(x)
    assert root**3 <= x < (root + 1) ** 3


@examples
@given(root=st.integers(1, (1 << 21) - 1))
def test_cube_root_of_cubes_and_their_neighbours(math_of: ctypes.CDLL, root: int) -> None:
    assert math_of.t_root(root**3) == root
    assert math_of.t_root(root**3 - 1) == root - 1
    assert math_of.t_root(root**3 + 1) == root


@examples
@given(w_max=windows_q10, cwnd=windows, c=c_permilles)
def test_k_is_equation_2_within_a_tick(math_of: ctypes.CDLL, w_max: int, cwnd: int, c: int) -> None:
    k = math_of.t_k(w_max, cwnd, c)
    cubed_seconds = max(Fraction(w_max, Q10) - cwnd, Fraction(0)) / Fraction(c, 1000)
    assert Fraction(k, 1024) ** 3 <= cubed_seconds < Fraction(k + 1, 1024) ** 3


def test_k_of_the_rfc_constants(math_of: ctypes.CDLL) -> None:
    # W_max 1000 and beta 0.7: K = cbrt(300 / 0.4) s
    assert math_of.t_k(1000 * Q10, 700, 400) == math.floor((300 / 0.4) ** (1 / 3) * 1024)


def cubic(w_max: int, k: int, t: int, c: int) -> Fraction:
    """Equation (1), exactly, in segments; the arguments in the header's units."""
    return Fraction(c, 1000) * Fraction(t - k, 1024) ** 3 + Fraction(w_max, Q10)


@examples
@given(w_max=windows_q10, k=ticks, t=ticks, c=c_permilles)
def test_window_function_is_equation_1(math_of: ctypes.CDLL, w_max: int, k: int, t: int, c: int) -> None:
    window = Fraction(math_of.t_window(w_max, k, t, c), Q10)
    exact = min(max(cubic(w_max, k, t, c), Fraction(0)), Fraction(1 << 25))
    error = window - exact if t < k else exact - window
    assert 0 <= error < Fraction(1, 1000), "rounded towards W_max, by less than a thousandth of a segment"


@examples
@given(w_max=st.integers(10, WINDOW_MAX), c=st.sampled_from([40, 400, 4000]), seconds=st.floats(0, 1000))
def test_the_window_follows_the_rfc_in_floats(
    math_of: ctypes.CDLL, w_max: int, c: int, seconds: float
) -> None:
    start = w_max * 7 // 10
    k = ((w_max - start) / (c / 1000)) ** (1 / 3)
    exact = c / 1000 * (seconds - k) ** 3 + w_max
    ours = math_of.t_window(
        w_max * Q10, math_of.t_k(w_max * Q10, start, c), math_of.t_ticks(int(seconds * 1e6)), c
    )
    # K and t are each a tick low at most: an error in time of a tick, times the slope of the curve there
    off = (abs(seconds - k) + 1 / 1024) ** 2 * 3 * c / 1000 / 1024 + 0.002
    assert abs(ours / Q10 - min(exact, 1 << 25)) <= off


@examples
@given(ahead=st.integers(0, 1 << 35), cwnd=windows)
def test_target_is_bounded_as_section_4_2_says(math_of: ctypes.CDLL, ahead: int, cwnd: int) -> None:
    exact = min(max(Fraction(ahead, Q10), Fraction(cwnd)), Fraction(3, 2) * cwnd)
    assert Fraction(math_of.t_target(ahead, cwnd), Q10) == exact


@examples
@given(ahead=st.integers(0, 1 << 35), cwnd=windows, acked=acks)
def test_growth_of_an_ack(math_of: ctypes.CDLL, ahead: int, cwnd: int, acked: int) -> None:
    target = math_of.t_target(ahead, cwnd)
    exact = (Fraction(target, Q10) - cwnd) / cwnd * acked * Q32
    assert 0 <= exact - math_of.t_growth(target, cwnd, acked) < max(acked, 1)


@pytest.mark.parametrize("beta", range(0, 1001, 25))
def test_alpha_of_section_4_3(math_of: ctypes.CDLL, beta: int) -> None:
    ratio = Fraction(beta, 1000)
    assert math_of.t_alpha(beta) == math.floor(3 * (1 - ratio) / (1 + ratio) * 1000)


@examples
@given(alpha=st.integers(0, 3000), cwnd=windows, acked=st.integers(0, 1 << 20))
def test_friendly_growth_is_equation_4(math_of: ctypes.CDLL, alpha: int, cwnd: int, acked: int) -> None:
    exact = Fraction(alpha, 1000) * acked / cwnd * Q32
    assert math_of.t_friendly(alpha, cwnd, acked) == math.floor(exact)


@examples
@given(w_max=windows_q10, cwnd=windows, beta=permilles, fast=st.booleans())
def test_w_max_after_a_congestion_event(
    math_of: ctypes.CDLL, w_max: int, cwnd: int, beta: int, fast: bool
) -> None:
    further = fast and cwnd * Q10 < w_max
    exact = Fraction(cwnd * Q10) * ((1 + Fraction(beta, 1000)) / 2 if further else 1)
    assert math_of.t_w_max(w_max, cwnd, beta, fast) == math.floor(exact)


# ---- window_math.h -----------------------------------------------------------------------------------------


@examples
@given(cwnd=windows, ssthresh=st.integers(2, 0x7FFFFFFF), acked=acks)
def test_slow_start_counts_segments_up_to_ssthresh(
    math_of: ctypes.CDLL, cwnd: int, ssthresh: int, acked: int
) -> None:
    window = Window(cwnd, 0)
    left = math_of.t_double(window, ssthresh, acked)
    assert window.cwnd - cwnd + left == acked, "every acknowledged segment is used once"
    assert window.cwnd == max(cwnd, min(cwnd + acked, ssthresh))


@examples
@given(cwnd=st.integers(1, 100), rounds=st.integers(1, 6), permille=st.sampled_from([1000, 529, 250]))
def test_additive_increase_is_a_segment_for_each_window(
    math_of: ctypes.CDLL, cwnd: int, rounds: int, permille: int
) -> None:
    """One ACK a segment: each whole segment of growth costs a window's worth of them, as in RFC 5681."""
    window = Window(cwnd, 0)
    for size in range(cwnd, cwnd + rounds):
        needed = math.ceil(Fraction(size * 1000, permille))
        for _ in range(needed - 1):
            math_of.t_add(window, 1, permille)
        assert window.cwnd == size
        math_of.t_add(window, 1, permille)
        assert window.cwnd == size + 1
        window.credit = 0


@examples
@given(cwnd=windows, acked=st.lists(acks, max_size=8), permille=st.integers(0, 1 << 20))
def test_nothing_is_rounded_away(math_of: ctypes.CDLL, cwnd: int, acked: list[int], permille: int) -> None:
    """The input equals the cost of the segments plus the remaining credit."""
    window, paid = Window(cwnd, 0), 0
    for count in acked:
        before = window.cwnd
        math_of.t_add(window, count, permille)
        paid += (window.cwnd - before) * before * 1000
        assert window.credit < before * 1000
    assert paid + window.credit == sum(acked) * permille


@examples
@given(segments=st.integers(0, (1 << 32) - 1), permille=permilles)
def test_decrease_is_rounded_down_and_at_least_two(
    math_of: ctypes.CDLL, segments: int, permille: int
) -> None:
    exact = math.floor(segments * (1 - Fraction(permille, 1000)))
    assert math_of.t_reduced(segments, permille) == max(exact, 2)


def test_ssthresh_of_rfc_5681(math_of: ctypes.CDLL) -> None:
    assert [math_of.t_reduced(flight, 500) for flight in (0, 1, 3, 4, 5, 10, 101)] == [2, 2, 2, 2, 2, 5, 50]


def test_a_window_is_kept_within_one_and_its_limit(math_of: ctypes.CDLL) -> None:
    assert [math_of.t_clamped(*pair) for pair in ((0, 9), (5, 9), (12, 9), (5, 0))] == [1, 5, 9, 1]


def average_aimd(math_of: ctypes.CDLL, a: int, b: int, packets: int) -> float:
    """Return the mean window of an AIMD that loses one packet in `packets`."""
    window, total, rounds = Window(10, 0), 0, 0
    for loss in range(40):
        sent = 0
        while sent < packets:
            size = window.cwnd
            sent += size
            math_of.t_add(window, size, a)
            if loss >= 20:  # settled by then
                total, rounds = total + size, rounds + 1
        window.cwnd = math_of.t_reduced(window.cwnd, b)
    return total / rounds


@pytest.mark.parametrize(("a", "b"), [(1000, 500), (529, 300), (2000, 500), (200, 125)])
def test_aimd_has_the_mean_window_of_rfc_9438_equation_3(math_of: ctypes.CDLL, a: int, b: int) -> None:
    packets, beta = 20_000, 1 - b / 1000
    expected = math.sqrt(a / 1000 * (1 + beta) * packets / (2 * (1 - beta)))
    assert average_aimd(math_of, a, b, packets) == pytest.approx(expected, rel=0.03)


# ---- cubic_epoch.h -----------------------------------------------------------------------------------------


def rfc_tunables(**changed: int) -> Tunables:
    return Tunables(
        **({"c_permille": 400, "beta_permille": 700, "fast_convergence": 0, "reno_friendly": 1} | changed)
    )


def average_cubic(math_of: ctypes.CDLL, tunables: Tunables, start: int, packets: int, rtt_us: int) -> float:
    """Return the mean window of a connection that loses one packet in `packets`, four ACKs a round trip."""
    epoch, window = Epoch(), Window(start, 0)
    total = rounds = 0
    for _ in range(10):
        math_of.t_end(epoch, window.cwnd, tunables)
        window.cwnd, window.credit = math_of.t_reduced(window.cwnd, 1000 - tunables.beta_permille), 0
        math_of.t_begin(epoch, window.cwnd, tunables)
        sent = 0
        while sent < packets:
            size = window.cwnd
            for quarter in range(4):
                math_of.t_advance(epoch, rtt_us // 4, rtt_us)
                math_of.t_grow(epoch, window, (size + quarter) // 4, rtt_us, tunables)
            sent += size
            total, rounds = total + size, rounds + 1
    return total / rounds


# RFC 9438, tables 1 and 2: the mean window for a round-trip time in ms, one loss in so many packets, C in thousandths
@pytest.mark.parametrize(
    ("rtt_ms", "packets", "c", "expected"),
    [
        (100, 10**4, 400, 187),
        (100, 10**5, 400, 1054),
        (100, 10**6, 400, 5926),
        (100, 10**5, 4000, 1874),
        (100, 10**5, 40, 593),
        (10, 10**4, 400, 120),
        (10, 10**5, 400, 379),
        (10, 10**6, 4000, 1874),
    ],
)
def test_cubic_keeps_the_mean_window_of_the_rfc(
    math_of: ctypes.CDLL, rtt_ms: int, packets: int, c: int, expected: int
) -> None:
    """Start in the equilibrium of equation (5), where W_max is 4 / (3 + beta) of the mean, and stay there."""
    start = round(expected * 4 / 3.7)
    mean = average_cubic(math_of, rfc_tunables(c_permille=c), start, packets, rtt_ms * 1000)
    assert mean == pytest.approx(expected, rel=0.05)


def test_a_stage_returns_to_w_max_when_k_has_passed(math_of: ctypes.CDLL) -> None:
    epoch, window, tunables = Epoch(), Window(10_000, 0), rfc_tunables(reno_friendly=0)
    math_of.t_end(epoch, window.cwnd, tunables)
    window.cwnd = 7_000
    math_of.t_begin(epoch, window.cwnd, tunables)
    while epoch.elapsed_us < epoch.k_ticks * 1_000_000 // 1024:
        math_of.t_advance(epoch, 10_000, 100_000)
        math_of.t_grow(epoch, window, window.cwnd // 10, 100_000, tunables)
    assert window.cwnd == pytest.approx(10_000, rel=0.005)


def test_fast_convergence_lowers_the_plateau_of_a_losing_flow(math_of: ctypes.CDLL) -> None:
    epoch, tunables = Epoch(), rfc_tunables(fast_convergence=1)
    for cwnd, plateau in ((1000, 1000), (800, 680), (900, 900), (899, Fraction(899 * 85, 100))):
        math_of.t_end(epoch, cwnd, tunables)
        assert epoch.w_max_q10 == math.floor(plateau * Q10)


@pytest.mark.parametrize("w_max", [0, 500])
def test_without_a_plateau_above_it_the_window_is_the_plateau(math_of: ctypes.CDLL, w_max: int) -> None:
    epoch = Epoch(w_max_q10=w_max * Q10)
    math_of.t_begin(epoch, 600, rfc_tunables())
    assert (epoch.k_ticks, epoch.w_max_q10, epoch.w_est_q32) == (0, 600 * Q10, 600 * Q32)


@pytest.mark.parametrize(
    ("gap_us", "rtt_us", "counted"),
    [
        (500, 20_000, 500),
        (40_000, 20_000, 40_000),
        (60_000_000, 20_000, 40_000),
        (900, 10, 900),
        (5_000, 10, 1_000),
    ],
)
def test_idle_time_does_not_age_a_stage(math_of: ctypes.CDLL, gap_us: int, rtt_us: int, counted: int) -> None:
    epoch = Epoch(elapsed_us=7)
    math_of.t_advance(epoch, gap_us, rtt_us)
    assert epoch.elapsed_us == 7 + counted


@pytest.mark.parametrize("prior", [50, 150])
def test_alpha_is_one_again_from_the_prior_window_on(math_of: ctypes.CDLL, prior: int) -> None:
    epoch, window, tunables = Epoch(), Window(100, 0), rfc_tunables()
    math_of.t_begin(epoch, 100, tunables)
    epoch.cwnd_prior = prior
    math_of.t_grow(epoch, window, 100, 1000, tunables)
    alpha = 1000 if prior <= 100 else math_of.t_alpha(700)
    assert epoch.w_est_q32 == 100 * Q32 + alpha * Q32 // 1000


@examples
@given(
    cwnd=st.integers(2, 1 << 20),
    w_max=windows_q10,
    elapsed=st.integers(0, 1 << 40),
    acked=st.integers(1, 1 << 16),
    c=c_permilles,
    beta=permilles,
)
def test_the_window_never_shrinks_and_grows_by_half_at_most(
    math_of: ctypes.CDLL, cwnd: int, w_max: int, elapsed: int, acked: int, c: int, beta: int
) -> None:
    epoch, window = Epoch(w_max_q10=w_max), Window(cwnd, 0)
    tunables = rfc_tunables(c_permille=c, beta_permille=beta)
    math_of.t_begin(epoch, cwnd, tunables)
    epoch.elapsed_us = elapsed
    math_of.t_grow(epoch, window, acked, 100_000, tunables)
    # half a segment for each one acknowledged (section 4.2), or Reno's alpha <= 3 a window (section 4.3)
    assert cwnd <= window.cwnd <= cwnd + max(acked // 2, 3 * acked // cwnd) + 1
