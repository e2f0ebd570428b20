// The table of utterances: sorted, filtered, and made row by row as it is looked at.

const ROWS_AT_ONCE = 60;

function errorsOf(utterance, system) {
  return utterance.hypotheses[system].counts.reduce((sum, count) => sum + count, 0);
}

/** Errors divided by words; infinite where words were recognised and none said. */
function rateOf(utterance, system) {
  const errors = errorsOf(utterance, system);
  return errors === 0 ? 0 : errors / utterance.words;
}

function rateText(rate) {
  return Number.isFinite(rate) ? percent(rate) : "–";
}

/** What the table shows of an utterance: title, value to sort by, text, and whether it is a number. */
function tableColumns() {
  const several = DATA.systems.length > 1;
  const lead = several ? "A " : "";
  const shown = [
    { title: "Utterance", value: (item) => item.id, text: (item) => item.id },
    { title: "Speaker", value: (item) => item.speaker ?? "", text: (item) => item.speaker ?? "–" },
    {
      title: "Seconds",
      number: true,
      value: (item) => item.seconds,
      text: (item) => item.seconds.toFixed(1),
    },
    {
      title: "Words",
      number: true,
      value: (item) => item.words,
      text: (item) => String(item.words),
    },
    {
      title: `${lead}errors`,
      number: true,
      value: (item) => errorsOf(item, 0),
      text: (item) => String(errorsOf(item, 0)),
    },
    {
      title: `${lead}WER`,
      number: true,
      value: (item) => rateOf(item, 0),
      text: (item) => rateText(rateOf(item, 0)),
    },
  ];
  if (!several) shown[4].title = "Errors";
  for (const [system, { label: name }] of DATA.systems.entries()) {
    if (system === 0) continue;
    const difference = (item) => errorsOf(item, 0) - errorsOf(item, system);
    shown.push({
      title: `${name} errors`,
      number: true,
      value: (item) => errorsOf(item, system),
      text: (item) => String(errorsOf(item, system)),
    });
    shown.push({
      title: `A\u00a0−\u00a0${name}`,
      number: true,
      value: difference,
      text: (item) => signed(difference(item)),
    });
  }
  return shown;
}

class UtteranceTable {
  constructor(filter) {
    this.filter = filter;
    this.columns = tableColumns();
    // The worst first: what one looks for.
    this.sorted = { column: this.columns[4], descending: true };
    this.open = new Set();
    this.openAll = false;
    this.systems = DATA.systems.map((_, index) => index);
    this.rows = document.getElementById("rows");
    this.makeHead();
    rove(this.rows, ".opener", () => this.addRows());
    this.rows.addEventListener("click", (event) => this.clicked(event));
    this.more = document.getElementById("more");
    const nearEnd = (entries) => entries[0].isIntersecting && this.addRows();
    this.observer = new IntersectionObserver(nearEnd, { rootMargin: "800px" });
    this.sort();
  }

  makeHead() {
    const head = document.getElementById("head");
    for (const shown of this.columns) {
      const button = make("button", { type: "button" }, shown.title);
      shown.header = make(
        "th",
        { role: "columnheader", scope: "col", class: shown.number ? "number" : null },
        button,
      );
      button.addEventListener("click", () => {
        const { column, descending } = this.sorted;
        // Numbers are first asked for from the top, names from the start.
        this.sorted = {
          column: shown,
          descending: column === shown ? !descending : Boolean(shown.number),
        };
        this.sort();
      });
      head.append(shown.header);
    }
  }

  sort() {
    const { column, descending } = this.sorted;
    for (const { header } of this.columns) header.removeAttribute("aria-sort");
    column.header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const names = new Intl.Collator("en", { numeric: true });
    const compare = column.number ? (one, two) => (one === two ? 0 : one - two) : names.compare;
    const sign = descending ? -1 : 1;
    this.order = DATA.utterances
      .map((utterance, index) => ({ index, value: column.value(utterance) }))
      .sort((one, two) => sign * compare(one.value, two.value) || one.index - two.index)
      .map(({ index }) => index);
    this.show();
  }

  /** Filter anew and make the first rows. */
  show() {
    this.shown = this.order.filter((index) => this.filter(DATA.utterances[index]));
    this.made = 0;
    this.rows.replaceChildren();
    document.getElementById("table").setAttribute("aria-rowcount", this.shown.length + 1);
    document.getElementById("count").textContent =
      `${this.shown.length.toLocaleString("en")} of ${counted(DATA.utterances.length, "utterance")}`;
    this.addRows();
  }

