// The page of all trainings: a search box, and a curve below a row that is asked for. Without this the table shows.
document.addEventListener("DOMContentLoaded", () => {
  const table = document.getElementById("cu-trainings");
  if (!table) return;
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: row.textContent.toLowerCase() }));

  const box = document.createElement("form");
  box.className = "cu-filters";
  box.setAttribute("role", "search");
  box.addEventListener("submit", (event) => event.preventDefault());
  const search = document.createElement("input");
  search.type = "search";
  search.placeholder = "Search, such as dropout 0.5";
  search.setAttribute("aria-label", "Search trainings");
  search.value = new URLSearchParams(location.search).get("find") || "";
  search.addEventListener("input", show);
  const count = document.createElement("p");
  count.setAttribute("aria-live", "polite");
  box.append(search, count);
  document.querySelector(".cu-place").append(box);

  function show() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let visible = 0;
    for (const { row, text } of rows) {
      row.hidden = !words.every((word) => text.includes(word));
      visible += !row.hidden;
      if (row.nextElementSibling?.className === "cu-curve") row.nextElementSibling.hidden = row.hidden;
    }
    const told = (number) => number.toLocaleString("en");
    count.textContent = words.length ? `${told(visible)} of ${told(rows.length)} trainings shown.` : "";
    const query = search.value ? `?${new URLSearchParams({ find: search.value })}` : location.pathname;
    history.replaceState(null, "", query + location.hash);
  }

  for (const { row } of rows) {
    if (!row.dataset.curve) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Curve";
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => toggle(row, button));
    row.cells[2].append(document.createElement("br"), button);
  }

  function toggle(row, button) {
    const open = button.getAttribute("aria-expanded") === "true";
    button.setAttribute("aria-expanded", String(!open));
    if (open) {
      row.nextElementSibling.remove();
      return;
    }
    const below = document.createElement("tr");
    below.className = "cu-curve";
    const cell = below.insertCell();
    cell.colSpan = row.cells.length;
    cell.append(drawn(JSON.parse(row.dataset.curve)));
    row.after(below);
  }

  // Colours that readers who see fewer can tell apart, and dashes for those who see none.
  const STYLES = [["#0072b2", ""], ["#d55e00", "7 3"], ["#009e73", "2 3"], ["#cc79a7", "9 3 2 3"]];

  function drawn({ what, unit, epochs, lines }) {
    const [width, height, left, bottom] = [520, 200, 52, 34];
    const values = Object.values(lines).flat().map(([, value]) => value).filter((value) => value !== null);
    let [low, high] = [Math.min(...values), Math.max(...values)];
    if (low === high) [low, high] = [low - 1, high + 1];
    const x = (epoch) => left + ((epoch - 1) / Math.max(1, epochs - 1)) * (width - left - 12);
    const y = (value) => 10 + ((high - value) / (high - low)) * (height - bottom - 10);
    const shown = (value) => `${Number(value.toPrecision(3))}${unit && ` ${unit}`}`;
    const svg = node("svg", { viewBox: `0 0 ${width} ${height}`, role: "img" });
    const ends = Object.entries(lines).map(([name, line]) => `${name} ${shown(line.at(-1)[1] ?? NaN)}`);
    svg.append(node("title", {}, `${what} after each of ${epochs} epochs; at the end: ${ends.join(", ")}`));
    svg.append(node("path", { d: `M${left} 10V${height - bottom}H${width - 12}`, class: "cu-axis" }));
    for (const value of [low, high]) svg.append(node("text", { x: left - 6, y: y(value) + 4, "text-anchor": "end" }, shown(value)));
    svg.append(node("text", { x: x(1), y: height - 16 }, "1"));
    svg.append(node("text", { x: x(epochs), y: height - 16, "text-anchor": "end" }, `${epochs} epochs`));
    const figure = document.createElement("div");
    const key = document.createElement("p");
    Object.entries(lines).forEach(([name, line], at) => {
      const [colour, dashes] = STYLES[at % STYLES.length];
      const points = line.filter(([, value]) => value !== null).map(([epoch, value]) => `${x(epoch)},${y(value)}`);
      svg.append(node("polyline", { points: points.join(" "), stroke: colour, "stroke-dasharray": dashes }));
      const sample = node("svg", { viewBox: "0 0 30 8", class: "cu-sample", "aria-hidden": "true" });
      sample.append(node("polyline", { points: "0,4 30,4", stroke: colour, "stroke-dasharray": dashes }));
      const label = document.createElement("span");
      label.append(sample, ` ${what}, ${name}`);
      key.append(label);
    });
    figure.append(svg, key);
    return figure;
  }

  function node(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }
  show();
});
