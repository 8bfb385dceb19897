"""The OpenAPI description of what is served, made of the table of operations and their models."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from importlib.metadata import version
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from chrysalis_memory.replication.routes import SIGNATURE
from chrysalis_memory.servers.operations import Operation
from chrysalis_memory.servers.schemas import QUERY_SEVERAL, Problem

_ANY_REFUSALS = (
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.SERVICE_UNAVAILABLE,
)
_BODY_REFUSALS = (
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
)
_REFERENCE = "#/components/schemas/{model}"
_JSON = "application/json"

_Mode = Literal["validation", "serialization"]
_Schemas = Mapping[Any, dict[str, Any]]
"""By model and mode."""


def describe(operations: Iterable[Operation], *, needs_token: bool) -> dict[str, Any]:
    """Return the description.

    Args:
        operations: Everything that can be asked.
        needs_token: Whether a token is set.
    """
    listed = list(operations)
    schemas, definitions = _schemas(listed)
    paths: dict[str, dict[str, Any]] = {}
    for operation in listed:
        described = _operation(operation, schemas, definitions)
        if operation.is_signed:
            described["security"] = [{"signature": []}]
        elif needs_token and not operation.is_open:
            described["security"] = [{"token": []}]
        paths.setdefault(operation.public_path, {})[operation.method.lower()] = described
    components: dict[str, Any] = {"schemas": definitions}
    schemes: dict[str, Any] = {}
    if needs_token:
        schemes["token"] = {"type": "http", "scheme": "bearer"}
    if any(operation.is_signed for operation in listed):
        schemes["signature"] = {"type": "apiKey", "in": "header", "name": SIGNATURE}
    if schemes:
        components["securitySchemes"] = schemes
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "info": {
            "title": "Chrysalis Memory",
            "version": version("chrysalis-memory"),
            "summary": "An agent's memory, served.",
        },
        "paths": paths,
        "components": components,
    }


def _schemas(operations: list[Operation]) -> tuple[_Schemas, dict[str, Any]]:
    wanted: dict[tuple[type[BaseModel], _Mode], None] = {(Problem, "serialization"): None}
    for operation in operations:
        wanted |= {(model, "validation"): None for model in operation.takes}
        wanted |= {(model, "serialization"): None for model in operation.gives}
    schemas, whole = models_json_schema(list(wanted), ref_template=_REFERENCE)
    return schemas, dict(sorted(whole["$defs"].items()))


def _operation(
    operation: Operation, schemas: _Schemas, definitions: dict[str, Any]
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": f"{operation.method.lower()} {operation.public_path}",
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation, schemas),
    }
    if operation.takes:
        schema = _any([schemas[model, "validation"] for model in operation.takes])
        described["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema}}}
    elif operation.method == "POST":
        schema = {"type": "string", "contentEncoding": "binary"}
        content = {operation.media_type: {"schema": schema}}
        described["requestBody"] = {"required": True, "content": content}
    return described


def _responses(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    unnamed = {"type": "object" if operation.media_type == _JSON else "string"}
    schema = _any([schemas[model, "serialization"] for model in operation.gives]) or unnamed
    answers: dict[str, Any] = {
        str(int(operation.status)): {
            "description": "The answer.",
            "content": {operation.media_type: {"schema": schema}},
        }
    }
    bodies = _BODY_REFUSALS if operation.method in ("POST", "PATCH") else ()
    problem = {_JSON: {"schema": schemas[Problem, "serialization"]}}
    for status in sorted({*_ANY_REFUSALS, *bodies, *operation.refusals}):
        answers[str(int(status))] = {"description": HTTPStatus(status).phrase, "content": problem}
    return answers


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if "{id}" in operation.public_path:
        schema = {"type": "string", "minLength": 1}
        found.append({"name": "id", "in": "path", "required": True, "schema": schema})
    if operation.asks is not None:
        schema = operation.asks.model_json_schema(ref_template=_REFERENCE)
        for name, one in schema.get("properties", {}).items():
            found.append({"name": name, "in": "query"} | _in_query(name, one))
    return found


def _in_query(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Return how a field stands in a URL, where there is no null, and objects are JSON text."""
    options = [one for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    kept = {key: schema[key] for key in ("description",) if key in schema}
    if name == "metadata":
        return kept | {"content": {_JSON: {"schema": {"type": "object"}}}}
    shown = {key: value for key, value in options[0].items() if key not in ("title", "default")}
    if schema.get("default") not in (None, [], ()):
        shown["default"] = schema["default"]
    return kept | {"schema": shown} | ({"explode": True} if name in QUERY_SEVERAL else {})


def _any(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas} if schemas else {}