  addRows() {
    const end = Math.min(this.shown.length, this.made + ROWS_AT_ONCE);
    const fragment = document.createDocumentFragment();
    for (; this.made < end; this.made += 1) fragment.append(...this.row(this.shown[this.made]));
    this.rows.append(fragment);
    const left = this.shown.length - this.made;
    this.more.textContent = left ? `${left.toLocaleString("en")} more below` : "";
    // Observed anew, as it reports changes only, and a tall window may see the end still.
    this.observer.unobserve(this.more);
    if (left) this.observer.observe(this.more);
  }

  row(index) {
    const utterance = DATA.utterances[index];
    const open = this.openAll || this.open.has(index);
    const [first, ...others] = this.columns;
    const opener = make(
      "button",
      {
        type: "button",
        class: "opener",
        tabindex: this.made === 0 ? 0 : -1,
        "aria-expanded": String(open),
      },
      first.text(utterance),
    );
    const cells = others.map((shown) =>
      make(
        "td",
        { role: "cell", class: shown.number ? "number" : null, "data-name": shown.title },
        shown.text(utterance),
      ),
    );
    const row = make(
      "tr",
      { role: "row", class: "utterance", "data-index": index, "aria-rowindex": this.made + 2 },
      make("th", { role: "rowheader", scope: "row" }, opener),
      ...cells,
    );
    return open ? [row, this.details(index)] : [row];
  }

  clicked(event) {
    const row = event.target.closest(".utterance");
    // A word that is being marked to copy is no wish to open the row.
    if (!row || (getSelection().toString() && !event.target.closest("button"))) return;
    const index = Number(row.dataset.index);
    const opener = row.querySelector(".opener");
    const open = opener.getAttribute("aria-expanded") !== "true";
    opener.setAttribute("aria-expanded", String(open));
    if (open) {
      this.open.add(index);
      row.after(this.details(index));
    } else {
      this.open.delete(index);
      row.nextElementSibling.remove();
    }
  }

  details(index) {
    const utterance = DATA.utterances[index];
    const cellElement = make("td", { role: "cell", colspan: this.columns.length });
    for (const system of this.systems) cellElement.append(countsElement(utterance, system));
    cellElement.append(
      alignmentElement(utterance, this.systems),
      make("p", { class: "heard" }, alignmentText(utterance, this.systems)),
      ...writtenElements(utterance, this.systems),
      audioElement(index),
    );
    return make("tr", { role: "row", class: "details" }, cellElement);
  }
}

function countsElement(utterance, system) {
  const { counts, missing } = utterance.hypotheses[system];
  const [substitutions, deletions, insertions] = counts;
  const name = DATA.systems.length > 1 ? `${DATA.systems[system].label}: ` : "";
  return make(
    "p",
    { class: "quiet" },
    `${name}S ${substitutions}, D ${deletions}, I ${insertions}, WER ${rateText(rateOf(utterance, system))} %`,
    missing ? "; no hypothesis, counted as an empty one" : "",
  );
}

/** The texts as they were written, where normalising them for the score changed them. */
function writtenElements(utterance, systems) {
  const texts = [["Reference", utterance.text]];
  for (const system of systems) {
    const name =
      DATA.systems.length > 1 ? `Hypothesis ${DATA.systems[system].label}` : "Hypothesis";
    texts.push([name, utterance.hypotheses[system].text]);
  }
  return texts
    .filter(([, text]) => text !== null)
    .map(([name, text]) =>
      make("p", { class: "written" }, make("small", {}, `${name} as written: `), text),
    );
}

/** A button that makes the player when it is pressed, so that a page of thousands loads no audio. */
function audioElement(index) {
  const utterance = DATA.utterances[index];
  const button = make(
    "button",
    { type: "button", class: "play", "aria-label": `Play ${utterance.id}` },
    "▶ Play",
  );
  const place = make("div", { class: "audio" }, button);
  button.addEventListener("click", () => {
    const player = make("audio", { controls: true });
    const end = utterance.offset + utterance.seconds;
    if (utterance.audio === null) {
      player.src = `data:audio/ogg;base64,${document.getElementById(`audio-${index}`).textContent}`;
    } else {
      // The stretch of the file; the listeners keep to it when it is played again.
      player.src = `${utterance.audio}#t=${utterance.offset},${end}`;
      player.addEventListener("play", () => {
        if (player.currentTime < utterance.offset || player.currentTime >= end)
          player.currentTime = utterance.offset;
      });
      player.addEventListener("timeupdate", () => player.currentTime > end && player.pause());
    }
    player.addEventListener("error", () => {
      const where =
        utterance.audio === null
          ? "in this page"
          : `${decodeURIComponent(utterance.audio)}, relative to this page`;
      place.replaceChildren(
        make("p", { class: "notice", role: "alert" }, `The audio cannot be played: ${where}.`),
      );
    });
    place.replaceChildren(player);
    player.focus();
    // A refusal is told by the error event above, or is a browser's wish for one more click.
    player.play().catch(() => {});
  });
  return place;
}
