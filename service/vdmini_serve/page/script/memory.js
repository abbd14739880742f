/** What this browser remembers of its clips: job ids, settings and sentences in localStorage; never pictures or keys. */

const NAME = "vdmini.runs";
const MOST = 30;

/**
 * @typedef {{id: string, at: number, task: "i2v" | "t2v", model: string | null, title: string, sample: string | null, picture: string | null,
 *   fields: Record<string, string | number>, sides: {variant: string, id: string}[], clip?: string | null}} Entry
 * `clip` is the job whose clip stands for it; there is none before it is finished.
 */

export const memory = {
  /** @returns {Entry[]} newest first */
  all() {
    try {
      const kept = JSON.parse(localStorage.getItem(NAME) ?? "[]");
      return Array.isArray(kept) ? kept : [];
    } catch {
      return [];
    }
  },

  find: (id) => memory.all().find((entry) => entry.id === id),

  /** @param {Entry} entry a new one, or one that has changed */
  keep(entry) {
    const others = memory.all().filter((each) => each.id !== entry.id);
    const sorted = [entry, ...others].sort((a, b) => b.at - a.at);
    write(sorted.slice(0, MOST));
  },

  forget: (id) => write(memory.all().filter((entry) => entry.id !== id)),

  forgetAll: () => localStorage.removeItem(NAME),
};

function write(entries) {
  try {
    localStorage.setItem(NAME, JSON.stringify(entries));
  } catch {
    console.warn("this browser keeps nothing: its storage is full or switched off");
  }
}
