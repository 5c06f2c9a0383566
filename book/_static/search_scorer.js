// How Sphinx's search ranks what it finds: pages whose title has the words asked for first, the reference and lists last.
var Scorer = {
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,

  // The words asked for, without their endings.
  stems: (new URLSearchParams(location.search).get("q") || "").toLowerCase().split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word.length > 1)
    .map((word) => word.slice(0, Math.max(4, word.length - 4))),

  score([page, title, anchor, description, score]) {
    if (score >= 100) return score; // a term of the glossary
    if (/^(api|bibliography|trainings|benchmarks)/.test(page)) return score - 25;
    const words = title.toLowerCase().split(/[^\p{L}\p{N}]+/u);
    const hits = Scorer.stems.filter((stem) => words.some((word) => word.startsWith(stem))).length;
    const kind = page === "compare" ? 7 : page.startsWith("chapters/") ? 3 : 0;
    return score + kind + 12 * hits;
  },
};
