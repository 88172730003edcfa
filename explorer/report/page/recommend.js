// The page of a recommendation: the fastest plan that keeps a budget.

function recommendVerdict(page, plans) {
  const c = page.results.context, items = [];
  const say = (text, target) => items.push(sentenceItem(text, target, []));
  const chosen = plans.find(p => p.chosen);
  if (chosen === undefined) {
    say("No plan was measured yet.", "tables");
    return items;
  }
  const error = columnOf("plans", "error"), ratio = columnOf(
      "plans", "time_ratio");
  const phase = `${c.phase}_tokens_per_second`;
  const figures = `${c.metric} ${textOf(error, chosen.error)}, ${
      textOf(error, chosen.other_error)} on the other text${
      figureOf(chosen[phase]) === undefined ? "" : `, ${
          textOf(columnOf("plans", phase), chosen[phase])} tokens per second ` +
          `in ${c.phase}, ${textOf(ratio, chosen.time_ratio)} of f32's time ` +
          `(95 % interval ${textOf(ratio, chosen.time_ratio_low)} to ${
              textOf(ratio, chosen.time_ratio_high)})`}`;
  const said = {
    "recommended": `The fastest plan found in ${c.phase} that keeps \`${
        c.budget}\` on both texts`,
    "not confirmed": `Plans keep \`${c.budget}\` on the text that was ` +
        "searched on, and none of the finalists does on the other text; that " +
        "of least error there",
    "not met": `No plan that was run keeps \`${c.budget}\`; that of the least ` +
        "error found",
  }[c.verdict] || "Unfinished: the best so far";
  say(`${said} is \`--plan=${chosen.plan}\`: ${figures}.`, "ranking");
  const ties = plans.filter(p => p.tied).length;
  if (ties > 1) {
    say(`${ties} finalists are as fast within the rounds' noise; it has the ` +
        "least error of them.", "ranking");
  }
  if (c.failed_confirmations > 0) {
    say(`${c.failed_confirmations} faster finalist${
        c.failed_confirmations === 1 ? " keeps" : "s keep"} the budget on the ` +
        "text that was searched on, and not on the other.", "ranking");
  }
  return items;
}

function recommendState(results) {
  const c = results.context;
  return {sweep: {x: `${c.phase}_tokens_per_second`, y: "error", plan: null,
                  ranking: {}, shown: new Set()}};
}

function finalistsSection(page, plans) {
  const state = page.state.sweep;
  const box = html("div");
  const draw = () => box.replaceChildren(dataTable({
    table: "plans", rows: plans, state: state.ranking, filter: true,
    caption: `The fastest first; errors are ${page.results.context.metric}.`,
    choose: row => choosePlan(page, row),
    chosen: row => row.plan === state.plan,
    columns: ["rank", "chosen", {name: "pareto", title: "Front"}, "tied",
              "plan", "error", "other_error", "confirmed",
              ...SWEEP_SPEEDS.map(name => ({name, spread: `${name}_half_iqr`})),
              "time_ratio", "time_ratio_low", "time_ratio_high",
              "predicted_time_ratio"]}));
  draw();
  page.updates.push(draw);
  return section("ranking", "Finalists", box);
}

function frontSection(page, plans) {
  const state = page.state.sweep;
  const box = html("div");
  const draw = () => {
    const x = columnOf("plans", state.x), y = columnOf("plans", state.y);
    const others = new Map(scatterPoints(
        page, page.other === null ? [] : rowsOf(page.other, "plans"), x, y)
        .map(p => [p.name, p]));
    box.replaceChildren(scatterFigure({
      label: `${titleOf(x)} against ${titleOf(y)}; arrow keys move over plans`,
      points: scatterPoints(page, plans, x, y), base: others, columns: {x, y},
      choose: row => choosePlan(page, row),
      isChosen: row => row.plan === state.plan}));
  };
  draw();
  page.updates.push(draw);
  const option = name => [name, titleOf(columnOf("plans", name)),
                          columnOf("plans", name).about];
  return section("pareto", "Speed against error",
      html("p", {class: "muted"}, "A point is a plan that was timed as a " +
           "whole. A click keeps it in the table."),
      html("div", {class: "controls"},
           chooser("speed", SWEEP_SPEEDS.map(option), state, "x", draw),
           chooser("error", ["error", "other_error"].map(option), state, "y",
                   draw)),
      box);
}

function recommendSections(page) {
  const plans = rowsOf(page.results, "plans");
  const table = (id, title, name, about) => {
    const rows = rowsOf(page.results, name);
    return rows.length === 0 ? null : section(id, title,
        html("p", {class: "muted"}, about),
        dataTable({table: name, rows, filter: true, state: {}}));
  };
  return [
    verdictSection(recommendVerdict(page, plans)),
    frontSection(page, plans), finalistsSection(page, plans),
    table("changes", "What each entry does", "changes",
          "The chosen plan with f32 in an entry's place. Times are guessed " +
          "from those of whole strategies, errors are measured."),
    table("strategies", "What strategies cost", "strategies",
          "In all cells of their axis."),
  ].filter(part => part !== null);
}
