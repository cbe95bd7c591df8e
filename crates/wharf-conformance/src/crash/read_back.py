"""Reads images back from a registry: read_back.py PORT LIST, with a line `REPOSITORY DIGEST` for each."""
import hashlib
import http.client
import json
import sys

connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
seen = set()


def read(path, digest):
    connection.request("GET", path, headers={"Accept": "*/*"})
    answer = connection.getresponse()
    body = answer.read()
    found = "sha256:" + hashlib.sha256(body).hexdigest()
    if answer.status != 200 or found != digest:
        sys.exit(f"{path}: {answer.status}, {found}: {body[:300]}")
    return body


for line in open(sys.argv[2]):
    if not line.strip():
        continue
    repository, digest = line.split()
    manifest = json.loads(read(f"/v2/{repository}/manifests/{digest}", digest))
    for blob in [manifest["config"], *manifest["layers"]]:
        if (repository, blob["digest"]) not in seen:
            read(f"/v2/{repository}/blobs/{blob['digest']}", blob["digest"])
        seen.add((repository, blob["digest"]))
