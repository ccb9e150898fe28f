"""Default settings that follow the data: each against its formula, on anisotropic data."""

import math

import pytest
import torch

from ebmark import registry
from ebmark.api import Rng, resolve

# Lengths in units of sd, the root mean variance; the energy discrepancy's and short_run's are squares.
FORMULAS = {
    ("cnce", "eps"): lambda sd, d: 0.5 * sd * math.sqrt(2 / d),
    ("dsm", "sigma"): lambda sd, d: 0.05 * sd,
    ("dsm", "top"): lambda sd, d: 0.5 * sd,
    ("energy_discrepancy", "t"): lambda sd, d: (0.5 * sd * math.sqrt(2 / d)) ** 2,
    ("fd_ssm", "eps"): lambda sd, d: 0.05 * sd,
    ("mpf", "eps"): lambda sd, d: 0.5 * sd * math.sqrt(2 / d),
    ("recovery", "largest"): lambda sd, d: sd,
    ("recovery", "smallest"): lambda sd, d: 0.2 * sd,
    ("short_run", "h"): lambda sd, d: 0.003 * sd**2 * d ** (-1 / 3),
}


@pytest.mark.parametrize("d", [2, 8])
@pytest.mark.parametrize(("name", "setting"), FORMULAS)
def test_a_default_follows_the_data(name, setting, d):
    scales = torch.linspace(0.3, 4.0, d, dtype=torch.float64)
    data = 5 + scales * Rng.of("auto", d, dtype=torch.float64).normal((100, d))
    sd = math.sqrt(sum(column.var().item() for column in data.T) / d)
    found = getattr(resolve(registry.get("method", name)(), data), setting)
    assert found == pytest.approx(FORMULAS[name, setting](sd, d), rel=1e-12)


def test_every_such_default_has_its_formula_here():
    data = Rng.of("auto", dtype=torch.float64).normal((100, 2))
    changed = set()
    for name in registry.names("method"):
        plain = registry.get("method", name)()
        resolved = resolve(plain, data)
        changed |= {(name, key) for key in vars(plain) if getattr(plain, key) != getattr(resolved, key)}
    assert changed == set(FORMULAS)


def test_a_given_setting_is_left_alone():
    data = Rng.of("auto", dtype=torch.float64).normal((100, 2))
    dsm = registry.get("method", "dsm")(sigma=0.7)
    assert resolve(dsm, data).sigma == 0.7
