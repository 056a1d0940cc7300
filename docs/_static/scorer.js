// Ranks the results of the search. Sphinx gives a page one score for all of its text, so many pages tie: pages that
// explain come first then, lists and the changelog last.
var Scorer = {
  pages: {
    understanding: 4, troubleshooting: 3.5, start: 3, segmentation: 3, imbalance: 3, "language-models": 3,
    "large-vocabulary": 3, microbatches: 3, "low-precision": 3, explain: 3, "from-pytorch": 2, "from-optax": 2,
    "from-keras": 2, conventions: 1.5, choosing: 1, changes: -3, contributing: -3,
  },
  score: ([docname, title, anchor, descr, score]) => score + (Scorer.pages[docname] || 0),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
