// Curves over layers.

const DASHES = ["", "7 3", "2 3", "9 3 2 3"];

// The look of the n-th of several curves: colours first, then dashes, so that
// no two of a picture are told apart by colour alone once colours repeat.
function lookOf(n) {
  return {stroke: `var(--c${n % 8})`,
          dash: DASHES[Math.floor(n / 8) % DASHES.length]};
}

function lookSample(look) {
  return svg("svg", {width: 26, height: 10, "aria-hidden": "true"},
             svg("line", {x1: 0, x2: 26, y1: 5, y2: 5, class: "series",
                          stroke: look.stroke, "stroke-dasharray": look.dash}));
}

function legendOf(series) {
  return html("div", {class: "legend"}, ...series.map(s => html(
      "span", {}, lookSample(s.look), " ", s.name)));
}

// Lines through the points that have a place; a gap where one has none, since
// what is NaN or was not measured is not on the way between its neighbours.
function pathOf(points, x, y) {
  let path = "", drawing = false;
  for (const [layer, value] of points) {
    const at = y(value);
    if (at === undefined) {
      drawing = false;
      continue;
    }
    path += `${drawing ? "L" : "M"}${x(layer).toFixed(1)} ${at.toFixed(1)}`;
    drawing = true;
  }
  return path;
}

// Labels at the ends of curves, pushed apart where they would lie on another.
function endLabels(ends) {
  ends.sort((a, b) => a.y - b.y);
  const gap = 12;
  for (let i = 1; i < ends.length; ++i) {
    ends[i].y = Math.max(ends[i].y, ends[i - 1].y + gap);
  }
  return ends.map(end => svg("text", {
    x: end.x + 6, y: end.y + 4, class: "end-label"}, end.text));
}

function layerName(layer) {
  return layer === 0 ? "the embedding" : `layer ${layer}`;
}

