/** Waits until the service takes jobs, and says meanwhile what it is doing. */

import { find, make } from "./elements.js";
import { pause } from "./events.js";

const EVERY = 2000;
const DOING = { loading: "is loading its models", warming: "has loaded its models and is warming up" };

/** Resolves when the service is ready. */
export async function untilReady() {
  for (;;) {
    const words = await look();
    tell(words);
    if (words === null) return;
    await pause(EVERY);
  }
}

/** What keeps the service from taking jobs, as [title, text]; null when nothing does. */
async function look() {
  try {
    const answer = await fetch("/readyz", { cache: "no-store" });
    return answer.ok ? null : inWords(await answer.json());
  } catch {
    return ["The service cannot be reached", "It may be restarting, or this device is offline. This page tries again by itself."];
  }
}

function inWords(state) {
  const starting = state.workers?.find((worker) => worker.state in DOING);
  if (starting) return ["The service is starting", `A worker ${DOING[starting.state]}. This takes a moment; the page goes on by itself.`];
  if (state.workers?.length === 0) return ["No worker is running", "The service is up, but nothing makes clips. Start a worker; the page goes on by itself."];
  return ["The service is not ready", `${state.status ?? state.detail ?? "It does not say why"}. This page tries again by itself.`];
}

/** Shows [title, text] above the page, or takes it away. */
export function tell(words) {
  const notice = find("notice");
  const now = words ? words.join(": ") : "";
  if (notice.dataset.said === now) return;
  notice.dataset.said = now;
  notice.replaceChildren(...(words ? [make("strong", { text: words[0] }), make("span", { text: ` ${words[1]}` })] : []));
  notice.hidden = words === null;
}
