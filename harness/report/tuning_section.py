"""The section on tuning: both results side by side, what was chosen, and what choosing cost."""

from __future__ import annotations

from ebmark.report import scaling, targets, tuning_tables, words
from ebmark.report.frames import Study
from ebmark.report.rates import BY
from ebmark.report.section import Section
from ebmark.tuning import metric_name


def tuning(study: Study) -> Section | None:
    """The section; None where the study does not tune."""
    if study.tuned is None:
        return None
    choices = study.choices
    known = choices[choices["known"]]
    counts = {
        "the own rate was the best": int((known["factor"] == 1).sum()),
        "the best stood at the end of the ladder": int(known["note"].str.contains("end").sum()),
        "it was a tie": int(known["note"].str.contains("tie").sum()),
        "no rate gave a value, and the own one stands": len(choices) - len(known),
    }
    tried = words.counted(int(choices["tried"].max()), "rate")
    by = words.named(metric_name(study.spec.get("tune", {}).get("by", BY)))
    text = [
        f"Every method tried {tried} on each data set and dimension, the same multiples of its own, with a "
        f"seed that no result uses. The one with the smallest {by} (on real data: likelihood of the "
        "validation rows, where it is trusted) is shown beside the own one.",
        f"Of {words.counted(len(choices), 'cell')}: "
        + "; ".join(f"in {n} {what}" for what, n in counts.items())
        + ".",
    ]
    cells = (
        study.quality[["label", "dataset_label", "dim"]]
        .drop_duplicates()
        .merge(choices[["label", "dataset_label", "dim"]], how="left", indicator=True)
    )
    if untuned := sorted(cells.loc[cells["_merge"] == "left_only", "dataset_label"].unique()):
        text.append(f"Some cells of {words.listed(untuned)} were not tuned and stand at the own rate.")
    grids = [tuning_tables.ladder(choices)]
    own, best = targets.runs(study), targets.runs(study.tuned)
    if len(own) and len(best):
        expected = targets.expected(own)
        grids += tuning_tables.tuned(expected, targets.expected(best), choices, scaling.quantity(expected))
    return Section(anchor="tuning", title="Tuned and not", text=text, grids=grids)
