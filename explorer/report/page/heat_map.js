// Maps of cells, a row an op and a column a layer.

// Hatching for what was not measured: no colour of the ramp, nor grey.
function hatching(id) {
  return svg("defs", {}, svg(
      "pattern", {id, width: 6, height: 6, patternUnits: "userSpaceOnUse",
                  patternTransform: "rotate(45)"},
      svg("line", {class: "stripe", x1: 0, x2: 0, y1: 0, y2: 6})));
}

// Sets how a cell looks; returns the sign that stands in it.
function paint(rect, kind, x, scale, hatch) {
  if (kind === "no-bits" || kind === "equal") {
    rect.classList.add(kind);
    return "";
  }
  if (kind === "not-measured") {
    rect.setAttribute("fill", `url(#${hatch})`);
    return "";
  }
  if (!Number.isFinite(x)) {
    rect.classList.add("not-finite");
    return Number.isNaN(x) ? "N" : "∞";
  }
  const t = scale.of(x);
  rect.setAttribute("fill", rampColour(t === undefined ? 0 : t));
  if (x === 0) return "0";
  return scale.log && x < 0 ? "−" : "";
}

function mapLegend(scale, kinds, hatch, options) {
  const steps = 24, width = 180;
  const bar = svg("svg", {width, height: 12, "aria-hidden": "true"});
  for (let i = 0; i < steps; ++i) {
    bar.append(svg("rect", {x: i * width / steps, y: 0, height: 12,
                            width: width / steps + 0.5,
                            fill: rampColour(i / (steps - 1))}));
  }
  const swatch = (attributes, name) => html("span", {}, svg(
      "svg", {width: 18, height: 12, "aria-hidden": "true"},
      svg("rect", {width: 18, height: 12, ...attributes})), ` ${name}`);
  return html("div", {class: "legend"},
      kinds.has("value") || kinds.has("negative")
          ? html("span", {}, `${options.text(scale.low)} `, bar,
                 ` ${options.text(scale.high)}`) : null,
      kinds.has("no-bits")
          ? swatch({class: "cell no-bits"}, options.noBits) : null,
      kinds.has("equal") ? swatch({class: "cell equal"}, "equal") : null,
      options.cells.some(c => c.flagged)
          ? swatch({class: "cell flagged", fill: "none"}, options.flagged)
          : null,
      kinds.has("not-measured")
          ? swatch({fill: `url(#${hatch})`, class: "cell"}, NOT_MEASURED)
          : null,
      kinds.has("not-finite")
          ? swatch({class: "cell not-finite"}, "NaN or infinite") : null,
      kinds.has("negative") ? html("span", {}, "−: negative, its size shown")
                            : null);
}

// The figures that say the less good the smaller they are.
const GOOD_IF_LARGE = ["identical", "cosine"];

// Of two outputs of one op the one that looks worse by a figure: NaN before any
// number, and what has none behind them.
function worseCell(a, b, figure) {
  const place = cell => cell.kind === "not-measured" ||
      cell.value === undefined ? 2 : Number.isNaN(cell.value) ? 0 : 1;
  if (place(a) !== place(b)) return place(a) < place(b) ? a : b;
  const is_worse = GOOD_IF_LARGE.includes(figure) ? b.value < a.value
                                                  : b.value > a.value;
  return is_worse ? b : a;
}

// Puts a cell to others, by its place; where a trace has several of an op's
// outputs the worst one is shown, and all are said.
function addOutput(cells, cell, figure) {
  const key = `L${cell.layer}.${cell.op}`, there = cells.get(key);
  cells.set(key, there === undefined ? cell : {
    ...worseCell(there, cell, figure), flagged: there.flagged || cell.flagged,
    text: `${there.text}\n${cell.text}`});
}

