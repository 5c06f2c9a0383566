// What every page needs besides its theme.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false; // browsers fetch no page there
document.addEventListener("DOMContentLoaded", () => {
  // The theme's script listens to the first button of a kind alone, which this book's pages hide with the bar that it
  // stands in (pydata/pydata-sphinx-theme#2451). The ones that a reader sees pass their clicks on to it.
  for (const kind of [".primary-toggle", ".secondary-toggle"]) {
    const [bound, ...others] = document.querySelectorAll(kind);
    for (const button of others) button.addEventListener("click", () => bound.click());
  }
});
