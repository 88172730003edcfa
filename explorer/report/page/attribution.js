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

// Whether a cell is one of the set.
function isInSet(set, layer, op) {
  return set !== undefined && set.ops.includes(op) &&
      layer >= set.first_layer && layer <= set.last_layer;
}

function mapCells(page, map, name, ratios) {
  const column = columnOf(map.table, name);
  const smallest = rowsOf(page.results, "sets").find(
      set => set.set === "smallest");
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
            flagged: isInSet(smallest, row.layer, row.op),
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
      flagged: "in the smallest set that halves the error",
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
      box, cutNote(page, map.table),
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
      cutNote(page, "layers"), legendOf(series),
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

// Both plans against the oracle, where the reference is another plan.
function truthSection(page) {
  const rows = rowsOf(page.results, "truth");
  if (rows.length === 0) return null;
  const series = rows.filter(row => Array.isArray(row.layers_rel_l2)).map(
      (row, i) => ({name: row.whose, look: lookOf(i), short: "",
                    points: row.layers_rel_l2.map((x, layer) => [layer, x])}));
  return section("truth", "Who is nearer to the truth",
      html("p", {class: "muted"}, tableAbout("truth").about),
      legendOf(series),
      curveFigure({label: "Error against the oracle, layer by layer", series,
                   log: true, column: {...columnOf("truth", "layers_rel_l2"),
                                       title: "Rel L2"}}),
      dataTable({table: "truth", rows, columns: [
        "whose", "plan", "rel_l2", "logits_rel_l2", "kl_nats", "nearer"]}));
}

// What is left of the error by what was there: the interval, and each run.
function luckFigure(page, luck) {
  const low = figureOf(luck.left_low), high = figureOf(luck.left_high);
  const left = figureOf(luck.left);
  if (![low, high, left].every(Number.isFinite)) return null;
  const runs = rowsOf(page.results, "luck_runs").map(
      run => figureOf(run.rel_l2) / figureOf(run.plan_rel_l2))
      .filter(Number.isFinite);
  const width = 640, height = 76, end = 24, at_y = 30;
  const most = Math.max(1, high, ...runs) * 1.05;
  const x = share => end + share / most * (width - 2 * end);
  const text = share => numberText({unit: "share of 1"}, share);
  // The plan's own run is none of the table's.
  const count = countOf(page.results, "luck_runs") + 1;
  const said = `The set leaves ${text(left)} of the error on average over ` +
      `${count} runs; 95 % interval ${text(low)} to ${text(high)}`;
  const picture = svg("svg", {viewBox: `0 0 ${width} ${height}`, width, height,
                              role: "img", "aria-label": said});
  picture.append(
      svg("line", {class: "grid", x1: x(0), x2: x(most), y1: at_y, y2: at_y}),
      svg("line", {class: "mark", x1: x(1), x2: x(1), y1: 6, y2: 52}),
      svg("line", {class: "series", x1: x(Math.max(0, low)), x2: x(high),
                   y1: at_y, y2: at_y, stroke: "var(--c0)"}),
      ...runs.map(run => withTip(
          svg("circle", {class: "point", cx: x(run), cy: at_y, r: 4}),
          () => `${text(run)} is left`)),
      svg("circle", {cx: x(left), cy: at_y, r: 6, fill: "var(--c0)"}),
      svg("text", {class: "axis", x: x(0), y: 68}, "nothing is left"),
      // Above, where a large interval leaves no room between the two.
      svg("text", {class: "axis", ...(x(1) - x(0) > 160
          ? {x: x(1), y: 68, "text-anchor": "end"} : {x: x(1) + 6, y: 14})},
          "all is left"));
  return html("figure", {}, scrolling("What the set leaves", picture),
              html("p", {class: "said"}, `${said}. Rings are single runs.`));
}

// Sets of cells that halve the error, and whether that is luck.
function setsSection(page) {
  const sets = rowsOf(page.results, "sets");
  const groups = rowsOf(page.results, "set_groups");
  const luck = rowsOf(page.results, "luck")[0];
  if (sets.length + groups.length === 0) return null;
  const effect = rowsOf(page.results, "effect")[0] || {};
  const left = {name: "left", title: "Is left", unit: "share of 1",
                type: "number", bar: true,
                about: "The error with the set upgraded, by the plan's."};
  const withLeft = rows => rows.map(row => ({
    ...row, left: ratioOf(row.rel_l2, effect.rel_l2) ?? null}));
  return section("sets", "Sets of cells that halve the error",
      html("p", {class: "muted"}, "What is left of the error when all cells " +
           "of a set are upgraded at once; outlined in the maps are those of " +
           "the smallest one."),
      countOf(page.results, "sets") === 0
          ? html("p", {class: "said"}, "No set that was tried halves it.")
          : dataTable({table: "sets", rows: withLeft(sets), columns: [
            "set", "ops", "first_layer", "last_layer", "cells", left, "rel_l2",
            "alone_rel_l2", "kl_nats", "entries"]}),
      groups.length === 0 ? null : folded(
          "Whole groups of ops", () => dataTable({
            table: "set_groups", rows: withLeft(groups),
            columns: ["group", "ops", left, "rel_l2", "alone_rel_l2"]})),
      luck === undefined ? null : html("div", {id: "luck"},
          html("h3", {}, luck.distinguishable === true ? "It is not luck"
              : luck.distinguishable === false ? "It may be luck"
              : "Whether it is luck was not measured"),
          luckFigure(page, luck),
          folded("The runs", () => dataTable({
            table: "luck_runs", rows: rowsOf(page.results, "luck_runs")}))));
}

// Which of the prompt's positions lose what.
function positionsSection(page) {
  const rows = rowsOf(page.results, "positions");
  if (rows.length < 2) return null;
  return section("positions", "Which positions lose",
      html("p", {class: "muted"}, "A position's part of the KL divergence, " +
           "and of the squared error of the final hidden states: those that " +
           "are far off need not be those that matter."),
      dataTable({table: "positions", rows, filter: true,
                 state: {by: "kl_share", down: true},
                 columns: ["position", "token", {name: "kl_share", bar: true},
                           {name: "squared_share", bar: true}, "kl_nats",
                           "rel_l2", "changes_token", "matters", "massive"]}));
}

// How the error becomes what it is, and the tables that say so.
function mechanismsSection(page) {
  const rows = rowsOf(page.results, "mechanisms");
  const evidence = ["large_scores", "moved_weights", "attention_sinks", "flips",
                    "near_ties"].filter(
      table => rowsOf(page.results, table).length > 0);
  if (rows.length === 0) return null;
  return section("mechanisms", "Mechanisms",
      dataTable({table: "mechanisms", rows}),
      ...evidence.map(table => folded(
          tableAbout(table).about,
          () => dataTable({table, rows: rowsOf(page.results, table),
                           filter: true}))));
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
          truthSection(page), mapSection(page, "cause", chosen),
          cellSection(page),
          mapSection(page, "repair", chosen), setsSection(page),
          mechanismsSection(page), positionsSection(page), layersSection(page),
          opsSection(page), curesSection(page), repairSection(page),
          phenomenaSection(page)];
}
