// The scoreboard's search box and filters. Without this file the whole table still shows.
document.addEventListener("DOMContentLoaded", () => {
  const table = document.getElementById("cu-scoreboard");
  const names = document.getElementById("cu-filter-names");
  if (!table || !names) return;
  const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: row.textContent.toLowerCase() }));
  const choices = JSON.parse(names.textContent);
  const address = new URLSearchParams(location.search);
  const chosen = {}; // for each filter, the set of values that may show; empty means all

  const box = document.createElement("form");
  box.className = "cu-filters";
  box.setAttribute("role", "search");
  box.addEventListener("submit", (event) => event.preventDefault());

  const search = document.createElement("input");
  search.type = "search";
  search.placeholder = "Search claims, such as dropout";
  search.setAttribute("aria-label", "Search claims");
  search.value = address.get("find") || "";
  search.addEventListener("input", show);
  box.append(search);

  const chips = [];
  for (const [filter, values] of Object.entries(choices)) {
    chosen[filter] = new Set((address.get(filter) || "").split(",").filter((v) => v in values));
    const group = document.createElement("div");
    group.className = "cu-chips";
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", filter);
    const label = document.createElement("span");
    label.textContent = filter;
    group.append(label);
    for (const [value, [name, meaning]] of Object.entries(values)) {
      if (!rows.some(({ row }) => row.dataset[filter] === value)) continue;
      const chip = document.createElement("button");
      chip.type = "button";
      chip.title = meaning;
      chip.addEventListener("click", () => {
        if (!chosen[filter].delete(value)) chosen[filter].add(value);
        show();
      });
      chips.push({ chip, filter, value, name });
      group.append(chip);
    }
    box.append(group);
  }

  const count = document.createElement("p");
  count.setAttribute("aria-live", "polite");
  const all = document.createElement("button");
  all.type = "button";
  all.className = "cu-reset";
  all.textContent = "Show all";
  all.addEventListener("click", () => {
    search.value = "";
    Object.values(chosen).forEach((set) => set.clear());
    show();
  });
  box.append(count);
  document.querySelector(".cu-place").append(box);

  // Whether a row passes every filter but one: what that filter's own chips count.
  const words = () => search.value.toLowerCase().split(/\s+/).filter(Boolean);
  function passes({ row, text }, except) {
    return words().every((word) => text.includes(word)) && Object.entries(chosen).every(
      ([filter, set]) => filter === except || !set.size || set.has(row.dataset[filter]));
  }

  function show() {
    let visible = 0;
    for (const entry of rows) {
      entry.row.hidden = !passes(entry);
      visible += !entry.row.hidden;
    }
    for (const { chip, filter, value, name } of chips) {
      const n = rows.filter((entry) => entry.row.dataset[filter] === value && passes(entry, filter)).length;
      chip.replaceChildren(name + " ", Object.assign(document.createElement("b"), { textContent: n }));
      chip.setAttribute("aria-pressed", chosen[filter].has(value));
    }
    count.replaceChildren(`${visible} of ${rows.length} claims shown. `);
    const filtered = search.value || Object.values(chosen).some((set) => set.size);
    if (filtered) count.append(all);
    const query = new URLSearchParams();
    if (search.value) query.set("find", search.value);
    for (const [filter, set] of Object.entries(chosen)) if (set.size) query.set(filter, [...set].join(","));
    const text = query.toString().replaceAll("%2C", ",");
    history.replaceState(null, "", (text ? `?${text}` : location.pathname) + location.hash);
  }
  show();
});
