/** The picture to animate: chosen, dropped, pasted, or one of the samples. It leaves the browser only when a clip is made. */

import { find, make } from "./elements.js";
import { ask } from "./service.js";

const SAMPLES = [
  ["circle.png", "a red circle that looks to the right"],
  ["triangle.png", "a yellow triangle that looks down"],
  ["cross.png", "a cyan cross that looks up and left"],
  ["cat.jpg", "the photograph of a ginger cat"],
  ["rocket.jpg", "the photograph of a rocket on its launch pad"],
];

export class Picture {
  /** @param {() => void} onChange */
  constructor(onChange) {
    this.onChange = onChange;
    this.file = null;
    this.sample = null;
    this.input = find("image");
    this.input.addEventListener("change", () => this.input.files[0] && this.take(this.input.files[0]));
    find("samples").append(...SAMPLES.map(([name, text]) => this.#sampleButton(name, text)));
    this.#listen();
  }

  /** @param {File} file @param {string | null} [sample] its name, when it is one of the samples */
  take(file, sample = null) {
    [this.file, this.sample] = [file, sample];
    const preview = find("picture-preview");
    URL.revokeObjectURL(preview.src);
    preview.src = URL.createObjectURL(file);
    preview.alt = `The chosen picture, ${file.name}`;
    preview.hidden = false;
    find("picture-name").textContent = `${file.name}, ${size(file.size)}`;
    find("drop-hint").textContent = "Drop, paste or choose another one";
    for (const button of document.querySelectorAll("[data-sample]")) {
      button.setAttribute("aria-pressed", String(button.dataset.sample === sample));
    }
    this.onChange();
  }

  async takeSample(name) {
    if (!SAMPLES.some(([known]) => known === name)) return;
    const blob = await (await ask(`/page/samples/${name}`)).blob();
    this.take(new File([blob], name, { type: blob.type }), name);
  }

  /** What to call it. */
  get title() {
    const known = SAMPLES.find(([name]) => name === this.sample);
    return known ? known[1][0].toUpperCase() + known[1].slice(1) : this.file.name;
  }

  /** Why a service will not take it; null when nothing is known against it. */
  objection({ max_upload_bytes: most }) {
    if (!this.file) return "Choose a picture first: drop one, paste one, or take a sample.";
    if (this.file.size <= most) return null;
    return `${this.file.name} has ${size(this.file.size)}; this service takes ${size(most)} at most. Choose a smaller picture.`;
  }

  #sampleButton(name, text) {
    const picture = make("img", { src: `/page/samples/${name}`, alt: text, width: 64, height: 64, loading: "lazy" });
    const choose = () => this.takeSample(name);
    return make("button", { type: "button", class: "sample", "data-sample": name, "aria-pressed": "false", on: { click: choose } }, picture);
  }

  #listen() {
    const drop = find("drop");
    const over = (event) => {
      event.preventDefault();
      drop.classList.toggle("over", event.type === "dragover");
    };
    for (const kind of ["dragover", "dragleave"]) document.addEventListener(kind, over);
    document.addEventListener("drop", (event) => {
      over(event);
      this.#firstOf(event.dataTransfer);
    });
    document.addEventListener("paste", (event) => this.#firstOf(event.clipboardData));
  }

  #firstOf(transfer) {
    const file = transfer?.files[0];
    if (!file) return;
    find("task-i2v").click();
    this.take(file);
  }
}

export const size = (bytes) => (bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`);
