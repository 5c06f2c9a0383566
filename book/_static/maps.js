// Maps that can be touched: Bokeh's script is more than a megabyte, and is fetched when a reader asks for a map.
document.addEventListener("DOMContentLoaded", () => {
  const here = document.querySelector('script[src*="_static/maps.js"]').src;
  let loading;
  const bokeh = () => (loading ||= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = new URL("bokeh.min.js", here).href;
    script.onload = () => resolve(window.Bokeh);
    script.onerror = reject;
    document.head.append(script);
  }));
  // every point goes from where it is to its place at the stage that the slider names
  const slide = (sources, map) => {
    const stages = map.querySelector(".cu-map-stages"), slider = stages.querySelector("input");
    const names = JSON.parse(slider.dataset.stages);
    let frame;
    const go = () => {
      const at = Number(slider.value), began = performance.now();
      const lasts = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 600;
      const ways = sources.map(({ data }) => ["x", "y"].map(axis => [axis, [...data[axis]], data[axis + at]]));
      stages.querySelector("output").textContent = names[at];
      slider.setAttribute("aria-valuetext", names[at]);
      const step = now => {
        const part = lasts ? Math.min(1, Math.max(0, now - began) / lasts) : 1, eased = part * part * (3 - 2 * part);
        sources.forEach((source, k) => {
          const moved = ways[k].map(([axis, from, to]) => [axis, from.map((v, i) => v + eased * (to[i] - v))]);
          source.data = { ...source.data, ...Object.fromEntries(moved) };
        });
        if (part < 1) frame = requestAnimationFrame(step);
      };
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(step);
    };
    slider.setAttribute("aria-valuetext", names[0]);
    slider.addEventListener("input", go);
    stages.hidden = false;
    slider.focus({ preventScroll: true });  // the button that was pressed is gone
  };
  for (const map of document.querySelectorAll(".cu-map")) {
    const button = map.querySelector("button");
    map.hidden = false;
    button.addEventListener("click", async () => {
      button.disabled = true;
      const place = map.querySelector(".cu-map-place");
      try {
        const Bokeh = await bokeh();
        const { sheet } = document.querySelector(`.cu-map[data-name="${map.dataset.name}"][data-sheet]`).dataset;
        document.documentElement.style.setProperty(map.dataset.name, `url("${sheet}")`);
        place.id ||= `cu-map-${[...document.querySelectorAll(".cu-map")].indexOf(map)}`;
        const drawn = await Bokeh.embed.embed_item(JSON.parse(map.querySelector("script").textContent), place.id);
        if (map.querySelector(".cu-map-stages")) {
          const [plot] = [...drawn].map(view => view.model);
          slide(plot.renderers.map(each => each.data_source), map);
        }
        button.remove();
      } catch {
        button.textContent = "The map could not be loaded; the figure above shows the same.";
      }
    });
  }
});
