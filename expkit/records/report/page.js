"use strict";
// The values under the pointer, for every line of a chart.
const places = new Intl.NumberFormat("en", { maximumSignificantDigits: 5 });
for (const svg of document.querySelectorAll("svg[data-lines]")) {
  const frame = JSON.parse(svg.dataset.frame), lines = JSON.parse(svg.dataset.lines).filter(line => line.points.length);
  const [left, right, top, bottom] = frame.box, figure = svg.parentElement;
  let tip = null, cursor = null;
  const leave = () => { tip?.remove(); cursor?.remove(); tip = cursor = null; };
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("pointermove", event => {
    if (!lines.length) return;
    const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
    const share = ((event.clientX - box.left) * scale - left) / (right - left);
    if (share < -0.02 || share > 1.02) return leave();
    const wanted = frame.x[0] + share * (frame.x[1] - frame.x[0]);
    const nearest = line => line.points.reduce((a, b) => Math.abs(b[0] - wanted) < Math.abs(a[0] - wanted) ? b : a);
    const found = lines.map(line => ({ line, at: nearest(line) }));
    const x = found.reduce((a, b) => Math.abs(b.at[0] - wanted) < Math.abs(a.at[0] - wanted) ? b : a).at[0];
    leave();
    cursor = document.createElementNS("http://www.w3.org/2000/svg", "line");
    const place = left + (x - frame.x[0]) / (frame.x[1] - frame.x[0]) * (right - left);
    for (const [name, value] of Object.entries({ class: "cursor", x1: place, x2: place, y1: top, y2: bottom })) cursor.setAttribute(name, value);
    svg.append(cursor);
    tip = document.createElement("div");
    tip.className = "tip";
    tip.append(places.format(x));
    for (const { line, at } of found) {
      const row = document.createElement("div");
      row.className = "c" + line.colour;
      row.textContent = `${line.label}  ${places.format(at[1])}`;
      tip.append(row);
    }
    figure.append(tip);
    const outer = figure.getBoundingClientRect(), inside = event.clientX - outer.left;
    tip.style.left = Math.max(4, Math.min(inside + 14, figure.clientWidth - tip.offsetWidth - 4)) + "px";
    tip.style.top = box.top - outer.top + 8 + "px";
  });
}
// Tables that sort by a click on a heading, and are filtered by words.
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  const value = (row, place) => row.cells[place].dataset.value ?? row.cells[place].textContent.trim();
  heads.forEach((head, place) => head.querySelector("button")?.addEventListener("click", () => {
    const falls = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
    heads.forEach(other => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", falls < 0 ? "descending" : "ascending");
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a, place), value(b, place)];
      if ((x === "") !== (y === "")) return x === "" ? 1 : -1; // what has no value stands last either way
      const both = x !== "" && !isNaN(x) && !isNaN(y);
      return falls * (both ? x - y : x.localeCompare(y, "en", { numeric: true }));
    });
    body.append(...rows);
  }));
  const search = document.querySelector("input[type=search]"), count = document.querySelector("#count");
  const filter = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let kept = 0;
    for (const row of body.rows) {
      const text = row.dataset.text.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
      kept += !row.hidden;
    }
    count.textContent = `${kept} of ${body.rows.length} ${body.rows.length === 1 ? "run" : "runs"}`;
  };
  search?.addEventListener("input", filter);
  document.querySelector("#csv")?.addEventListener("click", () => {
    const quote = text => /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
    const rows = [heads, ...[...body.rows].filter(row => !row.hidden).map(row => [...row.cells])];
    const lines = rows.map(cells => cells.map(cell => quote(cell.dataset.value ?? cell.textContent.trim())).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "text/csv" }));
    link.download = "runs.csv";
    link.click();
  });
}
