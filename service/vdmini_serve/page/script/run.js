/** One clip being made, and beside it the same by the teacher: submitted or picked up again, followed, cancelled. */

import { finished, follow } from "./events.js";
import { memory } from "./memory.js";
import { Problem } from "./problem.js";
import { service } from "./service.js";

/**
 * @typedef {{variant: string, id: string | null, job: object | null, clip: Blob | null, problem: Problem | null,
 *   trouble: Problem | null}} Side
 */

export class Run {
  /** @param {import("./memory.js").Entry} entry */
  constructor(entry) {
    this.entry = entry;
    /** @type {Side[]} */
    this.sides = entry.sides.map(({ variant, id }) => ({ variant, id, job: null, clip: null, problem: null, trouble: null }));
    this.stop = new AbortController();
    this.onChange = () => {};
  }

  /** Sends the requests one after the other, so that the compressed model comes first. The first one's problem is thrown. */
  static async start({ task, title, fields, image, sample, variants }) {
    const sides = [];
    for (const variant of variants) {
      try {
        const job = await service.submit(task, { ...fields, ...(image && { image }), variant });
        sides.push({ variant: job.variant, id: job.id });
      } catch (error) {
        if (!(error instanceof Problem) || sides.length === 0) throw error;
        sides.push({ variant: "teacher", id: null, problem: error });
      }
    }
    const kept = sides.filter((side) => side.id).map(({ variant, id }) => ({ variant, id }));
    const entry = { id: sides[0].id, at: Date.now(), task, model: variants[0], title, sample, picture: image?.name ?? null, fields, sides: kept };
    memory.keep(entry);
    const run = new Run(entry);
    for (const { id, variant, problem } of sides) {
      if (!id) run.sides.push({ variant, id, job: null, clip: null, problem, trouble: null });
    }
    return run;
  }

  /** A job that this browser doesn't remember, as behind a link. */
  static ofJob(id) {
    return new Run({ id, at: Date.now(), task: "t2v", model: null, title: "A clip", sample: null, picture: null, fields: {}, sides: [{ variant: "vdmini", id }] });
  }

  get over() {
    return this.sides.every((side) => side.problem || (side.job && finished(side.job) && (side.clip || side.job.status !== "succeeded")));
  }

  /** Follows all jobs until they are finished and their clips are here. */
  async follow() {
    await Promise.all(this.sides.filter((side) => side.id && !side.problem).map((side) => this.#followSide(side)));
    await this.#offerComparison();
    if (this.over && memory.find(this.entry.id)) memory.keep({ ...this.entry, clip: this.sides.find((side) => side.clip)?.id ?? null });
  }

  async cancel() {
    const open = this.sides.filter((side) => side.id && !(side.job && finished(side.job)));
    await Promise.all(open.map((side) => service.cancel(side.id)));
  }

  /** Stops looking; the jobs go on. */
  leave() {
    this.stop.abort();
    this.onChange = () => {};
  }

  /** A finished pair can be voted on, blindly, on the page for that; where it can't be, nothing is lost. */
  async #offerComparison() {
    const jobs = this.sides.map((side) => side.job);
    const both = jobs.length === 2 && jobs.every((job) => job?.status === "succeeded" && !job.escalated);
    if (both && this.entry.model) await service.compare(jobs.map((job) => job.id)).then(() => (this.comparable = true), () => {});
    if (this.comparable) this.onChange();
  }

  async #followSide(side) {
    try {
      for await (const job of follow(side.id, this.stop.signal, (trouble) => this.#change(side, { trouble }))) {
        this.#change(side, { job, variant: job.variant, trouble: null });
      }
      if (side.job?.status === "failed") throw Problem.ofJob(side.job);
      if (side.job?.status === "succeeded") this.#change(side, { clip: await service.clip(side.id) });
    } catch (error) {
      if (this.stop.signal.aborted) return;
      if (!(error instanceof Problem)) throw error;
      this.#change(side, { problem: error, trouble: null });
    }
  }

  #change(side, changes) {
    Object.assign(side, changes);
    this.onChange();
  }
}
