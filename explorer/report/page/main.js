// The page as a whole: what was asked, the verdict, then the evidence.

const MODES = {
  sweep: {title: () => "Which plan is fast, and which exact",
          state: sweepState, sections: sweepSections},
  attribute: {title: c => `Where the error of \`${c.plan}\` comes from`,
              state: attributionState, sections: attributionSections},
  diagnose: {title: c => `Why \`${c.reference.replace(/.*\//, "")}\` differs`,
             state: diagnosisState, sections: diagnosisSections},
  trace_pair: {title: () => "Where two traces part",
               state: tracePairState, sections: tracePairSections},
  recommend: {title: c => `The fastest plan within \`${c.budget}\``,
              state: recommendState, sections: recommendSections},
};

const page = {
  results: {}, other: null, otherName: "", state: {}, updates: [], maps: {},
  message: null,
  isCell(cell) {
    const kept = this.state.cell;
    return Boolean(kept) && kept.layer === cell.layer && kept.op === cell.op;
  },
  keepCell(layer, op) {
    this.state.cell = {layer, op};
    this.goTo(`L${layer}.${op}`);
    for (const {mark, find} of Object.values(this.maps)) {
      const place = find(layer, op);
      mark(place && place.cell);
    }
    const kept = document.getElementById("kept");
    if (kept !== null) kept.replaceChildren(...cellCurve(this));
  },
  // Makes the address lead to what is shown, for whoever copies it.
  goTo(place) {
    history.replaceState(null, "", `#${place}`);
  },
  compareWith(other, name) {
    this.other = other;
    this.otherName = name;
    this.message = null;
    render();
    if (other !== null) {
      document.getElementById("comparison").scrollIntoView();
    }
  },
};

// The only script of data, whose "<" are escaped so that nothing in it can end
// it. An even number of backslashes before one is of a text's own.
function embeddedText() {
  return document.getElementById("results").textContent.replaceAll(
      /\\\\|\\u003c/g, found => found === "\\\\" ? found : "<");
}

function oneRow(table, row, names) {
  return scrolling(tableAbout(table).about, html("table", {},
      html("caption", {}, tableAbout(table).about),
      html("tbody", {}, ...names.map(name => html("tr", {},
          html("th", {scope: "row", class: "text",
                      title: columnOf(table, name).about}, name),
          valueCell(columnOf(table, name), row))))));
}

// results.json, or the part of it that is here, which says of which tables it
// lacks rows, so that nobody takes it for the whole.
function saveButton() {
  const name = about.left_out ? "results_part.json" : "results.json";
  const text = () => {
    if (!about.left_out) return embeddedText();
    const part = Object.keys(about.tables).filter(
        table => !isWhole(page.results, table)).map(
        table => [table, countOf(page.results, table)]);
    return embeddedText().replace("{", () => `{\n "part_of": ${
        JSON.stringify(Object.fromEntries(part))},`);
  };
  return html("button", {id: "save", click: () => {
    const link = html("a", {download: name, href: URL.createObjectURL(
        new Blob([text()], {type: "application/json"}))});
    link.click();
    URL.revokeObjectURL(link.href);
  }}, about.left_out ? `Save ${name}, the rows that are here`
                     : `Save ${name}`);
}

async function openFile(file) {
  try {
    page.compareWith(readOther(await file.text(), file.name, page.results),
                     file.name);
  } catch (error) {
    page.message = error.message;
    drawHead();
  }
}

function compareControls() {
  const input = html("input", {type: "file", id: "other",
    accept: ".json,application/json",
    change: () => {
      if (input.files.length > 0) openFile(input.files[0]);
    }});
  return html("div", {class: "controls drop"},
      html("label", {for: "other"}, "Compare with another results.json ",
           html("span", {class: "muted"}, "(or drop it on the page)")),
      input, saveButton());
}

function askedText(c, mode) {
  const tokens = list => list.length === 1
      ? `token ${list[0]} alone` : `${list.length} tokens (${
          list.slice(0, 12).join(", ")}${list.length > 12 ? ", …" : ""})`;
  switch (mode) {
    case "sweep": {
      const plans = countOf(page.results, "plans");
      return `Asked: how fast and how exact ${plans === 1 ? "one plan is"
          : `${plans} plans are`}${c.axes ? ` (\`${c.axes}\`)` : ""}, against ` +
          `an oracle in f64, on a prompt of ${tokens(c.prompt)} and on token ` +
          `${c.token} alone.`;
    }
    case "attribute":
      return `Asked: which operation in which layer makes the error of ` +
          `\`${c.plan}\` against the reference, ${
              c.against === undefined || c.against === "oracle"
              ? "an oracle in f64" : `\`${c.against}\``}, on ${
              tokens(c.tokens)}, ` +
          "and what would cure it.";
    case "diagnose":
      return `Asked: why the trace \`${c.reference}\` of another program ` +
          `differs from \`${c.plan}\`, on ${tokens(c.tokens)}${
              c.tokens_are_traces ? " (the trace's own)" : ""}.`;
    case "trace_pair":
      return `Asked: where the trace A, \`${c.reference}\`, and the trace B, ` +
          `\`${c.against_trace}\`, part, on ${tokens(c.tokens)}.`;
    case "recommend":
      return `Asked: which plan of \`${c.axes}\` is the fastest in ${
          c.phase} that keeps \`${c.budget}\`, on ${tokens(c.prompt)} and, ` +
          `to confirm it, on ${tokens(c.other_prompt)}.`;
  }
  return "";
}

