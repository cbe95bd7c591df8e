"""Makes engine-api.json from the Engine API's swagger file: what a checker of answers and a count of what the suite
exercises need, without prose.

    python3 strip.py ../../../../shared/reference/engine-api-1.56.yaml > engine-api.json
"""

import json
import sys

import yaml

DROP = {"description", "summary", "example", "examples", "title", "x-go-name", "x-go-type", "x-go-package", "operationId", "tags", "default"}


def strip(node, inside_properties=False):
    if isinstance(node, dict):
        kept = {}
        for key, value in node.items():
            if not inside_properties and key in DROP:
                continue
            kept[str(key)] = strip(value, key == "properties")
        return kept
    if isinstance(node, list):
        return [strip(one) for one in node]
    return node if isinstance(node, (str, int, float, bool, type(None))) else str(node)


with open(sys.argv[1], encoding="utf-8") as file:
    api = yaml.safe_load(file)
out = {"definitions": strip(api["definitions"], True), "responses": strip(api.get("responses", {}), True), "paths": {}}
for path, operations in api["paths"].items():
    out["paths"][path] = {
        method: {
            "tags": operation.get("tags", []),
            "parameters": strip(operation.get("parameters", [])),
            "responses": strip(operation["responses"], True),
        }
        for method, operation in operations.items()
        if isinstance(operation, dict) and "responses" in operation
    }
json.dump(out, sys.stdout, indent=1, sort_keys=True)
print()
