"use strict";
// The page reads well without this: it adds sorting, filters, large figures and the choice of light or dark.
(() => {
  const make = (tag, attributes, text) => {
    const element = Object.assign(document.createElement(tag), attributes);
    if (text) element.textContent = text;
    return element;
  };

  // Light, dark, or as the system says; kept where the browser allows it.
  const schemes = ["auto", "light", "dark"];
  const root = document.documentElement;
  const button = make("button", { type: "button", className: "tool scheme" });
  const show = (scheme) => {
    if (scheme === "auto") delete root.dataset.theme;
    else root.dataset.theme = scheme;
    button.textContent = `Colours: ${scheme}`;
  };
  let scheme = root.dataset.theme || "auto";
  try { scheme = localStorage.getItem("ebmark-colours") || scheme; } catch { /* files may have no storage */ }
  show(schemes.includes(scheme) ? scheme : "auto");
  button.addEventListener("click", () => {
    scheme = schemes[(schemes.indexOf(scheme) + 1) % schemes.length];
    show(scheme);
    try { localStorage.setItem("ebmark-colours", scheme); } catch { /* as above */ }
  });
  document.querySelector("header").append(button);

  // Tables: a click on a title sorts by its column, a second one turns the order round.
  const key = (row, i) => {
    const cell = row.cells[i];
    return cell && cell.dataset.v !== undefined ? Number(cell.dataset.v) : null;
  };
  const sort = (table, i, sign) => {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const known = rows.filter((row) => key(row, i) !== null).length;
    const text = (row) => (row.cells[i] ? row.cells[i].textContent : "");
    rows.sort((a, b) => {
      if (2 * known < rows.length) return sign * text(a).localeCompare(text(b), "en", { numeric: true });
      const [x, y] = [key(a, i), key(b, i)];
      if (x === null || y === null) return (x === null) - (y === null); // without a number: last
      return sign * (x < y ? -1 : x > y ? 1 : 0);
    });
    body.append(...rows);
  };
  for (const table of document.querySelectorAll("table")) {
    const titles = [...table.tHead.rows[0].cells];
    if (table.tBodies[0].rows.length < 2) continue;
    titles.forEach((title, i) => {
      const inside = make("button", { type: "button", className: "sort" });
      inside.append(...title.childNodes);
      title.append(inside);
      inside.addEventListener("click", () => {
        const sign = title.ariaSort === "ascending" ? -1 : 1;
        for (const other of titles) other.removeAttribute("aria-sort");
        title.ariaSort = sign > 0 ? "ascending" : "descending";
        sort(table, i, sign);
      });
    });
    if (table.tBodies[0].rows.length < 6) continue;
    const box = table.closest(".box");
    const filter = make("input", { type: "search", placeholder: "filter rows", className: "filter" });
    filter.setAttribute("aria-label", `Filter the rows of: ${box.getAttribute("aria-label")}`);
    filter.addEventListener("input", () => {
      const wanted = filter.value.trim().toLowerCase();
      for (const row of table.tBodies[0].rows) {
        row.hidden = !row.textContent.toLowerCase().includes(wanted);
      }
    });
    box.previousElementSibling.append(filter);
  }

  // Figures: a click opens the wide drawing over the whole window; it scrolls where it is larger.
  const dialog = make("dialog", { className: "large" });
  const close = make("button", { type: "button", className: "tool" }, "Close");
  const stage = make("div", { className: "stage", tabIndex: 0 });
  dialog.setAttribute("aria-label", "The figure, large");
  dialog.append(close, stage);
  document.body.append(dialog);
  let home = null;
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { if (home) home.append(...stage.childNodes); home = null; });
  for (const card of document.querySelectorAll(".card")) {
    const open = make("button", { type: "button", className: "tool zoom" }, "Enlarge");
    open.setAttribute("aria-label", `Enlarge ${card.parentElement.dataset.name}`);
    const enlarge = () => {
      home = card.querySelector(".wide");
      stage.append(...home.childNodes);
      dialog.showModal();
    };
    open.addEventListener("click", enlarge);
    card.addEventListener("dblclick", enlarge);
    card.parentElement.querySelector("figcaption").prepend(open, " ");
  }

  // A link to a folded section opens it.
  const unfold = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  };
  addEventListener("hashchange", unfold);
  unfold();
})();
