"""Where the numbers come from, and what they do not say."""

from __future__ import annotations

from ebmark import stats
from ebmark.report import words
from ebmark.report.frames import Study
from ebmark.roundsfile import told

FIXED = (
    "Passes are a model of work: one forward of the energy on one point is 1, an input gradient 1 more. "
    "They leave out noise, optimiser, memory and everything that is not the energy network.",
    "Above three dimensions the likelihood rests on a sampler's log Z. A mode of the model that neither it "
    "nor its probe finds makes log Z too small and the likelihood too high: the error favours the model.",
    "The cost to a target is read at checkpoints, so it is rounded up to the next one; the target itself is "
    "a choice, and another one can reverse the order.",
    "A fitted exponent describes the measured dimensions; a law is named only where ten sizes or more tell "
    "it from the others, and nothing is extrapolated beyond twice the largest.",
)
NOT_TUNED = (
    "Settings are the defaults of each method unless the study says otherwise; none is tuned for its data."
)
TUNED = (
    "One setting is tuned, the learning rate, by as many trials for every method; what a method gains by its "
    "other settings is not seen. Where the best rate ends the ladder, a better one may lie beyond."
)
OWN_NOISE = (
    "On gaussian data a Gaussian noise of scale 1 is the truth itself, and an opponent that starts with the "
    "data's moments starts there ({methods}). Those rows carry ‡, are never called best, and are left out "
    "where costs to a target are compared; another scale stays in."
)


def provenance(study: Study) -> list[str]:
    """Trust of timings and values, code versions, machines, and what could not be read."""
    timings = study.trials[(study.trials["lane"] == "cost") & (study.trials["status"] == "ok")]
    values = study.curve["trusted"]
    text = [
        f"Of {words.counted(len(timings), 'timing')} in the cost lane, {int(timings['trusted'].sum()):,} may "
        f"be compared; of {words.counted(len(values), 'measured value')}, {int(values.sum()):,} may be "
        "ranked. The others are shown as such and enter no comparison."
    ]
    commits = sorted({str(commit) for commit in study.env["commit"].dropna() if commit})
    dirty = bool((study.env["dirty"].astype(object) == True).any())  # noqa: E712  # the column may hold None
    known = f"git commit {words.listed(commits)}" if commits else "no git commit is known"
    text.append(f"Code: {known}{', with uncommitted changes' if dirty else ''}.")
    codes = study.trials.groupby(["label", "dataset_label", "dim", "lane"], observed=True)["code"].nunique()
    if (codes > 1).any():
        text.append(f"{words.counted(int((codes > 1).sum()), 'cell')} mix trials of different code versions.")
    if (places := study.trials["env"].nunique()) > 1:
        text.append(f"The trials ran in {places} environments; wall-clock is comparable within one only.")
    text += [told(study.rounds)] if study.rounds else []
    text += [f"Skipped while reading: {warning}." for warning in study.warnings]
    if study.orphans:
        text.append(
            f"{words.counted(study.orphans, 'measured value')} belong to no stored trial and are left out."
        )
    return text


def limits(study: Study) -> list[str]:
    """Fixed warnings, with the facts of this study in them."""
    low, high = study.seeds
    seeds = words.counted(high, "seed") if low == high else f"{low} to {high} seeds"
    few = "; with fewer than 3 nothing is ranked" if low < stats.MIN_SEEDS else ""
    hosts = words.counted(study.env["host"].nunique(), "machine")
    networks = words.listed(sorted(set(study.trials["network"]) - {""}))
    text = [
        f"Few seeds: {seeds} per cell{few}. The intervals are those of a small sample.",
        f"{hosts}: another processor, accelerator or library orders wall-clock anew, and one machine drifts "
        "by up to 15 % from run to run.",
        f"The network ({networks}) is measured together with the method: where it cannot represent the "
        "target, every method fails alike.",
        *FIXED,
        TUNED if study.tuned else NOT_TUNED,
    ]
    if study.trials["own_noise"].any():
        methods = sorted(set(study.trials.loc[study.trials["own_noise"], "method"]))
        text.append(OWN_NOISE.format(methods=words.listed(methods)))
    if study.trials["budget"].fillna("").str.contains('"seconds"').any():
        text.append("Some budgets are in seconds: those runs are not reproducible bit for bit.")
    return text
