/** The parts of a receipt as tables: latency, quality, size, and how it was made. */

import { make } from "./elements.js";
import { bar, nameOf, seconds } from "./latency.js";
import { cost, figure, measure } from "./measures.js";

const STAGES = ["encode", "denoise", "decode"];

/** @param {object} model */
export function latency(model) {
  if (!model.latency.length) return [make("p", { class: "hint", text: "Its receipt holds no measurement." })];
  return model.latency.flatMap((row) => [
    make("h3", { text: `When it was made: ${row.speedup.toFixed(2)} times as fast as its teacher` }),
    make("p", { class: "hint", text: receiptWords(row) }),
    ...bars(row),
    stageTable(row),
  ]);
}

const receiptWords = (row) =>
  `95 % interval ${row.speedup_interval.map((each) => each.toFixed(2)).join(" to ")}; ${row.runs} runs in turn on ${row.device}, ${row.dtype}, ${row.width} × ${row.height}, ${row.num_frames} frames, ${steps(row.num_inference_steps)}; ${row.measured_at.slice(0, 10)}. Medians of stages need not add up to that of whole runs.`;

const steps = (number) => `${number} ${number === 1 ? "step" : "steps"}`;

function bars({ seconds: by }) {
  const jobs = ["vdmini", "teacher"].filter((variant) => by[variant]).map((variant) => ({ variant, timings: Object.fromEntries(STAGES.map((stage) => [stage, by[variant][stage]])) }));
  const longest = Math.max(...jobs.map(({ timings }) => STAGES.reduce((sum, stage) => sum + (timings[stage] ?? 0), 0)));
  return jobs.map((job) => bar(job, longest));
}

function stageTable({ seconds: by }) {
  const names = { encode: "Read the input", denoise: "Denoise", decode: "Decode frames", total: "Whole run" };
  const rows = Object.entries(names).filter(([stage]) => by.vdmini?.[stage] !== undefined);
  const cells = (stage) => ["vdmini", "teacher"].map((variant) => (by[variant]?.[stage] === undefined ? "–" : `${figure(by[variant][stage])} s`));
  const swatch = (stage) => (stage === "total" ? null : make("span", { class: `swatch ${stage}`, "aria-hidden": "true" }));
  return table("Seconds by stage, medians", ["Stage", "VDMini", "Teacher"], rows.map(([stage, name]) => [[swatch(stage), name], ...cells(stage)]));
}

/** What runs on this service took. */
export function measuredHere({ measured_here: rows }, isTeacher) {
  const title = make("h3", { text: "Measured here" });
  if (!rows.length) return [title, make("p", { class: "hint", text: "Nothing was run here yet." })];
  const head = ["Work", "This model", ...(isTeacher ? [] : ["Teacher", "Times as fast"])];
  const cells = rows.map((row) => [work(row), runs(row.seconds, row.runs), ...(isTeacher ? [] : [row.teacher_seconds === null ? "not measured" : runs(row.teacher_seconds, row.teacher_runs), row.teacher_seconds === null ? "–" : (row.teacher_seconds / row.seconds).toFixed(2)])]);
  return [title, make("p", { class: "hint", text: "Medians of the newest runs of this service, encode to decode, whatever else the machine did meanwhile." }), table("Measured here", head, cells)];
}

const work = (row) => `${row.size.replaceAll("x", " × ")} frames, ${steps(row.num_inference_steps)}${row.guidance ? ", guided" : ""}; ${row.device}`;
const runs = (value, number) => `${seconds(value)} (${number} ${number === 1 ? "run" : "runs"})`;

export function quality({ quality: by, variant }) {
  const columns = ["vdmini", "teacher"].filter((each) => by[each]);
  const names = Object.keys(by[columns[0]] ?? {});
  if (!names.length) return make("p", { class: "hint", text: variant === "teacher" ? "Its receipt holds no quality; those of its compressed models tell the teacher's." : "Its receipt holds no quality." });
  const rows = names.map((name) => {
    const [words, unit, better] = measure(name);
    const cells = columns.map((column) => (by[column][name] === undefined ? "–" : `${figure(by[column][name])} ${unit}`.trim()));
    return [words, ...cells, better ? `${better} is better` : ""];
  });
  return table("Quality", ["Measure", ...columns.map((each) => nameOf({ variant: each })), ""], rows);
}

