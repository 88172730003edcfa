// Tables that are sorted by a click on a head and filtered by words.

const SHOWN_ROWS = 200;

// Whether a row has all words of a filter: "kahan" somewhere in its texts, or
// "kl_nats<1e-3" of a column.
function filterOf(words, columns) {
  const tests = words.trim().split(/\s+/).filter(Boolean).map(word => {
    const parts = /^(\w+)(<=|>=|<|>|=)(.+)$/.exec(word);
    const column = parts && columns.find(c => c.name === parts[1]);
    if (!column) {
      const wanted = word.toLowerCase();
      return row => columns.some(
          c => textOf(c, row[c.name]).toLowerCase().includes(wanted));
    }
    const [, name, operator, text] = parts, limit = Number(text);
    return row => {
      const x = figureOf(row[name]);
      switch (operator) {
        case "<": return x < limit;
        case ">": return x > limit;
        case "<=": return x <= limit;
        case ">=": return x >= limit;
      }
      return x === undefined ? textOf(column, row[name]) === text
                             : x === limit;
    };
  });
  return row => tests.every(test => test(row));
}

function valueCell(column, row) {
  const value = row[column.name];
  if (column.make) return html("td", {class: "text"}, column.make(row));
  const x = figureOf(value), missing = value === null || value === undefined;
  const cell = html("td", {
    class: missing ? "absent" : isNumeric(column) && !Number.isFinite(x)
        ? "odd" : isNumeric(column) ? "" : "text",
    "data-column": column.name, title: missing ? undefined : String(value),
  });
  const reason = missing ? reasonFor(column, row) : undefined;
  let text = missing ? reason || "–" : textOf(column, value);
  if (missing) {
    cell.title = reason ? `${NOT_MEASURED}: ${reason}` : NOT_MEASURED;
  }
  const spread = column.spread && figureOf(row[column.spread]);
  if (spread !== undefined && !missing) {
    text += ` ± ${numberText(column, spread)}`;
  }
  if (column.bar && Number.isFinite(x)) {
    cell.classList.add("barred");
    cell.style.backgroundSize = `${100 * Math.min(1, Math.max(0, x))}% 100%`;
  }
  // Plans are long, and break best behind their commas.
  cell.append(...text.split(/(?<=,)/).flatMap((part, i) =>
      i === 0 ? [part] : [html("wbr"), part]));
  return cell;
}

// What the page says of a table that it has not all rows of; null if it has.
function cutNote(page, table) {
  if (isWhole(page.results, table)) return null;
  return html("p", {class: "cut"}, ...withCode(`Cut: of \`${table}\` here are ${
      rowsOf(page.results, table).length} of ${
      countOf(page.results, table)} rows.`));
}

// options: {table, rows, columns: [name or column], caption, state (what is
// sorted and filtered), filter: whether there is one, chosen(row), choose(row),
// keep(row)}. Without columns all are shown.
function dataTable(options) {
  const {table, rows, state = {}} = options;
  const columns = (options.columns || Object.keys(tableAbout(table).columns))
      .map(c => typeof c === "string" ? columnOf(table, c)
                                      : {...columnOf(table, c.name), ...c});
  const body = html("tbody");
  const count = html("span", {class: "muted", "aria-live": "polite"});
  const more = html("button", {hidden: true, click: () => {
    state.all = true;
    fill();
  }});
  const heads = columns.map(column => {
    const button = html("button", {title: explanationOf(column), click: () => {
      state.down = state.by === column.name && !state.down;
      state.by = column.name;
      fill();
    }}, titleOf(column));
    return html("th", {scope: "col", class: isNumeric(column) ? "" : "text"},
                column.make ? titleOf(column) : button);
  });
  function fill() {
    const keep = filterOf(state.words || "", columns);
    const kept = rows.filter(
        row => keep(row) && (!options.keep || options.keep(row)));
    if (state.by !== undefined) {
      kept.sort((a, b) => compareValues(a[state.by], b[state.by], state.down));
    }
    heads.forEach((head, i) => {
      const sorted = columns[i].name === state.by;
      if (sorted) head.ariaSort = state.down ? "descending" : "ascending";
      else head.removeAttribute("aria-sort");
    });
    const shown = state.all ? kept : kept.slice(0, SHOWN_ROWS);
    body.replaceChildren(...shown.map(row => html(
        "tr", {
          class: [options.choose ? "can-choose" : "",
                  options.chosen && options.chosen(row) ? "chosen" : ""]
              .join(" ").trim() || undefined,
          click: options.choose ? () => options.choose(row) : undefined,
        },
        ...columns.map(column => valueCell(column, row)))));
    count.textContent = kept.length === rows.length
        ? `${rows.length} row${rows.length === 1 ? "" : "s"}`
        : `${kept.length} of ${rows.length} rows`;
    more.hidden = shown.length === kept.length;
    more.textContent = `Show all ${kept.length} rows`;
  }
  fill();
  const input = html("input", {type: "search", value: state.words || "",
    placeholder: "words, or column<1e-3",
    input: () => {
      state.words = input.value;
      fill();
    }});
  return html("div", {},
      options.filter ? html("div", {class: "controls"},
                            labelled("Filter", input), count) : null,
      scrolling(options.caption || tableAbout(table).about,
                html("table", {"data-table": table},
                     html("caption", {}, options.caption ||
                                         tableAbout(table).about),
                     html("thead", {}, html("tr", {}, ...heads)), body)),
      more, cutNote(page, table));
}

// The figures of one row that there are, as a list.
function factList(table, row, names) {
  const has = x => x !== null && x !== undefined && x !== "" &&
      !(Array.isArray(x) && x.length === 0);
  return html("dl", {}, ...names.filter(name => has(row[name])).flatMap(
      name => {
        const column = columnOf(table, name);
        return [html("dt", {title: explanationOf(column)}, titleOf(column)),
                html("dd", {"data-column": name}, textOf(column, row[name]))];
      }));
}

// All of a row's, folded.
function foldedRow(table, row) {
  return folded("All of its figures", () => oneRow(
      table, row, Object.keys(tableAbout(table).columns).filter(
          name => row[name] !== null)));
}
