/**
 * Clips that play together: one clock, one set of controls.
 *
 * Browsers play each video by a clock of its own, so those beside the first are held to it frame by frame,
 * and all of them start again together.
 */

import { make, prefersCalm } from "./elements.js";

const SPEEDS = [
  [1, "normal speed"],
  [0.5, "half speed"],
  [0.25, "quarter speed"],
];
/** Clips up to this width are shown with sharp pixels, unless somebody wants them smooth. */
const SMALL = 200;

export class Player {
  /** @param {HTMLElement} root where the controls go */
  constructor(root) {
    this.videos = [];
    this.playing = !prefersCalm();
    this.#makeControls(root);
  }

  /** Adds a clip and starts all of them again. @param {HTMLVideoElement} video with a source and metadata */
  add(video, { fps, num_frames: frames }) {
    [this.fps, this.frames] = [fps, frames];
    this.scrub.max = String(frames - 1);
    Object.assign(video, { muted: true, playsInline: true, loop: false, playbackRate: this.rate });
    video.addEventListener("ended", () => this.#onEnded());
    if (video.videoWidth <= SMALL) this.pixels.parentElement.hidden = false;
    this.videos.push(video);
    this.#showPixels();
    if (this.videos.length === 1) this.#hold();
    this.controls.disabled = false;
    this.seek(0);
    if (this.playing) this.play();
  }

  get rate() {
    return Number(this.speed.value);
  }

  get frame() {
    return Math.min(this.frames - 1, Math.floor(this.videos[0].currentTime * this.fps + 1e-3));
  }

  play() {
    this.playing = true;
    if (this.videos.some((video) => video.ended)) this.seek(0);
    for (const video of this.videos) video.play().catch((error) => this.#onRefused(error));
    this.#showState();
  }

  pause() {
    this.playing = false;
    for (const video of this.videos) video.pause();
    this.#align();
    this.#showState();
  }

  /** Shows a frame in all clips: its middle, so that rounding cannot show a neighbour. */
  seek(frame) {
    for (const video of this.videos) video.currentTime = (frame + 0.5) / this.fps;
    this.#showFrame(frame);
  }

  close() {
    this.closed = true;
    for (const video of this.videos) video.pause();
  }

  /** A browser may forbid what plays by itself; a play that another pause cut short is no refusal. */
  #onRefused(error) {
    if (error.name === "NotAllowedError") this.pause();
  }

  #onEnded() {
    if (!this.videos.every((video) => video.ended)) return;
    if (this.loop.checked && this.playing) {
      for (const video of this.videos) video.currentTime = 0;
      this.play();
    } else {
      this.playing = false;
      this.#showState();
    }
  }

  /** Holds the others to the first one, for as long as there is something to hold. */
  #hold() {
    const tick = () => {
      if (this.closed) return;
      const [leader, ...others] = this.videos;
      if (!leader.paused) {
        this.#showFrame(this.frame);
        for (const other of others) {
          if (!other.ended && Math.abs(other.currentTime - leader.currentTime) > 0.5 / this.fps) {
            other.currentTime = leader.currentTime;
          }
        }
      }
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  #align() {
    if (this.videos.length && !this.videos[0].ended) this.seek(this.frame);
  }

  #showFrame(frame) {
    const text = `frame ${frame + 1} of ${this.frames}`;
    if (this.scrub.value !== String(frame)) this.scrub.value = String(frame);
    this.scrub.setAttribute("aria-valuetext", text);
    this.position.textContent = `${frame + 1}/${this.frames}`;
  }

  #showPixels() {
    for (const video of this.videos) video.classList.toggle("pixels", this.pixels.checked && video.videoWidth <= SMALL);
  }

  #showState() {
    this.toggle.textContent = this.playing ? "Pause" : "Play";
    this.toggle.dataset.state = this.playing ? "playing" : "paused";
  }

  #makeControls(root) {
    const toggle = () => (this.playing ? this.pause() : this.play());
    const scrub = () => {
      if (this.playing) this.pause();
      this.seek(Number(this.scrub.value));
    };
    const speed = () => this.videos.forEach((video) => (video.playbackRate = this.rate));
    this.toggle = make("button", { type: "button", class: "play", on: { click: toggle } });
    this.scrub = make("input", { type: "range", min: 0, max: 0, step: 1, "aria-label": "Frame", on: { input: scrub } });
    this.scrub.value = "0";
    this.position = make("span", { class: "position", "aria-hidden": "true" });
    this.speed = make("select", { "aria-label": "Speed", on: { change: speed } }, ...SPEEDS.map(([value, text]) => make("option", { value, text })));
    this.speed.value = "1";
    this.loop = make("input", { type: "checkbox", checked: true });
    const loop = make("label", { class: "check" }, this.loop, "Loop");
    this.pixels = make("input", { type: "checkbox", checked: true, on: { change: () => this.#showPixels() } });
    const pixels = make("label", { class: "check", hidden: true }, this.pixels, "Sharp pixels");
    this.controls = make("fieldset", { class: "player-controls", disabled: true }, make("legend", { class: "unseen", text: "Play both clips" }), this.toggle, this.scrub, this.position, this.speed, loop, pixels);
    this.#showState();
    root.append(this.controls);
  }
}
