/** A U-Net as a picture: stages on the way down and up, a box for every pair, removed ones dashed. */

import { draw } from "./drawing.js";

const BOX = { width: 46, height: 26 };
const GAP = 6;
const INDENT = 20;
const ROW = 92;
const TOP = 40;

/** @param {{widths: number[], pairs: number[]}} unet the teacher's @param {string[]} removed */
export function unetPicture({ widths, pairs }, removed) {
  const last = widths.length - 1;
  const right = INDENT * last + (BOX.width + GAP) * Math.max(...pairs) + 56;
  const width = right + INDENT * last + (BOX.width + GAP) * (Math.max(...pairs) + 1);
  const height = TOP + ROW * widths.length + 44;
  const parts = [draw("text", { x: 0, y: 14, class: "way", text: "down: from the noisy clip" }), draw("text", { x: right, y: 14, class: "way", text: "up: to the clean clip" })];
  widths.forEach((channels, level) => {
    const y = TOP + ROW * level;
    parts.push(...stage(`down_blocks.${level}`, INDENT * level, y, pairs[level], level < last, `Down ${level} · ${channels} ch`, removed));
    const up = last - level;
    parts.push(...stage(`up_blocks.${up}`, right + INDENT * up, y, pairs[level] + 1, level > 0, `Up ${up} · ${channels} ch`, removed));
  });
  const middle = { x: (right + INDENT * last) / 2, y: height - 40, width: 96 };
  parts.push(block("mid_block", "middle", middle, removed));
  const label = removed.length ? `The U-Net; ${removed.length} removed ${removed.length === 1 ? "part" : "parts"} dashed, listed below` : "The U-Net, nothing removed";
  return draw("svg", { viewBox: `-2 0 ${width + 4} ${height}`, role: "img", "aria-label": label, class: "unet" }, ...parts);
}

/** Whether a block goes, alone or with its stage. */
export const isRemoved = (name, removed) => removed.some((gone) => name === gone || name.startsWith(`${gone}.`));

function stage(name, x, y, pairs, resampled, words, removed) {
  const side = name.split("_")[0];
  const boxes = Array.from({ length: pairs }, (_, pair) => block(`${name}.resnets.${pair}`, String(pair), { x: x + pair * (BOX.width + GAP), y, width: BOX.width }, removed));
  if (resampled) boxes.push(block(`${name}.${side}samplers.0`, side === "down" ? "halve" : "double", { x, y: y + BOX.height + GAP, width: 62, sampler: true }, removed));
  return [draw("text", { x, y: y - 7, class: "stage-name", text: words }), ...boxes];
}

function block(name, label, { x, y, width, sampler = false }, removed) {
  const gone = isRemoved(name, removed);
  const kind = `block ${gone ? "gone" : sampler ? "sampler" : "kept"}`;
  return draw(
    "g",
    { class: kind, "data-block": name },
    draw("title", { text: `${name}${gone ? ": removed" : ""}` }),
    draw("rect", { x, y, width, height: BOX.height, rx: 5 }),
    draw("text", { x: x + width / 2, y: y + BOX.height / 2 + 4.5, "text-anchor": "middle", text: label }),
  );
}
