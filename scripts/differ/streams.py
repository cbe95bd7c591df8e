#!/usr/bin/env python3
"""Speaks HTTP by hand to a daemon, where libraries hide what happens: hijacked streams, half-closed ends, early headers.

    streams.py SOCKET    prints what was said and heard; two daemons' outputs are to be compared with diff

The daemon holds the image `busybox`.
"""
import json
import re
import socket
import sys
import time

path = sys.argv[1]


def connect():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(8)
    s.connect(path)
    return s


def until(s, what, limit=1 << 20):
    data = b""
    while what not in data and len(data) < limit:
        chunk = s.recv(65536)
        if not chunk:
            break
        data += chunk
    return data


def rest(s):
    data = b""
    try:
        while chunk := s.recv(65536):
            data += chunk
    except TimeoutError:
        data += b"<timeout>"
    except ConnectionResetError:
        data += b"<reset>"
    return data


def say(s, method, target, headers=(), body=b"", proto="HTTP/1.1"):
    lines = [f"{method} {target} {proto}", "Host: docker", *headers]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    if body:
        lines.append("Content-Type: application/json")
    s.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)


def call(method, target, body=None):
    s = connect()
    say(s, method, target, ["Connection: close"], json.dumps(body).encode() if body is not None else b"")
    head, _, data = rest(s).partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        out = b""
        while data:
            size, _, data = data.partition(b"\r\n")
            n = int(size, 16)
            if n == 0:
                break
            out, data = out + data[:n], data[n + 2:]
        data = out
    try:
        return json.loads(data)
    except ValueError:
        return data


