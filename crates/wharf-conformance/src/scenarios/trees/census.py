"""Everything that can be known of a tree, a line for each thing in it: census.py ROOT"""
import hashlib
import os
import stat
import sys

# What the engine puts there, or what is mounted over.
OTHERS = {b"proc", b"sys", b"dev", b"etc/hosts", b"etc/hostname", b"etc/resolv.conf", b"etc/mtab", b".dockerenv"}
KINDS = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link", stat.S_IFCHR: "char",
         stat.S_IFBLK: "block", stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
root = os.fsencode(sys.argv[1])
inodes = {}
lines = []


def shown(raw):
    return ascii(raw)[2:-1]


def look(path):
    full = os.path.join(root, path)
    about = os.lstat(full)
    kind = KINDS[stat.S_IFMT(about.st_mode)]
    words = [shown(path), kind, f"{stat.S_IMODE(about.st_mode):04o}", f"{about.st_uid}:{about.st_gid}"]
    # The engine writes into some; and others the upper layer does not name, so that they are made when it is unpacked.
    if path not in (b"", b"etc", b"n", b"n/untouched"):
        words.append(f"{about.st_mtime_ns}")
    if kind in ("char", "block"):
        words.append(f"{os.major(about.st_rdev)},{os.minor(about.st_rdev)}")
    if kind == "link":
        words.append("-> " + shown(os.readlink(full)))
    for name in sorted(os.listxattr(full, follow_symlinks=False)):
        words.append(f"{name}={os.getxattr(full, name, follow_symlinks=False).hex()}")
    if kind == "file":
        with open(full, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()[:16] if path != b"bin/busybox" else "busybox"
        words.append(f"{about.st_size if path != b'bin/busybox' else ''} {digest}")
    if kind != "folder" and about.st_nlink > 1:
        first = inodes.setdefault(about.st_ino, path)
        words.append(f"{about.st_nlink} names, as {shown(first)}")
    lines.append(" ".join(words))
    if kind == "folder":
        for name in sorted(os.listdir(full)):
            inner = os.path.join(path, name)
            if inner not in OTHERS:
                look(inner)


look(b"")
print("\n".join(lines))
