// What results.json says, and how it is shown. All of it is untrusted: whoever
// attaches a report to an issue may have written anything into it. It reaches
// the page as text nodes and attributes only, never as markup.

const NOT_FINITE = new Map([
  ["NaN", NaN], ["Infinity", Infinity], ["-Infinity", -Infinity]]);

// A figure: a number, which NaN and infinities are too, though results.json has
// to spell them; undefined for what was not measured.
function figureOf(value) {
  if (typeof value === "number") return value;
  return NOT_FINITE.get(value);
}

// The page's descriptions, from the program's schema of results: the tables
// with their columns' titles, units and what they say.
const about = JSON.parse(
    document.getElementById("about").content.textContent);

const NO_COLUMN = {title: "", unit: "", about: "", type: "text"};

function tableAbout(table) {
  return Object.hasOwn(about.tables, table) ? about.tables[table]
                                            : {about: "", columns: {}};
}

function columnOf(table, name) {
  const columns = tableAbout(table).columns;
  return {name, ...NO_COLUMN,
          ...(Object.hasOwn(columns, name) ? columns[name] : {})};
}

function titleOf(column) {
  return column.title.trim() || column.name;
}

// What a tooltip says of a column.
function explanationOf(column) {
  const unit = column.unit ? ` (${column.unit})` : "";
  return `${column.name}${unit}: ${column.about}`;
}

function isNumeric(column) {
  return column.type === "number" || column.type === "integer";
}

// The columns of a table that hold measured numbers; not positions and layers.
function measuredColumns(table) {
  return Object.keys(tableAbout(table).columns)
      .map(name => columnOf(table, name))
      .filter(column => column.type === "number");
}

function shortNumber(x) {
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "Infinity" : "-Infinity";
  if (x === 0) return "0";
  const size = Math.abs(x);
  if (Number.isInteger(x) && size < 1e7) return String(x);
  if (size >= 1e-3 && size < 1e5) return String(Number(x.toPrecision(4)));
  return x.toExponential(2);
}

function numberText(column, x) {
  if (!Number.isFinite(x)) return shortNumber(x);
  switch (column.unit) {
    case "share of 1": {
      const text = (100 * x).toFixed(1);
      return `${text === "-0.0" ? "0.0" : text} %`;
    }
    case "ratio":
      return `${Math.abs(x) < 1000 ? x.toFixed(3) : shortNumber(x)}×`;
    case "tokens per second": return x.toFixed(1);
    case "relative":
    case "nats": return x === 0 ? "0" : x.toExponential(2);
  }
  return shortNumber(x);
}

// 1, 2, 3, 7 as "1–3, 7".
function rangesText(list) {
  const runs = [];
  for (const x of list) {
    const run = runs[runs.length - 1];
    if (run !== undefined && x === run.last + 1) run.last = x;
    else runs.push({first: x, last: x});
  }
  return runs.flatMap(({first, last}) => last > first + 1
      ? [`${first}–${last}`] : first === last ? [first] : [first, last])
      .join(", ");
}

const NOT_MEASURED = "not measured";

// Why a row lacks a speed that others have; undefined if it does not say.
function reasonFor(column, row) {
  return column.unit === "tokens per second" &&
      typeof row.not_timed === "string" ? row.not_timed : undefined;
}

// A value as the page shows it, by its column.
function textOf(column, value) {
  if (value === null || value === undefined) return NOT_MEASURED;
  if (column.type === "integers") return rangesText(value);
  if (Array.isArray(value)) {
    return value.map(x => textOf({...column, type: ""}, x)).join(", ");
  }
  if (typeof value === "boolean") return value ? "yes" : "no";
  const x = column.type === "text" ? undefined : figureOf(value);
  return x === undefined ? String(value) : numberText(column, x);
}

// Sorts numbers by size, then NaN, then what was not measured: also downwards,
// since what has no value is neither best nor worst.
function compareValues(a, b, down) {
  const rank = x => x === null || x === undefined ? 2
      : Number.isNaN(figureOf(x)) ? 1 : 0;
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  const x = figureOf(a), y = figureOf(b);
  const order = x !== undefined && y !== undefined
      ? (x < y ? -1 : x > y ? 1 : 0)
      : String(a).localeCompare(String(b), "en", {numeric: true});
  return down ? -order : order;
}

// results[table] as rows, whatever it is.
function rowsOf(results, table) {
  const rows = Object.hasOwn(results, table) ? results[table] : null;
  if (Array.isArray(rows)) return rows;
  return rows === null || typeof rows !== "object" ? [] : [rows];
}

// How many rows results.json has of a table, of which a page may have fewer.
function countOf(results, table) {
  return tableAbout(table).rows ?? rowsOf(results, table).length;
}

function isWhole(results, table) {
  return rowsOf(results, table).length >= countOf(results, table);
}

function modeOf(results) {
  return String(results.schema).replace(/^ulpscope\//, "");
}
