/** Inputs to begin with: sentences that a model can read, and the names of the sample pictures. */

import { isSmall } from "./models.js";

const SMALL_WORLD = [
  "a red circle moving right slowly on a gray background",
  "a yellow cross moving down left quickly on a black background",
  "a blue square moving up slowly on a white background",
  "a magenta triangle moving down right quickly on a brown background",
];
const WIDE_WORLD = [
  "a sailing boat crossing a calm bay at sunset",
  "a dog running along a beach, seen from the side",
  "rain falling on a city street at night",
];

const COLOURS = ["red", "green", "blue", "yellow", "magenta", "cyan"];
const SHAPES = ["circle", "square", "triangle", "cross"];
const DIRECTIONS = ["right", "down right", "down", "down left", "left", "up left", "up", "up right"];
const GROUNDS = ["gray", "black", "white", "brown"];
const PICTURES = ["circle.png", "triangle.png", "cross.png", "cat.jpg", "rocket.jpg"];

const oneOf = (list) => list[Math.floor(Math.random() * list.length)];

export const examplesFor = (model) => (isSmall(model) ? SMALL_WORLD : WIDE_WORLD);

/** Any sentence of the small world; for other models one of the examples. */
export function anySentence(model) {
  if (!isSmall(model)) return oneOf(WIDE_WORLD);
  return `a ${oneOf(COLOURS)} ${oneOf(SHAPES)} moving ${oneOf(DIRECTIONS)} ${oneOf(["slowly", "quickly"])} on a ${oneOf(GROUNDS)} background`;
}

/** Any of the sample pictures, by its name. */
export const anyPicture = () => oneOf(PICTURES);
