// Speed against error, a point a plan.

const SWEEP_SPEEDS = ["decode_tokens_per_second", "prefill_tokens_per_second"];

// The plans that no other one beats in both.
function frontOf(points) {
  const sorted = [...points].sort((a, b) => b.x - a.x || a.y - b.y);
  const front = [];
  let least = Infinity;  // of what is faster
  for (const [i, p] of sorted.entries()) {
    const before = sorted[i - 1];
    const has_equal = i > 0 && before.x === p.x && before.y === p.y;
    if (p.y < least || (has_equal && front.at(-1) === before)) front.push(p);
    least = Math.min(least, p.y);
  }
  return front;
}

// `front` has the names of the figures of whose front the results know.
function scatterPoints(plans, x, y, front) {
  const points = plans.map(row => ({
    row, name: row.plan, x: figureOf(row[x.name]), y: figureOf(row[y.name]),
    spread: figureOf(row[`${x.name}_half_iqr`]), front: row.pareto,
    label: row.rank === null ? "" : `#${row.rank}`,
    text: `${row.rank === null ? "" : `#${row.rank} `}${row.plan}\n` +
        `${textOf(x, row[x.name])} ± ${textOf(x, row[`${x.name}_half_iqr`])} ` +
        `${titleOf(x)}\n${titleOf(y)} ${textOf(y, row[y.name])}`,
  }));
  if (x.name !== front.x || y.name !== front.y) {
    const found = new Set(frontOf(points.filter(
        p => p.x !== undefined && Number.isFinite(p.y))));
    for (const point of points) point.front = found.has(point);
  }
  return points;
}

function choosePlan(page, row) {
  const state = page.state.sweep;
  state.plan = state.plan === row.plan ? null : row.plan;
  if (state.plan !== null) state.shown.add(row.plan);
  page.goTo(state.plan === null ? ""
                                : `plan=${encodeURIComponent(state.plan)}`);
  for (const update of page.updates) update();
}

// options: {about: what a point is, errors: names of columns, column(name),
// front: {x, y}, as of scatterPoints}.
function speedAgainstError(page, plans, options) {
  const {errors, front, column = name => columnOf("plans", name)} = options;
  const state = page.state.sweep;
  const box = html("div");
  const draw = () => {
    const x = column(state.x), y = column(state.y);
    const others = page.other === null ? [] : rowsOf(page.other, "plans");
    box.replaceChildren(scatterFigure({
      label: `${titleOf(x)} against ${titleOf(y)}; arrow keys move over plans`,
      points: scatterPoints(plans, x, y, front), columns: {x, y},
      base: new Map(scatterPoints(others, x, y, front).map(p => [p.name, p])),
      all: countOf(page.results, "plans"), against: againstText(page),
      choose: row => choosePlan(page, row),
      isChosen: row => row.plan === state.plan}));
  };
  draw();
  page.updates.push(draw);
  const option = name => [name, titleOf(column(name)),
                          columnOf("plans", name).about];
  return section("pareto", "Speed against error",
      html("p", {class: "muted"}, options.about),
      html("div", {class: "controls"},
           chooser("speed", SWEEP_SPEEDS.map(option), state, "x", draw),
           chooser("error", errors.map(option), state, "y", draw)),
      box);
}

