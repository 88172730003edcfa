// The page of a diagnosis: why another program's trace differs.

// What the squared error of a state is made of: what the layer adds first,
// then what it inherits.
const SHARES = [
  ["share_comparison", "comparing what is not the same", "added"],
  ["share_rounding", "the trace's rounding", "added"],
  ["share_difference", "a difference beyond rounding", "added"],
  ["share_own", "our rounding", "added"],
  ["share_inherited", "inherited", "inherited"],
  ["share_cancellation", "inherited, exposed by a cancellation", "inherited"],
];

// What is inherited is paler, so that paper without colours shows which is
// which.
function lookOfShare(n) {
  return {fill: `var(--c${n})`,
          "fill-opacity": SHARES[n][2] === "added" ? 1 : 0.4};
}

const EXCESS = {name: "excess", title: "Distance by allowed", unit: "ratio",
                type: "number", about: "The distance of the trace from a " +
                    "replay of its arithmetic, by what rounding explains."};

function excessOf(point) {
  const distance = figureOf(point.distance), allowed = figureOf(point.allowed);
  if (distance === undefined || allowed === undefined) return undefined;
  return distance === 0 ? 0 : distance / allowed;
}

function pointCells(page, column, ratios) {
  const cells = new Map();
  for (const point of rowsOf(page.results, "points")) {
    const get = p => column === EXCESS ? excessOf(p) : figureOf(p[column.name]);
    let value = get(point), kind = "value", more = "";
    if (value === undefined || !point.judged) {
      kind = "not-measured";
    } else if (column.name !== "identical" && point.identical === 1) {
      kind = "no-bits";
    }
    if (ratios) {
      const other = otherRowOf(page, "points", point);
      const theirs = other && get(other);
      more = `; in ${page.otherName} ${textOf(column, theirs)}`;
      const equal = isEqual(value, theirs, tolerance(page));
      value = ratioOf(value, theirs);
      kind = value === undefined ? "not-measured"
          : page.state.compare.hide && equal ? "equal" : "value";
    }
    const of = name => textOf(columnOf("points", name), point[name]);
    const where = point.layer === 0 ? point.op
                                    : `layer ${point.layer}, ${point.op}`;
    const text = `${where} (${point.name}): distance ${of("distance")}, ` +
        `allowed ${of("allowed")}, same bits ${of("identical")}` +
        (column === EXCESS
             ? `, ${textOf(EXCESS, get(point) ?? null)} of what is allowed`
             : `, ${titleOf(column)} ${of(column.name)}`) +
        `${point.status ? `; ${point.status}` : ""}${more}`;
    addOutput(cells, {layer: point.layer, op: point.op, value, kind, text,
                      flagged: point.differs}, column.name);
  }
  return [...cells.values()];
}

function pointsSection(page) {
  const state = page.state.points, box = html("div");
  const rows = rowsOf(page.results, "points");
  const columns = [EXCESS, ...measuredColumns("points")];
  const chosen = cell => page.keepCell(cell.layer, cell.op);
  const draw = () => {
    const ratios = page.other !== null && state.ratios;
    const column = columns.find(c => c.name === state.figure);
    const drawn = heatMap({
      id: "points-grid", log: state.log || ratios,
      label: `${titleOf(column)} of the trace's values, op by op and layer ` +
          "by layer",
      cells: pointCells(page, column, ratios),
      text: x => ratios ? `${shortNumber(x)}×` : numberText(column, x),
      noBits: "has the replay's very bits",
      flagged: "differs beyond rounding", choose: chosen,
      isChosen: cell => page.isCell(cell)});
    page.maps.points = drawn;
    box.replaceChildren(drawn.figure);
  };
  draw();
  page.updates.push(draw);
  return section("points", "What each op adds, layer by layer",
      html("p", {class: "muted"}, "Every output that the trace has, against " +
           "a replay of its arithmetic from the trace's own values before it: " +
           "nothing here is inherited. A value above 1 is more than rounding " +
           "explains."),
      mapControls(page, columns.map(
          c => [c.name, titleOf(c), explanationOf(c)]), state, draw),
      box, cutNote(page, "points"),
      folded("The same cells as a table", () => dataTable({
        table: "points", rows, filter: true,
        columns: ["layer", "op", "name", "held_by", "distance", "allowed",
                  "distance_with_causes", "identical", "closest", "differs",
                  "status"]})));
}

