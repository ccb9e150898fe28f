"""Statistics of a benchmark with few seeds: pure functions on arrays, without any drawing.

Arrays are ``(..., n)`` with the n runs last unless said otherwise; NaN marks what is missing. A failure never
becomes a number: it is left out where means are taken, and charged where costs are added up.
"""

from ebmark.stats.censored import tobit_exponent
from ebmark.stats.intervals import ALPHA, MIN_SEEDS, Array, Interval, half_width, iqm, t_interval
from ebmark.stats.laws import MIN_LAW_SIZES, Law, law
from ebmark.stats.ranking import MIN_PAIRS, Ranking, best_and_ties
from ebmark.stats.scaling import MIN_SIZES, Crossover, Exponent, crossover, scaling_exponent
from ebmark.stats.targets import REACHING_SHARE, ert

__all__ = [
    "ALPHA",
    "MIN_LAW_SIZES",
    "MIN_PAIRS",
    "MIN_SEEDS",
    "MIN_SIZES",
    "REACHING_SHARE",
    "Array",
    "Crossover",
    "Exponent",
    "Interval",
    "Law",
    "Ranking",
    "best_and_ties",
    "crossover",
    "ert",
    "half_width",
    "iqm",
    "law",
    "scaling_exponent",
    "t_interval",
    "tobit_exponent",
]
