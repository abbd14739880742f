/** The API's reference, read from the service's own OpenAPI document. */

import { find, make } from "./elements.js";
import { showHeader } from "./header.js";
import { ask } from "./service.js";
import { tell } from "./readiness.js";

const METHODS = ["get", "post", "put", "patch", "delete"];
const DEEPEST = 3;

class Reference {
  constructor(openapi) {
    this.openapi = openapi;
  }

  show() {
    const byTag = new Map();
    for (const [path, route] of Object.entries(this.openapi.paths)) {
      for (const method of METHODS.filter((each) => each in route)) {
        const tag = route[method].tags?.[0] ?? "other";
        byTag.set(tag, [...(byTag.get(tag) ?? []), this.#route(method, path, route[method])]);
      }
    }
    const sections = [...byTag].map(([tag, routes]) => make("section", { class: "card" }, make("h2", { text: tag[0].toUpperCase() + tag.slice(1) }), ...routes));
    find("routes").replaceChildren(...sections);
  }

  #route(method, path, operation) {
    const head = make("summary", {}, make("span", { class: `method ${method}`, text: method.toUpperCase() }), make("code", { text: path }), make("span", { class: "hint", text: operation.summary ?? "" }));
    const body = make("div", { class: "route-body" });
    const fill = () => body.childElementCount || body.append(...this.#parts(operation));
    const route = make("details", { class: "route", id: `${method}${path}`, on: { toggle: fill } }, head, body);
    route.dataset.words = this.#words({ path, ...operation }).toLowerCase();
    return route;
  }

  /** All that is said of a route, for the search. */
  #words(value) {
    return JSON.stringify(value, (key, part) => (key === "responses" || key === "examples" ? undefined : part?.$ref ? { ...this.#resolved(part) } : part));
  }

  #parts(operation) {
    const parameters = (operation.parameters ?? []).map((each) => this.#resolved(each));
    return [
      ...paragraphs(operation.description),
      ...(parameters.length ? [make("h3", { text: "Parameters" }), this.#fields(parameters.map((each) => [each.name, { ...each.schema, description: each.description }, each.required, each.in]))] : []),
      ...this.#body(operation.requestBody),
      make("h3", { text: "Answers" }),
      ...Object.entries(operation.responses ?? {}).map(([status, answer]) => this.#answer(status, this.#resolved(answer))),
    ];
  }

  #body(body) {
    return Object.entries(body ? this.#resolved(body).content : {}).flatMap(([type, { schema }]) => [make("h3", { text: `Body, ${type}` }), this.#schema(schema, 0)]);
  }

  #answer(status, answer) {
    const content = Object.entries(answer.content ?? {}).map(([type, { schema }]) => {
      const inner = schema && this.#schema(schema, 0);
      return inner ? make("details", { class: "answer" }, make("summary", { text: type }), inner) : make("p", { class: "hint", text: type });
    });
    return make("div", { class: "status" }, make("p", {}, make("code", { text: status }), ` ${answer.description ?? ""}`), ...content);
  }

  /** The fields of a schema; null when it has none. */
  #schema(schema, depth) {
    const found = this.#resolved(schema ?? {});
    const inner = found.type === "array" ? this.#resolved(found.items ?? {}) : found;
    if (!inner.properties) return null;
    const required = new Set(inner.required ?? []);
    return this.#fields(Object.entries(inner.properties).map(([name, value]) => [name, value, required.has(name), null]), depth);
  }

  #fields(list, depth = 0) {
    const rows = list.flatMap(([name, schema, required, place]) => {
      const inner = depth < DEEPEST && this.#schema(variants(schema)[0], depth + 1);
      const about = make("dd", {}, ...paragraphs(schema.description), inner ? make("details", {}, make("summary", { text: "its fields" }), inner) : null);
      const kind = [this.#type(schema), bounds(schema), required ? "required" : null, place, usual(schema)].filter(Boolean).join(", ");
      return [make("dt", {}, make("code", { text: name }), make("span", { class: "hint", text: kind })), about];
    });
    return make("dl", { class: "fields" }, ...rows);
  }

  #type(schema) {
    const names = variants(schema).map((each) => {
      if (each.$ref) return this.#resolved(each).enum ? choices(this.#resolved(each)) : each.$ref.split("/").pop();
      if (each.enum) return choices(each);
      if (each.const !== undefined) return JSON.stringify(each.const);
      return each.type === "array" ? `list of ${each.items ? this.#type(each.items) : "anything"}` : each.format === "binary" ? "file" : each.type;
    });
    return names.filter(Boolean).join(" or ");
  }

  #resolved(value) {
    let found = value;
    while (found.$ref) found = found.$ref.slice(2).split("/").reduce((place, key) => place[key.replaceAll("~1", "/")], this.openapi);
    return found;
  }
}

const variants = (schema) => schema.anyOf ?? schema.oneOf ?? [schema];
const choices = (schema) => schema.enum.map((value) => JSON.stringify(value)).join(" or ");
const usual = (schema) => (schema.default === undefined || schema.default === null ? null : `default ${JSON.stringify(schema.default)}`);

function bounds(schema) {
  const { minimum, maximum, exclusiveMinimum, maxLength } = variants(schema)[0];
  const least = minimum ?? exclusiveMinimum;
  if (least !== undefined && maximum !== undefined) return `${least} to ${maximum}`;
  if (least !== undefined) return exclusiveMinimum === undefined ? `at least ${least}` : `more than ${least}`;
  return maxLength === undefined ? null : `at most ${maxLength} characters`;
}

function paragraphs(text) {
  return (text ?? "").split("\n\n").filter(Boolean).map((part) => make("p", {}, ...part.split("`").map((piece, index) => (index % 2 ? make("code", { text: piece }) : piece))));
}

function search() {
  const wanted = find("search").value.trim().toLowerCase();
  const routes = [...document.querySelectorAll(".route")];
  for (const route of routes) route.hidden = !route.dataset.words.includes(wanted);
  for (const section of document.querySelectorAll("#routes > section")) section.hidden = !section.querySelector(".route:not([hidden])");
  const count = routes.filter((route) => !route.hidden).length;
  find("found").textContent = wanted ? `${count} of ${routes.length} routes` : "";
}

showHeader();
ask("/openapi.json")
  .then((answer) => answer.json())
  .then((openapi) => new Reference(openapi).show())
  .catch((problem) => tell([problem.title ?? "This page failed", problem.message]));
find("search").addEventListener("input", search);
