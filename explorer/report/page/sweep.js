// The page of a sweep: many plans, ranked.

const SWEEP_ERRORS = ["score", "final_rel_l2", "final_rmse", "kl_nats",
                      "token_final_rel_l2", "token_final_rmse"];
const STARTING_CURVES = 5;

function sweepColumn(page, name) {
  const column = columnOf("plans", name);
  return name === "score"
      ? {...column, title: `${page.results.context.metric} (the metric)`,
         unit: "relative"}
      : column;
}

function paretoSection(page, plans) {
  return speedAgainstError(page, plans, {
    about: "A point is a plan: a choice of arithmetic for every operation. A " +
        "click keeps it in the ranking and among the curves.",
    errors: SWEEP_ERRORS, column: name => sweepColumn(page, name),
    front: {x: SWEEP_SPEEDS[0], y: "score"}});
}

function rankingSection(page, plans) {
  const state = page.state.sweep;
  const box = html("div");
  const draw = () => box.replaceChildren(dataTable({
    table: "plans", rows: plans, state: state.ranking, filter: true,
    caption: `Ranked by ${page.results.context.metric}; errors are against ` +
        `${againstText(page)}, on the prompt.`,
    keep: row => !state.front_only || row.pareto,
    choose: row => choosePlan(page, row),
    chosen: row => row.plan === state.plan,
    columns: ["rank", {name: "pareto", title: "Pareto"}, "plan",
              ...SWEEP_SPEEDS.map(name => ({name, spread: `${name}_half_iqr`})),
              "final_rmse", "final_rel_l2", "mean_growth", "kl_nats",
              "top1_agreement"]}));
  draw();
  page.updates.push(draw);
  return section("ranking", "Ranking",
      html("div", {class: "controls"},
           checkBox("the Pareto front alone", state, "front_only", draw)),
      box, leftOutPlans(page));
}

// The plans of which this page has no row, by rank.
function leftOutPlans(page) {
  if (about.all_plans === undefined) return null;
  const score = sweepColumn(page, "score");
  const number = text => html("th", {scope: "col"}, text);
  const figure = x => html("td", {class: x === null ? "absent" : ""},
                           x === null ? "–" : textOf(score, x));
  return scrolling("Plans that are not in this page", html(
      "table", {id: "left-out-plans"},
      html("caption", {}, "Plans that are not in this page, by rank. The " +
           `score is ${titleOf(score)}.`),
      html("thead", {}, html("tr", {},
          html("th", {scope: "col", class: "text"}, "ranks"), number("plans"),
          number("timed"), number("smallest score"), number("median"),
          number("largest"))),
      html("tbody", {}, ...about.all_plans.left_out.map(group => html(
          "tr", {},
          html("th", {scope: "row", class: "text"}, group.first_rank === null
              ? NOT_MEASURED : `${group.first_rank} to ${group.last_rank}`),
          html("td", {}, String(group.plans)),
          html("td", {}, String(group.timed)), figure(group.least_score),
          figure(group.median_score), figure(group.largest_score))))));
}

// Of the sweep's own rows, which are of the oracle's stream and so of no plan.
function sweepMarks(rows) {
  const marks = [];
  let massive = null;
  for (const row of rows) {
    const largest = figureOf(row.max_activation);
    const is = Math.abs(largest) > about.massive_magnitude;
    const channel = row.max_activation_channel;
    if (is && massive === null) {
      marks.push({layer: row.layer, text: `channel ${channel} massive`,
                  about: `After layer ${row.layer} channel ${channel} is ` +
                      `${shortNumber(largest)}: a massive activation.`});
      massive = channel;
    } else if (!is && massive !== null) {
      marks.push({layer: row.layer, text: `channel ${massive} gone`,
                  about: `After layer ${row.layer} no activation is larger ` +
                      `than ${about.massive_magnitude}.`});
      massive = null;
    }
    for (const [add, ratio] of [["attention", figureOf(row.attn_cancellation)],
                                ["MLP", figureOf(row.mlp_cancellation)]]) {
      if (!(ratio >= about.named_cancellation)) continue;
      marks.push({layer: row.layer, text: `cancels ${ratio.toPrecision(3)}×`,
                  about: `The ${add}'s residual add of layer ${row.layer} ` +
                      `cancels: (|x| + |u|) / |x + u| = ${
                          shortNumber(ratio)}.`});
    }
  }
  return mergedMarks(marks);
}