// options: {label, points: [{row, x, spread, y, front, name, text}], base: the
// other file's points, by name, columns {x, y}, all: how many plans there are,
// of which points may be some, against: what errors are, choose(row),
// isChosen(row)}.
function scatterFigure(options) {
  const {points, base, columns} = options;
  const placed = points.filter(p => Number.isFinite(p.x) &&
                                    Number.isFinite(p.y) && p.y > 0);
  if (placed.length === 0) {
    return html("p", {class: "said"}, `No plan${
        points.length < options.all ? " of those in this page" : ""} has ` +
        "both a speed and an error.");
  }
  const others = [...base.values()].filter(
      p => Number.isFinite(p.x) && Number.isFinite(p.y) && p.y > 0);
  const ends = p => [Math.max(0, p.x - (p.spread || 0)), p.x + (p.spread || 0)];
  const spans = placed.flatMap(ends);
  const across = axisOf([...spans, ...others.map(p => p.x)], false);
  const up = axisOf([...placed, ...others].map(p => p.y), true);
  const width = 900, height = 380, left = 62, right = 20, top = 14, bottom = 40;
  const x = value => left + across.of(value) * (width - left - right);
  const y = value => height - bottom - up.of(value) * (height - top - bottom);
  const said = html("p", {class: "said", "aria-live": "polite"});
  const picture = svg("svg", {viewBox: `0 0 ${width} ${height}`, width, height,
                              role: "group", "aria-label": options.label});
  for (const tick of up.ticks) {
    picture.append(
        svg("line", {class: "grid", x1: left, x2: width - right, y1: y(tick),
                     y2: y(tick)}),
        svg("text", {class: "axis", x: left - 6, y: y(tick) + 4,
                     "text-anchor": "end"}, up.name(tick)));
  }
  for (const tick of across.ticks) {
    picture.append(
        svg("line", {class: "grid", x1: x(tick), x2: x(tick), y1: top,
                     y2: height - bottom}),
        svg("text", {class: "axis", x: x(tick), y: height - bottom + 15,
                     "text-anchor": "middle"}, across.name(tick)));
  }
  picture.append(
      svg("text", {class: "axis", x: width - right, y: height - 6,
                   "text-anchor": "end"}, `${titleOf(columns.x)} → faster`),
      svg("text", {class: "axis", x: left + 6, y: height - bottom - 6},
          `${titleOf(columns.y)}: lower is nearer to ${options.against}`));
  const front = placed.filter(p => p.front).sort((a, b) => a.x - b.x);
  picture.append(svg("polyline", {class: "front", points: front.map(
      p => `${x(p.x).toFixed(1)},${y(p.y).toFixed(1)}`).join(" ")}));
  for (const p of placed) {
    if (p.spread === undefined) continue;
    const [from, to] = ends(p).map(x);
    picture.append(svg("line", {class: "error-bar", x1: from, x2: to,
                                y1: y(p.y), y2: y(p.y)}));
  }
  const dots = placed.map((p, i) => {
    const other = base.get(p.name);
    if (other !== undefined && others.includes(other)) {
      picture.append(
          svg("line", {class: "move", x1: x(other.x), y1: y(other.y),
                       x2: x(p.x), y2: y(p.y)}),
          svg("circle", {class: "point base", cx: x(other.x), cy: y(other.y),
                         r: 5}));
    }
    return withTip(svg("circle", {
      class: `point${p.front ? " pareto" : ""}`, cx: x(p.x), cy: y(p.y), r: 5.5,
      role: "button", tabindex: i === 0 ? 0 : -1, "aria-label": p.text,
      "aria-pressed": String(options.isChosen(p.row)), "data-plan": p.name,
      focus: () => {
        said.textContent = p.text.replaceAll("\n", ", ");
      },
      click: () => options.choose(p.row),
    }), () => p.text);
  });
  picture.append(...dots);
  let before = null;
  for (const p of front) {
    // Under the point where a label above it would lie on the one before.
    const near = before !== null && x(p.x) - x(before.x) < 34 &&
        Math.abs(y(p.y) - y(before.y)) < 14;
    picture.append(svg("text", {x: x(p.x) + (near ? 0 : 8),
                                y: y(p.y) + (near ? 19 : -7)}, p.label));
    before = near ? null : p;
  }
  picture.addEventListener("keydown", event => {
    const from = dots.indexOf(event.target);
    if (from < 0) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      options.choose(placed[from].row);
      return;
    }
    const move = {ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1}[
        event.key];
    if (move === undefined) return;
    event.preventDefault();
    const to = Math.min(dots.length - 1, Math.max(0, from + move));
    dots[from].setAttribute("tabindex", -1);
    dots[to].setAttribute("tabindex", 0);
    dots[to].focus();
  });
  said.textContent =
      `Filled: on the Pareto front, where no plan is both faster and more ` +
      `accurate.${points.length < options.all
          ? ` Here are ${points.length} of ${options.all} plans.` : ""} ` +
      "Bars are half the interquartile range of repeated runs." +
      (base.size > 0 ? " Dashed: the other file." : "") +
      (placed.length < points.length
           ? ` ${points.length - placed.length} plans without a speed or a ` +
             `positive, finite error are not drawn.` : "");
  return html("figure", {}, scrolling(options.label, picture), said);
}
