"""The forms of what the service answers, as JSON Schema."""

from typing import Any

Schema = dict[str, Any]


def ref(name: str) -> Schema:
    """A form by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(properties: dict[str, Schema], optional: tuple[str, ...] = (), **more: Any) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, **more}


def _or_null(kind: str, said: str = "") -> Schema:
    return {"type": [kind, "null"], **({"description": said} if said else {})}


NUMBER, TEXT, COUNT = {"type": "number"}, {"type": "string"}, {"type": "integer", "minimum": 0}
NUMBERS = {"type": "array", "items": NUMBER}
PNG = {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"}

REGION = _object({
    "box": {
        "type": "array", "items": {"type": "integer"}, "minItems": 4, "maxItems": 4,
        "description": "left, top, right, bottom in pixels; right and bottom are outside",
    },
    "area": {**COUNT, "description": "in pixels"},
    "peak": NUMBER,
    "mean": NUMBER,
    "centroid": {**NUMBERS, "minItems": 2, "maxItems": 2, "description": "x and y"},
})  # fmt: skip

FAILURE = _object({
    "code": {**TEXT, "description": "one word that a program may go by"},
    "message": {**TEXT, "description": "one sentence for a person"},
})  # fmt: skip

NAMED = {**TEXT, "description": "as the sender called the file; empty for a body of one picture"}
FOUND = _object(
    {
        "name": NAMED,
        "score": {**NUMBER, "description": "as the model gave it; higher is more anomalous"},
        "percentile": _or_null("number", "share of the card's normal pictures at or below it"),
        "p_value": _or_null("number", "probability that a normal picture scores as high"),
        "label": {"type": ["string", "null"], "enum": ["normal", "anomalous", None]},
        "width": COUNT,
        "height": COUNT,
        "regions": {"type": "array", "items": ref("Region")},
        "seconds": {**NUMBER, "description": "spent on reading and deciding, computing apart"},
        "overlay": {**PNG, "description": "the grey picture under the colours of its map"},
        "mask": {**PNG, "description": "white where a region is"},
        "heat": {**PNG, "description": "the colours of the map alone, transparent where it is low"},
        "map": _object({
            "shape": {"type": "array", "items": COUNT, "description": "height and width"},
            "dtype": {"const": "<f4"},
            "base64": {"type": "string", "contentEncoding": "base64"},
        }),
    },
    optional=("overlay", "mask", "heat", "map"),
)  # fmt: skip
NOT_FOUND = _object({"name": NAMED, "error": ref("Failure")})

PREDICTIONS = _object(
    {
        "model": TEXT,
        "category": TEXT,
        "threshold": _or_null("number", "of scores: above it a picture is anomalous"),
        "pixel_threshold": _or_null("number", "of maps: above it a pixel is of a region"),
        "pictures": {
            "type": "array",
            "items": {"oneOf": [ref("Found"), ref("NotFound")]},
            "description": "one entry for each picture, in the order in which they were sent",
        },
        "error": {**ref("Failure"), "description": "there where no picture could be answered"},
    },
    optional=("error",),
)

MODEL = _object(
    {
        "name": TEXT,
        "ready": {"type": "boolean"},
        "size": {**COUNT, "description": "side of the squares that the model sees, in pixels"},
        "tiles": _or_null("integer", "side of the parts that larger pictures are cut into"),
        "max_pixels": COUNT,
        "batch_sizes": {"type": "array", "items": COUNT},
        "scale": {**NUMBERS, "minItems": 2, "maxItems": 2, "description": "of all colours"},
        "categories": {
            "type": "object",
            "additionalProperties": _object({
                "threshold": _or_null("number"),
                "pixel_threshold": _or_null("number"),
                "said": {**TEXT, "description": "where alarms begin, in words"},
                "warnings": {"type": "array", "items": TEXT},
            }),
        },
    },
    optional=("size", "tiles", "max_pixels", "batch_sizes", "scale", "categories"),
)  # fmt: skip

SCHEMAS: dict[str, Schema] = {
    "Error": _object({"error": ref("Failure")}),
    "Failure": FAILURE,
    "Region": REGION,
    "Found": FOUND,
    "NotFound": NOT_FOUND,
    "Predictions": PREDICTIONS,
    "Model": MODEL,
    "Models": _object({
        "models": {"type": "array", "items": ref("Model")},
        "limits": _object({"max_bytes": COUNT, "max_pictures": COUNT}),
    }),
    "Status": _object({"status": {"enum": ["alive", "ready"]}}),
}  # fmt: skip
