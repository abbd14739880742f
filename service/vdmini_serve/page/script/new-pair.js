/** Makes a pair to vote on: one drawn input, one drawn seed, both models. */

import { finished, follow } from "./events.js";
import { anyPicture, anySentence } from "./examples.js";
import { Problem } from "./problem.js";
import { ask, service } from "./service.js";

/**
 * @param {object} model a compressed one
 * @param {object} teacher what it was made from
 * @param {(text: string) => void} onStanding told how it goes
 */
export async function makePair(model, teacher, onStanding) {
  onStanding("Sending …");
  const fields = await input(model);
  const jobs = [];
  for (const { name } of [model, teacher]) jobs.push(await service.submit(model.task, { ...fields, variant: name }));
  const states = jobs.map(() => "");
  const show = () => onStanding(`First clip: ${states[0]}; second clip: ${states[1]}`);
  const made = await Promise.all(jobs.map((job, index) => clipOf(job.id, (text) => ((states[index] = text), show()))));
  return service.compare(made.map((job) => job.id));
}

async function input(model) {
  const seed = crypto.getRandomValues(new Uint32Array(1))[0];
  if (model.task === "t2v") return { prompt: anySentence(model), seed };
  const name = anyPicture();
  const blob = await (await ask(`/page/samples/${name}`)).blob();
  return { image: new File([blob], name, { type: blob.type }), seed };
}

async function clipOf(id, onState) {
  let last = null;
  for await (const job of follow(id, new AbortController().signal, () => {})) {
    last = job;
    onState(inWords(job));
  }
  if (!last || !finished(last)) last = await service.job(id);
  if (last.status === "failed") throw Problem.ofJob(last);
  if (last.status === "cancelled") throw new Problem({ kind: "job-cancelled", detail: "One of the two jobs was cancelled." });
  return last;
}

function inWords(job) {
  if (job.status === "queued") return "waiting";
  return job.status === "running" ? `${Math.round(100 * job.progress)} %` : job.status;
}
