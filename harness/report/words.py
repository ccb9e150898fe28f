"""Numbers and lists as text: few digits, units, no false precision."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ebmark.stats import Exponent, Law
from ebmark.stats.laws import FORMULAS

SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
NAMES = {
    "fisher": "Fisher divergence",
    "kl": "KL divergence",
    "kl_own": "KL divergence, by the method's own log Z",
    "nll": "negative log-likelihood",
    "log_density_mse": "squared error of the log-density",
    "reverse_kl": "reverse KL divergence",
    "mmd": "MMD²",
    "sliced_wasserstein": "sliced Wasserstein distance",
    "energy_distance": "energy distance",
    "c2st": "classifier two-sample test (AUC)",
    "coverage": "coverage",
    "precision": "precision",
    "mode_weights": "total variation of the mode weights",
    "mode_smallest": "smallest mode weight over the true one",
    "mode_largest": "largest mode weight over the true one",
    "ksd": "KSD² of the samples from the model",
}
HIGHER = frozenset({"coverage", "precision", "mode_smallest"})  # of these more is better
UNITS = {
    "kl": " (nats)",
    "kl_own": " (nats)",
    "nll": " (nats)",
    "reverse_kl": " (nats)",
    "log_density_mse": " (nats²)",
}
PLACES = 5  # behind the point, at most: beyond, powers of ten are easier to read
TIME_UNITS = ((1e-6, "µs"), (1e-3, "ms"), (1.0, "s"), (60.0, "min"), (3600.0, "h"))


def number(x: float, digits: int = 2) -> str:
    """``x`` with ``digits`` significant digits; a power of ten below 0.001 and where it is large."""
    if not math.isfinite(x):
        return "∞" if x == math.inf else "–"
    if x == 0:
        return "0"
    power = math.floor(math.log10(abs(float(f"{x:.{digits - 1}e}"))))
    if power < -3 or power >= (5 if digits > 1 else 4):
        factor = f"{x / 10.0**power:.{digits - 1}f}"
        return ("" if factor == "1" else f"{factor} × ") + f"10{str(power).translate(SUPERSCRIPT)}"
    return f"{round(x, digits - 1 - power):.{max(0, digits - 1 - power)}f}"


def work(x: float) -> str:
    """Passes per point: whole where they are."""
    return f"{x:,.0f}" if math.isfinite(x) and (abs(x - round(x)) < 1e-9 or x >= 100) else number(x)


def seconds(x: float, digits: int = 2) -> str:
    """A duration in the unit that leaves one to three digits before the point."""
    if not math.isfinite(x):
        return number(x)
    size, unit = max((unit for unit in TIME_UNITS if x >= unit[0]), default=TIME_UNITS[0])
    return f"{number(x / size, digits)} {unit}"


def percent(share: float) -> str:
    """A share as a whole percentage."""
    return f"{100 * share:.0f} %" if math.isfinite(share) else "–"


def plus_minus(value: float, se: float) -> str:
    """``value ± se`` with the digits that the standard error (two of them below 3) leaves meaningful.

    Where both are below 0.001 they share a power of ten: ``(3.1 ± 0.4) × 10⁻⁵``.
    """
    if not (math.isfinite(se) and se > 0 and math.isfinite(value)):
        return number(value, 3)
    first = -math.floor(math.log10(se))
    places = first + (se * 10.0**first < 3)
    if places > PLACES and max(abs(value), se) < 1e-3:
        power = math.floor(math.log10(max(abs(value), se)))
        both = " ± ".join(_fixed(x / 10.0**power, places + power) for x in (value, se))
        return f"({both}) × 10{str(power).translate(SUPERSCRIPT)}"
    if first > PLACES:
        return f"{number(value, 3)} ± {number(se, 1)}"
    return " ± ".join(_fixed(x, min(places, PLACES)) for x in (value, se))


def _fixed(x: float, places: int) -> str:
    """``x`` with so many places behind the point, none where negative; zero has no sign."""
    return f"{round(x, places) + 0.0:.{max(places, 0)}f}"


def measured(value: float, se: float, lo: float, hi: float, *, trusted: bool) -> str:
    """``value ± se``; of a value that is not trusted ``[its interval]†``, or the value where it has none."""
    if trusted:
        return plus_minus(value, se)
    known = math.isfinite(lo) and math.isfinite(hi)
    return f"[{number(lo, 3)}, {number(hi, 3)}]†" if known else f"[{plus_minus(value, se)}]†"


def exponent(fit: Exponent) -> str:
    """``d^0.98 [0.95, 1.01]``, with ``local`` below 6 sizes; a dash where nothing could be fitted."""
    if math.isnan(fit.value):
        return "–"
    value, lo, hi = (f"{round(x, 2) + 0.0:.2f}" for x in (fit.value, fit.lo, fit.hi))
    interval = "" if lo == value == hi else f" [{lo}, {hi}]"
    return f"d^{value}{interval}{' local' if fit.local else ''}"


def law(found: Law) -> str:
    """``a + b d^c, c = 1.02 [0.97, 1.08]``, or why no law is named."""
    if found.name is None:
        return found.note.removeprefix("law ")
    ends = "" if math.isnan(found.lo) else f" [{number(found.lo)}, {number(found.hi)}]"
    c = "" if math.isnan(found.c) else f", c = {number(found.c)}{ends}"
    return "constant" if found.name == "constant" else f"{FORMULAS[found.name]}{c}"


def power(fit: Exponent) -> str:
    """``d^0.98`` alone, empty below six sizes and where nothing could be fitted."""
    return "" if fit.local or math.isnan(fit.value) else f"d^{round(fit.value, 2) + 0.0:.2f}"


def listed(items: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def named(metric: str, *, per_dim: bool = False) -> str:
    """A metric's name in words."""
    return NAMES.get(metric, metric) + (" / d" if per_dim else "")


def titled(metric: str, *, per_dim: bool = False) -> str:
    """A metric's name as a title, with its unit."""
    name = named(metric, per_dim=per_dim)
    return name[0].upper() + name[1:] + UNITS.get(metric, "")


def counted(n: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