export function sizes(model, teacher) {
  const names = Object.keys(model.cost);
  const share = (name) => (teacher?.cost[name] ? `${Math.round((100 * model.cost[name]) / teacher.cost[name])} %` : "–");
  const rows = names.map((name) => {
    const [words, own] = cost(name, model.cost[name]);
    return [words, own, ...(teacher ? [cost(name, teacher.cost[name])[1], share(name)] : [])];
  });
  return table("Size", ["", "This model", ...(teacher ? ["Teacher", "Of the teacher"] : [])], rows);
}

/** @param {object[]} made models that were made from this one */
export function facts(model, receipt, teacher, made) {
  const { recipe, training } = receipt;
  const link = (name) => make("a", { href: `/models/${encodeURIComponent(name)}`, text: name });
  const minutes = (value) => (value === undefined ? null : `${(value / 60).toFixed(1)} minutes`);
  const rows = [
    [model.variant === "teacher" ? "Itself" : "Teacher", [model.teacher.id, teacher && ", loaded here as ", teacher && link(teacher.name)]],
    ["Revision", model.teacher.revision],
    ["Licence of the weights", model.teacher.licence],
    ["Teacher's weights, sha256", make("code", { text: model.teacher.sha256 })],
    ["Compressed models of it", made.length ? made.flatMap((each, index) => [index ? ", " : null, link(each.name)]) : null],
    ["Plan", recipe.plan === undefined ? null : String(recipe.plan)],
    ["Steps of distillation", recipe.distill?.steps],
    ["Clips to learn from", recipe.data?.clips],
    ["Time of distillation", minutes(training.distill_seconds)],
    ["Time of healing the decoder", minutes(training.decoder_seconds)],
    ["Finished", training.finished],
  ].filter(([, value]) => value !== null && value !== undefined);
  return make("dl", { class: "facts" }, ...rows.flatMap(([name, value]) => [make("dt", { text: name }), make("dd", {}, ...[value].flat().filter((each) => each !== null && each !== undefined).map((each) => (each instanceof Node ? each : String(each))))]));
}

/** Recipe and training as they are recorded. */
export function raw({ recipe, training, left_out: missing }) {
  const parts = [
    ["The whole recipe", recipe],
    ["The training record", training],
  ].filter(([, value]) => Object.keys(value).length);
  const shown = parts.map(([title, value]) => make("details", {}, make("summary", { text: title }), make("pre", { tabindex: "0", role: "region", "aria-label": title, text: JSON.stringify(value, null, 2) })));
  if (!parts.length) shown.push(make("p", { class: "hint", text: "No recipe or training is recorded in this artifact." }));
  if (missing.length) shown.push(make("p", { class: "hint", text: `Too long to be kept here: ${missing.join(", ")}; vdmini.json has it.` }));
  return shown;
}

export function files({ files: hashes }) {
  const names = Object.keys(hashes);
  if (!names.length) return null;
  return make("details", {}, make("summary", { text: `${names.length} files and their sha256` }), table("Files", ["File", "sha256"], names.map((name) => [make("code", { text: name }), make("code", { text: hashes[name] })])));
}

/** Rows of cells; each cell is text, a node, or a list of both. The first one names its row. */
function table(name, head, rows) {
  const content = (cell) => [cell].flat().filter((each) => each !== null);
  const row = ([first, ...rest]) => make("tr", {}, make("th", { scope: "row" }, ...content(first)), ...rest.map((cell) => make("td", {}, ...content(cell))));
  const titles = head.map((text) => (text ? make("th", { scope: "col", text }) : make("td", {})));
  const body = make("table", { class: "numbers" }, make("caption", { class: "unseen", text: name }), make("thead", {}, make("tr", {}, ...titles)), make("tbody", {}, ...rows.map(row)));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, body);
}
