"""Puts things into a registry that are no images, and reads them back: artifacts.py PORT"""

import hashlib
import http.client
import json
import sys

OCI = "application/vnd.oci.image.manifest.v1+json"
DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
IMAGE = b'{"architecture":"","os":"","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' % (b"0" * 64)

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))


def ask(method, path, body=b"", kind="application/octet-stream"):
    connection.request(method, path, body, {"Content-Type": kind, "Accept": f"{OCI}, {DOCKER}"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status in (200, 201, 202), (path, answer.status, text)
    return answer.headers, text


def blob(name, data, kind):
    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    place = ask("POST", f"/v2/{name}/blobs/uploads/")[0]["Location"]
    ask("PUT", place + ("&" if "?" in place else "?") + "digest=" + digest, data)
    return {"mediaType": kind, "digest": digest, "size": len(data)}


def put(name, config, layers, kind=OCI, **more):
    config, layers = blob(name, *config), [blob(name, *layer) for layer in layers]
    text = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers, **more}).encode()
    ask("PUT", f"/v2/{name}/manifests/1", text, kind)
    headers, back = ask("GET", f"/v2/{name}/manifests/1")
    assert back == text and headers["Content-Type"] == kind, (name, headers, back)
    for part in [config, *layers]:
        _, data = ask("GET", f"/v2/{name}/blobs/{part['digest']}")
        assert len(data) == part["size"], (name, part)


CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
put("chart", (b'{"name":"c"}', "application/vnd.cncf.helm.config.v1+json"), [(b"tgz", CHART)])
put("thing", (b"{}", EMPTY), [(b"hello", "text/plain")], artifactType="application/x-thing")
put("nothing", (b"{}", EMPTY), [(b"{}", EMPTY)], artifactType="application/x-thing")
put("bare", (b"{}", EMPTY), [], artifactType="application/x-thing")
SIGNATURE = "application/vnd.dev.cosign.simplesigning.v1+json"
put("signature", (IMAGE, "application/vnd.oci.image.config.v1+json"), [(b'{"critical":1}', SIGNATURE)])
put("wasm", (IMAGE, "application/vnd.wasm.config.v0+json"), [(b"\0asm", "application/wasm")])
put("plugin", (b"{}", "application/vnd.docker.plugin.v1+json"), [(b"x", LAYER)], kind=DOCKER)
put("other", (b"{}", "application/x-other"), [(b"x", LAYER)], kind=DOCKER)