function drawHead() {
  const c = page.results.context, mode = modeOf(page.results);
  const title = withCode(MODES[mode].title(c));
  document.title = `ulpscope: ${MODES[mode].title(c).replaceAll("`", "")}, ${
      c.model}`;
  document.getElementById("head").replaceChildren(...[
    html("h1", {}, ...title),
    c.synthetic ? html("p", {class: "badge"},
        "SYNTHETIC weights: these figures are of no trained model") : null,
    c.stopped_in === null ? null : html("p", {class: "banner bad"},
        `Stopped by ${c.stopped_by}: ${c.stopped_in}. What was not measured ` +
        "by then is shown as not measured."),
    about.left_out ? html("p", {class: "banner"}, ...withCode(about.left_out))
                   : null,
    html("p", {}, ...withCode(askedText(c, mode))),
    html("p", {class: "facts"}, `Model ${c.model}: ${c.architecture}, ` +
        `${c.num_hidden_layers} layers, hidden ${c.hidden_size}, ` +
        `${c.num_attention_heads} heads, ${c.num_key_value_heads} KV heads, ` +
        `vocabulary ${c.vocab_size}. Run on ${c.cpu}, target ${c.target}, ` +
        `${c.threads} threads.`),
    compareControls(),
    page.message === null ? null
        : html("p", {class: "banner bad", role: "alert"}, page.message),
    html("nav", {"aria-label": "Sections"}, html("ul", {}, ...[
      ...document.querySelectorAll("main section")].map(part => html(
        "li", {}, html("a", {href: `#${part.id}`},
                       part.querySelector("h2").textContent))))),
  ].filter(part => part !== null));
}

// Everything that results.json holds, table by table.
function tablesSection() {
  const {results} = page;
  const parts = Object.keys(about.tables).map(table => {
    const rows = rowsOf(results, table);
    const all = countOf(results, table);
    if (all === 0) return null;
    const make = Array.isArray(results[table]) || rows.length === 0
        ? () => dataTable({table, rows, filter: true, state: {}})
        : () => oneRow(table, rows[0], Object.keys(
              tableAbout(table).columns));
    const details = folded(`${table} (${
        all > rows.length ? `${rows.length} of ${all}` : all})`, make);
    details.id = `table-${table}`;
    return details;
  });
  return section("tables", "Every figure",
      html("p", {class: "muted"}, "The tables of results.json. Where a head " +
           "is pointed at it says what its column means. – is what was not " +
           "measured, which is not the same as NaN."),
      ...parts);
}

function render() {
  page.updates = [];
  page.maps = {};
  hideTip();
  const parts = MODES[modeOf(page.results)].sections(page);
  if (page.other !== null) parts.splice(1, 0, compareSection(page));
  parts.push(tablesSection());
  document.getElementById("main").replaceChildren(
      ...parts.filter(part => part !== null));
  // What a sentence leads to may not have been measured.
  for (const link of document.querySelectorAll("a.to")) {
    const target = document.getElementById(link.hash.slice(1));
    if (target === null) link.hash = "#tables";
  }
  drawHead();
}

// Follows an address: a section, a table, "#L22.mlp_residual", "#plan=...".
function followAddress() {
  const place = decodeURIComponent(location.hash.slice(1));
  const cell = /^L(\d+)\.(\w+)$/.exec(place);
  if (cell !== null) {
    const map = page.maps.cause || page.maps.points;
    const found = map && map.find(Number(cell[1]), cell[2]);
    if (!found) return;
    page.keepCell(found.cell.layer, found.cell.op);
    found.rect.focus();
    found.rect.scrollIntoView({block: "center"});
    return;
  }
  if (place.startsWith("plan=") && page.state.sweep) {
    const row = rowsOf(page.results, "plans").find(
        p => p.plan === place.slice("plan=".length));
    if (row === undefined || row.plan === page.state.sweep.plan) return;
    choosePlan(page, row);
    document.getElementById("ranking").scrollIntoView();
    return;
  }
  const target = place && document.getElementById(place);
  if (!target) return;
  if (target.tagName === "DETAILS") target.open = true;
  target.scrollIntoView();
}

function start() {
  const text = embeddedText();
  page.results = JSON.parse(text);
  const mode = MODES[modeOf(page.results)];
  const state = mode.state(page.results);
  page.state = {
    ...(mode === MODES.sweep ? {sweep: state} : state),
    compare: {table: Object.keys(JOINED_BY[modeOf(page.results)])[0],
              figure: "", percent: 0, hide: true,
              sort: {}}};
  render();
  followAddress();
  addEventListener("hashchange", followAddress);
  darkScheme.addEventListener("change", render);
  addEventListener("beforeprint", () => {
    printing = true;
    render();
  });
  addEventListener("afterprint", () => {
    printing = false;
    render();
  });
  addEventListener("keydown", event => {
    if (event.key === "Escape") hideTip();
  });
  addEventListener("dragover", event => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", event => {
    if (event.relatedTarget === null) {
      document.body.classList.remove("dropping");
    }
  });
  addEventListener("drop", event => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    const file = event.dataTransfer.files[0];
    if (file !== undefined) openFile(file);
  });
}

start();
