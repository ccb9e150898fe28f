"""The section of pictures in the plane: densities and samples of every data set, beside the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from matplotlib.figure import Figure
from pandas import DataFrame

from ebmark.report import plane_figures
from ebmark.report.frames import Study
from ebmark.report.look import Picture
from ebmark.report.section import Section

# Of a kind of picture in the plane: alternative text, caption, and the functions that draw and list it.
KINDS: Mapping[str, tuple[str, str, Callable[..., Figure], Callable[..., DataFrame]]] = {
    "density": (
        "Density of {}, the truth first, then as fitted by each method.",
        "fitted densities of one run per method (the smallest seed that is ok) beside the truth, one colour "
        "scale. The CSV file has a coarser lattice.",
        plane_figures.densities,
        plane_figures.lattice_data,
    ),
    "samples": (
        "Samples of {}, true ones first, then those of each fitted energy.",
        "samples of the same runs, drawn from the fitted energies by the sampler that all methods share, "
        "beside true ones. The CSV file has 100 of each.",
        plane_figures.scatter,
        plane_figures.sample_data,
    ),
}


def section(study: Study) -> Section:
    """The densities and the samples of every data set that has them."""
    pictures = []
    for dataset, planes in plane_figures.planes(study).items():
        kept = {"density": [one for one in planes if one.model.size]}
        kept["samples"] = [one for one in planes if len(one.samples)]
        pictures += [_picture(kind, dataset, shown) for kind, shown in kept.items() if shown]
    text = [] if pictures else ["No pictures of two-dimensional densities in these tables."]
    return Section(
        anchor="densities", title="Densities and samples in the plane", text=text, pictures=pictures
    )


def _picture(kind: str, dataset: str, shown: Sequence[plane_figures.Plane]) -> Picture:
    alt, caption, draw, data = KINDS[kind]
    slug = "".join(c if c.isalnum() else "_" for c in dataset)
    return Picture(
        name=f"{kind}_{slug}",
        alt=alt.format(dataset),
        caption=f"{dataset}: {caption}",
        draw=partial(draw, shown),
        data=data(shown),
    )
