/** Requests to the service this page came from. Answers that are errors are thrown as `Problem`. */

import { accessKey } from "./access-key.js";
import { Problem } from "./problem.js";

/** @param {string} path @param {RequestInit} [options] @returns {Promise<Response>} */
export async function ask(path, options = {}) {
  for (;;) {
    const answer = await send(path, options);
    if (answer.ok) return answer;
    const problem = await Problem.ofAnswer(answer);
    if (problem.status !== 401) throw problem;
    await accessKey.ask(problem);
  }
}

async function send(path, options) {
  const headers = new Headers(options.headers);
  if (accessKey.get()) headers.set("Authorization", `Bearer ${accessKey.get()}`);
  try {
    return await fetch(path, { ...options, headers });
  } catch (error) {
    if (options.signal?.aborted) throw error;
    throw Problem.unreachable();
  }
}

async function post(path, body) {
  const answer = await ask(path, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } });
  return answer.status === 204 ? null : answer.json();
}

export const service = {
  models: async () => (await ask("/v1/models")).json(),
  model: async (name) => (await ask(`/v1/models/${encodeURIComponent(name)}`)).json(),
  job: async (id) => (await ask(`/v1/jobs/${id}`)).json(),
  cancel: async (id) => (await ask(`/v1/jobs/${id}/cancel`, { method: "POST" })).json(),
  clip: async (id) => (await ask(`/v1/jobs/${id}/content?redirect=false`)).blob(),
  still: async (id) => (await ask(`/v1/videos/${id}/content?variant=thumbnail`)).blob(),

  receipt: async (name) => (await ask(`/v1/models/${encodeURIComponent(name)}/receipt`)).json(),
  standings: async () => (await ask("/v1/comparisons")).json(),
  compare: (jobs) => post("/v1/comparisons", { jobs }),
  /** @returns a ballot, or null when this voter has seen all there is */
  ballot: (voter) => post("/v1/comparisons/ballots", { voter }),
  ballotClip: async (path) => (await ask(path)).blob(),
  vote: (id, said) => post(`/v1/comparisons/ballots/${id}/vote`, said),

  /** @param {"i2v" | "t2v"} task @param {Record<string, string | number | Blob>} fields @returns the accepted job */
  async submit(task, fields) {
    const form = new FormData();
    for (const [name, value] of Object.entries(fields)) form.append(name, value instanceof Blob ? value : String(value));
    return (await ask(`/v1/${task}`, { method: "POST", body: form, headers: { Prefer: "respond-async" } })).json();
  },
};
