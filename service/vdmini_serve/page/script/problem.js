/** What went wrong, in words. The service explains itself in problem+json (RFC 9457); titles here say it plainly. */

import { make } from "./elements.js";

const PREFIX = "urn:vdmini:problem:";

const TITLES = {
  "unreachable": "The service cannot be reached",
  "unsupported-image": "This file cannot be used as a picture",
  "image-too-large": "The picture has too many pixels",
  "body-too-large": "The picture's file is too large",
  "prompt-too-long": "The sentence is too long",
  "outside-limits": "A setting is outside what this model can do",
  "invalid-field": "A setting cannot be used",
  "missing-field": "Something is missing",
  "unknown-variant": "This model is not loaded",
  "no-model-loaded": "No model for this is loaded",
  "unknown-job": "The service no longer knows this clip",
  "content-gone": "This clip has expired",
  "queue-full": "Too much is waiting already",
  "queue-too-slow": "The wait would be too long",
  "queued-too-long": "Nothing started this in time",
  "too-many-of-yours": "Too many of your clips are being made",
  "too-many-requests": "That was too fast",
  "key-missing": "This service asks for an API key",
  "key-unknown": "This API key is not known here",
  "priority-not-allowed": "Your API key does not allow this",
  "out-of-memory": "The device ran out of memory",
  "implausible-clip": "The clip came out broken",
  "worker-lost": "The worker stopped while it made this clip",
  "storage-full": "There is no room left for clips",
  "store-unavailable": "The service has lost its job store",
  "results-unavailable": "The service cannot reach its clips",
  "unknown-model": "This model is not loaded",
  "not-comparable": "These two clips cannot be compared",
  "unknown-ballot": "These two clips are gone",
  "already-voted": "Your vote on these clips was counted already",
  "internal-error": "The service made a mistake",
};

const NEXT_STEPS = {
  "unreachable": "This page tries again by itself.",
  "unknown-job": "Clips are removed some time after they were made. Make it again to see it.",
  "content-gone": "Make it again to see it.",
  "out-of-memory": "Choose a smaller size, fewer frames, or try again later.",
  "implausible-clip": "Try another seed.",
  "internal-error": "Try again; if it happens again, its log tells more.",
};

/** What the service says of these is for programs. */
const FOR_PROGRAMS = ["unknown-job"];

export class Problem extends Error {
  /** @param {{kind: string, detail: string, status?: number, errors?: {field: string, detail: string}[], job?: string}} of */
  constructor({ kind, detail, status = 0, errors = [], job }) {
    super(detail);
    Object.assign(this, { kind, status, errors, job });
  }

  get title() {
    return TITLES[this.kind] ?? "That did not work";
  }

  get nextStep() {
    return NEXT_STEPS[this.kind] ?? "";
  }

  /** Whether trying the same again in a moment may help. */
  get passing() {
    return this.kind === "unreachable" || [502, 503, 504].includes(this.status);
  }

  static unreachable() {
    return new Problem({ kind: "unreachable", detail: "It may be restarting, or this device is offline." });
  }

  /** A problem that the service put into a job. */
  static ofJob(job) {
    return Problem.ofDocument(job.error, job.error.status);
  }

  static ofDocument(document, status) {
    const kind = String(document.type ?? "").replace(PREFIX, "");
    return new Problem({ ...document, kind, status, detail: document.detail ?? `The service answered with ${status}.` });
  }

  /** @param {Response} answer */
  static async ofAnswer(answer) {
    const isProblem = answer.headers.get("content-type")?.includes("problem+json");
    const document = isProblem ? await answer.json().catch(() => ({})) : {};
    return Problem.ofDocument(document, answer.status);
  }
}

/** A problem as a box. */
export function problemBox(problem) {
  const detail = FOR_PROGRAMS.includes(problem.kind) ? "" : sentence(problem.message);
  const text = [detail, problem.nextStep].filter(Boolean).join(" ");
  return make("div", { class: "problem" }, make("strong", { text: problem.title }), make("p", { text }));
}

/** The service's details start small and end without a full stop. */
export function sentence(text) {
  const trimmed = text.trim();
  if (!trimmed) return "";
  const full = /[.!?]$/.test(trimmed) ? trimmed : `${trimmed}.`;
  return /^[a-z_]+ |^[a-z_]+:/.test(full) && !full.startsWith("http") ? full[0].toUpperCase() + full.slice(1) : full;
}
