/** What each block is worth: what is lost without it, against the time that is saved; and the same as a table. */

import { draw } from "./drawing.js";
import { make } from "./elements.js";
import { figure } from "./measures.js";
import { isRemoved } from "./unet-picture.js";

const [WIDTH, HEIGHT, LEFT, BOTTOM, EDGE] = [420, 260, 46, 40, 12];
const KINDS = { pair: "pair", temporal: "temporal part of a stage", middle: "middle", stage: "innermost stage and middle" };
const NAMED = 4;

/** @param {object} importance @param {string[]} removed */
export function importancePicture(importance, removed) {
  const panels = [
    ["Content", "content_lost", importance.content],
    ["Motion", "motion_lost", importance.motion],
  ];
  return make(
    "div",
    { class: "importance" },
    make("div", { class: "panels" }, ...panels.map((panel) => figureOf(panel, importance, removed))),
    make("p", { class: "hint" }, make("span", { class: "mark kept", "aria-hidden": "true" }), " kept ", make("span", { class: "mark gone", "aria-hidden": "true" }), " removed. ", explanation(importance)),
    table(importance, removed),
  );
}

const explanation = ({ clips, data, device, measured_at: at }) =>
  `Each mark is the teacher with one block switched off and nothing healed, on ${clips} clips of ${data} (${device}, ${at.slice(0, 10)}). What lies low and far right costs time and is hardly missed.`;

function figureOf([name, field, { words, unit }], { blocks }, removed) {
  const title = make("figcaption", {}, make("strong", { text: name }), ` added ${words}${unit ? `, ${unit}` : ""}`);
  return make("figure", {}, title, scatter(field, name, blocks, removed));
}

function scatter(field, name, blocks, removed) {
  const [across, along] = [scale(blocks.map((each) => 1000 * each.seconds_saved), LEFT, WIDTH - EDGE), scale(blocks.map((each) => each[field]), HEIGHT - BOTTOM, EDGE)];
  const axes = [...along.ticks.map((value) => gridLine(along.at(value), value)), ...across.ticks.map((value) => draw("text", { x: across.at(value), y: HEIGHT - BOTTOM + 18, "text-anchor": "middle", text: figure(value) }))];
  const below = draw("text", { x: (LEFT + WIDTH) / 2, y: HEIGHT - 4, "text-anchor": "middle", text: "milliseconds saved in a pass" });
  const marks = blocks.map((each) => mark(each, across.at(1000 * each.seconds_saved), along.at(each[field]), field, removed));
  const worst = [...blocks].sort((a, b) => b[field] - a[field]).slice(0, NAMED);
  const names = spread(worst.map((each) => ({ x: across.at(1000 * each.seconds_saved), y: along.at(each[field]), text: each.label })));
  return draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", class: "scatter", "aria-label": `${name}: lost against time saved, one mark for each block; the table below has the numbers` }, ...axes, below, ...marks, ...names);
}

/** Names beside their marks; one that would lie on another is left to the table. */
function spread(labels) {
  const kept = [];
  for (const label of labels) {
    const clear = kept.every((other) => Math.abs(other.y - label.y) > 14 || Math.abs(other.x - label.x) > 110);
    if (clear) kept.push(label);
  }
  return kept.map(({ x, y, text }) => {
    const back = x > WIDTH / 2;
    return draw("text", { x: x + (back ? -9 : 9), y: y + 4, "text-anchor": back ? "end" : "start", class: "name", text });
  });
}

function gridLine(y, value) {
  const line = draw("line", { x1: LEFT, x2: WIDTH - EDGE, y1: y, y2: y, class: value === 0 ? "zero" : "grid" });
  return draw("g", {}, line, draw("text", { x: LEFT - 6, y: y + 4, "text-anchor": "end", text: figure(value) }));
}

function mark(each, x, y, field, removed) {
  const gone = isRemoved(each.name, removed);
  const title = draw("title", { text: `${each.label}: ${figure(each[field])} lost, ${figure(1000 * each.seconds_saved)} ms saved${gone ? ", removed" : ""}` });
  return draw("circle", { cx: x, cy: y, r: 5, class: `mark ${gone ? "gone" : "kept"}`, "data-block": each.name }, title);
}

/** A linear scale from 0 (or less) to the largest value, and some round numbers on it. */
function scale(values, from, to) {
  const [low, high] = [Math.min(0, ...values), Math.max(...values, 1e-9)];
  const step = roundStep((high - low) / 4);
  const ticks = [];
  for (let at = Math.ceil(low / step); at * step <= high; at += 1) ticks.push(at * step);
  return { at: (value) => from + ((value - low) / (high - low)) * (to - from), ticks };
}

function roundStep(raw) {
  const size = 10 ** Math.floor(Math.log10(raw));
  return [1, 2, 5, 10].map((each) => each * size).find((each) => each >= raw);
}

function table(importance, removed) {
  const head = ["Block", "What", "Content lost", "Motion lost", "ms saved", ""].map((text) => make("th", { scope: "col", text }));
  const row = (each) =>
    make("tr", {}, make("th", { scope: "row", text: each.label }), ...[KINDS[each.kind] ?? each.kind, figure(each.content_lost), figure(each.motion_lost), figure(1000 * each.seconds_saved), isRemoved(each.name, removed) ? "removed" : ""].map((text) => make("td", { text })));
  const body = make("table", { class: "numbers" }, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...importance.blocks.map(row)));
  return make("details", {}, make("summary", { text: `All ${importance.blocks.length} blocks as a table` }), make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Importance of blocks" }, body));
}
