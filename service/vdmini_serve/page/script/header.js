/** The head of every page. A new page is a line here. */

import { find, make } from "./elements.js";

const PAGES = [
  ["/", "Playground"],
  ["/compare", "Compare"],
  ["/models", "Models"],
  ["/docs", "API"],
];

/** Whether the page is the one of an address, or below it. */
const isHere = (address) => location.pathname === address || (address !== "/" && location.pathname.startsWith(`${address}/`));

export function showHeader() {
  const link = ([address, name]) =>
    make("a", { href: address, "aria-current": isHere(address) ? "page" : null, text: name });
  find("header").append(
    make("a", { class: "brand", href: "/" }, make("img", { src: "/page/icon.svg", alt: "", width: 24, height: 24 }), "VDMini"),
    make("nav", { "aria-label": "Pages" }, ...PAGES.map(link)),
  );
}
