// Building elements. Text becomes text nodes; nothing is parsed as markup.

function addTo(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") {
      made.addEventListener(key, value);
    } else if (value === true) {
      made.setAttribute(key, "");
    } else if (value !== false && value !== undefined) {
      made.setAttribute(key, value);
    }
  }
  made.append(...children.filter(child => child !== null));
  return made;
}

function html(name, attributes = {}, ...children) {
  return addTo(document.createElement(name), attributes, children);
}

const SVG =
    document.getElementById("drawing").content.firstChild.namespaceURI;

function svg(name, attributes = {}, ...children) {
  return addTo(document.createElementNS(SVG, name), attributes, children);
}

function section(id, title, ...children) {
  return html("section", {id, "aria-labelledby": `${id}-title`},
              html("h2", {id: `${id}-title`}, title), ...children);
}

// A wide figure or table scrolls by itself, and by keyboard too.
function scrolling(label, ...children) {
  return html("div", {class: "scroll", role: "region", "aria-label": label,
                      tabindex: 0}, ...children);
}

let controls = 0;

function labelled(text, control) {
  control.id = `control-${++controls}`;
  return html("span", {}, html("label", {for: control.id}, text), " ", control);
}

// A choice among [value, text, title]; `state[key]` keeps it when the page is
// drawn anew.
function chooser(text, options, state, key, changed) {
  const select = html("select", {change: () => {
    state[key] = select.value;
    changed();
  }}, ...options.map(([value, name, title]) => html("option", {
    value, title, selected: value === state[key]}, name)));
  return labelled(text, select);
}

function checkBox(text, state, key, changed) {
  const box = html("input", {type: "checkbox", change: () => {
    state[key] = box.checked;
    changed();
  }});
  box.checked = state[key];
  return html("label", {}, box, " ", text);
}

// Content that is made when it is first opened: most tables never are.
function folded(title, make) {
  const details = html("details", {toggle: () => {
    if (details.open && details.children.length === 1) details.append(make());
  }}, html("summary", {}, title));
  return details;
}

// Text in which `...` is code.
function withCode(text) {
  return text.split("`").map((part, i) =>
      i % 2 === 1 ? html("code", {}, part) : part);
}

const tip = document.getElementById("tip");

function hideTip() {
  tip.hidden = true;
}

// Shows what `text` gives near the pointer or the focused element.
function withTip(target, text) {
  const show = (x, y) => {
    tip.textContent = text();
    tip.hidden = false;
    const room = 12;
    tip.style.left = `${Math.max(
        0, Math.min(x + room, innerWidth - tip.offsetWidth - room))}px`;
    tip.style.top = `${y + room + tip.offsetHeight > innerHeight
        ? Math.max(0, y - room - tip.offsetHeight) : y + room}px`;
  };
  target.addEventListener("pointermove", e => show(e.clientX, e.clientY));
  target.addEventListener("pointerleave", hideTip);
  target.addEventListener("focus", () => {
    const box = target.getBoundingClientRect();
    show(box.right, box.bottom);
  });
  target.addEventListener("blur", hideTip);
  return target;
}
