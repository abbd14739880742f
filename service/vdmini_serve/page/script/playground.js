/** The playground: from the form to a run, from an address or a reload back to it. */

import { showEarlier } from "./earlier.js";
import { find, make } from "./elements.js";
import { examplesFor } from "./examples.js";
import { showHeader } from "./header.js";
import { memory } from "./memory.js";
import { isSmall, Models } from "./models.js";
import { Picture } from "./picture.js";
import { Problem, problemBox } from "./problem.js";
import { tell, untilReady } from "./readiness.js";
import { Run } from "./run.js";
import { service } from "./service.js";
import { markProblems, Settings } from "./settings.js";
import { bringIntoView, Stage } from "./stage.js";

const LONGEST_TITLE = 80;

class Playground {
  constructor() {
    this.form = find("make");
    this.models = new Models([]);
    this.settings = new Settings(find("settings"), () => this.#summarise());
    this.picture = new Picture(() => this.#say());
    this.stage = null;
    find("model").addEventListener("change", () => this.#showModel());
    for (const radio of this.form.elements.task) radio.addEventListener("change", () => this.#showTask());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
  }

  async start() {
    this.#remember();
    await untilReady();
    await this.#loadModels();
    this.#restore();
  }

  get task() {
    return this.form.elements.task.value;
  }

  get model() {
    return this.models.named(find("model").value);
  }

  async #loadModels() {
    this.models = new Models(await service.models());
    for (const radio of this.form.elements.task) radio.disabled = this.models.of(radio.value).length === 0;
    if (this.models.of(this.task).length === 0) this.#choose(this.task === "i2v" ? "t2v" : "i2v");
    else this.#showTask();
    find("fields").disabled = false;
  }

  #choose(task) {
    this.form.elements.task.value = task;
    this.#showTask();
  }

  #showTask() {
    find("from-picture").hidden = this.task !== "i2v";
    find("from-words").hidden = this.task !== "t2v";
    const options = this.models.of(this.task).map(({ name, variant }) => make("option", { value: name, text: `${name} (${variant === "teacher" ? "uncompressed" : "compressed"})` }));
    find("model").replaceChildren(...options);
    this.#showModel();
  }

  #showModel() {
    const model = this.model;
    if (!model) return;
    this.settings.show(model);
    const teacher = this.models.teacherOf(model);
    find("compare").disabled = !teacher;
    find("compare-hint").textContent = teacher ? `${teacher.name}, with the same seed` : "no uncompressed model of this one is loaded";
    this.#showExamples(model);
    this.#say();
    this.#summarise();
  }

  #showExamples(model) {
    const take = (text) => {
      find("prompt").value = text;
      this.#say();
    };
    const examples = examplesFor(model);
    find("examples").replaceChildren(...examples.map((text) => make("button", { type: "button", class: "example", text, on: { click: () => take(text) } })));
    find("small-world").hidden = !isSmall(model);
  }

  #summarise() {
    find("settings-summary").textContent = this.settings.summary();
  }

  /** Shows problems; without any it takes earlier ones away. */
  #say(problem = null) {
    markProblems(this.form, problem?.errors ?? []);
    find("form-problem").replaceChildren(...(problem ? [problemBox(problem)] : []));
  }

  #objections() {
    const wrong = this.settings.problems();
    if (this.task === "i2v") {
      const objection = this.picture.objection(this.model.budgets);
      if (objection) wrong.unshift({ field: "image", detail: objection });
    } else if (!find("prompt").value.trim()) {
      wrong.unshift({ field: "prompt", detail: "Write what the clip shall show, or take an example." });
    }
    return wrong;
  }

  #request() {
    const seed = crypto.getRandomValues(new Uint32Array(1))[0];
    const fields = { seed, ...this.settings.read() };
    const teacher = find("compare").checked && !find("compare").disabled ? this.models.teacherOf(this.model) : undefined;
    const variants = [this.model.name, ...(teacher ? [teacher.name] : [])];
    if (this.task === "i2v") {
      const { file, sample, title } = this.picture;
      return { task: "i2v", title, fields, image: file, sample, variants };
    }
    const prompt = find("prompt").value.trim();
    return { task: "t2v", title: prompt.slice(0, LONGEST_TITLE), fields: { prompt, ...fields }, sample: null, variants };
  }

  async #submit() {
    if (this.busy) return;
    const wrong = this.#objections();
    markProblems(this.form, wrong)?.focus();
    find("form-problem").replaceChildren();
    if (wrong.length) return;
    this.#setBusy(true);
    try {
      const run = await Run.start(this.#request());
      this.open(run);
      this.#remember();
      bringIntoView();
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#say(error);
      if (error.passing) untilReady();
    } finally {
      this.#setBusy(false);
    }
  }

  #setBusy(busy) {
    this.busy = busy;
    find("submit").setAttribute("aria-disabled", String(busy));
    find("submit").textContent = busy ? "Sending …" : "Make the clip";
  }

  /** Shows a run and follows it. */
  open(run) {
    this.stage?.close();
    history.replaceState(null, "", `#${run.entry.id}`);
    const cancel = () => run.cancel().catch((problem) => this.#say(problem));
    this.stage = new Stage(run, { onCancel: cancel, onAgain: () => this.#again(run.entry) });
    run.follow().then(() => this.#remember());
    this.#remember();
  }

  #remember() {
    showEarlier((entry) => {
      this.open(new Run(entry));
      find("stage-heading").focus();
    }, location.hash.slice(1));
  }

  /** After a reload: the run that the address names goes on. */
  #restore() {
    const id = location.hash.slice(1);
    if (!/^[0-9a-f]{32}$/.test(id)) return;
    const entry = memory.find(id);
    this.open(entry ? new Run(entry) : Run.ofJob(id));
  }

  async #again(entry) {
    this.#choose(entry.task);
    if (this.models.named(entry.model)) find("model").value = entry.model;
    this.#showModel();
    this.settings.fill(entry.fields);
    if (entry.fields.prompt) find("prompt").value = entry.fields.prompt;
    if (entry.sample) await this.picture.takeSample(entry.sample);
    this.#summarise();
    find("submit").focus();
  }
}

showHeader();
const playground = new Playground();
window.addEventListener("unhandledrejection", ({ reason }) => {
  if (reason.passing) untilReady();
  else tell([reason.title ?? "This page failed", reason.message ?? String(reason)]);
});
playground.start();
