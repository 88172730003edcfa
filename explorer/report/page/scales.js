// Axes and colours.

// A scale over the finite values of a list, of which a logarithmic one takes
// the magnitudes that are not 0. `of` maps a value to 0..1, or to undefined
// where it has no place.
function scaleOf(values, log) {
  let low = Infinity, high = -Infinity;
  for (const x of values) {
    const size = log ? Math.abs(x) : x;
    if (!Number.isFinite(size) || (log && size === 0)) continue;
    low = Math.min(low, size);
    high = Math.max(high, size);
  }
  if (low > high) [low, high] = log ? [1e-3, 1] : [0, 1];
  const place = log ? x => Math.log10(Math.abs(x)) : x => x;
  const span = place(high) - place(low);
  return {
    log, low, high,
    of: x => !Number.isFinite(x) || (log && x === 0) ? undefined
        : span === 0 ? 0.5 : (place(x) - place(low)) / span,
  };
}

// The same with round ends and ticks, for an axis.
function axisOf(values, log) {
  const scale = scaleOf(values, log);
  if (log) {
    const first = Math.floor(Math.log10(scale.low));
    const last = Math.max(first + 1, Math.ceil(Math.log10(scale.high)));
    const step = Math.ceil((last - first) / 8);
    const ticks = [];
    for (let e = first; e <= last; e += step) ticks.push(10 ** e);
    return {...scaleOf([10 ** first, 10 ** last], true), ticks,
            name: x => `1e${Math.round(Math.log10(x))}`};
  }
  const span = scale.high - scale.low || Math.abs(scale.high) || 1;
  const raw = span / 5, size = 10 ** Math.floor(Math.log10(raw));
  const step = size * [1, 2, 5, 10].find(m => m * size >= raw);
  const first = Math.floor(scale.low / step);
  const last = Math.max(first + 1, Math.ceil(scale.high / step));
  const ticks = [];
  for (let i = first; i <= last; ++i) ticks.push(i * step);
  return {...scaleOf([first * step, last * step], false), ticks,
          name: x => shortNumber(Number(x.toPrecision(6)))};
}

// Lightness falls along the ramp, and rises on a dark ground, so that more is
// always further from the ground: for eyes that tell no colours, and on paper.
const RAMP = ["#fdf3b4", "#fbd87f", "#f6b663", "#ec9159", "#d96c5b", "#bb4e66",
              "#96376f", "#6c2770", "#411a61", "#1d0f3f"];

const darkScheme = matchMedia("(prefers-color-scheme: dark)");
let printing = false;

function isDark() {
  return darkScheme.matches && !printing;
}

function channelsOf(stop) {
  return [1, 3, 5].map(at => parseInt(RAMP[stop].slice(at, at + 2), 16));
}

function rampColour(t) {
  // The ends on the side of the ground are left out: they would look empty.
  const along = isDark() ? 0.88 * (1 - t) : 0.04 + 0.96 * t;
  const at = Math.min(1, Math.max(0, along)) * (RAMP.length - 1);
  const stop = Math.min(RAMP.length - 2, Math.floor(at));
  const low = channelsOf(stop), high = channelsOf(stop + 1);
  return `rgb(${low.map((x, i) =>
      Math.round(x + (high[i] - x) * (at - stop))).join(", ")})`;
}

// Whether text on the ramp at t has to be white.
function isDeep(t) {
  return isDark() ? t < 0.45 : t > 0.55;
}