// options: {id, label, cells: [{layer, op, value, kind, flagged, text}], where
// a kind is "value", "no-bits", "equal" or "not-measured", log, text(x) of
// figures, noBits and flagged: what these mean, choose(cell), isChosen(cell)}.
// Layer 0 has the ops that are in no layer.
function heatMap(options) {
  const {cells} = options;
  const hatch = `${options.id}-hatch`;
  const ops = [...new Set(cells.map(c => c.op))];
  const layers = [...new Set(cells.map(c => c.layer))].sort((a, b) => a - b);
  const left = 100, top = 34;
  const w = Math.max(13, Math.min(44, Math.floor(960 / layers.length)));
  const h = 20;
  const width = left + w * layers.length + 4, height = top + h * ops.length + 4;
  const scale = scaleOf(cells.filter(c => c.kind === "value")
                            .map(c => c.value), options.log);
  const said = html("p", {class: "said", "aria-live": "polite"});
  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "grid",
    "aria-label": options.label, id: options.id}, hatching(hatch));
  const head = svg("g", {role: "row"}, svg("text", {
    class: "axis", x: left - 8, y: 12, "text-anchor": "end",
    role: "columnheader"}, "layer"));
  layers.forEach((layer, i) => head.append(svg("text", {
    class: "axis", x: left + w * (i + 0.5), y: w < 20 && i % 2 ? 12 : 26,
    "text-anchor": "middle", role: "columnheader",
    "aria-label": layer === 0 ? "in no layer" : `layer ${layer}`,
  }, layer === 0 ? "–" : String(layer))));
  picture.append(head);
  const kinds = new Set(), at = new Map();
  const key = (i, j) => `${i},${j}`;
  ops.forEach((op, j) => {
    const row = svg("g", {role: "row"}, svg("text", {
      x: left - 8, y: top + h * j + 14, "text-anchor": "end",
      role: "rowheader"}, op));
    for (const cell of cells.filter(c => c.op === op)) {
      const i = layers.indexOf(cell.layer);
      const chosen = options.isChosen(cell);
      const rect = svg("rect", {
        class: ["cell", cell.flagged ? "flagged" : "", chosen ? "chosen" : ""]
            .join(" ").trim(),
        role: "gridcell", tabindex: -1, x: left + w * i + 0.5,
        y: top + h * j + 0.5, width: w - 1, height: h - 1, rx: 1.5,
        "aria-label": cell.text, "aria-selected": String(chosen),
        "data-cell": `L${cell.layer}.${op}`, "data-kind": cell.kind,
        focus: () => {
          said.textContent = cell.text;
        },
        click: () => choose(cell),
      });
      const sign = paint(rect, cell.kind, cell.value, scale, hatch);
      kinds.add(rect.classList.contains("not-finite") ? "not-finite"
                : sign === "−" ? "negative" : cell.kind);
      withTip(rect, () => cell.text);
      row.append(rect);
      if (sign !== "") {
        const t = scale.of(cell.value) || 0;
        const deep = rect.classList.contains("not-finite") ? !isDark()
                                                           : isDeep(t);
        const text = svg("text", {class: "cell-text", x: left + w * (i + 0.5),
                                  y: top + h * j + 14, "aria-hidden": "true"},
                         sign);
        text.style.fill = deep ? "#fff" : "#1b1d21";
        row.append(text);
      }
      at.set(key(i, j), {rect, cell});
    }
    picture.append(row);
  });
  function mark(cell) {
    for (const {rect, cell: other} of at.values()) {
      const chosen = other === cell;
      rect.classList.toggle("chosen", chosen);
      rect.ariaSelected = String(chosen);
    }
  }
  function choose(cell) {
    mark(cell);
    options.choose(cell);
  }
  function find(layer, op) {
    return [...at.values()].find(
        ({cell}) => cell.layer === layer && cell.op === op);
  }
  // One cell at a time is in the order of the Tab key.
  function enter(place) {
    for (const {rect} of at.values()) rect.setAttribute("tabindex", -1);
    place.rect.setAttribute("tabindex", 0);
  }
  picture.addEventListener("focusin", event => {
    const place = [...at.values()].find(p => p.rect === event.target);
    if (place !== undefined) enter(place);
  });
  picture.addEventListener("keydown", event => {
    const from = [...at].find(([, place]) => place.rect === event.target);
    if (from === undefined) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(from[1].cell);
      return;
    }
    const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1],
                   ArrowDown: [0, 1]};
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    let [i, j] = from[0].split(",").map(Number), next;
    // Over gaps: ops in no layer stand in a column of their own.
    do {
      i += move[0];
      j += move[1];
      next = at.get(key(i, j));
    } while (next === undefined && i >= 0 && j >= 0 && i < layers.length &&
             j < ops.length);
    if (next !== undefined) next.rect.focus();
  });
  const start = [...at.values()].find(p => options.isChosen(p.cell)) ||
      at.values().next().value;
  if (start !== undefined) {
    enter(start);
    said.textContent = options.isChosen(start.cell) ? start.cell.text
        : "Point at a cell, or go there with the arrow keys; a click or " +
          "Enter keeps it.";
  }
  const figure = html("figure", {},
                      scrolling(options.label, picture),
                      mapLegend(scale, kinds, hatch, options), said);
  return {figure, mark, find};
}

// What is chosen above a map: its figure, of some, and how that is coloured.
function mapControls(page, figures, state, draw) {
  return html("div", {class: "controls"},
      chooser("figure", figures, state, "figure", draw),
      chooser("colours", [["log", "logarithmic"], ["linear", "linear"]], state,
              "scale", () => {
                state.log = state.scale === "log";
                draw();
              }),
      page.other === null ? null
          : checkBox(`ratio to ${page.otherName}`, state, "ratios", draw),
      html("span", {class: "muted keys"},
           "arrow keys move, Enter keeps a cell"));
}