// Stacked shares of the squared error, a bar a state.
function sharesFigure(rows) {
  const width = 900, left = 62, top = 8, bottom = 34, height = 240;
  const w = Math.min(60, (width - left - 10) / rows.length);
  const total = left + w * rows.length + 10;
  const y = share => top + (1 - share) * (height - top - bottom);
  const picture = svg("svg", {viewBox: `0 0 ${total} ${height}`, width: total,
                              height, role: "img", "aria-label":
    "Shares of the squared error, state by state; the table below has them"});
  for (const share of [0, 0.5, 1]) {
    picture.append(svg("line", {class: "grid", x1: left, x2: total - 10,
                                y1: y(share), y2: y(share)}),
                   svg("text", {class: "axis", x: left - 6, y: y(share) + 4,
                                "text-anchor": "end"}, `${100 * share} %`));
  }
  rows.forEach((row, i) => {
    const bar = svg("g", {"data-layer": row.layer});
    let below = 0;
    const lines = [`After layer ${row.layer}: mean abs error ${textOf(
        columnOf("error_table", "mean_abs"), row.mean_abs)}`];
    SHARES.forEach(([name, text], n) => {
      const share = figureOf(row[name]);
      if (share === undefined || !Number.isFinite(share)) return;
      lines.push(`${text}: ${(100 * share).toFixed(1)} %`);
      // Negative ones, of parts that cancel others, take nothing of the bar.
      const size = Math.min(1 - below, Math.max(0, share));
      if (size <= 0) return;
      bar.append(svg("rect", {x: left + w * i + 1, width: w - 2,
                              y: y(below + size),
                              height: y(below) - y(below + size),
                              ...lookOfShare(n), stroke: "var(--ground)",
                              "data-share": name}));
      below += size;
    });
    if (lines.length === 1) lines.push(NOT_MEASURED);
    picture.append(withTip(bar, () => lines.join("\n")), svg("text", {
      class: "axis", x: left + w * (i + 0.5), y: height - bottom + 15,
      "text-anchor": "middle"}, String(row.layer)));
  });
  picture.append(svg("text", {class: "axis", x: left, y: height - 4},
                     "after layer"));
  return html("figure", {}, scrolling("Shares of the error", picture));
}

function errorTableSection(page) {
  const rows = rowsOf(page.results, "error_table");
  if (rows.length === 0) return null;
  const key = kind => SHARES.map(([, text, of], n) => [text, of, n])
      .filter(([, of]) => of === kind)
      .map(([text, , n]) => html("span", {}, svg(
          "svg", {width: 14, height: 12, "aria-hidden": "true"},
          svg("rect", {width: 14, height: 12, ...lookOfShare(n)})),
          ` ${text}`));
  return section("error-table", "Inherited against added",
      html("p", {class: "muted"}, "Our states minus the trace's as it was " +
           "given, and what their squared error is made of: what the layer " +
           "adds, and what it inherits."),
      html("div", {class: "legend"}, html("b", {}, "added:"), ...key("added")),
      html("div", {class: "legend"}, html("b", {}, "inherited:"),
           ...key("inherited")),
      sharesFigure(rows),
      dataTable({table: "error_table", rows, columns: [
        "layer", "mean_abs", "rmse", "max_abs", "growth", "status",
        "comes_from"]}));
}

