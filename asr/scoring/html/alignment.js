// Alignments: from the compact form in the data to columns of words.

/** The pairs [reference, hypothesis] of an alignment; null where a side has no word. */
function pairs(alignment) {
  return alignment.flatMap((step) =>
    typeof step === "string" ? step.split(" ").map((word) => [word, word]) : [step],
  );
}

function kindOf([reference, hypothesis]) {
  if (reference === hypothesis) return "";
  return hypothesis === null ? "D" : reference === null ? "I" : "S";
}

/**
 * Put alignments of the same reference under each other.
 * Each column is [reference, one hypothesis a system]; undefined where a system has nothing there
 * because only another one inserted a word.
 */
function columns(alignments) {
  // Every reference word starts a slot; the words inserted after it belong to the slot.
  const slots = alignments.map((alignment) => {
    const own = [[]];
    for (const pair of pairs(alignment)) {
      if (pair[0] !== null) own.push([]);
      own[own.length - 1].push(pair);
    }
    return own;
  });
  return slots[0].flatMap((_, slot) => {
    const here = slots.map((own) => own[slot]);
    const width = Math.max(...here.map((steps) => steps.length));
    return Array.from({ length: width }, (_unused, at) => [
      here.find((steps) => at in steps)[at][0],
      ...here.map((steps) => (at in steps ? steps[at] : undefined)),
    ]);
  });
}

/** The alignment as columns that wrap, the reference above the hypotheses, each error with its mark. */
function alignmentElement(utterance, systems) {
  const shown = systems.map((system) => utterance.hypotheses[system]);
  const labels = [
    "REF",
    ...systems.map((system) => (systems.length > 1 ? DATA.systems[system].label : "HYP")),
  ];
  const block = make("div", { class: "alignment", "aria-hidden": "true" });
  block.append(column(labels.map((label) => make("span", { class: "cell label" }, label))));
  for (const [reference, ...own] of columns(shown.map((hypothesis) => hypothesis.alignment))) {
    const top = make(
      "span",
      { class: reference === null ? "cell none" : "cell" },
      reference ?? "·",
    );
    block.append(column([top, ...own.map(cell)]));
  }
  return block;
}

function column(cells) {
  return make("span", { class: "column" }, ...cells);
}

function cell(pair) {
  if (pair === undefined) return make("span", { class: "cell none" }, "·");
  const kind = kindOf(pair);
  if (!kind) return make("span", { class: "cell hit" }, pair[1]);
  return make("span", { class: `cell ${kind}` }, pair[1] ?? "–", make("sup", {}, kind));
}

/** The same in sentences, for those who hear the page. */
function alignmentText(utterance, systems) {
  const said = pairs(utterance.hypotheses[0].alignment)
    .map(([reference]) => reference)
    .filter((word) => word !== null);
  const sentences = [`Reference: ${said.join(" ") || "empty"}.`];
  for (const system of systems) {
    const errors = pairs(utterance.hypotheses[system].alignment).filter(kindOf).map(errorText);
    sentences.push(`Errors of ${DATA.systems[system].name}: ${errors.join(", ") || "none"}.`);
  }
  return sentences.join(" ");
}

function errorText([reference, hypothesis]) {
  if (hypothesis === null) return `${reference} left out`;
  if (reference === null) return `${hypothesis} inserted`;
  return `${reference} recognised as ${hypothesis}`;
}
