// The most frequent errors of one system; choosing one leaves the utterances that have it.

/**
 * Call `choose({system, pair, name})` when an error is chosen, `choose(null)` when it is again.
 * The result's `release` undoes the choice and goes back to it.
 */
function startConfusions(choose) {
  const container = document.getElementById("confusions");
  const select = document.getElementById("confusions-system");
  let chosen = null;

  function show() {
    const system = Number(select?.value ?? 0);
    const kinds = ["Substitutions", "Deletions", "Insertions"];
    container.replaceChildren(
      ...kinds.map((kind, index) => list(kind, DATA.confusions[system][index], system)),
    );
  }

  function list(kind, { different, most }, system) {
    const heading = make("h3", {}, kind);
    if (different === 0) return make("div", {}, heading, make("p", { class: "quiet" }, "none"));
    const shown =
      different > most.length
        ? `the first ${most.length} of ${different.toLocaleString("en")}`
        : `${different}`;
    heading.append(make("small", {}, ` ${shown} different`));
    const items = make("ul", { "aria-label": kind });
    for (const [index, [reference, hypothesis, count]] of most.entries()) {
      items.append(make("li", {}, button(reference, hypothesis, count, system, index === 0)));
    }
    rove(items, "button");
    return make("div", {}, heading, items);
  }

  function button(reference, hypothesis, count, system, first) {
    const words = [reference, hypothesis].filter((word) => word !== null).join(" → ");
    const element = make(
      "button",
      { type: "button", tabindex: first ? 0 : -1, "aria-pressed": "false" },
      make("span", {}, words),
      make("span", { class: "amount" }, count.toLocaleString("en")),
    );
    element.addEventListener("click", () => {
      const again = element === chosen;
      press(again ? null : element);
      choose(
        again
          ? null
          : { system, pair: [reference, hypothesis], name: errorText([reference, hypothesis]) },
      );
    });
    return element;
  }

  function press(element) {
    chosen?.setAttribute("aria-pressed", "false");
    element?.setAttribute("aria-pressed", "true");
    chosen = element;
  }

  select?.addEventListener("change", () => {
    if (chosen) choose(null);
    chosen = null;
    show();
  });
  show();
  return {
    release() {
      chosen.focus();
      press(null);
    },
  };
}
