"""The page in a browser, where there is one: no error, no sideways scrolling, legible in both schemes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from ebmark import report
from tests import synthetic

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
WIDTHS = (1440, 800, 390)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")

# Looks into the page at every width, in both schemes; what it finds is the text of the element `found`.
PROBE = """<!doctype html><meta charset="utf-8"><pre id="found"></pre><script>
const WIDTHS = %s;
const light = (text) => {
  const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const paper = (element) => {
  for (let at = element; at; at = at.parentElement) {
    const colour = at.ownerDocument.defaultView.getComputedStyle(at).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)" && colour !== "transparent") return colour;
  }
  return "rgb(255, 255, 255)";
};
const contrast = (page) => {
  let least = [99, ""];
  const walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.data.trim() || element.closest("script") || !element.getClientRects().length) continue;
    const style = page.defaultView.getComputedStyle(element);
    const ink = element.closest("svg") ? style.fill : style.color;
    const pair = [light(ink), light(paper(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < least[0]) least = [ratio, node.data.trim()];
  }
  return least;
};
const found = [];
const done = () => {
  if (found.length === WIDTHS.length) document.getElementById("found").textContent = JSON.stringify(found);
};
for (const width of WIDTHS) {
  const frame = document.createElement("iframe");
  Object.assign(frame.style, { width: `${width}px`, height: "900px" });
  frame.addEventListener("load", () => {
    const page = frame.contentDocument;
    const titles = page.querySelectorAll("thead th .sort").length;
    const one = { width, scroll: page.documentElement.scrollWidth, titles };
    for (const scheme of ["light", "dark"]) {
      page.documentElement.dataset.theme = scheme;
      one[scheme] = contrast(page);
    }
    const [table] = [...page.querySelectorAll("table")].filter((t) => t.tBodies[0].rows.length > 2);
    table.querySelectorAll("thead th .sort")[1].click();
    one.sorted = [...table.tBodies[0].rows].map((row) => row.cells[1].dataset.v ?? null);
    page.querySelector(".zoom").click();
    one.large = page.querySelector("dialog").open && Boolean(page.querySelector("dialog svg"));
    found.push(one);
    done();
  });
  frame.src = "report.html";
  document.body.append(frame);
}
</script>"""


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What the probe found at each width, and what the browser said on its console."""
    out = tmp_path_factory.mktemp("browser")
    report.write(synthetic.small(), out, spec=synthetic.TARGET, title="A study")
    (out / "probe.html").write_text(PROBE % json.dumps(WIDTHS), encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync"
    flags += " --disable-background-networking --disable-component-update --allow-file-access-from-files"
    flags += (
        f" --enable-logging=stderr --virtual-time-budget=20000 --dump-dom --user-data-dir={out / 'profile'}"
    )
    command = [BROWSER, *flags.split(), (out / "probe.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    text = re.search(r'<pre id="found">(.*?)</pre>', done.stdout, re.DOTALL)[1]
    return json.loads(text.replace("&amp;", "&")), done.stderr


def test_nothing_is_wrong_on_the_console(seen):
    assert not [line for line in seen[1].splitlines() if "CONSOLE" in line]


def test_the_page_never_scrolls_sideways(seen):
    assert sorted(one["width"] for one in seen[0]) == sorted(WIDTHS)
    for one in seen[0]:
        assert one["scroll"] <= one["width"], one


def test_all_text_is_legible_in_light_and_in_dark(seen):
    for one in seen[0]:
        for scheme in ("light", "dark"):
            assert one[scheme][0] >= 4.5, (one["width"], scheme, one[scheme])


def test_tables_sort_and_figures_open_large(seen):
    for one in seen[0]:
        assert one["titles"] > 10
        numbers = [float(text) for text in one["sorted"] if text is not None]
        assert len(numbers) > 1
        assert numbers == sorted(numbers)
        assert one["large"]
