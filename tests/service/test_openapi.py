"""The OpenAPI document is complete: everything is described, has an example, and the examples are true."""

from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from vdmini_serve.api.app import create_app
from vdmini_serve.contract.settings import Settings

Node = dict[str, Any]


@pytest.fixture(scope="module")
def document() -> Node:
    return create_app(Settings()).openapi()


def operations(document: Node) -> Iterator[tuple[str, Node]]:
    for path, methods in (document["paths"] | document["webhooks"]).items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def contents(document: Node) -> Iterator[tuple[str, Node]]:
    """Every body and every answer by media type."""
    for name, operation in operations(document):
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{name} body {kind}", content
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                yield f"{name} {status} {kind}", content


def shown(node: Node, document: Node) -> list[Any]:
    """The examples of a body, an answer, a parameter or a header."""
    found = [node["example"]] if "example" in node else []
    for each in node.get("examples", {}).values():
        name = each.get("$ref", "").rpartition("/")[2]
        found.append(document["components"]["examples"][name]["value"] if name else each["value"])
    return found + node.get("schema", {}).get("examples", [])


def is_file(content: Node) -> bool:
    return bool(content.get("schema", {}).get("format") == "binary")


def test_every_route_says_what_it_does_and_how_it_can_fail(document):
    missing = []
    for name, operation in operations(document):
        statuses = operation["responses"]
        complete = all(operation.get(part) for part in ("summary", "description", "tags"))
        fails = any("application/problem+json" in each.get("content", {}) for each in statuses.values())
        if not (complete and any(status.startswith("2") for status in statuses)):
            missing.append(name)
        if not fails and name not in (
            "GET /livez",
            "GET /readyz",
            "GET /metrics",
            "POST job-finished",
        ):  # have other shapes by intention
            missing.append(f"{name}: problems")
        missing += [f"{name} {status}" for status, each in statuses.items() if not each.get("description")]
    assert not missing


def test_every_body_and_every_answer_has_an_example(document):
    found = dict(contents(document))
    assert len(found) > 100
    assert not [name for name, content in found.items() if not is_file(content) and not shown(content, document)]


def test_every_parameter_and_every_header_is_described_and_has_an_example(document):
    missing = []
    for name, operation in operations(document):
        named = [(each["name"], each) for each in operation.get("parameters", [])]
        for answer in operation["responses"].values():
            named += answer.get("headers", {}).items()
        missing += [f"{name} {each}" for each, node in named if not (node.get("description") and shown(node, document))]
    assert not missing


def test_every_field_is_described(document):
    missing = []
    for name, schema in document["components"]["schemas"].items():
        missing += [f"{name}.{field}" for field, each in schema.get("properties", {}).items() if not described(each)]
    for name, content in contents(document):
        fields = content.get("schema", {}).get("properties", {})
        missing += [f"{name}.{field}" for field, each in fields.items() if not described(each)]
    assert not missing


def described(field: Node) -> bool:
    return "description" in field


def test_every_example_is_what_its_schema_allows(document):
    components = {"components": document["components"]}
    checked = 0
    for name, content in contents(document):
        validator = jsonschema_rs.Draft202012Validator({**content.get("schema", {}), **components})
        for example in shown(content, document):
            wrong = [error.message for error in validator.iter_errors(example)]
            assert not wrong, f"{name}: {wrong}"
            checked += 1
    assert checked > 100


def test_the_example_of_a_problem_is_shown_under_its_own_status(document):
    seen = set()
    for _, operation in operations(document):
        for status, answer in operation["responses"].items():
            for content in answer.get("content", {}).values():
                for problem in (each for each in shown(content, document) if "urn:vdmini:problem" in str(each)):
                    assert status in (str(problem["status"]), f"{problem['status'] // 100}XX")
                    seen.add(problem["type"])
    assert len(seen) > 20


def test_every_link_leads_to_a_route_that_takes_the_id(document):
    links = [
        link
        for _, operation in operations(document)
        for answer in operation["responses"].values()
        for link in answer.get("links", {}).values()
    ]
    assert len(links) > 8
    for link in links:
        *_, path, method = link["operationRef"].split("/")
        operation = document["paths"][path.replace("~1", "/")][method]
        assert set(link["parameters"]) <= {each["name"] for each in operation["parameters"]}


def test_a_form_has_no_null(document):
    forms = [content["schema"] for name, content in contents(document) if "multipart/form-data" in name]
    assert len(forms) == 3
    assert not [form for form in forms if "null" in str(form) or "None" in str(form)]


def test_the_routes_are_those_that_the_service_has(document):
    videos = {"/v1/videos", "/v1/videos/{video_id}", "/v1/videos/{video_id}/content"}
    jobs = {"/v1/jobs", "/v1/jobs/{job_id}", "/v1/jobs/{job_id}/content", "/v1/jobs/{job_id}/events"}
    assert videos | jobs | {"/v1/i2v", "/v1/t2v", "/v1/models", "/readyz", "/metrics"} <= set(document["paths"])
    assert {"get", "delete"} == set(document["paths"]["/v1/videos/{video_id}"])
