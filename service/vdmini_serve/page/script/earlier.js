/** The list of this browser's earlier clips. */

import { find, make } from "./elements.js";
import { memory } from "./memory.js";
import { service } from "./service.js";

const stills = new Map();

/** @param {(entry: import("./memory.js").Entry) => void} onOpen */
export function showEarlier(onOpen, shownId) {
  const entries = memory.all();
  find("earlier").hidden = entries.length === 0;
  find("earlier-list").replaceChildren(...entries.map((entry) => row(entry, onOpen, shownId)));
  find("forget").onclick = () => {
    memory.forgetAll();
    showEarlier(onOpen, shownId);
    find("make-heading").focus();
  };
}

function row(entry, onOpen, shownId) {
  const still = make("span", { class: "still", "aria-hidden": "true" });
  if (entry.clip) showStill(entry.clip, still);
  const when = make("span", { class: "hint", text: new Date(entry.at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }) });
  const text = make("span", { class: "earlier-text" }, make("span", { class: "earlier-title", text: entry.title }), when);
  const open = make("button", { type: "button", class: "earlier-entry", "aria-current": entry.id === shownId ? "true" : null, on: { click: () => onOpen(entry) } }, still, text);
  return make("li", {}, open);
}

async function showStill(id, place) {
  try {
    if (!stills.has(id)) stills.set(id, URL.createObjectURL(await service.still(id)));
    place.replaceChildren(make("img", { src: stills.get(id), alt: "", width: 40, height: 40 }));
  } catch {
    place.classList.add("none");
  }
}
