"""Statistics of a benchmark with few seeds: pure functions on arrays, without any drawing.

Arrays are ``(..., n)`` with the n runs last unless said otherwise; NaN marks what is missing. A failure never
becomes a number: it is left out where means are taken, and charged where costs are added up.
"""

from ebmark.stats.best import best_by_test, pairs_needed
from ebmark.stats.bootstrap import MIN_BOOTSTRAP, iqm_interval, seed_interval
from ebmark.stats.censored import tobit_exponent
from ebmark.stats.comparison import MIN_CD_TASKS, Friedman, Paired, friedman, holm, paired
from ebmark.stats.intervals import ALPHA, MIN_PAIRS, MIN_SEEDS, Array, Interval, half_width, iqm, t_interval
from ebmark.stats.laws import MIN_LAW_SIZES, Law, law
from ebmark.stats.precision import looks, next_seeds, relative_precision, seeds_needed
from ebmark.stats.ranking import Ranking, best_and_ties
from ebmark.stats.scaling import MIN_SIZES, Crossover, Exponent, crossover, scaling_exponent
from ebmark.stats.targets import REACHING_SHARE, ert, ert_interval, performance_profile

__all__ = [
    "ALPHA",
    "MIN_BOOTSTRAP",
    "MIN_CD_TASKS",
    "MIN_LAW_SIZES",
    "MIN_PAIRS",
    "MIN_SEEDS",
    "MIN_SIZES",
    "REACHING_SHARE",
    "Array",
    "Crossover",
    "Exponent",
    "Friedman",
    "Interval",
    "Law",
    "Paired",
    "Ranking",
    "best_and_ties",
    "best_by_test",
    "crossover",
    "ert",
    "ert_interval",
    "friedman",
    "half_width",
    "holm",
    "iqm",
    "iqm_interval",
    "law",
    "looks",
    "next_seeds",
    "paired",
    "pairs_needed",
    "performance_profile",
    "relative_precision",
    "scaling_exponent",
    "seed_interval",
    "seeds_needed",
    "t_interval",
    "tobit_exponent",
]
