#!/usr/bin/env python3
"""Listens at a socket, runs a command, and prints what is sent there: the word, and what can be read from the descriptor.

    console.py [--type TEXT] [--size ROWSxCOLUMNS] [--wait SECONDS] [--more COMMAND] SOCKET COMMAND...
"""
import argparse
import array
import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
import termios

parser = argparse.ArgumentParser()
parser.add_argument("socket")
parser.add_argument("--type", default="")
parser.add_argument("--size", default="")
parser.add_argument("--wait", type=float, default=3)
parser.add_argument("--more", default="", help="a command for when the descriptor is here")
parser.add_argument("command", nargs=argparse.REMAINDER)
asked = parser.parse_args()

listener = socket.socket(socket.AF_UNIX)
listener.bind(asked.socket)
listener.listen(1)
listener.settimeout(5)
child = subprocess.Popen(asked.command, stdin=subprocess.DEVNULL)
try:
    connection, _ = listener.accept()
    word, ancillary, _, _ = connection.recvmsg(4096, socket.CMSG_SPACE(16))
    fds = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            fds.frombytes(data[:len(data) - len(data) % fds.itemsize])
    print("word", word.decode(errors="replace"), "descriptors", len(fds))
    fd = fds[0]
    print("code", child.wait(), flush=True)
    if asked.size:
        rows, columns = map(int, asked.size.split("x"))
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    if asked.more:
        subprocess.run(["sh", "-c", asked.more], stdin=subprocess.DEVNULL)
    if asked.type:
        os.write(fd, asked.type.encode().decode("unicode_escape").encode())
    text = b""
    while select.select([fd], [], [], asked.wait)[0]:
        try:
            read = os.read(fd, 4096)
        except OSError:
            break
        if not read:
            break
        text += read
    print(text.decode(errors="replace").replace("\r\n", "\n"))
except TimeoutError:
    print("nobody has come; code", child.wait())
sys.stdout.flush()
