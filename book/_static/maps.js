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
  for (const map of document.querySelectorAll(".cu-map")) {
    const button = map.querySelector("button");
    map.hidden = false;
    button.addEventListener("click", async () => {
      button.disabled = true;
      const place = map.querySelector(".cu-map-place");
      try {
        const Bokeh = await bokeh();
        document.documentElement.style.setProperty(map.dataset.name, `url("${map.dataset.sheet}")`);
        place.id ||= `cu-map-${[...document.querySelectorAll(".cu-map")].indexOf(map)}`;
        await Bokeh.embed.embed_item(JSON.parse(map.querySelector("script").textContent), place.id);
        button.remove();
      } catch {
        button.textContent = "The map could not be loaded; the figure above shows the same.";
      }
    });
  }
});
