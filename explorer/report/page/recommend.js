// The page of a recommendation: the fastest plan that keeps a budget.

// A time by f32's, with its interval if there is one.
function timeText(plan) {
  const text = name => textOf(columnOf("plans", name), plan[name]);
  if (figureOf(plan.time_ratio) === undefined) return "";
  const interval = figureOf(plan.time_ratio_low) === undefined ? ""
      : ` (95 % interval ${text("time_ratio_low")} to ${
          text("time_ratio_high")})`;
  return `, ${text("time_ratio")} of f32's time${interval}`;
}

function recommendVerdict(page, plans) {
  const c = page.results.context, items = [];
  const say = (text, target) => items.push(sentenceItem(text, target, []));
  if (c.chosen === null) {
    say("No plan was measured yet.", "tables");
    return items;
  }
  const said = {
    "recommended": `The fastest plan found in ${c.phase} that keeps \`${
        c.budget}\` on both texts`,
    "not confirmed": `Plans keep \`${c.budget}\` on the text that was ` +
        "searched on, and none of the finalists does on the other text; that " +
        "of least error there",
    "not met": `No plan that was run keeps \`${c.budget}\`; that of the ` +
        "least error found",
  }[c.verdict] || "Unfinished: the best so far";
  const chosen = plans.find(p => p.chosen);
  const phase = `${c.phase}_tokens_per_second`;
  // Its row may be left out.
  const figures = chosen === undefined ? "" : `: ${c.metric} ${
      textOf(columnOf("plans", "error"), chosen.error)}${
      figureOf(chosen.other_error) === undefined ? "" : `, ${
          textOf(columnOf("plans", "other_error"), chosen.other_error)} on ` +
          "the other text"}${
      figureOf(chosen[phase]) === undefined ? "; it was not timed" : `, ${
          textOf(columnOf("plans", phase), chosen[phase])} tokens per second ` +
          `in ${c.phase}${timeText(chosen)}`}`;
  say(`${said} is \`--plan=${c.chosen}\`${figures}.`, "ranking");
  const ties = plans.filter(p => p.tied).length;
  if (ties > 1 && isWhole(page.results, "plans")) {
    say(`${ties} finalists are as fast within the rounds' noise; it has the ` +
        "least error of them.", "ranking");
  }
  if (c.failed_confirmations > 0) {
    say(`${c.failed_confirmations} faster finalist${
        c.failed_confirmations === 1 ? " keeps" : "s keep"} the budget on ` +
        "the text that was searched on, and not on the other.", "ranking");
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
    caption: `The fastest first; errors are ${page.results.context.metric} ` +
        `against ${againstText(page)}.`,
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

function recommendSections(page) {
  const plans = rowsOf(page.results, "plans");
  const table = (id, title, about, columns) => {
    const rows = rowsOf(page.results, id);
    return rows.length === 0 ? null : section(id, title,
        html("p", {class: "muted"}, about),
        dataTable({table: id, rows, filter: true, state: {}, columns}));
  };
  return [
    verdictSection(recommendVerdict(page, plans)),
    speedAgainstError(page, plans, {
      about: "A point is a plan that was timed as a whole. A click keeps it " +
          "in the table.",
      errors: ["error", "other_error"],
      front: {x: `${page.results.context.phase}_tokens_per_second`,
              y: "error"}}),
    finalistsSection(page, plans),
    table("changes", "What each entry does",
          "The chosen plan with f32 in an entry's place. Times are guessed " +
          "from those of whole strategies, errors are measured.",
          ["name", "time_ratio_without", "error_without"]),
    table("strategies", "What strategies cost", "In all cells of their axis.",
          ["axis", "strategy", "error",
           {name: "time_ratio", spread: "time_ratio_half_iqr"}, "searched"]),
  ].filter(part => part !== null);
}
