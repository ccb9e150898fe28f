"""Every registered data set against the law that it declares; and the check's own power."""

from __future__ import annotations

import math

import pytest
import torch

from ebmark import dataset_check, registry
from ebmark.api import Dataset, RealDataset, Rng, Splits, dataset
from ebmark.dataset_check import check_dataset
from tests.normal import LOG_2PI

ELSEWHERE = ("bsds300", "gas", "hepmass", "miniboone", "mnist", "power", "file")  # their files are the user's


@pytest.mark.parametrize("name", [name for name in registry.names("dataset") if name not in ELSEWHERE])
def test_conforms(name, monkeypatch):
    if name in ("spirals", "swiss_roll"):
        monkeypatch.setattr(dataset_check, "SAMPLES", 2000)  # each density is a sum of a thousand terms
    findings = list(check_dataset(registry.get("dataset", name)))
    assert len(findings) >= 3
    assert not [f"{f.what}: {f.found}" for f in findings if not f.ok]


@dataset("test_wide")
class Wide(Dataset):
    """N(0, sd² I), right by every check."""

    dim: int = 2
    sd: float = 1.5

    def sample(self, n: int, rng: Rng):
        return self.sd * rng.normal((n, self.dim))

    def log_prob(self, x):
        return -0.5 * (x / self.sd).square().sum(-1) - self.dim * (0.5 * LOG_2PI + math.log(self.sd))

    @property
    def entropy(self):
        return self.dim * (0.5 * (LOG_2PI + 1) + math.log(self.sd))


def broken(base: type[Dataset] = Wide, **members: object) -> type[Dataset]:
    return dataset("test_broken")(type("Broken", (base,), {"__module__": __name__, **members}))


def failures(cls: type[Dataset]) -> set[str]:
    """Which checks fail, but for pickling: no module holds a class that is made in a test."""
    found = {f.what.rpartition(": ")[2] for f in check_dataset(cls) if not f.ok}
    return found - {"pickles"}


def test_a_right_one_passes_everything_in_every_dimension_tried():
    findings = list(check_dataset(Wide))
    assert not [f for f in findings if not f.ok]
    assert {f.what.partition(":")[0] for f in findings} == {f"Wide(dim={d}, sd=1.5)" for d in (1, 2, 5)}


def off_normaliser(self, x):
    return Wide.log_prob(self, x) + 0.1


def mixed(self, x):
    return Wide.log_prob(self, x - x.mean(0))


@pytest.mark.parametrize(
    ("members", "seen"),
    [
        ({"log_prob": off_normaliser}, {"normalised", "entropy", "samples against density"}),
        ({"score": lambda self, x: -x / self.sd}, {"score", "samples against score"}),
        ({"entropy": property(lambda self: 3.0)}, {"entropy"}),
        ({"log_prob": mixed}, {"leading dimensions"}),
        ({"sample": lambda self, n, rng: torch.randn(n, self.dim, dtype=rng.dtype)}, {"samples"}),
        ({"sample": lambda self, n, rng: rng.normal((self.dim, n)).T * 2}, {"samples against density"}),
        ({"sample": lambda self, n, rng: rng.normal((n, self.dim + 1))}, {"samples"}),
    ],
)
def test_what_is_wrong_is_seen(members, seen):
    assert seen <= failures(broken(**members))


def test_a_shift_of_a_tenth_of_a_standard_deviation_is_seen_in_five_dimensions():
    """There only the score speaks for the density: by Stein's identity."""
    cls = broken(
        dim=5, __annotations__={"dim": "int"}, sample=lambda self, n, rng: 0.15 + Wide.sample(self, n, rng)
    )
    found = [f.what for f in check_dataset(cls) if not f.ok and "dim=5" in f.what]
    assert any(what.endswith("samples against score") for what in found)


def test_components_that_are_not_those_of_the_samples_are_seen():
    def members(share: float) -> dict[str, object]:
        return {
            "weights": property(lambda self: torch.tensor([share, 1 - share], dtype=torch.float64)),
            "components": lambda self, x: torch.stack([x[..., 0] < 0, x[..., 0] >= 0], -1).double(),
        }

    assert "components" not in failures(broken(**members(0.5)))
    assert "components" in failures(broken(**members(0.45)))


def test_rows_that_change_or_are_not_split_as_they_should_be_are_seen():
    @dataset("test_rows")
    class Rows(RealDataset):
        dim = 3

        def splits(self):
            x = torch.randn(100, 3)
            return Splits(train=x[:70], val=x[70:85], test=x[85:])

    assert "splits" in failures(Rows)
    fixed = torch.arange(300.0).reshape(100, 3)

    def halves(self):
        return Splits(train=fixed[:50], val=fixed[50:75], test=fixed[75:])

    def right(self):
        return Splits(train=fixed[:70], val=fixed[70:85], test=fixed[85:])

    assert "splits" in failures(broken(Rows, splits=halves))
    assert "splits" not in failures(broken(Rows, splits=right))


def test_a_dimension_that_is_not_said_is_asked_for():
    @dataset("test_shapeless")
    class Shapeless(Dataset):
        def sample(self, n: int, rng: Rng):
            return rng.normal((n, 2))

    (only,) = check_dataset(Shapeless)
    assert only.what.endswith("Shapeless(): dim")
    assert not only.ok
    assert "`dim = 2`" in only.found


def test_a_setting_without_a_default_is_told():
    @dataset("test_needy")
    class Needy(Wide):
        path: str

    (only,) = check_dataset(Needy)
    assert not only.ok
    assert "'path'; give every setting a default" in only.found
