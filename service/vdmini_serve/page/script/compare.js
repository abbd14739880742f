/** The page for blind votes: a ballot, a vote, what was where, and the next one. */

import { BallotView } from "./ballot.js";
import { find, make } from "./elements.js";
import { showHeader } from "./header.js";
import { Models } from "./models.js";
import { makePair } from "./new-pair.js";
import { Problem, problemBox } from "./problem.js";
import { tell, untilReady } from "./readiness.js";
import { service } from "./service.js";
import { standingsList } from "./standings.js";
import { voter } from "./voter.js";

class Compare {
  constructor() {
    this.view = null;
    find("make").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#makePair();
    });
  }

  async start() {
    await untilReady();
    this.models = new Models(await service.models());
    this.#showModels();
    await Promise.all([this.next(false), this.#showStandings()]);
  }

  /** Draws the next ballot; `focus` brings a keyboard there. */
  async next(focus = true) {
    this.view?.close();
    this.view = null;
    const ballot = await service.ballot(voter());
    if (!ballot) return this.#showNothing(focus);
    const clips = await Promise.all([ballot.clips.left, ballot.clips.right].map(service.ballotClip));
    this.view = new BallotView(ballot, clips, { onVote: (said) => this.#vote(ballot, said), onNext: () => this.next() });
    find("ballot").replaceChildren(this.view.element);
    if (focus) this.view.focus();
  }

  async #vote(ballot, said) {
    try {
      const reveal = await service.vote(ballot.id, said);
      this.view.reveal(reveal, said);
      find("standings").replaceChildren(standingsList(reveal.preferences));
      this.#showStandings();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.view.fail(error);
      if (error.passing) untilReady();
    }
  }

  #showNothing(focus) {
    const text = make("p", { id: "nothing", tabindex: "-1", text: "There is no pair that you have not voted on. Make a new one below, or in the playground." });
    find("ballot").replaceChildren(make("div", { class: "empty" }, text));
    if (focus) text.focus();
  }

  async #showStandings() {
    const { preferences } = await service.standings();
    find("standings").replaceChildren(standingsList(preferences));
  }

  #showModels() {
    const able = ["i2v", "t2v"].flatMap((task) => this.models.of(task)).filter((model) => this.models.teacherOf(model));
    const words = { i2v: "from a picture", t2v: "from a sentence" };
    find("model").replaceChildren(...able.map(({ name, task }) => make("option", { value: name, text: `${name}, ${words[task]}` })));
    find("make-pair").disabled = able.length === 0;
    if (able.length === 0) find("make-standing").textContent = "No compressed model is loaded together with the one it came from.";
  }

  async #makePair() {
    if (this.making) return;
    const model = this.models.named(find("model").value);
    this.#setMaking(true);
    find("make-problem").replaceChildren();
    try {
      await makePair(model, this.models.teacherOf(model), (text) => (find("make-standing").textContent = text));
      find("make-standing").textContent = "The pair is ready.";
      if (!this.view || this.view.done) await this.next();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      find("make-standing").textContent = "";
      find("make-problem").replaceChildren(problemBox(error));
    } finally {
      this.#setMaking(false);
    }
  }

  #setMaking(making) {
    this.making = making;
    find("make-pair").setAttribute("aria-disabled", String(making));
    find("make-pair").textContent = making ? "Making …" : "Make a new pair";
  }
}

showHeader();
window.addEventListener("unhandledrejection", ({ reason }) => {
  if (reason.passing) untilReady();
  else tell([reason.title ?? "This page failed", reason.message ?? String(reason)]);
});
new Compare().start();
