// A second results.json beside the page's own.

// By what the rows of a table are joined; those of other tables are not.
const JOINED_BY = {
  sweep: {plans: ["plan"], evaluations: ["plan", "tokens"],
          layers: ["plan", "tokens", "layer"],
          main_effects: ["axis", "strategy"]},
  attribute: {cells: ["layer", "op"],
              repairs: ["scope", "layer", "op", "group"], layers: ["layer"],
              layer_ops: ["layer", "op"], op_shares: ["op"], effect: []},
  diagnose: {points: ["layer", "op", "name"], error_table: ["layer"],
             states: ["layer", "normed"], causes: ["id"], presets: ["name"]},
  trace_pair: {pair_points: ["layer", "op", "name_a"],
               pair_states: ["layer", "normed"]},
  recommend: {plans: ["plan"], strategies: ["axis", "strategy"],
              layers: ["plan", "tokens", "layer"], changes: ["name"]},
};

// What results.json may have in a column of a type.
const FITS = {
  bool: x => typeof x === "boolean",
  integer: x => Number.isInteger(x),
  number: x => figureOf(x) !== undefined,
  text: x => typeof x === "string",
  integers: x => Array.isArray(x) && x.every(FITS.integer),
  numbers: x => Array.isArray(x) && x.every(FITS.number),
  texts: x => Array.isArray(x) && x.every(FITS.text),
};

// The results in a file's text, if they can stand beside this page's; throws
// an Error that says why not.
function readOther(text, file, own) {
  const refuse = why => {
    throw new Error(`${file} cannot be compared: ${why}`);
  };
  let other;
  try {
    other = JSON.parse(text);
  } catch (error) {
    refuse(`it is not JSON (${error.message})`);
  }
  if (other === null || typeof other !== "object" ||
      !/^ulpscope\//.test(other.schema)) {
    refuse("it is no results.json of ulpscope");
  }
  if (other.schema !== own.schema) {
    refuse(`it is of another mode, ${modeOf(other)}, and this page of ` +
           modeOf(own));
  }
  if (other.version !== own.version) {
    refuse(`its schema is of version ${other.version}, this page's of ` +
           `version ${own.version}`);
  }
  const part = other.part_of ?? {};
  if (typeof part !== "object" || !Object.values(part).every(FITS.integer)) {
    refuse('its "part_of" does not say how many rows its tables lack');
  }
  for (const [table, {columns}] of Object.entries(about.tables)) {
    if (!Object.hasOwn(other, table)) refuse(`it has no "${table}"`);
    for (const row of rowsOf(other, table)) {
      for (const [name, column] of Object.entries(columns)) {
        const value = row === null ? undefined : row[name];
        if (value !== null && !FITS[column.type](value)) {
          refuse(`"${table}" has a row whose "${name}" is no ${column.type}`);
        }
      }
    }
  }
  return other;
}

function keyOf(row, by) {
  return JSON.stringify(by.map(name => row[name]));
}

// The rows of the other file's table, by their keys; empty without one.
function otherRows(page, table) {
  if (page.other === null) return new Map();
  const by = JOINED_BY[modeOf(page.results)][table];
  return new Map(rowsOf(page.other, table).map(row => [keyOf(row, by), row]));
}

function otherRowOf(page, table, row) {
  return otherRows(page, table).get(
      keyOf(row, JOINED_BY[modeOf(page.results)][table]));
}

// This by that: 1 where they are the same, whatever they are; undefined where
// one was not measured and so there is none.
function ratioOf(ours, theirs) {
  const a = figureOf(ours), b = figureOf(theirs);
  if (a === undefined || b === undefined) return undefined;
  return Object.is(a, b) || a === b ? 1 : a / b;
}

function isEqual(ours, theirs, tolerance) {
  const ratio = ratioOf(ours, theirs);
  if (ratio === undefined) return (ours ?? null) === (theirs ?? null);
  return Math.abs(ratio - 1) <= tolerance;
}

function tolerance(page) {
  return page.state.compare.percent / 100;
}

// Whether the other file has all rows of a table; a part that a page saved may
// not.
function otherIsWhole(page, table) {
  const {part_of = {}} = page.other;
  return !Object.hasOwn(part_of, table) ||
      rowsOf(page.other, table).length >= part_of[table];
}

// Rows of one figure in both files: {key columns, ours, theirs, ratio, status}.
// A row that only one of them has is there alone if the other has all of its;
// else that is not known, and `unknown` counts them.
function joinedRows(page, table, name) {
  const by = JOINED_BY[modeOf(page.results)][table];
  const theirs = otherRows(page, table), joined = [];
  const add = (row, a, b, status) => joined.push({
    ...Object.fromEntries(by.map(key => [key, row[key]])), ours: a ?? null,
    theirs: b ?? null, ratio: ratioOf(a, b) ?? null,
    status: status || (isEqual(a, b, tolerance(page)) ? "equal" : "differs")});
  const own_whole = isWhole(page.results, table);
  const other_whole = otherIsWhole(page, table);
  let unknown = 0;
  for (const row of rowsOf(page.results, table)) {
    const key = keyOf(row, by), other = theirs.get(key);
    theirs.delete(key);
    if (other === undefined && !other_whole) ++unknown;
    else add(row, row[name], other && other[name], other ? "" : "only here");
  }
  for (const row of theirs.values()) {
    if (own_whole) add(row, undefined, row[name], "only there");
    else ++unknown;
  }
  return {joined, unknown, own_whole, other_whole};
}

