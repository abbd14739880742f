/** Where a job stands, in words and as a bar. */

import { make } from "./elements.js";
import { seconds } from "./latency.js";

/** @param {import("./run.js").Side} side */
export function standing(side) {
  const { job, trouble } = side;
  if (trouble) return "Connection lost; trying again …";
  if (!job) return "Sent";
  if (job.status === "queued") return queued(job);
  if (job.status === "running") return `${Math.round(job.progress * 100)} %${left(job)}`;
  if (job.status === "cancelled") return "Cancelled";
  return job.status === "succeeded" ? "Finished" : "Failed";
}

/** A shorter form that changes seldom: a screen reader says it. */
export function milestone(side) {
  const { job, problem } = side;
  if (problem) return problem.title;
  if (!job) return "sent";
  return { queued: "waiting", running: "being made", succeeded: "finished", cancelled: "cancelled", failed: "failed" }[job.status];
}

function queued(job) {
  const before = job.queue_position;
  const place = before ? `${before} ${before === 1 ? "job" : "jobs"} before this one` : "next in line";
  return `Waiting, ${place}${left(job)}`;
}

function left(job) {
  return job.eta_seconds === null ? "" : `, about ${job.eta_seconds < 1 ? "a second" : seconds(Math.round(job.eta_seconds)).replace(".00", "").replace(".0", "")} left`;
}

export class ProgressBar {
  constructor(name) {
    this.bar = make("progress", { max: 1, "aria-label": name });
    this.text = make("p", { class: "standing" });
    this.element = make("div", { class: "progress" }, this.bar, this.text);
  }

  /** @param {import("./run.js").Side} side */
  show(side) {
    this.text.textContent = standing(side);
    if (side.job?.status === "queued" || !side.job) this.bar.removeAttribute("value");
    else this.bar.value = side.job.progress;
  }
}
