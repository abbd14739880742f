/** Making and finding elements. Text is always set as text, so nothing that a server or a user said becomes markup. */

/**
 * @param {string} tag
 * @param {Record<string, unknown>} [properties] attributes; `text`, `on` (event listeners) and `value` are set as such
 * @param {...(Node | string | null | undefined)} children
 */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "text") element.textContent = String(value);
    else if (name === "on") for (const [event, listen] of Object.entries(value)) element.addEventListener(event, listen);
    else if (name === "value") element.value = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** The element of an id; a page without it is a mistake in the page. */
export function find(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`the page has no element #${id}`);
  return element;
}

export const prefersCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