function layersByPlan(rows) {
  const by_plan = new Map();
  for (const row of rows) {
    if (!by_plan.has(row.plan)) by_plan.set(row.plan, []);
    by_plan.get(row.plan).push(row);
  }
  return by_plan;
}

function curvesSection(page, plans) {
  const state = page.state.sweep;
  const rows = rowsOf(page.results, "layers");
  const box = html("div"), boxes = html("div", {class: "legend"});
  const own_layers = layersByPlan(rows);
  const other_layers = layersByPlan(
      page.other === null ? [] : rowsOf(page.other, "layers"));
  // Of many plans there are the layers of some.
  const drawn = about.left_out ? plans.filter(p => own_layers.has(p.plan))
                               : plans;
  const look = new Map(drawn.map((row, i) => [row.plan, lookOf(i)]));
  const pointsOf = (layers, plan) => (layers.get(plan) || [])
      .filter(r => r.tokens === state.tokens)
      .map(r => [r.layer, r[state.figure]]);
  const drawCurves = () => {
    const column = columnOf("layers", state.figure);
    const series = drawn.filter(p => state.shown.has(p.plan)).flatMap(p => {
      const own = {name: p.plan, look: look.get(p.plan),
                   short: p.rank === null ? "" : `#${p.rank}`,
                   points: pointsOf(own_layers, p.plan)};
      if (page.other === null) return [own];
      const points = pointsOf(other_layers, p.plan);
      return [own, {...own, name: `${p.plan} in ${page.otherName}`, short: "",
                    look: {...own.look, dash: "1 4"}, points}];
    }).filter(s => s.points.length > 0);
    const any = drawn[0] && (own_layers.get(drawn[0].plan) || []).filter(
        r => r.tokens === state.tokens);
    box.replaceChildren(curveFigure({
      label: `${titleOf(column)} of the residual stream, layer by layer`,
      series, column, log: state.log, marks: sweepMarks(any || [])}));
  };
  const draw = () => {
    drawCurves();
    boxes.replaceChildren(...drawn.map(p => {
      const input = html("input", {type: "checkbox", "data-plan": p.plan,
        change: () => {
          if (input.checked) state.shown.add(p.plan);
          else state.shown.delete(p.plan);
          drawCurves();
        }});
      input.checked = state.shown.has(p.plan);
      return html("label", {}, input, " ", lookSample(look.get(p.plan)),
                  ` ${p.rank === null ? "" : `#${p.rank} `}${p.plan}`);
    }));
  };
  const all = which => html("button", {click: () => {
    state.shown = new Set(which ? drawn.map(p => p.plan) : []);
    draw();
  }}, which ? "all" : "none");
  draw();
  page.updates.push(draw);
  return section("curves", "Layer by layer",
      html("p", {class: "muted"}, "The error of the residual stream after " +
           "every layer. Marks are of the oracle's own stream: where a " +
           "massive activation is, and where a residual add cancels, which " +
           "makes relative errors larger."),
      cutNote(page, "layers"),
      html("div", {class: "controls"},
           chooser("figure", measuredColumns("layers").map(
               c => [c.name, titleOf(c), explanationOf(c)]), state, "figure",
               drawCurves),
           chooser("of", [["prompt", "the prompt"],
                          ["token", "one token alone"]],
                   state, "tokens", drawCurves),
           checkBox("log axis", state, "log", drawCurves)),
      box,
      html("fieldset", {}, html("legend", {}, "Plans"), boxes,
           html("div", {class: "controls"}, all(true), all(false))),
      folded("The same as a table", () => dataTable({
        table: "layers", filter: true,
        rows: rows.filter(r => r.tokens === state.tokens &&
                               state.shown.has(r.plan)),
        columns: ["plan", "layer", state.figure, "growth", "status",
                  "max_activation", "max_activation_channel",
                  "attn_cancellation", "mlp_cancellation"]})));
}

function effectsSection(page) {
  const rows = rowsOf(page.results, "main_effects");
  if (rows.length === 0) return null;
  return section("effects", "Main effects",
      html("p", {class: "muted"}, "How much of all differences between plans " +
           "one factor alone explains. Errors and speeds are geometric means " +
           "over the plans with that strategy; shares are of the variance of " +
           "their logarithms (eta squared)."),
      dataTable({table: "main_effects", rows,
        columns: ["axis", "strategy",
                  {name: "error", title: page.results.context.metric},
                  ...SWEEP_SPEEDS,
                  ...["error_share", "decode_share", "prefill_share"].map(
                      name => ({name, bar: true}))]}));
}

// Of all plans, those that this page lacks included.
function countsOf(plans) {
  if (about.all_plans !== undefined) return about.all_plans;
  const measured = plans.filter(p => p.rank !== null);
  const speed = columnOf("plans", SWEEP_SPEEDS[0]);
  const timed = measured.filter(p => figureOf(p[speed.name]) !== undefined);
  const not_timed = {};
  for (const reason of measured.map(p => reasonFor(speed, p)).filter(Boolean)) {
    not_timed[reason] = (not_timed[reason] || 0) + 1;
  }
  return {
    plans: plans.length, measured: measured.length, timed: timed.length,
    front: timed.filter(p => p.pareto).length, not_timed,
    fastest: timed.length === 0 ? null : timed.reduce((a, b) =>
        figureOf(b[speed.name]) > figureOf(a[speed.name]) ? b : a).plan};
}

function sweepVerdict(page, plans) {
  const all = countsOf(plans);
  const score = sweepColumn(page, "score");
  const speed = columnOf("plans", SWEEP_SPEEDS[0]);
  const items = [];
  const say = (text, target) => items.push(sentenceItem(text, target, []));
  // Of a plan that this page has a row of.
  const sayOf = (what, plan) => {
    if (plan === undefined) return;
    const rate = figureOf(plan[speed.name]) === undefined ? ""
        : ` at ${textOf(speed, plan[speed.name])} decoded tokens per second`;
    say(`${what} \`${plan.plan}\`: ${page.results.context.metric} ${
        textOf(score, plan.score)}${rate}.`, "ranking");
  };
  if (all.measured === 0) return items;
  sayOf("The most accurate plan is", plans.find(p => p.rank === 1));
  if (all.measured === 1) return items;
  sayOf("The least accurate is", plans.find(p => p.rank === all.measured));
  sayOf("The fastest in decoding is", plans.find(p => p.plan === all.fastest));
  if (all.timed > 0) {
    say(`${all.front} of ${all.timed} plans are on the Pareto front of error ` +
        "and decode speed: no other is better in both.", "pareto");
  }
  for (const [reason, count] of Object.entries(all.not_timed)) {
    say(`${count} of ${all.measured} plans ${
        count === 1 ? "is" : "are"} not timed: ${reason}.`, "ranking");
  }
  const effects = rowsOf(page.results, "main_effects").filter(
      e => figureOf(e.error_share) !== undefined);
  if (effects.length > 0 && isWhole(page.results, "main_effects")) {
    const most = effects.reduce((a, b) =>
        figureOf(b.error_share) > figureOf(a.error_share) ? b : a);
    say(`Of all factors \`${most.axis}\` moves the error most: it explains ${
        textOf(columnOf("main_effects", "error_share"), most.error_share)} ` +
        `of the variance of its logarithm.`, "effects");
  }
  return items;
}

function againstText(page) {
  const {against} = page.results.context;
  return against === undefined || against === "oracle" ? "the f64 oracle"
                                                       : against;
}

function sweepState(results) {
  const with_layers = new Set(rowsOf(results, "layers").map(row => row.plan));
  const plans = rowsOf(results, "plans").filter(
      p => !about.left_out || with_layers.has(p.plan));
  const measured = plans.filter(p => p.rank !== null);
  const first = [measured[0], measured[measured.length - 1],
                 plans.find(p => p.plan === "f32"), plans.find(
                     p => p.plan === "bf16"), ...plans.filter(p => p.pareto),
                 ...plans].filter(Boolean).map(p => p.plan);
  return {x: SWEEP_SPEEDS[0], y: "score", plan: null, ranking: {},
          front_only: false, figure: "rel_l2", tokens: "prompt", log: true,
          shown: new Set([...new Set(first)].slice(0, STARTING_CURVES))};
}

function sweepSections(page) {
  const plans = rowsOf(page.results, "plans");
  return [verdictSection(sweepVerdict(page, plans)),
          paretoSection(page, plans), rankingSection(page, plans),
          curvesSection(page, plans), effectsSection(page)];
}