def plain(data):
    text = data.decode("latin-1") if isinstance(data, bytes) else str(data)
    text = re.sub(r"\b[0-9a-f]{64}\b", "<id>", text)
    text = re.sub(r"Date: [^\r]*", "Date: <date>", text)
    text = re.sub(r"Server: [^\r]*", "Server: <server>", text)
    text = re.sub(r"Api-Version: [^\r]*", "Api-Version: <v>", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", text)
    return text


def show(name, *data):
    parts = []
    for one in data:
        text = plain(one)
        if text.startswith("HTTP/"):
            head, _, body = text.partition("\r\n\r\n")
            first, *headers = head.split("\r\n")
            text = "\r\n".join([first, *sorted(headers)]) + "\r\n\r\n" + body
        parts.append(repr(text))
    print(f"{name}:", *parts, sep="\n    ")
    sys.stdout.flush()


def made(cmd, **more):
    call("DELETE", "/v1.45/containers/st?force=1")
    call("POST", "/v1.45/containers/create?name=st", {"Image": "busybox", "Cmd": cmd, **more})
    return "st"


UP = ["Connection: Upgrade", "Upgrade: tcp"]
ECHO = {"OpenStdin": True, "StdinOnce": True}
for version in ("1.41", "1.45"):
    for tty in (False, True):
        for headers in (UP, []):
            for proto in ("HTTP/1.1", "HTTP/1.0"):
                if proto == "HTTP/1.0" and headers:
                    continue
                name = f"{version} tty={tty} upgrade={bool(headers)} {proto}"
                made(["sh", "-c", "read x; echo got $x; echo err >&2; cat"], Tty=tty, **ECHO)
                s = connect()
                say(s, "POST", f"/v{version}/containers/st/attach?stream=1&stdin=1&stdout=1&stderr=1", headers, proto=proto)
                head = until(s, b"\r\n\r\n")
                call("POST", "/containers/st/start")
                s.sendall(b"hello\n")
                time.sleep(0.3)
                if tty:
                    s.sendall(b"\x04")
                else:
                    s.sendall(b"last")
                    s.shutdown(socket.SHUT_WR)
                show(f"attach {name}", head, rest(s), call("POST", "/containers/st/wait"))
                made(["sleep", "100"])
                call("POST", "/containers/st/start")
                e = call("POST", "/containers/st/exec", {"Cmd": ["sh", "-c", "read x; echo got $x; echo err >&2; cat; exit 5"], "AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Tty": tty})["Id"]
                s = connect()
                say(s, "POST", f"/v{version}/exec/{e}/start", headers, json.dumps({"Tty": tty}).encode(), proto=proto)
                head = until(s, b"\r\n\r\n")
                s.sendall(b"hello\n")
                time.sleep(0.3)
                if tty:
                    s.sendall(b"\x04")
                else:
                    s.sendall(b"last")
                    s.shutdown(socket.SHUT_WR)
                show(f"exec {name}", head, rest(s), call("GET", f"/exec/{e}/json")["ExitCode"])

made(["echo", "x"])
call("POST", "/containers/st/start")
call("POST", "/containers/st/wait")
for query in ("logs=1&stdout=1", "logs=1&stdout=1&stream=1", "stdout=1", ""):
    for headers in (UP, []):
        s = connect()
        say(s, "POST", f"/v1.45/containers/st/attach?{query}", headers)
        show(f"attach to one that has ended {query} {bool(headers)}", rest(s))
for target in ("/v1.45/containers/nope/attach?stream=1", "/v1.45/exec/nope/start"):
    for headers in (UP, []):
        s = connect()
        say(s, "POST", target, headers, b"{}" if "exec" in target else b"")
        show(f"nobody there {target} {bool(headers)}", until(s, b"\r\n\r\n"))
s = connect()
say(s, "GET", "/v1.45/containers/st/logs?stdout=1&follow=1", [])
show("logs", until(s, b"0\r\n\r\n"))
s = connect()
say(s, "GET", "/v1.45/containers/st/logs?stdout=1", [], proto="HTTP/1.0")
show("logs 1.0", rest(s))

made(["sh", "-c", "sleep 0.5; exit 3"])
call("POST", "/containers/st/start")
s = connect()
say(s, "POST", "/v1.45/containers/st/wait?condition=next-exit", ["Connection: close"])
start = time.time()
head = until(s, b"\r\n\r\n")
early = time.time() - start < 0.4
show("wait", early, head, rest(s))
made(["true"], HostConfig={"AutoRemove": True})
s = connect()
say(s, "POST", "/v1.45/containers/st/wait?condition=removed", ["Connection: close"])
head = until(s, b"\r\n\r\n")
call("POST", "/containers/st/start")
show("wait removed", head, rest(s))

s = connect()
s.sendall(b"GET /v1.45/_ping HTTP/1.1\r\nHost: x\r\n\r\nGET /v1.45/_ping HTTP/1.1\r\nHost: x\r\n\r\nHEAD /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
show("pipelined", rest(s))
s = connect()
s.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
show("1.0", rest(s))
s = connect()
s.sendall(b"GET /_ping HTTP/1.1\r\n\r\n")
show("no host", until(s, b"\r\n\r\n"))
s = connect()
s.sendall(b"POST /v1.45/containers/create HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Type: application/json\r\nContent-Length: 20\r\n\r\n")
first = until(s, b"\r\n\r\n")
s.sendall(b'{"Image":"nope-img"}')
show("expect", first, until(s, b"}"))
s = connect()
s.sendall(b"POST /v1.45/containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n14\r\n{\"Image\":\"nope-img\"}\r\n0\r\n\r\n")
show("chunked", until(s, b"}"))
s = connect()
s.sendall(b"nonsense\r\n\r\n")
show("nonsense", rest(s))
s = connect()
s.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nBad Header\r\n\r\n")
show("bad header", until(s, b"\r\n\r\n"))
s = connect()
s.sendall(b"GET " + b"/" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
show("long path", rest(s))
s = connect()
say(s, "GET", "/v1.45/events?filters=%7B%22type%22%3A%5B%22network%22%5D%7D", [])
head = until(s, b"\r\n\r\n")
call("POST", "/v1.45/networks/create", {"Name": "stn"})
call("DELETE", "/v1.45/networks/stn")
show("events", head, re.sub(rb'"time(Nano)?":\d+', b'"t":0', until(s, b"destroy")))
made(["sleep", "100"])
call("POST", "/containers/st/start")
s = connect()
say(s, "GET", "/v1.45/containers/st/stats", [])
show("stats", until(s, b"\r\n\r\n").partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
for query, version in (("stream=1&stdin=1&stdout=1&stderr=1", "1.45"), ("stream=1&stdout=1", "1.27")):
    made(["sh", "-c", "read x; echo got $x; echo err >&2"], **ECHO)
    call("POST", "/containers/st/start")
    s = connect()
    say(s, "GET", f"/v{version}/containers/st/attach/ws?{query}", ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13", "Origin: http://x"])
    head = until(s, b"\r\n\r\n")
    if "stdin" in query:
        s.sendall(b"\x81\x86\0\0\0\0hello\n")
        show("websocket", head, rest(s))
    else:
        show("websocket", head)
for headers in ([], ["Connection: Upgrade", "Upgrade: websocket"]):
    s = connect()
    say(s, "GET", "/v1.45/containers/st/attach/ws", headers)
    show("no websocket", until(s, b"\r\n\r\n"))
call("DELETE", "/v1.45/containers/st?force=1")
