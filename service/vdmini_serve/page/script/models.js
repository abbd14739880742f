/** The loaded models, and which teacher belongs to which of them. */

export class Models {
  /** @param {object[]} offers what `GET /v1/models` answers */
  constructor(offers) {
    this.offers = offers;
  }

  /** Those of a task, compressed ones first. */
  of(task) {
    const rank = (model) => (model.variant === "vdmini" ? 0 : 1);
    return this.offers.filter((model) => model.task === task).sort((a, b) => rank(a) - rank(b));
  }

  named(name) {
    return this.offers.find((model) => model.name === name);
  }

  /** The uncompressed model that a model was made from, when it is loaded; its weights' hash says so. */
  teacherOf(model) {
    if (model.variant === "teacher") return undefined;
    return this.of(model.task).find((each) => each.variant === "teacher" && each.teacher.sha256 === model.teacher.sha256);
  }
}

/** Whether a model only knows a world of simple shapes: then simple examples and large pixels suit it. */
export const isSmall = (model) => model.limits.sizes.every(([width, height]) => width * height <= 128 * 128);
