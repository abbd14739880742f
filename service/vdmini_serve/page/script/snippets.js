/** A clip's request as a command and as a program, to be copied. */

import { accessKey } from "./access-key.js";

const inShell = (text) => `'${String(text).replaceAll("'", `'\\''`)}'`;

/** @param {"i2v" | "t2v"} task @param {Record<string, string | number>} fields all but the picture @param {string} [picture] */
export function asCurl(task, fields, picture) {
  const parts = Object.entries(fields).map(([name, value]) => `--form-string ${inShell(`${name}=${value}`)}`);
  if (picture) parts.unshift(`-F ${inShell(`image=@"${picture.replaceAll(/["\\\\]/g, "\\\\$&")}"`)}`);
  if (accessKey.get()) parts.unshift('-H "Authorization: Bearer $VDMINI_API_KEY"');
  return [`curl --fail-with-body ${location.origin}/v1/${task}`, ...parts, "-o clip.mp4"].join(" \\\n  ");
}

/** The client takes an API key from VDMINI_API_KEY by itself. */
export function asPython(task, fields, picture) {
  const { prompt, ...others } = fields;
  const options = Object.entries(others).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  const given = [JSON.stringify(picture ?? prompt), ...options];
  return [
    "from vdmini_client import Client",
    "",
    `with Client(${JSON.stringify(location.origin)}) as client:`,
    `    clip = client.${task}(`,
    ...given.map((each) => `        ${each},`),
    "    )",
    '    clip.save("clip.mp4")',
    "",
  ].join("\n");
}
