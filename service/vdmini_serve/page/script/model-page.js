/** One model's receipt, readable: what was taken out, what that cost and gained, and how it was made. */

import { find, make } from "./elements.js";
import { showHeader } from "./header.js";
import { importancePicture } from "./importance-picture.js";
import { Models } from "./models.js";
import { problemBox } from "./problem.js";
import { tell, untilReady } from "./readiness.js";
import { facts, files, latency, measuredHere, quality, raw, sizes } from "./receipt.js";
import { service } from "./service.js";
import { standingsList } from "./standings.js";
import { unetPicture } from "./unet-picture.js";

async function show() {
  await untilReady();
  const name = decodeURIComponent(location.pathname.slice("/models/".length));
  find("heading").textContent = document.title = name;
  try {
    const [model, receipt, models, standings] = await Promise.all([service.model(name), service.receipt(name), service.models(), service.standings()]);
    find("lead").textContent = lead(model);
    const all = new Models(models);
    const related = model.variant === "teacher" ? [] : standings.preferences.filter((each) => each.model === name);
    find("model").replaceChildren(...sections(model, receipt, all, related));
  } catch (error) {
    if (!error.kind) throw error;
    find("model").replaceChildren(problemBox(error), make("p", {}, make("a", { href: "/models", text: "See what is loaded" })));
  }
}

function lead(model) {
  const what = `${model.task === "i2v" ? "Makes clips from a picture" : "Makes clips from a sentence"}; family ${model.family}.`;
  return model.variant === "teacher" ? `${what} Nothing was removed: compressed models are measured against this one.` : `${what} Compressed from ${model.teacher.id}.`;
}

function sections(model, receipt, models, preferences) {
  const teacher = models.teacherOf(model);
  const made = models.offers.filter((each) => models.teacherOf(each)?.name === model.name);
  return [
    section("What was removed", ...removed(model, receipt)),
    section("How long it takes", ...latency(model), ...measuredHere(receipt, model.variant === "teacher")),
    section("Quality on held-out clips", quality(model)),
    section("What each block is worth", importance(receipt, model)),
    section("Size", sizes(model, teacher)),
    model.variant === "vdmini" ? section("What people prefer", standingsList(preferences), make("p", {}, make("a", { href: "/compare", text: "Vote on pairs of clips, without knowing which is which" }))) : null,
    section("How it was made", facts(model, receipt, teacher, made), ...raw(receipt), files(receipt)),
  ].filter(Boolean);
}

function section(title, ...content) {
  const id = title.toLowerCase().replaceAll(" ", "-");
  return make("section", { class: "card", id, "aria-labelledby": `${id}-heading` }, make("h2", { id: `${id}-heading`, text: title }), ...content);
}

function removed(model, receipt) {
  const gone = model.removed_blocks;
  const picture = receipt.unet ? unetPicture(receipt.unet, gone) : make("p", { class: "hint", text: "No picture: the shape of its U-Net was not published." });
  const words = "A U-Net works on a small picture in its deep stages (below) and on a large one in its shallow stages (above). A numbered box is a pair: a ResBlock with the attention after it.";
  if (!gone.length) return [picture, make("p", { class: "hint", text: `${words} Nothing was removed.` })];
  const list = make("ul", { class: "removed" }, ...gone.map((name) => make("li", {}, make("code", { text: name }))));
  return [picture, make("p", { class: "hint", text: `${words} Dashed ones were taken out:` }), list];
}

function importance(receipt, model) {
  if (receipt.importance) return importancePicture(receipt.importance, model.removed_blocks);
  return make("p", { class: "hint", text: "Not recorded in this artifact. `vdmini-compress analyze` measures it." });
}

showHeader();
window.addEventListener("unhandledrejection", ({ reason }) => tell([reason.title ?? "This page failed", reason.message ?? String(reason)]));
show();
