"""An object store that speaks as much S3 as a registry needs: objects in memory, lists of three keys a page, uploads in parts.

Every request must be signed (AWS Signature Version 4 in the query), which is worked out here from the protocol's description;
every seventh is answered as by a store that is overloaded. Prints its port. The body of `GET /` is all keys, that of
`GET /looks` how often somebody looked whether an object is there, for who tests.
"""

import hashlib
import hmac
import http.server
import itertools
import re
import urllib.parse
from email.utils import formatdate

KEY, SECRET, BUCKET = "the-key", "the/secret", "bucket"
PAGE, LEAST_PART, OVERLOADED = 3, 5 << 20, 7
objects, uploads = {}, {}
looks = []
requests, numbers = itertools.count(1), itertools.count(1)


def signature(method, path, query, headers):
    """The right signature of a request."""
    given = dict(urllib.parse.parse_qsl(query))
    pairs = sorted(pair for pair in query.split("&") if not pair.startswith("X-Amz-Signature="))
    signed = given["X-Amz-SignedHeaders"]
    lines = [f"{name}:{headers[name].strip()}" for name in signed.split(";")]
    canonical = "\n".join([method, path, "&".join(pairs), *lines, "", signed, "UNSIGNED-PAYLOAD"])
    user, *scope = given["X-Amz-Credential"].split("/")
    text = "\n".join(["AWS4-HMAC-SHA256", given["X-Amz-Date"], "/".join(scope), hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{SECRET}".encode()
    for word in [*scope, text]:
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    return key.hex() if user == KEY else None


class Store(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        body = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def refuse(self, status, code):
        self.answer(status, f"<Error><Code>{code}</Code><Message>no</Message></Error>")

    def handle_request(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        if path == "/":
            return self.answer(200, "\n".join(sorted(objects)))
        if path == "/looks":
            return self.answer(200, str(len(looks)))
        if self.command == "HEAD":
            looks.append(path)
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if asked.get("X-Amz-Signature") != signature(self.command, path, query, self.headers):
            return self.refuse(403, "SignatureDoesNotMatch")
        if next(requests) % OVERLOADED == 0:
            return self.refuse(503, "SlowDown")
        bucket, _, key = urllib.parse.unquote(path)[1:].partition("/")
        if bucket != BUCKET:
            return self.refuse(404, "NoSuchBucket")
        verb = getattr(self, f"do_{self.command.lower()}_{'object' if key else 'bucket'}")
        return verb(key, asked, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_request

    def do_get_bucket(self, _, asked, __):
        prefix, delimiter = asked.get("prefix", ""), asked.get("delimiter")
        found = set()
        for key in objects:
            if key.startswith(prefix):
                cut = key.find(delimiter, len(prefix)) if delimiter else -1
                found.add((key[: cut + 1], True) if cut >= 0 else (key, False))
        after = asked.get("continuation-token", "")
        page = sorted(entry for entry in found if entry[0] > after)
        more, page = len(page) > PAGE, page[:PAGE]
        quoted = lambda text: urllib.parse.quote(text)
        rows = "".join(
            f"<CommonPrefixes><Prefix>{quoted(key)}</Prefix></CommonPrefixes>"
            if is_prefix
            else f"<Contents><Key>{quoted(key)}</Key><Size>{len(objects[key][0])}</Size></Contents>"
            for key, is_prefix in page
        )
        token = f"<NextContinuationToken>{page[-1][0]}</NextContinuationToken>" if more else ""
        name = "ListBucketResult"
        space = "http://s3.amazonaws.com/doc/2006-03-01/"
        text = f"<EncodingType>url</EncodingType><IsTruncated>{str(more).lower()}</IsTruncated>{rows}{token}"
        self.answer(200, f'<{name} xmlns="{space}">{text}</{name}>')

    def do_get_object(self, key, _, __):
        if key not in objects:
            return self.refuse(404, "NoSuchKey")
        data, changed = objects[key]
        headers = {"Last_Modified": changed, "ETag": f'"{hashlib.md5(data).hexdigest()}"'}
        if self.command == "HEAD":
            return self.answer(200, Content_Length=str(len(data)), **headers)
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            return self.answer(206, data[int(wanted[1]) : int(wanted[2]) + 1], **headers)
        return self.answer(200, data, **headers)

    do_head_object = do_get_object

    def keep(self, key, data):
        objects[key] = data, formatdate(usegmt=True)

    def do_put_object(self, key, asked, body):
        if "uploadId" in asked:
            uploads[asked["uploadId"]][int(asked["partNumber"])] = body
        else:
            self.keep(key, body)
        self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

    def do_post_object(self, key, asked, body):
        space = "http://s3.amazonaws.com/doc/2006-03-01/"
        if "uploads" in asked:
            upload = f"upload-{next(numbers)}"
            uploads[upload] = {}
            name = "InitiateMultipartUploadResult"
            return self.answer(200, f'<{name} xmlns="{space}"><UploadId>{upload}</UploadId></{name}>')
        parts = [part for _, part in sorted(uploads.pop(asked["uploadId"]).items())]
        tags = re.findall('<ETag>(?:"|&quot;)?([0-9a-f]+)', body.decode())
        right = tags == [hashlib.md5(part).hexdigest() for part in parts]
        name = "CompleteMultipartUploadResult"
        # Such an answer is a 200 whatever comes.
        if not right or any(len(part) < LEAST_PART for part in parts[:-1]):
            return self.refuse(200, "InvalidPart")
        self.keep(key, b"".join(parts))
        return self.answer(200, f'<{name} xmlns="{space}"><ETag>"x"</ETag></{name}>')

    def do_delete_object(self, key, asked, _):
        if "uploadId" in asked:
            uploads.pop(asked["uploadId"], None)
        else:
            objects.pop(key, None)
        self.answer(204)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Store)
print(server.server_port, flush=True)
server.serve_forever()
