/** The head of every page. A new page is a line here. */

import { find, make } from "./elements.js";

const PAGES = [
  ["/", "Playground"],
  ["/docs", "API"],
];

export function showHeader() {
  const link = ([address, name]) =>
    make("a", { href: address, "aria-current": address === location.pathname ? "page" : null, text: name });
  find("header").append(
    make("a", { class: "brand", href: "/" }, make("img", { src: "/page/icon.svg", alt: "", width: 24, height: 24 }), "VDMini"),
    make("nav", { "aria-label": "Pages" }, ...PAGES.map(link)),
  );
}
