"""The OpenAPI document, made from the routes and the declared fields."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from corelm_serve.answers import corelm_version
from corelm_serve.security import OPEN

if TYPE_CHECKING:
    from corelm_serve.endpoints import RouteSpec


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "required": [*properties], "properties": properties}


TEXT, OPTIONAL = {"type": "string"}, {"type": ["string", "null"]}
ERROR = _object(
    {"error": _object({"message": TEXT, "type": TEXT, "param": OPTIONAL, "code": OPTIONAL})}
)


@cache
def document(routes: Sequence[RouteSpec]) -> dict[str, Any]:
    """Return the OpenAPI document of some routes."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path.replace(":path", ""), {})[route.method.lower()] = _operation(
            route
        )
    schemas = {route.body.__name__: route.body.body_schema() for route in routes if route.body}
    return {
        "openapi": "3.1.0",
        "info": {"title": "corelm serve", "version": corelm_version()},
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Error": ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: RouteSpec) -> dict[str, Any]:
    error = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    operation: dict[str, Any] = {
        "operationId": route.endpoint.__name__,
        "summary": route.summary,
        "responses": {
            "200": {"description": "The answer"},
            "default": {"description": "An error, in OpenAI's shape"} | error,
        },
    }
    if route.body is not None:
        schema = {"$ref": f"#/components/schemas/{route.body.__name__}"}
        content = {"application/json": {"schema": schema}}
        operation["requestBody"] = {"required": True, "content": content}
    if "{" in route.path:
        name = route.path.partition("{")[2].rstrip("}").removesuffix(":path")
        place = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        operation["parameters"] = [place]
    return operation | ({"security": []} if route.path in OPEN else {})
