"""The description of the REST interface (OpenAPI 3.1): what the routes say of themselves, and what holds for all of them.

One decision: errors, security and examples are added here to every route alike, so that a new route is described whole without
a line of its own. Examples are made from the schemas: a value by the member's name, else the first it may have.
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

Schema = dict[str, Any]
PROBLEM: Schema = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457). Further members belong to the type.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "description": "urn:smartcare:problem:<what>"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail"],
}
ERRORS = {
    "400": ("bad-request", "A value that cannot be read, or values that do not fit each other"),
    "401": ("not-signed-in", "No session or token, or one that has ended"),
    "403": ("not-allowed", "The role or token may not do this"),
    "404": ("not-found", "There is no such thing, or it is in another's part"),
    "408": ("too-slow", "The request did not arrive in time"),
    "409": ("stale-version", "Someone else changed it first"),
    "413": ("too-large", "The body is too large"),
    "422": ("invalid", "The request does not have the described form; `errors` says where"),
    "429": ("too-many", "Too many requests; `Retry-After` says how many seconds to wait"),
    "503": ("unavailable", "The database does not answer; `Retry-After` says when to try again"),
}
VALUES: dict[str, Any] = {
    "code": "HC01",
    "site_code": "HC01",
    "site": "HC01",
    "site_name": "东桥睦邻点",
    "name": "东桥睦邻点",
    "name_en": "Dongqiao point",
    "region": "330481003000",
    "region_code": "330481003000",
    "area": "330481003",
    "zone": "Asia/Shanghai",
    "cursor": "50",
    "after": "81234-0",
    "rule": "not_opened",
    "month": "2026-11",
    "text": {"zh": "应在 08:30 开门，09:00 仍无人", "en": "should have opened at 08:30; nobody by 09:00"},
    "reason": "停水 no water",
    "note": "",
    "hash": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
}
FROM_US = 1_795_305_600_000_000


def describe(app: FastAPI) -> Schema:
    """Return the whole description; made once."""
    if app.openapi_schema is None:
        schema = FastAPI.openapi(app)
        parts = schema.setdefault("components", {}).setdefault("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            parts.pop(name, None)
        parts["Problem"] = PROBLEM
        schema["components"]["securitySchemes"] = {
            "token": {"type": "http", "scheme": "bearer", "description": "An API token"},
            "session": {"type": "apiKey", "in": "cookie", "name": "session", "description": "Signed in on the page"},
        }
        schema["security"] = [{"token": []}, {"session": []}]
        for path, method, operation in operations(schema):
            _errors(path, method, operation)
            for content in _contents(operation):
                if "schema" in content and "example" not in content:
                    content["example"] = example(content["schema"], parts)
        app.openapi_schema = schema
    return app.openapi_schema


def operations(schema: Schema) -> Iterator[tuple[str, str, Schema]]:
    """Yield (path, method, operation)."""
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _errors(path: str, method: str, operation: Schema) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    statuses = ["400", "401", "403", "422", "429", "503"]
    if "{" in path or method == "post":
        statuses.append("404")
    if method != "get":
        statuses += ["408", "409", "413"]
    for status in statuses:
        slug, about = ERRORS[status]
        body = {"type": f"urn:smartcare:problem:{slug}", "title": about.split(";")[0], "status": int(status), "detail": about}
        answers[status] = {
            "description": about,
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}, "example": body}},
        }
        if status in ("429", "503"):
            answers[status]["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait"}}


def _contents(operation: Schema) -> Iterator[Schema]:
    yield from operation.get("requestBody", {}).get("content", {}).values()
    for answer in operation["responses"].values():
        yield from answer.get("content", {}).values()


def example(schema: Schema, parts: dict[str, Schema], name: str = "") -> Any:
    """Return a value that the schema allows."""
    if "$ref" in schema:
        return example(parts[schema["$ref"].rpartition("/")[2]], parts, name)
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    if "const" in schema:
        return schema["const"]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return example(schema[key][0], parts, name)
    if "default" in schema and schema["default"] not in (None, ""):
        return schema["default"]
    if schema.get("type") == "object" or "properties" in schema:
        made = {key: example(inner, parts, key) for key, inner in schema.get("properties", {}).items()}
        whole = VALUES.get(name)
        return made or (whole if isinstance(whole, dict) else {})
    if "prefixItems" in schema:
        return [example(inner, parts, name) for inner in schema["prefixItems"]]
    if schema.get("type") == "array":
        return [example(schema["items"], parts, name)] if "items" in schema else []
    return _plain(schema, name)


def _plain(schema: Schema, name: str) -> Any:
    kind = schema.get("type")
    if kind == "integer":
        if name.endswith("_us"):
            return FROM_US + (3_600_000_000 if name.startswith("to") else 0)
        return max(7, schema.get("minimum", 7))
    if kind == "number":
        return 0.5
    if kind == "boolean":
        return True
    value = VALUES.get(name)
    return value if isinstance(value, str) and kind == "string" else "text"
