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

export function asPython(task, fields, picture) {
  const written = Object.entries(fields).map(([name, value]) => `    ${JSON.stringify(name)}: ${JSON.stringify(value)},`);
  const body = picture ? ["data=fields", `files={"image": Path(${JSON.stringify(picture)}).read_bytes()}`] : ["json=fields"];
  const key = accessKey.get() ? [`headers={"Authorization": f"Bearer {os.environ['VDMINI_API_KEY']}"}`] : [];
  const given = [JSON.stringify(`${location.origin}/v1/${task}`), ...body, ...key, "timeout=600"];
  return [
    ...(key.length ? ["import os"] : []),
    "from pathlib import Path",
    "",
    "import httpx",
    "",
    "fields = {",
    ...written,
    "}",
    "answer = httpx.post(",
    ...given.map((each) => `    ${each},`),
    ")",
    "answer.raise_for_status()",
    'Path("clip.mp4").write_bytes(answer.content)',
    "",
  ].join("\n");
}
