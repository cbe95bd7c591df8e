#!/usr/bin/env python3
"""Requests that libraries do not send, byte by byte: odd targets, bodies, headers and versions, and what is answered.

    http.py SOCKET    prints a line for each; two daemons' outputs are to be compared with diff

The daemon holds no container. What hyper and Go's server differ in on purpose is in OURS: it is printed last.
"""
import re
import socket
import sys

END = b"Connection: close\r\n\r\n"
PING = b"GET /_ping HTTP/1.1\r\nHost: x\r\n"
CREATE = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
BODY = b'{"Image":"nope"}'


def get(target, end=END):
    return b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n" + end


def post(target, headers, body):
    return b"POST " + target + b" HTTP/1.1\r\nHost: x\r\n" + headers + b"Content-Length: %d\r\n" % len(body) + END + body


# Name, and what is said in turn; None waits for an answer.
CASES = [
    ("two on one connection", [PING + b"\r\n", None, PING + END]),
    ("two at once", [PING + b"\r\n" + PING + END]),
    ("one after an error", [get(b"/nope", b"\r\n"), None, PING + END]),
    ("one after an error with a body", [b"POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", None, PING + END]),
    ("one after a bad body", [CREATE + b"Content-Length: 1\r\n\r\n{", None, PING + END]),
    ("HTTP/1.0", [b"GET /_ping HTTP/1.0\r\n\r\n"]),
    ("HTTP/1.0 and a list", [b"GET /containers/json HTTP/1.0\r\n\r\n"]),
    ("HTTP/1.0 and a stream", [b"GET /events?since=1&until=2 HTTP/1.0\r\n\r\n"]),
    ("an empty host", [b"GET /_ping HTTP/1.1\r\nHost:\r\n" + END]),
    ("a whole address", [b"GET http://docker/_ping HTTP/1.1\r\nHost: x\r\n" + END]),
    ("chunks", [CREATE + b"Transfer-Encoding: chunked\r\n" + END + b"8\r\n" + BODY[:8] + b"\r\n8;a=b\r\n" + BODY[8:] + b"\r\n0\r\nX: y\r\n\r\n"]),
    ("chunks and a length", [CREATE + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n" + END + b"10\r\n" + BODY + b"\r\n0\r\n\r\n"]),
    ("a length twice", [CREATE + b"Content-Length: 16\r\nContent-Length: 16\r\n" + END + BODY]),
    ("a body that ends early", [CREATE + b"Content-Length: 16\r\n\r\n" + BODY[:8], "half"]),
    ("no length", [CREATE + END]),
    ("expect", [CREATE + b"Expect: 100-continue\r\nContent-Length: 16\r\n" + END, None, BODY]),
    ("a body of a GET", [get(b"/containers/json", b"Content-Length: 3\r\n" + END + b"abc")]),
    ("a header of 50 kB", [PING + b"X: " + b"a" * 50000 + b"\r\n" + END]),
    ("a header of 600 kB", [PING + b"X: " + b"a" * 600000 + b"\r\n" + END]),
    ("200 headers", [PING + b"".join(b"X%d: a\r\n" % number for number in range(200)) + END]),
    ("a header in UTF-8", [PING + b"X: \xc3\xa9\r\n" + END]),
    ("lines without CR", [b"GET /_ping HTTP/1.1\nHost: x\nConnection: close\n\n"]),
    ("a method in small letters", [b"get /_ping HTTP/1.1\r\nHost: x\r\n" + END]),
    ("an odd method", [b"FOO /_ping HTTP/1.1\r\nHost: x\r\n" + END]),
    ("TRACE", [b"TRACE /_ping HTTP/1.1\r\nHost: x\r\n" + END]),
    ("OPTIONS *", [b"OPTIONS * HTTP/1.1\r\nHost: x\r\n" + END]),
    ("JSON in the query", [get(b'/containers/json?filters={"label":["a"]}')]),
    ("odd JSON in the query", [get(b'/containers/json?filters={"a":["b|c^d`\\<>"]}')]),
    ("UTF-8 in the path", [get(b"/containers/\xc3\xa9/json")]),
    ("UTF-8 in the query", [get(b"/containers/json?all=\xc3\xa9")]),
    ("a fragment", [get(b"/_ping#x")]),
    ("a semicolon", [get(b"/containers/json?all=1;limit=x")]),
    ("a bad escape", [get(b"/containers/json?all=%zz")]),
    ("a half-closed end", [get(b"/containers/json", b"\r\n"), "half"]),
    ("HEAD of ping", [b"HEAD /_ping HTTP/1.1\r\nHost: x\r\n" + END]),
    ("HEAD of info", [b"HEAD /info HTTP/1.1\r\nHost: x\r\n" + END]),
    ("an upgrade to HTTP/2", [PING + b"Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"]),
    ("a form", [post(b"/containers/nope/stop", FORM, b"t=x")]),
    ("a form beside a query", [post(b"/containers/nope/kill?signal=KILL", FORM, b"signal=BOGUS")]),
    ("a form in place of JSON", [post(b"/containers/create", FORM, BODY)]),
    ("a form for a path that is none", [post(b"/containers/json", FORM, b"all=1")]),
]
OURS = [
    ("no host", [b"GET /_ping HTTP/1.1\r\n" + END]),
    ("two hosts", [b"GET /_ping HTTP/1.1\r\nHost: a\r\nHost: b\r\n" + END]),
    ("bad chunks", [CREATE + b"Transfer-Encoding: chunked\r\n" + END + b"zz\r\n"]),
    ("another coding", [CREATE + b"Transfer-Encoding: gzip\r\n" + END]),
    ("another expectation", [CREATE + b"Expect: x\r\nContent-Length: 16\r\n" + END + BODY]),
    ("a bad length", [CREATE + b"Content-Length: x\r\n" + END + BODY]),
    ("a target of 100 kB", [get(b"/_ping?x=" + b"a" * 100000)]),
    ("HTTP/1.2", [b"GET /_ping HTTP/1.2\r\nHost: x\r\n" + END]),
    ("a folded header", [PING + b"X: y\r\n z\r\n" + END]),
    ("a blank in the path", [get(b"/_pi ng")]),
    ("no HTTP", [b"\x16\x03\x01garbage\r\n\r\n"]),
]


def heard(stream):
    """What comes until nothing more comes."""
    data = b""
    try:
        while chunk := stream.recv(65536):
            data += chunk
        data += b"<end>"
    except TimeoutError:
        data += b"<open>"
    except ConnectionError:
        data += b"<reset>"
    return data


def talk(path, said):
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(5)
    stream.connect(path)
    data = b""
    try:
        for part in said:
            if part is None:
                data += stream.recv(65536)
            elif part == "half":
                stream.shutdown(socket.SHUT_WR)
            else:
                stream.sendall(part)
    except ConnectionError:
        data += b"<reset>"
    data += heard(stream)
    stream.close()
    return data


def plain(data):
    """Answers, their headers in one order, without what is the daemon's own."""
    text = re.sub(r"\b[0-9a-f]{1,4}\r\n(?=[\[{])", "", data.decode("latin-1"))
    own = ("date:", "server:", "api-version:", "ostype:", "docker-experimental:", "builder-version:")
    told = []
    for answer in re.split(r"(?=HTTP/1\.[01] \d{3} )", text):
        head, _, body = answer.partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        told += [first, *sorted(line for line in lines if not line.lower().startswith(own)), body.strip()]
    return " | ".join(part for part in told if part)


def main():
    for name, said in CASES + OURS:
        print(f"{name}: {plain(talk(sys.argv[1], said))}")


main()
