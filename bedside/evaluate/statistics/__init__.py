"""Statistics of evaluations: intervals, tests, effect sizes, agreement. Pure functions on numbers; numpy only."""

from bedside.evaluate.statistics.agreement import Agreement, WinRate, cohens_kappa, krippendorff_alpha, win_rate
from bedside.evaluate.statistics.changes import Change, paired_change, rows_needed
from bedside.evaluate.statistics.effects import (
    FEWEST,
    cohens_h,
    d_z,
    detectable_mean,
    detectable_share,
    ratio_deviation,
    relative_change,
)
from bedside.evaluate.statistics.intervals import (
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_ratio_change,
    mean_interval,
    newcombe,
    tango,
    wilson,
)
from bedside.evaluate.statistics.tests import holm, mcnemar, ratio_influences, sign_flip, sign_test

__all__ = [
    "FEWEST",
    "Agreement",
    "Change",
    "WinRate",
    "bootstrap_mean",
    "bootstrap_ratio",
    "bootstrap_ratio_change",
    "cohens_h",
    "cohens_kappa",
    "d_z",
    "detectable_mean",
    "detectable_share",
    "holm",
    "krippendorff_alpha",
    "mcnemar",
    "mean_interval",
    "newcombe",
    "paired_change",
    "ratio_deviation",
    "ratio_influences",
    "relative_change",
    "rows_needed",
    "sign_flip",
    "sign_test",
    "tango",
    "wilson",
    "win_rate",
]