// How many rows of two files differ, as far as they can be compared.
function joinedText(page, {joined, unknown, own_whole, other_whole}) {
  const count = status => joined.filter(r => r.status === status).length;
  const alone = [
    ...(other_whole ? [`${count("only here")} are only in this report`] : []),
    ...(own_whole ? [`${count("only there")} only in ${page.otherName}`] : [])];
  return `${count("differs")} of ${joined.length} differ by more than ` +
      `${page.state.compare.percent} %, ${count("equal")} are equal` +
      `${alone.length === 0 ? "" : `; ${alone.join(", ")}`}.` +
      (unknown === 0 ? "" : ` ${unknown} rows are not compared: ${[
        ...(own_whole ? [] : ["this page"]),
        ...(other_whole ? [] : [page.otherName])].join(" and ")} may lack ` +
          "their partners.");
}

const TOLERANCES =
    [0, 1e-6, 1e-4, 0.01, 0.1, 0.5, 1, 2, 5, 10, 20, 50, 100, 1000];  // percent

function compareSection(page) {
  const state = page.state.compare;
  const tables = Object.keys(JOINED_BY[modeOf(page.results)]);
  const box = html("div"), figures = html("span");
  const draw = () => {
    const column = columnOf(state.table, state.figure);
    const rows = joinedRows(page, state.table, state.figure);
    const by = JOINED_BY[modeOf(page.results)][state.table];
    const of = (name, title, what) => ({...column, name, title, about: what});
    box.replaceChildren(
        html("p", {class: "said", "aria-live": "polite"},
             joinedText(page, rows)),
        dataTable({
          table: state.table, rows: rows.joined, state: state.sort,
          filter: true,
          caption: `${column.name} here and in ${page.otherName}`,
          keep: row => !state.hide || row.status !== "equal",
          columns: [...by, of("ours", "This report", "Its figure."),
                    of("theirs", "The other", "Its figure."),
                    {name: "ratio", title: "Ratio", unit: "ratio",
                     type: "number", about: "This report's by the other's."},
                    {name: "status", title: "Status", type: "text",
                     about: "Within the tolerance or not."}],
        }));
  };
  const changed = () => {
    draw();
    for (const update of page.updates) update();
  };
  const chooseTable = () => {
    const columns = measuredColumns(state.table);
    if (!columns.some(c => c.name === state.figure)) {
      state.figure = columns[0].name;
    }
    figures.replaceChildren(chooser("figure", columns.map(
        c => [c.name, c.name, c.about]), state, "figure", draw));
    draw();
  };
  // A number, and a slider over usual ones, which shows the nearest below.
  const percent = html("input", {type: "number", min: 0, step: "any",
    value: state.percent, input: () => {
      take(Math.max(0, Number(percent.value) || 0));
      showOnSlider();
    }});
  const slider = html("input", {type: "range", min: 0,
    max: TOLERANCES.length - 1, "aria-label": "tolerance",
    input: () => {
      take(TOLERANCES[slider.value]);
      percent.value = state.percent;
      showOnSlider();
    }});
  const take = value => {
    state.percent = value;
    changed();
  };
  const showOnSlider = () => {
    slider.value = TOLERANCES.findLastIndex(t => t <= state.percent);
    slider.setAttribute("aria-valuetext", `${state.percent} %`);
  };
  showOnSlider();
  chooseTable();
  const warnings = ["model", "architecture", "num_hidden_layers", "hidden_size",
                    "plan", "axes", "metric", "budget", "phase", "tokens",
                    "prompt", "other_prompt", "token", "against", "reference",
                    "against_trace"].filter(
          name => Object.hasOwn(page.results.context, name) &&
              JSON.stringify(page.results.context[name]) !==
                  JSON.stringify(page.other.context[name]));
  return section(
      "comparison", `Compared with ${page.otherName}`,
      warnings.length > 0
          ? html("p", {class: "banner"}, "The two are not of the same " +
                 `${warnings.join(", ")}.`) : null,
      html("div", {class: "controls"},
           chooser("table", tables.map(t => [t, t, tableAbout(t).about]), state,
                   "table", chooseTable),
           figures, labelled("tolerance (%)", percent), slider,
           checkBox("hide equal", state, "hide", changed),
           html("button", {click: () => page.compareWith(null, "")},
                "Stop comparing")),
      box);
}
