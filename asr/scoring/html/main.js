// Brings the parts together: what the filters say, the table shows.

const DATA = JSON.parse(document.getElementById("data").textContent);

function start() {
  const search = document.getElementById("search");
  const speaker = document.getElementById("speaker");
  const onlyErrors = document.getElementById("only-errors");
  const onlyDifferent = document.getElementById("only-different");
  const allSystems = document.getElementById("all-systems");
  const openAll = document.getElementById("open-all");
  const clear = document.getElementById("clear-confusion");
  let confusion = null;

  const names = new Set(
    DATA.utterances.map((utterance) => utterance.speaker).filter((name) => name !== null),
  );
  const speakers = [...names].sort(new Intl.Collator("en", { numeric: true }).compare);

  function wanted(utterance) {
    const query = search.value.trim().toUpperCase();
    return (
      (!query || searchedText(utterance).includes(query)) &&
      (speaker.selectedIndex === 0 || utterance.speaker === speakers[speaker.selectedIndex - 1]) &&
      (!onlyErrors.checked ||
        utterance.hypotheses.some((_, system) => errorsOf(utterance, system) > 0)) &&
      (!onlyDifferent?.checked || differs(utterance)) &&
      (!confusion || hasError(utterance, confusion))
    );
  }

  const table = new UtteranceTable(wanted);
  const confusions = startConfusions((chosen) => {
    confusion = chosen;
    clear.hidden = chosen === null;
    clear.textContent = chosen === null ? "" : `✕ ${chosen.name}`;
    table.show();
    if (chosen === null) return;
    document.getElementById("utterances").scrollIntoView();
    clear.focus({ preventScroll: true });
  });

  speaker.append(...speakers.map((name) => make("option", {}, name)));
  search.addEventListener("input", () => table.show());
  for (const control of [speaker, onlyErrors, onlyDifferent])
    control?.addEventListener("change", () => table.show());
  allSystems?.addEventListener("change", () => {
    table.systems = allSystems.checked ? DATA.systems.map((_, index) => index) : [0];
    table.show();
  });
  openAll.addEventListener("change", () => {
    table.openAll = openAll.checked;
    table.open.clear();
    table.show();
  });
  clear.addEventListener("click", () => {
    confusion = null;
    clear.hidden = true;
    table.show();
    confusions.release();
  });
  document.getElementById("filters").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches("input:not([type=checkbox]), select")) return;
    event.preventDefault();
    search.focus();
  });
  startPlots();
}

const SEARCHED = new Map();

/** What the search looks in: the id, the words of all sides, and the texts as written. */
function searchedText(utterance) {
  if (!SEARCHED.has(utterance)) {
    const parts = [utterance.id, utterance.text ?? ""];
    for (const { alignment, text } of utterance.hypotheses) {
      const aligned = pairs(alignment);
      for (const side of [0, 1]) {
        parts.push(
          aligned
            .map((pair) => pair[side])
            .filter((word) => word !== null)
            .join(" "),
        );
      }
      parts.push(text ?? "");
    }
    SEARCHED.set(utterance, parts.join("\n").toUpperCase());
  }
  return SEARCHED.get(utterance);
}

function differs(utterance) {
  const [first, ...others] = utterance.hypotheses.map((hypothesis) =>
    JSON.stringify(hypothesis.alignment),
  );
  return others.some((other) => other !== first);
}

function hasError(utterance, { system, pair: [reference, hypothesis] }) {
  return pairs(utterance.hypotheses[system].alignment).some(
    (pair) => pair[0] === reference && pair[1] === hypothesis && kindOf(pair) !== "",
  );
}

start();
