/** The API key, where the service asks for one: kept for this tab only (sessionStorage), sent as a header only. */

import { find } from "./elements.js";

const NAME = "vdmini.access-key";
let asking = null;

export const accessKey = {
  get: () => sessionStorage.getItem(NAME) ?? "",

  /** Shows the field and resolves when a key was given. @param {import("./problem.js").Problem} problem */
  ask(problem) {
    sessionStorage.removeItem(NAME);
    asking ??= show(problem).finally(() => {
      asking = null;
    });
    return asking;
  },
};

function show(problem) {
  const [form, field, reason] = [find("key-form"), find("key"), find("key-reason")];
  reason.textContent =
    problem.kind === "key-unknown"
      ? "This key is not known here. Check it, or ask whoever runs this service for a new one."
      : "This service asks for an API key. It stays in this tab and goes nowhere else.";
  form.hidden = false;
  field.setAttribute("aria-invalid", String(problem.kind === "key-unknown"));
  field.focus();
  return new Promise((resolve) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      if (!field.value.trim()) return;
      sessionStorage.setItem(NAME, field.value.trim());
      field.value = "";
      form.hidden = true;
      resolve();
    };
  });
}
