/**
 * A job's states as they come, read from its event stream with fetch: EventSource cannot send an API key.
 * A stream that breaks is opened again where it stopped.
 */

import { ask } from "./service.js";

const LONGEST_PAUSE = 8000;

export const finished = (job) => ["succeeded", "failed", "cancelled"].includes(job.status);

/**
 * @param {string} id
 * @param {AbortSignal} signal
 * @param {(problem: Error | null) => void} onTrouble told when the connection is lost, and null when it is back
 */
export async function* follow(id, signal, onTrouble) {
  let [last, failures] = ["", 0];
  while (!signal.aborted) {
    try {
      const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
      const answer = await ask(`/v1/jobs/${id}/events`, { headers, signal, cache: "no-store" });
      if (answer.status === 204) return;
      onTrouble(null);
      for await (const event of messages(answer.body)) {
        [last, failures] = [event.id, 0];
        const job = JSON.parse(event.data);
        yield job;
        if (finished(job)) return;
      }
    } catch (error) {
      if (signal.aborted || (error.kind && !error.passing)) throw error;
      onTrouble(error);
    }
    failures += 1;
    await pause(Math.min(250 * 2 ** failures, LONGEST_PAUSE));
  }
}

async function* messages(body) {
  let text = "";
  for await (const part of parts(body.pipeThrough(new TextDecoderStream()))) {
    const blocks = (text + part).replaceAll("\r\n", "\n").split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s, 2)));
      if (fields.data) yield fields;
    }
  }
}

/** Streams can be iterated over in few browsers. */
async function* parts(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

export const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
