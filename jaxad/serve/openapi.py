"""The interface as OpenAPI 3.1 describes it."""

import importlib.metadata
from typing import Any

from jaxad.serve.answers import INCLUDES
from jaxad.serve.bodies import BYTES, FORM
from jaxad.serve.schemas import SCHEMAS, ref
from jaxad.serve.service import Service

JSON = "application/json"
MODEL = {
    "name": "model",
    "in": "query",
    "description": "which model; may be left out where there is one",
    "schema": {"type": "string"},
}
REFUSALS = {
    "400": "a parameter or a form that is not understood",
    "401": "the token is missing or wrong",
    "403": "asked by a page of another site",
    "404": "no such model",
    "406": "neither JSON nor, for one picture, PNG would do",
    "408": "the request came too slowly",
    "413": "too many bytes, pixels or pictures",
    "415": "said to be no picture",
    "421": "asked by another name than the service has",
    "422": "a picture that cannot be used, or several models or categories and none named",
    "500": "computing failed",
    "503": "too much to do, still loading, or being ended; Retry-After says when to try again",
}
HEADERS = {
    "X-Jaxad-Label": "normal or anomalous; missing where the card has no limit",
    "X-Jaxad-Score": "as the model gave it",
    "X-Jaxad-Percentile": "share of the card's normal pictures at or below the score",
    "X-Jaxad-P-Value": "probability that a normal picture scores as high",
    "X-Jaxad-Regions": "how many there are",
}


def description(service: Service) -> dict[str, Any]:
    """The interface of a service, as plain JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "jaxad",
            "version": importlib.metadata.version("jaxad"),
            "description": "Decides about pictures: normal or anomalous, and where.",
        },
        "paths": {
            "/v1/predict": {"post": _predict(service)},
            "/v1/models": {"get": _get("The models", "Models", "400")},
            "/v1/card": {
                "get": {
                    **_get("The decision card of a model", None, "400", "404", "422", "503"),
                    "parameters": [MODEL],
                }
            },
            "/healthz": {"get": _open(_get("Whether the process answers", "Status"))},
            "/readyz": {"get": _open(_get("Whether pictures are taken", "Status", "503"))},
            "/metrics": {"get": _text("Counters for Prometheus", "text/plain")},
            "/openapi.json": {"get": _get("This description", None)},
            "/": {"get": _open(_text("A page to try pictures with", "text/html"))},
        },
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],  # a service may have no token
    }


def _predict(service: Service) -> dict[str, Any]:
    limits = service.limits
    binary = {"schema": {"type": "string", "format": "binary"}}
    several = {
        "type": "object",
        "additionalProperties": {
            "oneOf": [
                {"type": "string", "format": "binary"},
                {"type": "array", "items": {"type": "string", "format": "binary"}},
            ]
        },
    }
    statuses = list(REFUSALS)
    refusals = _refusals(*statuses)
    refusals["422"]["content"][JSON]["schema"] = {
        "anyOf": [ref("Error"), ref("Predictions")],
    }
    return {
        "summary": "Decide about one picture or several",
        "parameters": [
            MODEL,
            {
                "name": "category",
                "in": "query",
                "description": "of the pictures, where the model learned several",
                "schema": {"type": "string"},
            },
            {
                "name": "include",
                "in": "query",
                "description": f"what is wanted beside the decision: {', '.join(INCLUDES)}",
                "explode": False,
                "schema": {"type": "array", "items": {"enum": list(INCLUDES)}},
            },
        ],
        "requestBody": {
            "required": True,
            "description": f"{limits.max_bytes} bytes and {limits.max_pictures} pictures at most",
            "content": {"image/*": binary, BYTES: binary, FORM: {"schema": several}},
        },
        "responses": {
            "200": {
                "description": "Decisions. Of several pictures some may have an error instead. "
                "With Accept: image/png, of one picture, its overlay",
                "headers": {
                    name: {"description": f"With a PNG: {said}", "schema": {"type": "string"}}
                    for name, said in HEADERS.items()
                },
                "content": {JSON: {"schema": ref("Predictions")}, "image/png": binary},
            },
            **refusals,
        },
    }


def _get(summary: str, form: str | None, *refused: str) -> dict[str, Any]:
    schema = {"type": "object"} if form is None else ref(form)
    content = {JSON: {"schema": schema}}
    answer = {"200": {"description": summary, "content": content}}
    return {
        "summary": summary,
        "responses": answer | _refusals("401", "403", "421", *refused),
    }


def _text(summary: str, kind: str) -> dict[str, Any]:
    content = {kind: {"schema": {"type": "string"}}}
    return {
        "summary": summary,
        "responses": {"200": {"description": summary, "content": content}}
        | _refusals("401", "403", "421"),
    }


def _open(operation: dict[str, Any]) -> dict[str, Any]:
    """What needs no token."""
    for status in ("401", "403"):
        del operation["responses"][status]
    return {**operation, "security": []}


def _refusals(*statuses: str) -> dict[str, Any]:
    return {
        status: {
            "description": REFUSALS[status],
            "content": {JSON: {"schema": dict(ref("Error"))}},
        }
        for status in statuses
    }
