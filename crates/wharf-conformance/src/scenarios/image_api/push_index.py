"""Pushes an image for linux/amd64 and linux/arm64 with an attestation for each: push_index.py PORT REPOSITORY TAG"""

import hashlib
import http.client
import io
import json
import sys
import tarfile

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
STATEMENT = "application/vnd.in-toto+json"

port, name, tag = sys.argv[1:]
connection = http.client.HTTPConnection("127.0.0.1", int(port))


def ask(method, path, body=b"", kind="application/octet-stream"):
    connection.request(method, path, body, {"Content-Type": kind})
    answer = connection.getresponse()
    answer.read()
    assert answer.status in (201, 202), (path, answer.status)
    return answer.headers


def described(data, kind, **more):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    return {"mediaType": kind, "digest": digest, "size": len(data), **more}


def blob(data, kind, **more):
    entry = described(data, kind, **more)
    place = ask("POST", f"/v2/{name}/blobs/uploads/")["Location"]
    ask("PUT", place + ("&" if "?" in place else "?") + "digest=" + entry["digest"], data)
    return entry


def document(content, kind, reference=None, **more):
    data = json.dumps(content).encode()
    entry = described(data, kind, **more)
    ask("PUT", f"/v2/{name}/manifests/{reference or entry['digest']}", data, kind)
    return entry


def layer(text):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        entry = tarfile.TarInfo("platform")
        entry.size = len(text)
        tar.addfile(entry, io.BytesIO(text))
    return archive.getvalue()


def config(content):
    return blob(json.dumps(content).encode(), CONFIG)


def manifest(configuration, layers, **more):
    content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": configuration, "layers": layers}
    return document(content, MANIFEST, **more)


def image(architecture):
    bytes_of_layer = layer(architecture.encode())
    diff_id = "sha256:" + hashlib.sha256(bytes_of_layer).hexdigest()
    configuration = config({
        "architecture": architecture, "os": "linux", "created": "2024-01-02T03:04:05Z",
        "config": {"Cmd": ["/platform"], "Labels": {"made": "by hand"}},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [{"created": "2024-01-02T03:04:05Z", "created_by": "COPY platform /", "comment": "by hand"}],
    })
    platform = {"architecture": architecture, "os": "linux"}
    return manifest(configuration, [blob(bytes_of_layer, LAYER)], platform=platform)


def attestation(of):
    statement = {
        "_type": "https://in-toto.io/Statement/v0.1", "predicateType": "https://slsa.dev/provenance/v0.2",
        "subject": [{"name": "_", "digest": {"sha256": of["digest"][7:]}}], "predicate": {"by": "hand"},
    }
    note = {"in-toto.io/predicate-type": "https://slsa.dev/provenance/v0.2"}
    data = json.dumps(statement).encode()
    layers = [blob(data, STATEMENT, annotations=note)]
    diff_ids = [layers[0]["digest"]]
    configuration = config({
        "architecture": "unknown", "os": "unknown", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    })
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": of["digest"]}
    return manifest(configuration, layers, platform={"architecture": "unknown", "os": "unknown"}, annotations=about)


images = [image("amd64"), image("arm64")]
content = {
    "schemaVersion": 2, "mediaType": INDEX, "annotations": {"made": "by hand"},
    "manifests": images + [attestation(one) for one in images],
}
print(document(content, INDEX, tag)["digest"])
