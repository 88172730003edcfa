// The page of an attribution: where one plan's error comes from.

// Where the two maps have their rows, what they mean, and their figures.
const ATTRIBUTION_MAPS = {
  cause: {
    table: "cells", title: "Cause map",
    about: "The plan at one cell alone, the reference everywhere else: what " +
        "this operation in this layer does by itself.",
    rows: results => rowsOf(results, "cells"),
    unchanged: row => !row.changes_bits,
  },
  repair: {
    table: "repairs", title: "Repair map",
    about: "The reference at one cell, the plan everywhere else: what is " +
        "left, or gone, if this operation in this layer were as there.",
    rows: results => rowsOf(results, "repairs").filter(
        r => r.scope === "cell"),
    unchanged: row => row.moved === 0 && row.logits_moved === 0,
  },
};

function mapCells(page, map, name, ratios) {
  const column = columnOf(map.table, name);
  return map.rows(page.results).map(row => {
    let value = figureOf(row[name]), text = textOf(column, row[name]);
    let kind = !row.complete && value === undefined ? "not-measured"
        : map.unchanged(row) ? "no-bits"
        : value === undefined ? "not-measured" : "value";
    if (ratios) {
      const other = otherRowOf(page, map.table, row);
      const theirs = other && other[name];
      value = ratioOf(row[name], theirs);
      kind = value === undefined ? "not-measured"
          : page.state.compare.hide &&
            isEqual(row[name], theirs, tolerance(page)) ? "equal" : "value";
      text += `, in ${page.otherName} ${textOf(column, theirs)}` +
          (value === undefined ? "" : `: ${shortNumber(value)} times`);
    }
    const where = row.layer === 0 ? `${row.op}, in no layer`
                                  : `layer ${row.layer}, ${row.op}`;
    const under = row.strategy === undefined ? "" : ` under ${row.strategy}`;
    return {layer: row.layer, op: row.op, value, kind,
            text: `${where}${under}: ${titleOf(column)} ${text}` +
                (kind === "no-bits" ? "; changes no bit of the results" : "")};
  });
}

function mapSection(page, key, chosen) {
  const map = ATTRIBUTION_MAPS[key], state = page.state[key];
  const box = html("div");
  const draw = () => {
    const ratios = page.other !== null && state.ratios;
    const column = columnOf(map.table, state.figure);
    const drawn = heatMap({
      id: `${key}-grid`, log: state.log || ratios,
      label: `${map.title}: ${titleOf(column)} of every operation in every ` +
          "layer",
      cells: mapCells(page, map, state.figure, ratios),
      text: x => ratios ? `${shortNumber(x)}×` : numberText(column, x),
      noBits: "changes no bit", choose: chosen,
      isChosen: cell => page.isCell(cell)});
    page.maps[key] = drawn;
    box.replaceChildren(drawn.figure);
  };
  draw();
  page.updates.push(draw);
  const columns = measuredColumns(map.table);
  return section(`${key}-map`, map.title,
      html("p", {class: "muted"}, map.about),
      mapControls(page, columns.map(
          c => [c.name, `${titleOf(c)} (${c.name})`, explanationOf(c)]),
          state, draw),
      box,
      folded("The same cells as a table", () => dataTable({
        table: map.table, rows: map.rows(page.results), filter: true,
        columns: ["layer", "op",
                  ...(key === "cause" ? ["strategy", "changes_bits"] : []),
                  ...columns.map(c => c.name)],
        choose: row => chosen(row)})));
}

function cellCurve(page) {
  const cell = page.state.cell;
  const of = (name, row, look) => row && Array.isArray(row.layers_rel_l2)
      ? [{name, look,
          points: row.layers_rel_l2.map((x, layer) => [layer, x])}] : [];
  const find = rows => cell === null ? undefined : rows.find(
      r => r.layer === cell.layer && r.op === cell.op);
  const maps = ATTRIBUTION_MAPS;
  const series = [
    ...of("the plan", rowsOf(page.results, "effect")[0], lookOf(0)),
    ...of("the cell alone", find(maps.cause.rows(page.results)), lookOf(1)),
    ...of("the plan with the reference at the cell",
          find(maps.repair.rows(page.results)), {...lookOf(2), dash: "7 3"}),
    ...(page.other === null ? [] : of(
        `the cell alone in ${page.otherName}`,
        find(maps.cause.rows(page.other)), {...lookOf(1), dash: "1 4"})),
  ];
  const name = cell === null ? "No cell is kept yet"
      : cell.layer === 0 ? `${cell.op}, in no layer`
                         : `Layer ${cell.layer}, ${cell.op}`;
  return [html("h3", {}, name), legendOf(series), curveFigure({
    label: "Error of the residual stream, layer by layer", series, log: true,
    column: {...columnOf("effect", "layers_rel_l2"), title: "Rel L2"},
    marks: phenomenaMarks(page.results)})];
}

