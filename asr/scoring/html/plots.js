// Plots in SVG, drawn for the width they have; each group of marks is one item for pointer and keys.

/** What all systems have in a group, line by line. */
function rateLines(name, group) {
  const lines = [
    name,
    `${counted(group.utterances, "utterance")}, ${counted(group.words, "word")}`,
  ];
  group.rates.forEach((rate, system) => {
    const interval =
      rate.low === null ? "no interval" : `95 %: ${percent(rate.low)} to ${percent(rate.high)}`;
    const label = DATA.systems.length > 1 ? `${DATA.systems[system].label} ` : "";
    lines.push(
      `${label}WER ${percent(rate.rate)} % (${interval}), ${counted(rate.errors, "error")}`,
    );
  });
  return lines;
}

function speakersPlot(width) {
  const groups = DATA.plots.speakers;
  const longest = Math.max(...groups.map((group) => group.name.length));
  const left = Math.min(8 * longest + 14, Math.round(width / 3));
  const rowHeight = 12 + 10 * DATA.systems.length;
  const scale = rateScale(groups, width - left - 22);
  const height = groups.length * rowHeight + 44;
  const svg = picture(
    width,
    height,
    "WER by speaker",
    "One row a speaker, highest WER of the first system first, with 95 % intervals.",
  );
  for (const tick of scale.ticks) {
    const x = left + scale.at(tick);
    svg.append(draw("line", { x1: x, x2: x, y1: 20, y2: height - 22, class: "grid" }));
    svg.append(label(tickText(tick), x, 14), label(tickText(tick), x, height - 8));
  }
  groups.forEach((group, index) => {
    const top = 22 + index * rowHeight;
    const row = item(
      rateLines(`Speaker ${group.name}`, group),
      { x: 1, y: top, width: width - 2, height: rowHeight },
      index === 0,
    );
    const fitting = Math.floor((left - 12) / 7.2);
    const name = group.name.length > fitting ? `${group.name.slice(0, fitting - 1)}…` : group.name;
    if (DATA.systems.length > 1)
      row.append(draw("line", { x1: left, x2: width, y1: top, y2: top, class: "grid" }));
    row.append(label(name, left - 10, top + rowHeight / 2 + 4, "end"));
    group.rates.forEach((rate, system) => {
      if (rate.rate === null) return;
      const y = top + 11 + 10 * system;
      if (rate.low !== null) {
        row.append(
          draw("line", {
            x1: left + scale.at(rate.low),
            x2: left + scale.at(rate.high),
            y1: y,
            y2: y,
            class: `range system-${system}`,
          }),
        );
      }
      row.append(mark(system, left + scale.at(rate.rate), y));
    });
    svg.append(row);
  });
  return svg;
}

function lengthsPlot(width) {
  const groups = DATA.plots.lengths;
  const frame = { width, height: 280, left: 40, bottom: 62, tickName: tickText };
  const room = frame.height - frame.bottom - 12;
  const scale = rateScale(groups, room);
  const svg = picture(
    width,
    frame.height,
    "WER by length of the utterance",
    "One column a range of seconds, with 95 % intervals.",
  );
  const slot = uprightAxes(
    svg,
    groups.map((group) => group.name.replace(" s", "")),
    scale,
    frame,
  );
  svg.append(label("seconds", width - 2, frame.height - 2, "end"));
  const base = frame.height - frame.bottom;
  groups.forEach((group, index) => {
    const column = item(
      rateLines(group.name, group),
      { x: frame.left + index * slot, y: 4, width: slot, height: base - 2 },
      index === 0,
    );
    group.rates.forEach((rate, system) => {
      if (rate.rate === null) return;
      const x = frame.left + (index + (system + 1) / (group.rates.length + 1)) * slot;
      if (rate.low !== null) {
        column.append(
          draw("line", {
            x1: x,
            x2: x,
            y1: base - scale.at(rate.low),
            y2: base - scale.at(rate.high),
            class: `range system-${system}`,
          }),
        );
      }
      column.append(mark(system, x, base - scale.at(rate.rate)));
    });
    svg.append(column);
  });
  return svg;
}

function ratesPlot(width) {
  const bars = DATA.plots.rates;
  const frame = {
    width,
    height: 280,
    left: 46,
    bottom: 62,
    tickName: (value) => value.toLocaleString("en"),
  };
  const scale = scaleFor(
    bars.flatMap((bar) => bar.counts),
    frame.height - frame.bottom - 18,
  );
  scale.ticks = scale.ticks.filter(Number.isInteger);
  const svg = picture(
    width,
    frame.height,
    "Utterances by their own WER",
    "Number of utterances in each range of WER.",
  );
  const slot = uprightAxes(
    svg,
    bars.map((bar) => bar.name),
    scale,
    frame,
  );
  svg.append(label("WER in percent", width - 2, frame.height - 2, "end"));
  const base = frame.height - frame.bottom;
  const total = DATA.utterances.length;
  bars.forEach((bar, index) => {
    const several = DATA.systems.length > 1;
    const lines = bar.counts.map(
      (count, system) =>
        `${several ? `${DATA.systems[system].label} ` : ""}${counted(count, "utterance")}, ${percent(count / total)} %`,
    );
    const title = bar.name === "no words said" ? bar.name : `WER ${bar.name} %`;
    const column = item(
      [title, ...lines],
      { x: frame.left + index * slot, y: 4, width: slot, height: base - 2 },
      index === 0,
    );
    bar.counts.forEach((count, system) => {
      const wide = (0.8 * slot) / bar.counts.length;
      const x = frame.left + (index + 0.1) * slot + system * wide;
      const high = scale.at(count);
      column.append(
        draw("rect", {
          x,
          y: base - high,
          width: Math.max(1, wide - 1),
          height: high,
          class: `bar system-${system}`,
        }),
      );
      // The mark tells the systems apart where the colour does not.
      if (several && count) column.append(mark(system, x + wide / 2, base - high));
    });
    svg.append(column);
  });
  return svg;
}

/** Draw every plot that the page has room for, and again when its width changes. */
function startPlots() {
  const makers = {
    "lengths-plot": lengthsPlot,
    "rates-plot": ratesPlot,
    "speakers-plot": speakersPlot,
  };
  const widths = new Map();
  const observer = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      const width = Math.floor(target.clientWidth);
      if (width === widths.get(target) || width === 0) continue;
      widths.set(target, width);
      target.querySelector("svg")?.remove();
      target.append(makers[target.id](width));
    }
  });
  for (const id of Object.keys(makers)) {
    const figure = document.getElementById(id);
    if (figure === null) continue;
    rove(figure, ".item");
    observer.observe(figure);
  }
  const legend = document.getElementById("legend");
  if (DATA.systems.length < 2) return;
  legend.hidden = false;
  DATA.systems.forEach((system, index) => {
    const sample = draw(
      "svg",
      { width: 14, height: 14, viewBox: "-7 -7 14 14", "aria-hidden": "true" },
      mark(index, 0, 0),
    );
    legend.append(make("span", {}, sample, make("b", {}, system.label), ` ${system.name}`));
  });
}
