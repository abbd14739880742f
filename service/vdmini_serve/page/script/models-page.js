/** The list of the loaded models. */

import { make, find } from "./elements.js";
import { showHeader } from "./header.js";
import { large } from "./measures.js";
import { Models } from "./models.js";
import { tell, untilReady } from "./readiness.js";
import { service } from "./service.js";

const TASKS = { i2v: "From a picture", t2v: "From a sentence" };

async function show() {
  await untilReady();
  const models = new Models(await service.models());
  const groups = Object.entries(TASKS).filter(([task]) => models.of(task).length);
  find("models").replaceChildren(
    ...groups.map(([task, title]) => make("section", { "aria-label": title }, make("h2", { text: title }), make("ul", { class: "model-list" }, ...models.of(task).map((model) => row(model, models))))),
  );
}

function row(model, models) {
  const link = make("a", { href: `/models/${encodeURIComponent(model.name)}`, text: model.name });
  const kind = make("span", { class: `badge ${model.variant}`, text: model.variant === "teacher" ? "uncompressed" : "compressed" });
  return make("li", { class: "card" }, make("h3", {}, link), kind, make("p", { class: "hint", text: words(model, models.teacherOf(model)) }));
}

function words(model, teacher) {
  const size = `${large(model.cost.unet_parameters ?? 0)} parameters in the U-Net`;
  const promise = model.latency.length ? `, ${model.latency[0].speedup?.toFixed(2)} times as fast as its teacher when it was made` : "";
  const from = model.variant === "teacher" ? "" : `, made from ${teacher?.name ?? model.teacher.id}`;
  return `${model.family}, ${size}${promise}${from}.`;
}

showHeader();
window.addEventListener("unhandledrejection", ({ reason }) => tell([reason.title ?? "This page failed", reason.message ?? String(reason)]));
show();
