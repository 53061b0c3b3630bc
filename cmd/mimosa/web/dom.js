// Small helpers for making and keeping up elements. Text is always set as text, never as markup.

export const byId = (id) => document.getElementById(id);

export function element(tag, className, text) {
  const e = document.createElement(tag);
  if (className) e.className = className;
  if (text !== undefined) e.textContent = text;
  return e;
}

export function append(parent, children) {
  parent.append(...children);
  return parent;
}

/**
 * Makes the children of parent those of items, in order: an item keeps its element for as long as it is listed, so that
 * focus, scroll position and what a screen reader has read stay.
 */
export function list(parent, items, { create, update }) {
  const old = new Map();
  for (const child of parent.children) if (child.dataset.key) old.set(child.dataset.key, child);
  let at = parent.firstElementChild;
  for (const item of items) {
    let child = old.get(item._id);
    if (child) {
      old.delete(item._id);
    } else {
      child = create(item);
      child.dataset.key = item._id;
    }
    update(child, item);
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
  for (const child of old.values()) child.remove();
}

/** Sets a text, and leaves the document alone where it is set already. */
export function setText(node, text) {
  if (node.textContent !== String(text)) node.textContent = text;
}

export const plural = (n, noun) => `${n.toLocaleString()} ${noun}${n === 1 ? "" : "s"}`;

/** A hue that stays the same for one text. */
function hue(text) {
  let h = 7;
  for (const c of text) h = (h * 31 + c.codePointAt(0)) % 3600;
  return h / 10;
}

const initial = (name) => [...name.trim()][0]?.toLocaleUpperCase() ?? "?";

/** Shows a person's initial on a colour of their own. */
export function paintAvatar(node, name, id) {
  setText(node, initial(name));
  node.style.setProperty("--hue", hue(id));
  return node;
}

export function avatar() {
  const node = element("span", "avatar");
  node.setAttribute("aria-hidden", "true");
  return node;
}

/** The sign of a course. */
export function mark() {
  const node = element("span", "mark");
  node.setAttribute("aria-hidden", "true");
  return node;
}

const courseHues = { databases: 205, go: 172, music: 320 };

export function paintMark(node, course) {
  setText(node, initial(course));
  node.style.setProperty("--hue", courseHues[course] ?? hue(course));
}

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const day = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" });

export const dayOf = (ms) => (new Date().toDateString() === new Date(ms).toDateString() ? "Today" : day.format(ms));

export function timeElement(ms) {
  const node = element("time", "", time.format(ms));
  node.dateTime = new Date(ms).toISOString();
  node.title = full.format(ms);
  return node;
}
