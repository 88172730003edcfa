// Speed against error, a point a plan.

// options: {label, points: [{row, x, spread, y, front, name, text}], base: the
// other file's points, by name, columns {x, y}, choose(row), isChosen(row)}.
function scatterFigure(options) {
  const {points, base, columns} = options;
  const placed = points.filter(p => Number.isFinite(p.x) &&
                                    Number.isFinite(p.y) && p.y > 0);
  if (placed.length === 0) {
    return html("p", {class: "said"}, "No plan has both a speed and an error.");
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
          `${titleOf(columns.y)}: lower is nearer to the oracle`));
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
      `accurate. Bars are half the interquartile range of repeated runs.` +
      (base.size > 0 ? " Dashed: the other file." : "") +
      (placed.length < points.length
           ? ` ${points.length - placed.length} plans without a speed or a ` +
             `positive, finite error are not drawn.` : "");
  return html("figure", {}, scrolling(options.label, picture), said);
}
