// The page of curves: tells the place that a pointer, a finger or the arrow keys are at. Without this, points have titles.
document.addEventListener("DOMContentLoaded", () => {
  for (const figure of document.querySelectorAll(".cu-laid-over")) {
    const picture = figure.querySelector("svg");
    const told = figure.querySelector("output");
    const places = [...figure.querySelectorAll(".cu-place")];
    let at = -1;
    const go = (to) => {
      if (at === to) return;
      places[at]?.classList.remove("cu-here");
      places[to]?.classList.add("cu-here");
      told.textContent = places[to]?.dataset.words || "";
      at = to;
    };
    picture.addEventListener("pointermove", (event) => {
      const box = picture.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * picture.viewBox.baseVal.width;
      const away = places.map((place) => Math.abs(place.dataset.x - x));
      go(away.indexOf(Math.min(...away)));
    });
    picture.addEventListener("pointerdown", (event) => picture.dispatchEvent(new PointerEvent("pointermove", event)));
    figure.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || event.target !== figure) return;
      event.preventDefault();
      go(Math.min(places.length - 1, Math.max(0, at + step)));
    });
  }
});
