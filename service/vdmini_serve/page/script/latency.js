/** How long clips took, by stage and side by side on one scale, and what that means in words. */

import { make } from "./elements.js";

const STAGES = [
  ["encode", "Read the input"],
  ["denoise", "Denoise"],
  ["decode", "Decode frames"],
  ["mp4", "Write the MP4"],
];

export const seconds = (value) => (value >= 10 ? `${value.toFixed(1)} s` : `${value.toFixed(2)} s`);

const worked = (job) => STAGES.reduce((sum, [stage]) => sum + (job.timings[stage] ?? 0), 0);

/** @param {object[]} jobs that succeeded, the student's first */
export function latencyPanel(jobs) {
  const longest = Math.max(...jobs.map(worked));
  return make(
    "section",
    { class: "latency", "aria-labelledby": "latency-heading" },
    make("h3", { id: "latency-heading", text: "How long it took" }),
    ...words(jobs[0], jobs[1]),
    ...jobs.map((job) => bar(job, longest)),
    table(jobs),
  );
}

/** The comparison with the teacher, in plain words. */
export function words(job, teacher) {
  const text = [evidence(job), teacher && beside(job, teacher)].filter(Boolean).join(" ");
  return [make("p", { class: "speedup", text: headline(job, teacher) }), make("p", { class: "hint", text })];
}

function headline(job, teacher) {
  if (job.escalated) return "The uncompressed model made this clip: the compressed one's did not pass the check.";
  if (job.variant === "teacher") return "This is the uncompressed model itself.";
  const { speedup } = job;
  if (speedup === null) return "The uncompressed model was not measured here for this size and these steps.";
  if (teacher && disagree(speedup, worked(teacher) / worked(job))) return "Too busy to tell: these two runs and the earlier ones disagree about which is faster";
  if (speedup >= 1.05) return `${speedup.toFixed(1)} times as fast as the uncompressed model on this device`;
  if (speedup > 0.95) return "About as fast as the uncompressed model on this device";
  return `Slower than the uncompressed model on this device: it took ${(1 / speedup).toFixed(1)} times as long`;
}

/** Whether one measurement says faster and the other slower, by more than what is called equal. */
const disagree = (one, other) => Math.max(one, other) >= 1.05 && Math.min(one, other) <= 0.95;

function evidence(job) {
  if (job.variant === "teacher" || job.speedup === null) return "";
  const own = job.baseline_seconds / job.speedup;
  const runs = `${job.baseline_samples} ${job.baseline_samples === 1 ? "run" : "runs"}`;
  return `Without the MP4 this clip took ${seconds(own)}; the uncompressed model takes ${seconds(job.baseline_seconds)} here, the median of ${runs}.`;
}

function beside(job, teacher) {
  return `Just now, one after the other: ${seconds(worked(job))} and ${seconds(worked(teacher))} with the MP4. A busy machine makes single runs slower.`;
}

export function bar(job, longest) {
  const segments = STAGES.filter(([stage]) => job.timings[stage]).map(([stage]) => {
    const segment = make("span", { class: `segment ${stage}` });
    segment.style.inlineSize = `${(100 * job.timings[stage]) / longest}%`;
    return segment;
  });
  return make(
    "div",
    { class: "bar-row", "aria-hidden": "true" },
    make("span", { class: "bar-name", text: nameOf(job) }),
    make("span", { class: "bar" }, ...segments),
    make("span", { class: "bar-total", text: seconds(worked(job)) }),
  );
}

function table(jobs) {
  const head = make("tr", {}, make("th", { scope: "col", text: "Stage" }), ...jobs.map((job) => make("th", { scope: "col", text: nameOf(job) })));
  const cell = (job, stage) => make("td", { text: job.timings[stage] === undefined ? "–" : seconds(job.timings[stage]) });
  const row = ([stage, name]) =>
    make("tr", {}, make("th", { scope: "row" }, make("span", { class: `swatch ${stage}`, "aria-hidden": "true" }), name), ...jobs.map((job) => cell(job, stage)));
  const sum = make("tr", { class: "sum" }, make("th", { scope: "row", text: "Together" }), ...jobs.map((job) => make("td", { text: seconds(worked(job)) })));
  const wait = make("tr", { class: "wait" }, make("th", { scope: "row", text: "In the queue, not counted" }), ...jobs.map((job) => cell(job, "queue")));
  const body = make("tbody", {}, ...STAGES.map(row), sum, wait);
  return make("table", { class: "stages" }, make("caption", { class: "unseen", text: "Seconds by stage" }), make("thead", {}, head), body);
}

export const nameOf = (job) => (job.variant === "teacher" ? "Teacher" : "VDMini");
