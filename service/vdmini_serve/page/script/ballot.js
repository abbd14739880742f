/** Two clips side by side and two questions about them. Until the vote it knows as little as whoever votes. */

import { find, make } from "./elements.js";
import { Player } from "./player.js";
import { problemBox } from "./problem.js";

const QUESTIONS = [
  ["looks", "Which looks better?"],
  ["moves", "Which moves more naturally?"],
];
const ANSWERS = [
  ["left", "Left", "1"],
  ["same", "No difference", "0"],
  ["right", "Right", "2"],
];
const WHO = { vdmini: "VDMini (compressed)", teacher: "Teacher (uncompressed)" };
const KEYS_NAME = "vdmini.vote-keys";

export class BallotView {
  /** @param {object} ballot @param {Blob[]} clips left and right @param {{onVote: (said: object) => void, onNext: () => void}} actions */
  constructor(ballot, clips, { onVote, onNext }) {
    [this.ballot, this.onVote, this.onNext, this.done] = [ballot, onVote, onNext, false];
    this.addresses = clips.map((clip) => URL.createObjectURL(clip));
    this.controls = make("div", { class: "controls", hidden: true });
    this.player = new Player(this.controls);
    this.captions = ["Left", "Right"].map((text) => make("figcaption", {}, make("strong", { text })));
    const figures = this.captions.map((caption, index) => make("figure", { class: "clip" }, caption, this.#frame(index)));
    this.clips = make("div", { class: "clips", "data-count": 2 }, ...figures);
    this.clips.classList.toggle("wide", ballot.width / ballot.height > 1.4);
    this.form = this.#questions();
    this.outcome = make("div", { class: "outcome" });
    this.element = make("div", { class: "ballot" }, this.clips, this.controls, this.form, this.outcome);
    this.#load();
    this.listen = (event) => this.#onKey(event);
    document.addEventListener("keydown", this.listen);
  }

  close() {
    document.removeEventListener("keydown", this.listen);
    this.player.close();
    for (const address of this.addresses) URL.revokeObjectURL(address);
  }

  focus() {
    this.form.querySelector("input").focus();
  }

  /** Shows what was where. */
  reveal({ left, right }, said) {
    this.done = true;
    this.form.disabled = true;
    this.form.querySelector(".vote-row").hidden = true;
    [left, right].forEach(({ variant, model }, index) => {
      this.captions[index].append(make("span", { class: "kind", text: `${WHO[variant]}, ` }, make("a", { href: `/models/${encodeURIComponent(model)}`, text: model })));
      this.captions[index].parentElement.dataset.variant = variant;
    });
    const heading = make("h2", { id: "revealed", tabindex: "-1", text: `Left was the ${left.variant === "vdmini" ? "compressed model" : "teacher"}, right the ${right.variant === "vdmini" ? "compressed model" : "teacher"}` });
    const next = make("button", { type: "button", id: "next", class: "main", text: "Next pair", on: { click: this.onNext } });
    this.outcome.replaceChildren(heading, make("p", { text: inWords({ left, right }, said) }), next);
    next.focus();
    find("live").textContent = heading.textContent;
  }

  fail(problem) {
    this.send.disabled = false;
    const gone = ["already-voted", "unknown-ballot", "unknown-job", "content-gone"].includes(problem.kind);
    const next = gone ? make("button", { type: "button", id: "next", text: "Next pair", on: { click: this.onNext } }) : null;
    this.outcome.replaceChildren(problemBox(problem), ...(next ? [next] : []));
  }

  #frame(index) {
    const frame = make("div", { class: "frame" });
    frame.style.aspectRatio = `${this.ballot.width} / ${this.ballot.height}`;
    this.videos ??= [];
    this.videos[index] = make("video", { playsinline: true, muted: true, preload: "auto", disablepictureinpicture: true, "aria-label": index ? "Right clip" : "Left clip" });
    frame.append(this.videos[index]);
    return frame;
  }

  /** Both begin together, once both can be shown. */
  async #load() {
    const loaded = this.videos.map((video) => new Promise((done) => video.addEventListener("loadeddata", done, { once: true })));
    this.videos.forEach((video, index) => (video.src = this.addresses[index]));
    await Promise.all(loaded);
    for (const video of this.videos) this.player.add(video, this.ballot);
    this.controls.hidden = false;
  }

