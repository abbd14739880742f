/** What people preferred, as bars with their intervals and in words. */

import { make } from "./elements.js";

const QUESTIONS = { looks: "Looks better", moves: "Moves more naturally" };
const percent = (share) => `${Math.round(100 * share)} %`;

/** @param {object[]} preferences of `GET /v1/comparisons` */
export function standingsList(preferences) {
  if (preferences.length === 0) return make("p", { class: "hint", text: "Nobody has voted yet." });
  const models = [...new Set(preferences.map((each) => each.model))];
  return make("div", { class: "preferences" }, ...models.map((name) => group(name, preferences.filter((each) => each.model === name))));
}

function group(name, preferences) {
  const title = make("h3", {}, make("a", { href: `/models/${encodeURIComponent(name)}`, text: name }));
  return make("section", {}, title, ...preferences.map(row));
}

function row(preference) {
  const { question, rate, low, high, vdmini, same, teacher } = preference;
  const span = make("span", { class: "span" });
  span.style.insetInlineStart = percent(low);
  span.style.inlineSize = `${100 * (high - low)}%`;
  const point = make("span", { class: "point" });
  point.style.insetInlineStart = `${100 * rate}%`;
  const bar = make("div", { class: "preference-bar", "aria-hidden": "true" }, make("span", { class: "middle" }), span, point);
  const ends = make("div", { class: "ends hint", "aria-hidden": "true" }, make("span", { text: "teacher" }), make("span", { text: "compressed" }));
  const votes = vdmini + same + teacher;
  const counts = `${votes} ${votes === 1 ? "vote" : "votes"}: ${vdmini} for the compressed model, ${same} no difference, ${teacher} for the teacher`;
  const text = make("p", { class: "hint", text: `${counts}. Preference for the compressed model ${percent(rate)}, 95 % interval ${percent(low)} to ${percent(high)}: ${verdict(low, high)}.` });
  return make("div", { class: "preference", "data-question": question, "data-model": preference.model }, make("strong", { text: QUESTIONS[question] }), bar, ends, text);
}

function verdict(low, high) {
  if (low > 0.5) return "the compressed model is preferred";
  return high < 0.5 ? "the teacher is preferred" : "too close, or too few votes, to tell";
}
