"""Schemas for kubeconform from Kubernetes' own API description and from custom resource definitions, without the network:
schemas.py SWAGGER_JSON CRD_FOLDER OUT_FOLDER

Strict: a field that the API does not have is an error. One file a kind, named as kubeconform's
{{.ResourceKind}}{{.KindSuffix}} asks for it."""
import json
import pathlib
import sys

import yaml

# What the API server checks by code and JSON schema cannot say, and what only describes.
DROPPED = ("description", "default", "format", "nullable", "not", "allOf", "oneOf", "anyOf")


def strict(node):
    """A definition of OpenAPI as a JSON schema that refuses unknown fields."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        return {"$ref": node["$ref"].replace("#/definitions/", "definitions.json#/")}
    if node.get("format") == "int-or-string" or node.get("x-kubernetes-int-or-string"):
        return {"type": ["string", "integer"]}
    out = {key: value for key, value in node.items() if key not in DROPPED and not key.startswith("x-kubernetes-")}
    if "properties" in node:
        required = node.get("required", [])
        out["properties"] = {
            name: strict(value) if name in required else {"anyOf": [strict(value), {"type": "null"}]}
            for name, value in node["properties"].items()}
        if "additionalProperties" not in node and not node.get("x-kubernetes-preserve-unknown-fields"):
            out["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if key in node:
            out[key] = strict(node[key])
    return out


def file_of(kind, group, version):
    return "-".join(part.lower() for part in (kind, group.split(".")[0], version) if part) + ".json"


def main(swagger, crds, out):
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    definitions = json.loads(pathlib.Path(swagger).read_text(encoding="utf-8"))["definitions"]
    schemas = {name: strict(definition) for name, definition in definitions.items()}
    schemas["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["string", "number"]}
    (out / "definitions.json").write_text(json.dumps(schemas), encoding="utf-8")
    for name, definition in definitions.items():
        kinds = definition.get("x-kubernetes-group-version-kind", [])
        if len(kinds) == 1:
            path = out / file_of(kinds[0]["kind"], kinds[0]["group"], kinds[0]["version"])
            path.write_text(json.dumps({"$ref": "definitions.json#/" + name}), encoding="utf-8")
    for file in sorted(pathlib.Path(crds).glob("*.yaml")):
        for crd in filter(None, yaml.safe_load_all(file.read_text(encoding="utf-8"))):
            spec = crd["spec"]
            for version in spec["versions"]:
                schema = strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                path = out / file_of(spec["names"]["kind"], spec["group"], version["name"])
                path.write_text(json.dumps(schema), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