function statesSection(page) {
  const rows = rowsOf(page.results, "states");
  if (rows.length === 0) return null;
  // The state after the final norm stands behind the last layer's.
  const place = row => row.normed ? row.layer + 1 : row.layer;
  const normed = new Set(rows.filter(r => r.normed).map(place));
  const line = (name, key, n) => ({name, look: lookOf(n), short: "",
                                   points: rows.map(r => [place(r), r[key]])});
  const series = [line("trace to oracle", "trace_to_oracle", 1),
                  line("ours to oracle", "ours_to_oracle", 0),
                  line("trace to ours", "trace_to_ours", 3),
                  line("emulation to oracle", "emulation_to_oracle", 2)];
  series[3].look = {...series[3].look, dash: "7 3"};
  series[2].look = {...series[2].look, dash: "2 3"};
  const found = rowsOf(page.results, "diagnosis")[0];
  return section("states", "Who is right, layer by layer",
      html("p", {class: "muted"}, "Relative L2 distances of whole runs from " +
           "the tokens on. The emulation is ours in the arithmetic that was " +
           "found, with all causes."),
      found === undefined ? null : html("p", {},
          `The trace is nearer to the oracle at ${found.states_nearer_trace} ` +
          `of ${countOf(page.results, "states")} states, ours at ${
              found.states_nearer_ours}.`),
      cutNote(page, "states"),
      legendOf(series),
      curveFigure({label: "Distances after every layer", series, log: true,
                   column: {...columnOf("states", "trace_to_oracle"),
                            title: "distance"},
                   nameOf: layer => normed.has(layer) ? "norm"
                                                      : layerName(layer)}),
      folded("The same as a table", () => dataTable({table: "states", rows})));
}

function causesSection(page) {
  const rows = rowsOf(page.results, "causes");
  if (rows.length === 0) return null;
  return section("causes", "Causes",
      dataTable({table: "causes", rows, columns: [
        "id", "kind", "what", "advice", "first_layer", "first_op", "points",
        "confirmed_by", "replay_without", "replay_with", "run_without",
        "run_with", {name: "removed", bar: true}]}));
}

// Whose values are the first that are not finite, and why.
function notFiniteSection(page) {
  const rows = rowsOf(page.results, "not_finite");
  const values = rowsOf(page.results, "finite_values")[0];
  if (rows.length === 0 &&
      (values === undefined || values.finite === values.values)) {
    return null;
  }
  const share = part => numberText({unit: "share of 1"},
                                   values[part] / Math.max(1, values.values));
  return section("not-finite", "Not finite",
      values === undefined ? null : html("p", {}, `Of the trace's ${
          values.values} values ${share("finite")} are finite, and ${
          share("judged")} are finite and judged.`),
      html("div", {class: "cards"}, ...rows.map(row => html(
          "div", {"data-whose": row.whose},
          html("h3", {}, row.whose === "ours" ? "Ours" : "The trace"),
          factList("not_finite", row, [
            "place", "because", "nonfinite", "nan", "elements",
            "positions_nonfinite", "heads_nonfinite", "channels_nonfinite",
            "largest", "magnitude", "emulation_first"]),
          foldedRow("not_finite", row)))));
}

// What points that differ look like, op by op.
function descriptionsSection(page) {
  const rows = rowsOf(page.results, "descriptions");
  if (rows.length === 0) return null;
  return section("descriptions", "What the differences look like",
      html("p", {class: "muted"}, tableAbout("descriptions").about),
      html("div", {class: "cards"}, ...rows.map(row => html(
          "div", {"data-point": row.point},
          html("h3", {}, html("a", {href: `#L${row.layer}.${row.op}`},
              row.layer === 0 ? row.op : `${row.op}, layer ${row.layer}`)),
          factList("descriptions", row, [
            "status", "layers", "place", "ops_to_dump",
            "positions_that_differ", "positions_that_agree",
            "heads_that_differ", "heads_that_agree", "kv_heads_that_differ",
            "channels_that_differ", "constant_factor",
            "constant_vector_in_all_rows", "same_values_in_another_order",
            "position_shift", "of_layer", "factor_rows", "factor_least",
            "factor_largest", "factor_inverse_rms", "best_factor", "cosine"]),
          foldedRow("descriptions", row)))));
}

function diagnosisState(results) {
  const points = rowsOf(results, "points");
  const first = points.find(p => p.differs);
  return {cell: first === undefined ? null
                                    : {layer: first.layer, op: first.op},
          points: {figure: EXCESS.name, scale: "log", log: true,
                   ratios: false}};
}

function diagnosisSections(page) {
  return [verdictSection(verdictOf(page, rowsOf(page.results, "points"))),
          causesSection(page), notFiniteSection(page), pointsSection(page),
          descriptionsSection(page), errorTableSection(page),
          statesSection(page)];
}
