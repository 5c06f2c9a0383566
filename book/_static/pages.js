// What every page needs besides its theme.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false; // browsers fetch no page there
document.addEventListener("DOMContentLoaded", () => {
  // Excerpts of the search are of what a page says, not of its buttons and folded code.
  if (window.Search?.htmlToText) {
    const text = Search.htmlToText;
    Search.htmlToText = (html, anchor) => {
      const page = new DOMParser().parseFromString(html, "text/html");
      page.querySelectorAll(".bd-header-article, .bd-sidebar-secondary, #print-main-content, details, .cu-print, .prev-next-footer")
        .forEach((part) => part.remove());
      return text(page.documentElement.outerHTML, anchor).replace(/\s+/g, " ").trim();
    };
  }
  // The arrows that fold the list of chapters say nothing to who cannot see them.
  document.querySelectorAll("nav.bd-links summary").forEach((fold) =>
    fold.setAttribute("aria-label", `Chapters of ${fold.closest("li")?.querySelector("a")?.textContent.trim() || "this part"}`));
  // What stands beside the text belongs to a part of the page that has a name.
  const beside = document.getElementById("pst-primary-sidebar");
  beside?.setAttribute("role", "region");
  beside?.setAttribute("aria-label", "The book");
  // The theme's script listens to the first button of a kind alone, which this book's pages hide with the bar that it
  // stands in (pydata/pydata-sphinx-theme#2451). The ones that a reader sees pass their clicks on to it.
  for (const kind of [".primary-toggle", ".secondary-toggle"]) {
    const [bound, ...others] = document.querySelectorAll(kind);
    for (const button of others) button.addEventListener("click", () => bound.click());
  }
});
