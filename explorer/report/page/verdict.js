// The sentences of the verdict, and what they lead to.

// Which figures stand behind a sentence. The words only choose where its link
// goes; a sentence that none of these knows leads to the mode's main figure.
const BEHIND = {
  attribute: [
    [/smallest repair|keeps? the budget/i, "repair"],
    [/cures tried/i, "cures"],
    [/set of cells|the set (behind|without)|smallest set/i, "sets"],
    [/luck/i, "luck"],
    [/^mechanism|^key biases|^softmax weights that|attention sink|threshold /i,
     "mechanisms"],
    [/^the most likely next token is another/i, "mechanisms"],
    [/^of \d+ positions|^far off in the state/i, "positions"],
    [/nearer to the (truth|oracle)/i, "truth"],
    [/add up/i, "table-cause_sum"],
    [/cancel|spreads it|stream holds/i, "layers"],
    [/source|squared error/i, "ops"],
    [/^/, "cause-map"],
  ],
  diagnose: [
    [/^cause /i, "causes"],
    [/^not finite|^the first values of|^of the trace's values/i, "not-finite"],
    [/^description of/i, "descriptions"],
    [/^who is right/i, "states"],
    [/^alignment/i, "table-shifts"],
    [/error table/i, "error-table"],
    [/^not measured/i, "table-not_measured"],
    [/^/, "points"],
  ],
  trace_pair: [
    [/^nearer to the oracle/i, "pair-states"],
    [/^at .* other bits are in|is not finite from/i, "difference"],
    [/^/, "pair"],
  ],
};

// Text with links where it names an op in a layer, or a layer, that the page
// has a cell of.
function withCells(text, cells) {
  const ops = [...new Set(cells.map(c => c.op))]
      .sort((a, b) => b.length - a.length);
  if (ops.length === 0) return [text];
  const names = ops.map(op => op.replace(/\W/g, "\\$&")).join("|");
  const place = new RegExp(
      `\\b(${names})(?:(?: of| in) layer |@)(\\d+)(?![-\\d])`, "g");
  const parts = [];
  let end = 0;
  for (const found of text.matchAll(place)) {
    const [all, op, layer] = found;
    if (!cells.some(c => c.op === op && c.layer === Number(layer))) continue;
    parts.push(text.slice(end, found.index),
               html("a", {href: `#L${layer}.${op}`}, all));
    end = found.index + all.length;
  }
  parts.push(text.slice(end));
  return parts;
}

function sentenceItem(text, target, cells) {
  return html("li", {}, ...withCode(text).flatMap(
      part => typeof part === "string" ? withCells(part, cells) : [part]), " ",
      html("a", {class: "to", href: `#${target}`,
                 "aria-label": `figures: ${text.slice(0, 60)}`}, "figures ›"));
}

function verdictOf(page, cells) {
  const behind = BEHIND[modeOf(page.results)];
  return rowsOf(page.results, "sentences").map(({text}) => sentenceItem(
      text, behind.find(([words]) => words.test(text))[1], cells));
}

function verdictSection(items) {
  return section("verdict", "Verdict", items.length > 0
      ? html("ul", {class: "verdict"}, ...items)
      : html("p", {}, "Nothing was measured that a verdict could be of."));
}
