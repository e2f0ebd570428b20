// What plots are drawn with: marks, scales, axes, and items that show their numbers.

const MARKS = [
  "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0Z",
  "M-3.5,-3.5H3.5V3.5H-3.5Z",
  "M0,-4.5L4.5,3.5H-4.5Z",
  "M0,-5L5,0L0,5L-5,0Z",
  "M0,4.5L4.5,-3.5H-4.5Z",
  "M-4,-4L0,-1.5L4,-4L1.5,0L4,4L0,1.5L-4,4L-1.5,0Z",
];

function mark(system, x, y) {
  return draw("path", {
    d: MARKS[system],
    transform: `translate(${x},${y})`,
    class: `mark system-${system}`,
  });
}

/** A scale from 0 to a round number at or above the largest value, with its ticks. */
function scaleFor(values, length) {
  const largest = Math.max(...values.filter((value) => value !== null), 0) || 1;
  const power = 10 ** Math.floor(Math.log10(largest / 4));
  const step = [1, 2, 2.5, 5, 10]
    .map((factor) => factor * power)
    .find((size) => size * 5 >= largest);
  const end = step * Math.ceil(largest / step - 1e-9);
  return {
    at: (value) => (Math.min(value, end) / end) * length,
    ticks: Array.from({ length: Math.round(end / step) + 1 }, (_, index) => index * step),
  };
}

/** The scale of rates: intervals may reach beyond what would leave room for the others. */
function rateScale(groups, length) {
  const rates = groups.flatMap((group) => group.rates);
  const cap = 2 * Math.max(...rates.map((rate) => rate.rate ?? 0));
  const highs = rates.map((rate) => (rate.high === null ? null : Math.min(rate.high, cap)));
  return scaleFor([...rates.map((rate) => rate.rate), ...highs], length);
}

function tickText(value) {
  return String(Number((100 * value).toFixed(2)));
}

function picture(width, height, title, description) {
  const name = title.toLowerCase().replaceAll(" ", "-");
  return draw(
    "svg",
    {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "group",
      "aria-labelledby": `${name}-title`,
      "aria-describedby": `${name}-description`,
    },
    draw("title", { id: `${name}-title` }, title),
    draw("desc", { id: `${name}-description` }, description),
  );
}

function label(text, x, y, anchor = "middle") {
  return draw("text", { x, y, "text-anchor": anchor }, text);
}

/** A group of marks that shows its numbers; the first one of a plot is its tab stop. */
function item(lines, box, first) {
  const element = draw("g", {
    class: "item",
    role: "img",
    tabindex: first ? 0 : -1,
    "aria-label": lines.join("; "),
  });
  // The empty title keeps the browser's own tip, the title of the whole, away from ours.
  element.append(draw("title"), draw("rect", { ...box, class: "hit", rx: 3 }));
  tipFor(element, lines);
  return element;
}

/** Axes of an upright plot, and the place of each of its slots along the horizontal one. */
function uprightAxes(svg, names, scale, { width, height, left, bottom, tickName }) {
  for (const tick of scale.ticks) {
    const y = height - bottom - scale.at(tick);
    svg.append(draw("line", { x1: left, x2: width, y1: y, y2: y, class: "grid" }));
    svg.append(label(tickName(tick), left - 6, y + 4, "end"));
  }
  const slot = (width - left) / names.length;
  names.forEach((name, index) => {
    const x = left + (index + 0.5) * slot;
    const text = label(name, x, height - bottom + 16, "end");
    text.setAttribute("transform", `rotate(-40 ${x} ${height - bottom + 12})`);
    svg.append(text);
  });
  return slot;
}