  #questions() {
    const keys = make("input", { type: "checkbox", id: "vote-keys", on: { change: ({ target }) => keepKeys(target.checked) } });
    keys.checked = keysWanted();
    this.keys = keys;
    this.send = make("button", { type: "button", id: "vote", class: "main", disabled: true, text: "Vote", on: { click: () => this.#vote() } });
    const hint = make("label", { class: "check" }, keys, make("span", {}, "Answer with the keys ", make("kbd", { text: "1" }), " left, ", make("kbd", { text: "2" }), " right, ", make("kbd", { text: "0" }), " no difference"));
    const left = this.ballot.to_vote - 1;
    const more = make("p", { class: "hint", text: left ? `${left} more ${left === 1 ? "pair" : "pairs"} after this one` : "This is the last pair for now" });
    const list = QUESTIONS.map(([name, text]) => this.#question(name, text));
    return make("fieldset", { class: "bare questions", "aria-label": "Your vote" }, ...list, make("div", { class: "vote-row" }, this.send, make("div", {}, hint, more)));
  }

  #question(name, text) {
    const choose = ([value, label]) =>
      make("label", {}, make("input", { type: "radio", name, value, on: { change: () => this.#onAnswer() } }), " ", make("span", { text: label }));
    return make("fieldset", { class: "bare question", "data-question": name }, make("legend", { text }), make("div", { class: "segmented three" }, ...ANSWERS.map(choose)));
  }

  answer(name) {
    return this.form.querySelector(`[name="${name}"]:checked`)?.value;
  }

  #onAnswer() {
    this.send.disabled = QUESTIONS.some(([name]) => !this.answer(name));
  }

  #vote() {
    this.send.disabled = true;
    this.onVote(Object.fromEntries(QUESTIONS.map(([name]) => [name, this.answer(name)])));
  }

  /** A digit answers the question that has the focus, else the first one without an answer. */
  #onKey(event) {
    const answer = ANSWERS.find(([, , key]) => key === event.key);
    const typing = event.target.matches?.("input:not([type=radio], [type=checkbox], [type=range]), select, textarea");
    if (!answer || typing || this.done || !this.keys.checked || event.ctrlKey || event.metaKey || event.altKey) return;
    const open = QUESTIONS.map(([name]) => name).filter((name) => !this.answer(name));
    const focused = event.target.closest?.("[data-question]")?.dataset.question;
    const name = open.includes(focused) || !open.length ? (focused ?? "looks") : open[0];
    const control = this.form.querySelector(`[name="${name}"][value="${answer[0]}"]`);
    control.checked = true;
    this.#onAnswer();
    const next = QUESTIONS.map(([each]) => each).find((each) => !this.answer(each));
    (next ? this.form.querySelector(`[name="${next}"]`) : this.send).focus();
    find("live").textContent = `${QUESTIONS.find(([each]) => each === name)[1]} ${answer[1]}`;
    event.preventDefault();
  }
}

function inWords(sides, said) {
  const name = (answer) => (answer === "same" ? "neither" : sides[answer].variant === "vdmini" ? "the compressed model" : "the teacher");
  if (said.looks === said.moves) return `In looks and in motion you preferred ${name(said.looks)}.`;
  return `In looks you preferred ${name(said.looks)}, in motion ${name(said.moves)}.`;
}

function keysWanted() {
  try {
    return localStorage.getItem(KEYS_NAME) !== "off";
  } catch {
    return true;
  }
}

function keepKeys(wanted) {
  try {
    localStorage.setItem(KEYS_NAME, wanted ? "on" : "off");
  } catch {
    // it holds until the page is left
  }
}
