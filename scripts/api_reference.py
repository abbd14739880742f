"""Write docs/api.md: every route with its fields, answers and problems, from the service's OpenAPI document.

python scripts/api_reference.py [--check]
"""

import argparse
import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vdmini_serve.api import examples
from vdmini_serve.api.app import create_app
from vdmini_serve.contract.problem import STATUS, ProblemKind
from vdmini_serve.contract.settings import Settings

TARGET = Path(__file__).resolve().parents[1] / "docs" / "api.md"
JSON, FORM = "application/json", "multipart/form-data"
HEAD = """# The HTTP API

`scripts/api_reference.py` writes this page from the service's OpenAPI document, which a running service shows at
`/docs` and gives at `/openapi.json`. [service.md](service.md) tells how it behaves, [client.md](client.md) how to use
it from Python.

Where the service asks for API keys, every request under `/v1` needs `Authorization: Bearer KEY`. Fields that are left
out get the model's defaults (`GET /v1/models/{name}`). What goes wrong is a [problem](#problems).
"""

PROBLEMS = """## Problems

Errors are `application/problem+json` ([Problem](#problem)): `type` is `urn:vdmini:problem:` and one of these, `detail`
says what was got, what is allowed and what to do.

| kind | status | such as |
|---|---|---|
"""

Schema = dict[str, Any]


class Reference:
    """The page of one OpenAPI document."""

    def __init__(self, document: Schema) -> None:
        self.document = document
        self.schemas: Schema = document["components"]["schemas"]

    def page(self) -> str:
        """All of it."""
        parts = [HEAD]
        for path, methods in self.document["paths"].items():
            parts += [self._route(method.upper(), path, route) for method, route in methods.items()]
        parts.append("## What answers hold\n")
        parts += [self._object(name) for name in self.schemas]
        parts.append(_problems())
        return "\n".join(parts)

    def _route(self, method: str, path: str, route: Schema) -> str:
        parts = [f"## {method} {path}\n", f"{route['summary']}. {route.get('description', '')}".strip() + "\n"]
        rows = list(self._parameters(route))
        if rows:
            parts.append("| field | where | type | what it is |\n|---|---|---|---|\n" + "".join(rows))
        parts.append(f"```\n{_curl(method, path, route)}\n```\n")
        parts.append("| answer | what it is |\n|---|---|\n" + "".join(self._answers(route)))
        return "\n".join(parts)

    def _parameters(self, route: Schema) -> Iterator[str]:
        for each in route.get("parameters", ()):
            needed = ", needed" if each.get("required") else ""
            yield _row(f"`{each['name']}`", each["in"] + needed, self._type(each["schema"]), each["description"])
        body = route.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema", {})
        for name, field in body.get("properties", {}).items():
            needed = ", needed" if name in body.get("required", ()) else ""
            yield _row(f"`{name}`", f"body{needed}", self._type(field), field.get("description", ""))

    def _answers(self, route: Schema) -> Iterator[str]:
        for status, answer in route["responses"].items():
            if status in ("4XX", "5XX"):
                continue
            kinds = [self._content(kind, content) for kind, content in answer.get("content", {}).items()]
            headers = "".join(f"; `{name}`: {each['description']}" for name, each in answer.get("headers", {}).items())
            said = answer["description"].replace(", or ", ", ") + headers
            yield _row(f"{status} {', '.join(filter(None, kinds))}".strip(), said)

    def _content(self, kind: str, content: Schema) -> str:
        if "problem" in kind:
            return ""
        schema = content.get("schema", {})
        return self._type(schema) if kind == JSON and schema else f"`{kind}`"

    def _object(self, name: str) -> str:
        schema = self.schemas[name]
        rows = [
            _row(f"`{field}`", self._type(each), each.get("description", ""))
            for field, each in schema.get("properties", {}).items()
        ]
        said = " ".join(schema.get("description", "").split())
        return f"### {name}\n\n{said}\n\n| field | type | what it is |\n|---|---|---|\n" + "".join(rows)

    def _type(self, schema: Schema) -> str:
        """A schema in words, with its limits and its default."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return f"[{name}](#{name.lower()})"
        if "enum" in schema or "const" in schema:
            found = ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
        elif "anyOf" in schema:
            found = " or ".join(self._type(each) for each in schema["anyOf"] if each.get("type") != "null")
        elif schema.get("type") == "array" and "items" in schema:
            found = f"list of {self._type(schema['items'])}"
        elif schema.get("type") == "array":
            found = "list"
        else:
            found = _plain(schema)
        default = schema.get("default")
        return found if default in (None, "", []) else f"{found}, default `{json.dumps(default)}`"


def _plain(schema: Schema) -> str:
    kind = str(schema.get("contentEncoding") or schema.get("format") or schema.get("type", "anything"))
    low, high = schema.get("minimum"), schema.get("maximum")
    limits = [f"{low} to {high}" if None not in (low, high) else "" if low is None else f"{low} or more"]
    limits.append("" if (above := schema.get("exclusiveMinimum")) is None else f"above {above}")
    if high is not None and low is None:
        limits.append(f"at most {high}")
    if (most := schema.get("maxLength")) is not None:
        limits.append(f"at most {most} characters")
    return ", ".join(filter(None, (kind, *limits)))


def _curl(method: str, path: str, route: Schema) -> str:
    """A request as it is typed, made of the document's own examples."""
    for each in route.get("parameters", ()):
        example = each.get("example") or next(iter(each.get("schema", {}).get("examples", ())), None)
        path = path.replace(f"{{{each['name']}}}", str(example))
    content = route.get("requestBody", {}).get("content", {})
    words = ["curl", *([] if method == "GET" or content else ["-X", method]), f"http://127.0.0.1:8000{path}"]
    sends_file = any("(the file)" in str(value) for value in content.get(FORM, {}).get("example", {}).values())
    if sends_file:
        form = content[FORM]["example"].items()
        words += [w for name, value in form for w in ("-F", f"{name}={str(value).replace('(the file)', '@photo.png')}")]
    elif content:
        words += ["-H", f"content-type: {JSON}", "-d", json.dumps(content[JSON]["example"])]
    if "video/mp4" in route["responses"].get("200", {}).get("content", {}):
        words += ["-o", "clip.mp4"]
    return shlex.join(words)


def _problems() -> str:
    return PROBLEMS + "".join(
        _row(f"`{kind}`", str(STATUS.get(kind, 422)), examples.DETAILS.get(kind, "")) for kind in ProblemKind
    )


def _row(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |\n"


def page() -> str:
    """The whole page."""
    return Reference(create_app(Settings(_env_file=None)).openapi()).page()  # type: ignore[call-arg]  # pydantic's own


def main() -> int:
    """Write the page, or compare with it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say whether the page is what it should be")
    if parser.parse_args().check:
        return 0 if TARGET.exists() and TARGET.read_text() == page() else 1
    TARGET.write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
