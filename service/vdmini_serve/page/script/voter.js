/** A random name of this browser for votes: it keeps one from voting twice on a pair, and says nothing else. */

const NAME = "vdmini.voter";
let drawn = null;

export function voter() {
  try {
    const kept = localStorage.getItem(NAME);
    if (kept) return kept;
    localStorage.setItem(NAME, fresh());
    return localStorage.getItem(NAME);
  } catch {
    return fresh(); // nothing can be kept here: until the page is left
  }
}

function fresh() {
  drawn ??= [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return drawn;
}
