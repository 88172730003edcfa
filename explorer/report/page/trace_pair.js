// The page of two traces: where they part.

function pairCells(page, name, ratios) {
  const column = columnOf("pair_points", name);
  const cells = new Map();
  for (const point of rowsOf(page.results, "pair_points")) {
    let value = figureOf(point[name]), more = "";
    let kind = point.origin === "not_judged" || value === undefined
        ? "not-measured" : point.origin === "same" && name !== "identical"
        ? "no-bits" : "value";
    if (ratios) {
      const other = otherRowOf(page, "pair_points", point);
      const theirs = other && other[name];
      more = `; in ${page.otherName} ${textOf(column, theirs)}`;
      const equal = isEqual(value, theirs, tolerance(page));
      value = ratioOf(point[name], theirs);
      kind = value === undefined ? "not-measured"
          : page.state.compare.hide && equal ? "equal" : "value";
    }
    const of = key => textOf(columnOf("pair_points", key), point[key]);
    const where = point.layer === 0 ? point.op
                                    : `layer ${point.layer}, ${point.op}`;
    addOutput(cells, {
      layer: point.layer, op: point.op, value, kind,
      flagged: point.origin.startsWith("added_by"),
      text: `${where}: ${point.origin.replaceAll("_", " ")}; distance ${
          of("distance")}, inherited ${of("inherited")}, A adds ${
          of("added_a")}, B adds ${of("added_b")}, same bits ${
          of("identical")}; ${titleOf(column)} ${of(name)}${more}`}, name);
  }
  return [...cells.values()];
}

function pairSection(page) {
  const state = page.state.pair, box = html("div");
  const rows = rowsOf(page.results, "pair_points");
  const chosen = cell => page.keepCell(cell.layer, cell.op);
  const draw = () => {
    const ratios = page.other !== null && state.ratios;
    const column = columnOf("pair_points", state.figure);
    const drawn = heatMap({
      id: "pair-grid", log: state.log || ratios,
      label: `${titleOf(column)} of the two traces, op by op and layer by ` +
          "layer",
      cells: pairCells(page, state.figure, ratios),
      text: x => ratios ? `${shortNumber(x)}×` : numberText(column, x),
      noBits: "the same bits in both",
      flagged: "one of the two adds more than its arithmetic explains",
      choose: chosen, isChosen: cell => page.isCell(cell)});
    page.maps.points = drawn;
    box.replaceChildren(drawn.figure);
  };
  draw();
  page.updates.push(draw);
  return section("pair", "Where the two part, op by op",
      html("p", {class: "muted"}, "Every output that both traces have. What " +
           "is inherited is in the values before it; the rest is added there, " +
           "by A (the reference) or by B."),
      mapControls(page, measuredColumns("pair_points").map(
          c => [c.name, titleOf(c), explanationOf(c)]), state, draw),
      box, cutNote(page, "pair_points"),
      folded("The same cells as a table", () => dataTable({
        table: "pair_points", rows, filter: true,
        columns: ["layer", "op", "identical", "distance", "inherited",
                  "added_a", "added_b", "excess_a", "excess_b", "origin"]})));
}

function differenceSection(page) {
  const found = rowsOf(page.results, "pair")[0];
  const row = rowsOf(page.results, "pair_difference")[0];
  if (found === undefined) return null;
  const point = row && rowsOf(page.results, "pair_points")[row.point];
  return section("difference", "Where the difference begins",
      point === undefined ? null : html("p", {}, html(
          "a", {href: `#L${point.layer}.${point.op}`},
          point.layer === 0 ? point.op : `${point.op}, layer ${point.layer}`)),
      row === undefined ? null : factList("pair_difference", row, Object.keys(
          tableAbout("pair_difference").columns).filter(n => n !== "point")),
      folded("What the comparison comes to", () => factList(
          "pair", found, Object.keys(tableAbout("pair").columns))));
}

function pairStatesSection(page) {
  const rows = rowsOf(page.results, "pair_states");
  if (rows.length === 0) return null;
  const place = row => row.normed ? row.layer + 1 : row.layer;
  const normed = new Set(rows.filter(r => r.normed).map(place));
  const line = (name, key, n, dash) => ({
    name, look: {...lookOf(n), dash}, short: "",
    points: rows.map(r => [place(r), r[key]])});
  const series = [line("A to oracle", "a_to_oracle", 0, ""),
                  line("B to oracle", "b_to_oracle", 1, "7 3"),
                  line("A to B", "a_to_b", 3, "2 3")];
  return section("pair-states", "Who is nearer to the oracle",
      html("p", {class: "muted"}, "Relative L2 distances of whole runs from " +
           "the tokens on, over what is finite in both."),
      cutNote(page, "pair_states"), legendOf(series),
      curveFigure({label: "Distances after every layer", series, log: true,
                   column: {...columnOf("pair_states", "a_to_oracle"),
                            title: "distance"},
                   nameOf: layer => normed.has(layer) ? "norm"
                                                      : layerName(layer)}),
      folded("The same as a table",
             () => dataTable({table: "pair_states", rows})));
}

function tracePairState(results) {
  const points = rowsOf(results, "pair_points");
  const first = points.find(p => p.origin.startsWith("added_by"));
  return {cell: first === undefined ? null
                                    : {layer: first.layer, op: first.op},
          pair: {figure: "distance", scale: "log", log: true, ratios: false}};
}

function tracePairSections(page) {
  return [verdictSection(verdictOf(page, rowsOf(page.results, "pair_points"))),
          pairSection(page), differenceSection(page), pairStatesSection(page)];
}