function cellSection(page) {
  const box = html("div", {id: "kept"});
  const draw = () => box.replaceChildren(...cellCurve(page));
  draw();
  page.updates.push(draw);
  return section("cell", "The kept cell, layer by layer",
      html("p", {class: "muted"}, "Its own error travels through the layers " +
           "behind it, beside that of the whole plan. A click in a map keeps " +
           "another one."), box);
}

function layersSection(page) {
  const rows = rowsOf(page.results, "layers");
  const line = (name, key, n) => ({name, look: lookOf(n), short: "",
                                   points: rows.map(r => [r.layer, r[key]])});
  const series = [line("after the layer", "total_rel_l2", 0),
                  line("inherited", "inherited_rel_l2", 2),
                  line("of the layer's own roundings", "local_rel_l2", 1)];
  return section("layers", "Inherited and own, layer by layer",
      html("p", {class: "muted"}, "What a layer makes of the error that it " +
           "gets, and what its own roundings add. Marks are where a massive " +
           "activation is born and removed, and where an add cancels."),
      legendOf(series),
      curveFigure({label: "Error after every layer, inherited and own", series,
                   column: columnOf("layers", "total_rel_l2"), log: true,
                   marks: phenomenaMarks(page.results)}),
      folded("The same as a table", () => dataTable({
        table: "layers", rows,
        columns: ["layer", ...["total", "inherited", "local"].map(part => ({
                    name: `${part}_rel_l2`, title: `${part} rel L2`})),
                  "amplification", "relative_amplification",
                  "interaction_share"]})));
}

function opsSection(page) {
  const cards = [];
  const add = (table, caption, columns, rows = rowsOf(page.results, table)) => {
    if (rows.length === 0) return;
    cards.push(html("div", {}, dataTable({table, rows, columns, caption})));
  };
  add("op_shares",
      "Every op, over its layers: its part of all cells' squared errors",
      ["op", {name: "squared_share", bar: true}, "share"]);
  const repairs = scope => rowsOf(page.results, "repairs").filter(
      r => r.scope === scope);
  for (const [scope, title, by] of [
    ["op",
     "The reference in one op, in all layers: how much of the error is gone",
     "op"],
    ["group", "The reference in one group of ops", "group"],
    ["layer", "The reference in one layer", "layer"]]) {
    add("repairs", title, [by, {name: "gain", bar: true}, "rel_l2", "moved"],
        repairs(scope));
  }
  return cards.length === 0 ? null
      : section("ops", "Ops, groups and whole layers",
                html("div", {class: "cards"}, ...cards));
}

function curesSection(page) {
  const tables = ["source_parts", "cures", "source_upgrades", "source_gains",
                  "best_repairs"]
      .filter(table => rowsOf(page.results, table).length > 0);
  return tables.length === 0 ? null
      : section("cures", "The source and its cures", ...tables.map(
            table => dataTable({table, rows: rowsOf(page.results, table)})));
}

function repairSection(page) {
  const repair = rowsOf(page.results, "minimal_repair")[0];
  if (repair === undefined) return null;
  const shown = Object.keys(tableAbout("minimal_repair").columns)
      .filter(name => repair[name] !== null);
  return section("repair", "The smallest repair",
      html("p", {class: "muted"}, tableAbout("minimal_repair").about),
      dataTable({table: "upgrade_sets",
                 rows: rowsOf(page.results, "upgrade_sets")}),
      folded("What each set upgrades", () => dataTable({
        table: "upgrades", rows: rowsOf(page.results, "upgrades")})),
      folded("The search", () => oneRow("minimal_repair", repair, shown)));
}

function phenomenaSection(page) {
  if (rowsOf(page.results, "phenomena").length === 0) return null;
  return section("phenomena", "What is peculiar in this run",
      ...["phenomena", "massive_channels", "breakdowns"]
          .filter(table => rowsOf(page.results, table).length > 0)
          .map(table => dataTable({table, rows: rowsOf(page.results, table)})));
}

function attributionState(results) {
  // The cell that does most by itself is kept first.
  let cell = null, most = -1;
  for (const row of rowsOf(results, "cells")) {
    const size = figureOf(row.rel_l2);
    if (!(size > most) || !Number.isFinite(size)) continue;
    most = size;
    cell = {layer: row.layer, op: row.op};
  }
  const map = figure => ({figure, scale: "log", log: true, ratios: false});
  return {cell, cause: map("rel_l2"),
          repair: {...map("gain"), scale: "linear", log: false}};
}

function attributionSections(page) {
  const chosen = cell => page.keepCell(cell.layer, cell.op);
  return [verdictSection(verdictOf(page, rowsOf(page.results, "cells"))),
          mapSection(page, "cause", chosen), cellSection(page),
          mapSection(page, "repair", chosen), layersSection(page),
          opsSection(page), curesSection(page), repairSection(page),
          phenomenaSection(page)];
}
