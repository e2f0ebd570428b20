"use strict";

// Elements, numbers, and the focus: what the other scripts share.

/** Make an HTML element; children that are strings become text, never markup. */
function make(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Make an SVG element. */
function draw(tag, attributes = {}, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** A fraction in percent; a dash where there is none. */
function percent(rate, digits = 1) {
  return rate === null ? "–" : (100 * rate).toFixed(digits);
}

/** A whole number with its sign, so that differences are told from counts. */
function signed(value) {
  return value > 0 ? `+${value}` : value < 0 ? `−${-value}` : "0";
}

function counted(number, noun) {
  return `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;
}

/**
 * Make many items one tab stop: arrow keys, Home and End move the focus among them.
 * `more` makes further items where some are still to come; End goes to the last of them.
 */
function rove(container, selector, more = () => {}) {
  const steps = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 };
  const items = () => [...container.querySelectorAll(selector)];
  container.addEventListener("keydown", (event) => {
    if (!event.target.matches(selector) || event.ctrlKey || event.metaKey || event.altKey) return;
    const present = items();
    let index = present.indexOf(event.target);
    if (event.key in steps) index = Math.max(0, index + steps[event.key]);
    else if (event.key === "Home") index = 0;
    else if (event.key === "End") index = Infinity;
    else return;
    event.preventDefault();
    if (index >= present.length) more();
    const now = items();
    now[Math.min(index, now.length - 1)].focus();
  });
  container.addEventListener("focusin", (event) => {
    if (!event.target.matches(selector)) return;
    for (const item of container.querySelectorAll(`${selector}[tabindex="0"]`)) {
      item.setAttribute("tabindex", "-1");
    }
    event.target.setAttribute("tabindex", "0");
  });
}

/** Show lines of numbers beside an item while it is pointed at or has the focus. */
function tipFor(item, lines) {
  const tip = document.getElementById("tip");
  const show = () => {
    tip.replaceChildren(...lines.map((line) => make("div", {}, line)));
    tip.hidden = false;
    const around = item.getBoundingClientRect();
    const left = Math.min(around.left + around.width / 2, innerWidth - tip.offsetWidth - 8);
    const above = around.top - tip.offsetHeight - 6;
    tip.style.left = `${Math.max(8, left) + scrollX}px`;
    tip.style.top = `${(above > 0 ? above : around.bottom + 6) + scrollY}px`;
  };
  const hide = () => {
    tip.hidden = true;
  };
  item.addEventListener("pointerenter", show);
  item.addEventListener("pointerleave", hide);
  item.addEventListener("focus", show);
  item.addEventListener("blur", hide);
}
