/** Numbers of a receipt in words: measures of quality, sizes, what is shown how. */

/** Measure -> [words, unit, which is better]. */
const MEASURES = {
  colour_accuracy: ["Captions whose colour is right", "", "higher"],
  shape_accuracy: ["Captions whose shape is right", "", "higher"],
  direction_accuracy: ["Captions whose direction is right", "", "higher"],
  trajectory_error_px: ["Motion: distance to the right path", "px", "lower"],
  appearance_error: ["Content: difference of the sprite's pixels", "", "lower"],
  background_error: ["Content: difference of the background's pixels", "", "lower"],
  clip_psnr_db: ["Clip PSNR", "dB", "higher"],
  repeat_psnr_db: ["PSNR of the first frame repeated, to compare", "dB", ""],
  psnr_gain_db: ["Gain over repeating the first frame", "dB", "higher"],
  camera_psnr_db: ["Camera clips: PSNR", "dB", "higher"],
  camera_repeat_psnr_db: ["Camera clips: PSNR of the first frame repeated, to compare", "dB", ""],
  frame_distance: ["Content: Fréchet distance of frames to real ones", "", "lower"],
  motion_distance: ["Motion: Fréchet distance of motion to real clips'", "", "lower"],
};

export const measure = (name) => MEASURES[name] ?? [name.replaceAll("_", " "), "", ""];

/** A number with three or four digits that mean something. */
export function figure(value) {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  return size >= 10 ? value.toFixed(1) : size >= 1 ? value.toFixed(2) : value.toFixed(3);
}

/** 1,889,288,192 -> 1.89 G */
export function large(value, unit = "") {
  const [step, name] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([size]) => value >= size) ?? [1, ""];
  return `${(value / step).toLocaleString("en", { maximumSignificantDigits: 3 })} ${name}${unit}`.trim();
}

const COSTS = {
  unet_parameters: ["Parameters of the U-Net", (value) => large(value)],
  unet_flops: ["Work of one U-Net pass", (value) => large(value, "FLOP")],
  vae_decoder_parameters: ["Parameters of the decoder", (value) => large(value)],
  total_bytes: ["All weight files", (value) => large(value, "B")],
};

/** Words and text of one of a model's costs. */
export function cost(name, value) {
  const [words, show] = COSTS[name] ?? [name.replaceAll("_", " "), (each) => large(each)];
  return [words, value === undefined ? "–" : show(value)];
}