// options: {label, series: [{name, short, look, points: [[layer, value]]}],
// column of the values, log, marks: [{layer, text, about}], nameOf(layer)}.
// Arrow keys move over layers and curves, and what is there is said below.
function curveFigure(options) {
  const {series, column, log, marks = [], nameOf = layerName} = options;
  const layers = [...new Set(
      series.flatMap(s => s.points.map(p => p[0])))].sort((a, b) => a - b);
  const values = series.flatMap(s => s.points.map(p => figureOf(p[1])))
      .filter(x => x !== undefined);
  const axis = axisOf(values, log);
  const width = 900, left = 62, right = 44, bottom = 34, top = 34;
  const height = 320;
  const first = layers[0], last = layers[layers.length - 1];
  const x = layer => left + (width - left - right) *
      (last === first ? 0.5 : (layer - first) / (last - first));
  const y = value => {
    const t = axis.of(figureOf(value));
    return t === undefined ? undefined
                           : height - bottom - t * (height - top - bottom);
  };
  const said = html("p", {class: "said", "aria-live": "polite"});
  const cursor = svg("line", {class: "grid", y1: top, y2: height - bottom,
                              visibility: "hidden"});
  const dot = svg("circle", {r: 5, visibility: "hidden"});
  const picture = svg("svg", {
    viewBox: `0 0 ${width} ${height}`, width, height, role: "application",
    "aria-label": `${options.label}. Left and right keys move over layers, ` +
        "up and down over curves.",
    tabindex: 0,
  });
  for (const tick of axis.ticks) {
    const at = y(tick);
    picture.append(svg("line", {class: "grid", x1: left, x2: width - right,
                                y1: at, y2: at}),
                   svg("text", {class: "axis", x: left - 6, y: at + 4,
                                "text-anchor": "end"}, axis.name(tick)));
  }
  const every = Math.ceil(layers.length / 32);
  layers.forEach((layer, i) => {
    if (i % every !== 0) return;
    picture.append(svg("text", {class: "axis", x: x(layer),
                                y: height - bottom + 15,
                                "text-anchor": "middle"},
                       nameOf(layer).replace(/^layer /, "")
                           .replace("the embedding", "0")));
  });
  picture.append(svg("text", {class: "axis", x: (left + width - right) / 2,
                              y: height - 4, "text-anchor": "middle"},
                     first === 0 ? "after layer (0: the embedding)"
                                 : "after layer"));
  // Texts of neighbouring marks take turns between two lines.
  marks.forEach((mark, i) => {
    if (!layers.includes(mark.layer)) return;
    const at = x(mark.layer);
    const right_half = at > width * 0.7;
    picture.append(withTip(svg(
        "g", {class: "mark", "data-mark": mark.layer},
        svg("line", {x1: at, x2: at, y1: top - 4, y2: height - bottom}),
        svg("text", {class: "mark-text", x: at + (right_half ? -4 : 4),
                     y: i % 2 === 0 ? 12 : 26,
                     "text-anchor": right_half ? "end" : "start"},
            mark.text)), () => mark.about));
  });
  picture.append(cursor);
  const ends = [];
  for (const s of series) {
    picture.append(svg("path", {
      class: "series", d: pathOf(s.points, x, y), stroke: s.look.stroke,
      "stroke-dasharray": s.look.dash, "data-series": s.name}));
    const placed = s.points.filter(p => y(p[1]) !== undefined);
    if (placed.length === 0) continue;
    const [layer, value] = placed[placed.length - 1];
    if (placed.length === 1) {
      picture.append(svg("circle", {cx: x(layer), cy: y(value), r: 3,
                                    fill: s.look.stroke}));
    }
    if (s.short) ends.push({x: x(layer), y: y(value), text: s.short});
  }
  picture.append(...endLabels(ends), dot);

  const at = {layer: first, series: 0};
  function say() {
    const s = series[at.series];
    const point = s.points.find(p => p[0] === at.layer);
    const value = point === undefined ? undefined : point[1];
    const place = y(value);
    cursor.setAttribute("x1", x(at.layer));
    cursor.setAttribute("x2", x(at.layer));
    cursor.setAttribute("visibility", "visible");
    if (place !== undefined) {
      dot.setAttribute("cx", x(at.layer));
      dot.setAttribute("cy", place);
      dot.setAttribute("fill", s.look.stroke);
    }
    dot.setAttribute("visibility", place === undefined ? "hidden" : "visible");
    said.textContent = `After ${nameOf(at.layer)}, ${s.name}: ` +
        `${titleOf(column)} ${textOf(column, value)}`;
    return said.textContent;
  }
  function nearest(event) {
    const box = picture.getBoundingClientRect();
    const px = (event.clientX - box.left) * width / box.width;
    const py = (event.clientY - box.top) * height / box.height;
    const away = layer => Math.abs(x(layer) - px);
    at.layer = layers.reduce((a, b) => away(a) <= away(b) ? a : b);
    let least = Infinity;
    series.forEach((s, i) => {
      const point = s.points.find(p => p[0] === at.layer);
      const place = point === undefined ? undefined : y(point[1]);
      if (place === undefined || Math.abs(place - py) >= least) return;
      least = Math.abs(place - py);
      at.series = i;
    });
  }
  if (series.length === 0 || layers.length === 0) {
    said.textContent = "No curve is chosen, or none was measured.";
    return html("figure", {}, said);
  }
  withTip(picture, () => said.textContent);
  picture.addEventListener("pointermove", event => {
    nearest(event);
    tip.textContent = say();
  });
  picture.addEventListener("focus", () => {
    say();
    hideTip();
  });
  picture.addEventListener("keydown", event => {
    const moves = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1],
                   ArrowDown: [0, 1]};
    const move = moves[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const next = layers.indexOf(at.layer) + move[0];
    at.layer = layers[Math.min(layers.length - 1, Math.max(0, next))];
    at.series = (at.series + move[1] + series.length) % series.length;
    say();
  });
  said.textContent = `${titleOf(column)}: ${column.about}`;
  return html("figure", {}, scrolling(options.label, picture), said);
}

// What is peculiar at layers, from the tables of phenomena where there are any.
function phenomenaMarks(results) {
  const marks = [];
  for (const m of rowsOf(results, "massive_channels")) {
    if (marks.some(other => other.channel === m.channel)) continue;
    const whose = `channel ${m.channel}`;
    marks.push({layer: m.born, channel: m.channel, text: `${whose} born`,
                about: `Massive activation: ${whose} is born in layer ` +
                    `${m.born} (${m.born_op}), ${shortNumber(
                        figureOf(m.value))} at its largest.`});
    if (m.removed !== 0) {
      marks.push({layer: m.removed, channel: m.channel,
                  text: `${whose} removed`,
                  about: `Massive activation: ${whose} is removed in layer ` +
                      `${m.removed} (${m.removed_op}).`});
    }
  }
  for (const add of rowsOf(results, "cancellations")) {
    const ratio = figureOf(add.ratio);
    if (!(ratio >= about.named_cancellation)) continue;
    marks.push({layer: add.layer, text: `cancels ${ratio.toPrecision(3)}×`,
                about: `Cancellation: ${add.op} of layer ${add.layer}, ` +
                    `(|x| + |u|) / |x + u| = ${shortNumber(ratio)}.`});
  }
  return mergedMarks(marks);
}

// One mark a layer, in their order.
function mergedMarks(marks) {
  const by_layer = new Map();
  for (const mark of marks) {
    const there = by_layer.get(mark.layer);
    if (there === undefined) {
      by_layer.set(mark.layer, {...mark});
    } else {
      there.text += `, ${mark.text}`;
      there.about += `\n${mark.about}`;
    }
  }
  return [...by_layer.values()].sort((a, b) => a.layer - b.layer);
}
