// Confusion matrices that open: a table whose cells show the images that they count.
document.addEventListener("DOMContentLoaded", () => {
  const number = n => n.toLocaleString("en");
  const percent = share => (!share ? "0" : share < 0.05 ? "< 0.1" : share.toFixed(share < 9.95 ? 1 : 0));
  const made = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  // a table of shares, each cell what `cell` makes of it
  const table = (names, counts, of, caption, cell) => {
    const heads = names.map(name => made("th", { scope: "col" }, made("span", {}, name)));
    const corner = made("td", { className: "cu-matrix-corner" }, "true ↓ predicted →");
    const head = made("thead", {}, made("tr", {}, corner, ...heads));
    const rows = counts.map((row, i) => {
      const whole = row.reduce((a, b) => a + b, 0);
      return made("tr", {}, made("th", { scope: "row" }, names[i]), ...row.map((count, j) => {
        const share = 100 * count / Math.max(whole, 1);
        const what = i === j ? `${names[i]} recognised` : `${names[i]} taken for ${names[j]}`;
        const told = `${what}: ${number(count)} of ${number(whole)}${of}, ${percent(share)} %`;
        const box = made("td", { className: share < 54 ? "" : share < 78 ? "cu-mid" : "cu-high" }, cell(i, j, share, told));
        box.style.setProperty("--share", `${share}%`);
        return box;
      }));
    });
    return made("table", { className: names.every(name => name.length < 4) ? "" : "cu-long" }, made("caption", {}, caption), head, made("tbody", {}, ...rows));
  };

  const open = (place, title, sheet, data) => {
    const [height, width] = data.size, zoom = Math.max(1, Math.round(60 / width));
    const told = made("p", { className: "cu-matrix-told", ariaHidden: "true" }, "In percent of each row. Choose a cell to see its images.");
    const shown = made("div", { className: "cu-matrix-images" });
    shown.setAttribute("aria-live", "polite");
    const image = ([at, networks]) => {
      const picture = made("i");
      picture.style.cssText = `width:${zoom * width}px;height:${zoom * height}px;background-image:url("${sheet}");`
        + `background-size:${zoom * width * data.row}px auto;`
        + `background-position:${-zoom * width * (at % data.row)}px ${-zoom * height * Math.floor(at / data.row)}px`;
      return made("li", {}, picture, ...(data.networks > 1 ? [made("small", {}, `${networks} of ${data.networks}`)] : []));
    };
    const choose = (button, i, j, text) => {
      for (const other of place.querySelectorAll("button")) other.setAttribute("aria-pressed", other === button);
      const [all, some] = data.cells[`${i},${j}`];
      const which = some.length < all ? `The first ${number(some.length)} of ${number(all)} images` : all > 1 ? `All ${number(all)} images` : "The image";
      const by = data.networks > 1 ? `, each with how many of the ${data.networks} networks say so` : "";
      shown.replaceChildren(made("p", {}, made("strong", {}, text), ` ${which}${by}:`), made("ul", {}, ...some.map(image)));
    };
    const cell = (i, j, share, text) => {
      if (!data.counts[i][j]) return made("span", { title: text }, "0");
      const button = made("button", { type: "button", title: text, tabIndex: -1 }, percent(share));
      button.setAttribute("aria-label", text);
      button.setAttribute("aria-pressed", "false");
      const tell = () => { told.textContent = text; };
      button.addEventListener("mouseenter", tell);
      button.addEventListener("focus", () => {
        for (const other of own.querySelectorAll("button")) other.tabIndex = other === button ? 0 : -1;
        tell();
      });
      button.addEventListener("click", () => choose(button, i, j, `${text}.`));
      return button;
    };
    const own = table(data.names, data.counts, data.networks > 1 ? " answers" : "", title, cell);
    const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
    own.addEventListener("keydown", event => {  // to the next cell that counts anything
      const step = steps[event.key], from = event.target.closest("td");
      if (!step || !from) return;
      event.preventDefault();
      let row = from.parentElement.rowIndex, column = from.cellIndex, to;
      do to = own.rows[row += step[0]]?.cells[column += step[1]]; while (to && row && column && !to.querySelector("button"));
      to?.querySelector("button")?.focus();
    });
    own.querySelector("button").tabIndex = 0;
    const tables = [made("div", { className: "cu-matrix-one" }, own)];
    if (data.printed) {
      const plain = (i, j, share, text) => {
        const span = made("span", { title: text }, percent(share));
        span.append(made("small", {}, number(data.printed.counts[i][j])));
        return span;
      };
      tables.push(made("div", { className: "cu-matrix-one" }, table(data.printed.names, data.printed.counts, "", data.printed.note, plain)));
    }
    place.append(made("div", { className: "cu-matrix-tables" }, ...tables), told, shown,
      made("p", { className: "cu-matrix-keys" }, "Arrow keys go from cell to cell, Enter shows the images."));
    place.hidden = false;
  };

  for (const matrix of document.querySelectorAll(".cu-matrix")) {
    const button = matrix.querySelector("button"), place = matrix.querySelector(".cu-matrix-place");
    matrix.hidden = false;
    button.addEventListener("click", () => {
      if (place.hasChildNodes()) place.hidden = !place.hidden;
      else open(place, matrix.dataset.title, matrix.dataset.sheet, JSON.parse(matrix.querySelector("script").textContent));
      button.setAttribute("aria-expanded", String(!place.hidden));
    });
  }
});
