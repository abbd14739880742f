/** The right half of the playground: a run from its first state to clips that play side by side. */

import { find, make, prefersCalm } from "./elements.js";
import { latencyPanel } from "./latency.js";
import { Player } from "./player.js";
import { problemBox } from "./problem.js";
import { milestone, ProgressBar } from "./progress.js";
import { asCurl, asPython } from "./snippets.js";

const NAMES = { vdmini: ["VDMini", "compressed"], teacher: ["Teacher", "uncompressed"] };

export class Stage {
  /** @param {import("./run.js").Run} run @param {{onCancel: () => void, onAgain: () => void}} actions */
  constructor(run, { onCancel, onAgain }) {
    [this.run, this.onAgain] = [run, onAgain];
    this.cards = run.sides.map((side) => new Card(side));
    this.controls = make("div", { class: "controls" });
    this.player = new Player(this.controls);
    this.results = make("div", { class: "results" });
    this.cancel = make("button", { type: "button", class: "quiet", id: "cancel", text: "Cancel", on: { click: onCancel } });
    this.clips = make("div", { class: "clips", "data-count": this.cards.length }, ...this.cards.map((card) => card.element));
    const title = make("div", { class: "stage-title" }, make("h2", { id: "stage-heading", tabindex: "-1", text: run.entry.title }), this.cancel);
    find("stage").replaceChildren(title, this.clips, this.controls, this.results);
    this.controls.hidden = true;
    run.onChange = () => this.show();
    this.show();
  }

  show() {
    this.run.sides.forEach((side, index) => this.cards[index].show(side, (video, job) => this.#onClip(video, job)));
    this.#announce();
    const over = this.run.over;
    if (over && document.activeElement === this.cancel) find("stage-heading").focus();
    this.cancel.hidden = over;
    if (over) this.#showResults();
  }

  close() {
    this.player.close();
    this.run.leave();
    for (const card of this.cards) card.close();
  }

  #onClip(video, job) {
    this.controls.hidden = false;
    this.clips.classList.toggle("wide", job.width / job.height > 1.4);
    this.player.add(video, job);
    this.#showResults();
  }

  #jobs() {
    return this.run.sides.map((side) => side.job).filter((job) => job?.status === "succeeded");
  }

  /** What is known so far; what can be copied and used again comes when all is over. */
  #showResults() {
    const { over, entry } = this.run;
    const jobs = this.#jobs();
    const known = jobs.map((job) => job.id).join() + over + this.run.comparable;
    if (this.results.dataset.known === known) return;
    this.results.dataset.known = known;
    const parts = jobs.length ? [latencyPanel(jobs)] : [];
    if (this.run.comparable) parts.push(make("p", { class: "hint" }, make("a", { href: "/compare", text: "Vote on such pairs" }), ", without being told which is which."));
    if (over && jobs.length) parts.push(facts(jobs[0]), snippets(entry));
    if (over && entry.model) parts.push(this.#againButton());
    this.results.replaceChildren(...parts.filter(Boolean));
  }

  #againButton() {
    return make("button", { type: "button", class: "quiet", id: "again", text: "Use these settings again", on: { click: this.onAgain } });
  }

  #announce() {
    const text = this.run.sides.map((side) => `${NAMES[side.variant][0]} ${milestone(side)}`).join("; ");
    const live = find("live");
    if (live.textContent !== text) live.textContent = text;
  }
}

class Card {
  constructor(side) {
    this.name = make("strong", {});
    this.kind = make("span", { class: "kind" });
    this.progress = new ProgressBar("Progress");
    this.frame = make("div", { class: "frame" });
    this.below = make("div", { class: "below" }, this.progress.element);
    this.element = make("figure", { class: "clip" }, make("figcaption", {}, this.name, this.kind), this.frame, this.below);
    this.#label(side);
  }

  show(side, onClip) {
    this.#label(side);
    if (side.job) this.frame.style.aspectRatio = `${side.job.width} / ${side.job.height}`;
    if (side.problem) this.#finish(problemBox(side.problem));
    else if (side.job?.status === "cancelled") this.#finish(make("p", { class: "standing", text: "Cancelled" }));
    else if (side.clip) this.#play(side, onClip);
    else this.progress.show(side);
  }

  close() {
    if (this.address) URL.revokeObjectURL(this.address);
  }

  #label({ variant }) {
    const [name, kind] = NAMES[variant];
    [this.name.textContent, this.kind.textContent] = [name, kind];
    this.element.dataset.variant = variant;
    this.progress.bar.setAttribute("aria-label", `Progress of ${name}`);
  }

  #finish(...content) {
    this.element.dataset.state = "finished";
    this.below.replaceChildren(...content);
  }

  #play({ clip, job, variant }, onClip) {
    if (this.address) return;
    this.address = URL.createObjectURL(clip);
    const video = make("video", { src: this.address, playsinline: true, muted: true, preload: "auto", disablepictureinpicture: true, "aria-label": `Clip made by ${NAMES[variant][0]}` });
    video.addEventListener("loadeddata", () => onClip(video, job), { once: true });
    this.frame.replaceChildren(video);
    const download = make("a", { class: "download", href: this.address, download: `vdmini-${variant}-seed-${job.seed}.mp4`, text: "Download MP4" });
    this.#finish(download);
  }
}

function facts(job) {
  const size = `${job.width} × ${job.height}, ${job.num_frames} frames at ${job.fps} a second`;
  const rows = [
    ["Seed", String(job.seed)],
    ["Clip", `${size}, ${job.num_inference_steps} ${job.num_inference_steps === 1 ? "step" : "steps"}`],
    ["Device", job.device ?? "unknown"],
    ["Kept until", job.expires_at ? new Date(job.expires_at * 1000).toLocaleString() : "unknown"],
  ];
  return make("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", { text: value })]));
}

function snippets(entry) {
  if (!entry.model) return null;
  const fields = { variant: entry.model, ...entry.fields };
  const list = [
    ["curl", asCurl(entry.task, fields, entry.picture)],
    ["Python", asPython(entry.task, fields, entry.picture)],
  ];
  return make("details", { class: "snippets" }, make("summary", { text: "The same by curl or Python" }), ...list.map(([name, text]) => snippet(name, text)));
}

function snippet(name, text) {
  const copied = make("span", { class: "copied", role: "status" });
  const copy = async () => {
    await navigator.clipboard.writeText(text).then(
      () => (copied.textContent = "Copied"),
      () => (copied.textContent = "This browser does not allow it: select the text instead"),
    );
  };
  const button = make("button", { type: "button", class: "quiet", "aria-label": `Copy as ${name}`, text: "Copy", on: { click: copy } });
  const code = make("pre", { tabindex: "0", role: "region", "aria-label": `Request as ${name}` }, make("code", { text }));
  return make("div", { class: "snippet", "data-language": name.toLowerCase() }, make("div", { class: "snippet-head" }, make("h3", { text: name }), copied, button), code);
}

/** Brings the stage into view where it lies below the form. */
export function bringIntoView() {
  const stage = find("stage");
  if (stage.getBoundingClientRect().top > innerHeight * 0.6) {
    stage.scrollIntoView({ behavior: prefersCalm() ? "auto" : "smooth", block: "start" });
  }
}
