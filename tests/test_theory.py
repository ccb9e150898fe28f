"""What theory says about the methods and the samplers, measured on the project's own code in float64.

The slow items run in the benchmark alone: scripts/bench theory.
"""

import pytest

from tests.theory import ITEMS, Row
from tests.theory.core import digits


@pytest.mark.parametrize(
    "item", [item for item in ITEMS if not item.slow], ids=lambda item: item.rows.__name__
)
def test_theory(item):
    rows = list(item.rows())
    assert rows
    assert not [
        f"{row.what}: {row.found:g}, expected {row.expected:g}, {row.deviation}" for row in rows if not row.ok
    ]


def test_a_row_tells_agreement_from_a_miss():
    assert Row(what="", expected=1.0, found=1.39, se=0.1).ok
    assert not Row(what="", expected=1.0, found=1.41, se=0.1).ok
    assert not Row(what="", expected=1.0, found=1.11, se=0.1, share=0.1).ok
    assert Row(what="", expected=1.0, found=-5.0, bound=True).ok
    assert not Row(what="", expected=1.0, found=float("nan"), se=0.1, share=1.0).ok
    assert digits("", "1.43e-2", 0.01434).ok
    assert not digits("", "1.43e-2", 0.01436).ok
    assert not digits("", "2489", 2488.4).ok
