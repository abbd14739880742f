/** The settings of a clip: one control for each thing that the model lets people choose, with its limits. */

import { find, make } from "./elements.js";

/** What the API itself allows, whatever the model. A test holds these against the service. */
export const BOUNDS = {
  guidance_scale: { min: 1, max: 30, step: 0.1 },
  motion_bucket_id: { min: 0, max: 255, step: 1 },
  noise_aug_strength: { min: 0, max: 1, step: 0.01 },
  seed: { min: 0, max: 2 ** 53 - 1, step: 1 },
};

const LABELS = {
  size: ["Size", "pixels"],
  num_frames: ["Frames", "length of the clip"],
  fps: ["Frames per second", "how fast it plays"],
  num_inference_steps: ["Steps", "more steps, more time"],
  guidance_scale: ["Guidance", "how closely the words are followed"],
  motion_bucket_id: ["Motion", "how much moves"],
  noise_aug_strength: ["Noise on the picture", "more noise, more freedom"],
  seed: ["Seed", "empty draws one; the same seed gives the same clip"],
};

export class Settings {
  /** @param {HTMLElement} root @param {() => void} onChange */
  constructor(root, onChange) {
    this.root = root;
    root.addEventListener("input", onChange);
  }

  /** Shows the controls of a model; values that still fit stay. */
  show(model, values = this.model?.task === model.task ? this.read() : {}) {
    this.model = model;
    const [limits, usual] = [model.limits, model.defaults];
    const sizes = limits.sizes.map(([width, height]) => [`${width}x${height}`, `${width} × ${height}`]);
    const fields = [
      choice("size", sizes, `${usual.width}x${usual.height}`),
      number("num_frames", { min: limits.min_num_frames, max: limits.max_num_frames, step: 1 }, usual.num_frames),
      number("fps", { min: limits.min_fps, max: limits.max_fps, step: 1 }, usual.fps),
      choice("num_inference_steps", limits.num_inference_steps.map((n) => [String(n), String(n)]), String(usual.num_inference_steps)),
      model.task === "t2v" ? number("guidance_scale", BOUNDS.guidance_scale, usual.guidance_scale) : null,
      model.task === "i2v" ? slider("motion_bucket_id", BOUNDS.motion_bucket_id, usual.motion_bucket_id) : null,
      model.task === "i2v" ? number("noise_aug_strength", BOUNDS.noise_aug_strength, usual.noise_aug_strength) : null,
      number("seed", BOUNDS.seed, ""),
    ];
    this.root.replaceChildren(...fields.filter(Boolean));
    this.fill(values);
  }

  /** Puts values in where a control takes them. */
  fill(values) {
    const given = { ...values };
    if (values.width) given.size = `${values.width}x${values.height}`;
    for (const [name, value] of Object.entries(given)) {
      const control = this.control(name);
      if (!control || value === undefined) continue;
      const fits = control.tagName !== "SELECT" || [...control.options].some((option) => option.value === String(value));
      if (fits) control.value = value;
      control.dispatchEvent(new Event("refresh"));
    }
  }

  /** What the controls say, by the names of the API. */
  read() {
    const values = {};
    for (const control of this.root.querySelectorAll("[name]")) {
      if (control.value === "") continue;
      if (control.name === "size") [values.width, values.height] = control.value.split("x").map(Number);
      else values[control.name] = Number(control.value);
    }
    return values;
  }

  /** Fields that the model or the API will not take, as [{field, detail}]. */
  problems() {
    const wrong = [...this.root.querySelectorAll("input")].filter((control) => !control.validity.valid);
    return wrong.map((control) => ({ field: control.name, detail: allowed(control) }));
  }

  /** One line that says what is set. */
  summary() {
    const { width, height, num_frames, fps, num_inference_steps: steps, seed } = this.read();
    const drawn = seed === undefined ? "random seed" : `seed ${seed}`;
    return `${width} × ${height}, ${num_frames} frames, ${fps} fps, ${steps} ${steps === 1 ? "step" : "steps"}, ${drawn}`;
  }

  control(name) {
    const field = ["width", "height"].includes(name) ? "size" : name;
    return this.root.querySelector(`[name="${CSS.escape(field)}"]`);
  }
}

/** Shows what is wrong beside the fields; returns the first control that is wrong. */
export function markProblems(form, problems) {
  for (const control of form.querySelectorAll("[aria-invalid=true]")) control.removeAttribute("aria-invalid");
  for (const line of form.querySelectorAll(".field-problem")) line.textContent = "";
  let first = null;
  for (const { field, detail } of problems) {
    const name = ["width", "height"].includes(field) ? "size" : field;
    const control = form.querySelector(`[name="${CSS.escape(name)}"]`);
    if (!control) continue;
    control.setAttribute("aria-invalid", "true");
    find(`${name}-problem`).textContent = detail;
    first ??= control;
  }
  if (first) first.closest("details")?.setAttribute("open", "");
  return first;
}

function allowed({ min, max, step, validity }) {
  if (validity.stepMismatch && step === "1") return `Give a whole number from ${min} to ${max}.`;
  return `Give a number from ${min} to ${max}.`;
}

function field(name, control, hint, ...more) {
  const [label, purpose] = LABELS[name];
  control.setAttribute("aria-describedby", `${name}-hint ${name}-problem`);
  return make(
    "div",
    { class: "field" },
    make("label", { for: name, text: label }),
    make("div", { class: "control" }, control, ...more),
    make("p", { class: "hint", id: `${name}-hint`, text: [purpose, hint].filter(Boolean).join(" · ") }),
    make("p", { class: "field-problem", id: `${name}-problem` }),
  );
}

function choice(name, options, chosen) {
  const list = options.map(([value, text]) => make("option", { value, text }));
  const control = make("select", { name, id: name }, ...list);
  control.value = chosen;
  return field(name, control, options.length === 1 ? "the only one this model has" : "");
}

function number(name, { min, max, step }, value) {
  const fixed = min === max;
  const control = make("input", { type: "number", name, id: name, min, max, step, value, inputmode: step === 1 ? "numeric" : "decimal", readonly: fixed, placeholder: name === "seed" ? "random" : null });
  const hint = name === "seed" ? "" : fixed ? `always ${min} with this model` : `${min} to ${max}`;
  return field(name, control, hint);
}

function slider(name, { min, max, step }, value) {
  const shown = make("output", { for: name, text: value });
  const show = (event) => (shown.textContent = event.target.value);
  const control = make("input", { type: "range", name, id: name, min, max, step, on: { input: show, refresh: show } });
  control.value = value;
  return field(name, control, `${min} to ${max}`, shown);
}
