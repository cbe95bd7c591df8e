"""Writes a docker-save archive of an image that has everything that is hard to unpack: nasty.py OUT BUSYBOX"""
import hashlib
import io
import json
import os
import struct
import sys
import tarfile

TIME = 1234567890
# VFS_CAP_REVISION_2, effective: cap_net_raw+ep.
CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)


class Layer:
    def __init__(self):
        self.bytes = io.BytesIO()
        self.tar = tarfile.open(fileobj=self.bytes, mode="w", format=tarfile.PAX_FORMAT,
                                encoding="utf-8", errors="surrogateescape")

    def add(self, name, kind=tarfile.REGTYPE, data=b"", mode=0o644, owner=(0, 0), link="",
            device=(0, 0), time=TIME, xattrs=None, pax=None):
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.linkname = kind, mode, link
        (entry.uid, entry.gid), (entry.devmajor, entry.devminor) = owner, device
        entry.mtime, entry.size = time, len(data)
        entry.pax_headers = dict(pax or {})
        for key, value in (xattrs or {}).items():
            entry.pax_headers["SCHILY.xattr." + key] = os.fsdecode(value)
        self.tar.addfile(entry, io.BytesIO(data))

    def folder(self, name, mode=0o755, **more):
        self.add(name, tarfile.DIRTYPE, mode=mode, **more)

    def done(self):
        self.tar.close()
        return self.bytes.getvalue()


def sparse(layer, name):
    """GNU's sparse format 1.0: a map in front of the data, and the real size in the header."""
    chunks = [(4096, b"first" * 100), (1 << 20, b"last")]
    size = (1 << 20) + 8192
    text = f"{len(chunks)}\n" + "".join(f"{at}\n{len(data)}\n" for at, data in chunks)
    head = text.encode().ljust(512, b"\0")
    layer.add(name, data=head + b"".join(data for _, data in chunks), pax={
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0",
        "GNU.sparse.name": name, "GNU.sparse.realsize": str(size)})


def bottom(busybox):
    layer = Layer()
    layer.folder("bin/")
    with open(busybox, "rb") as file:
        layer.add("bin/busybox", data=file.read(), mode=0o755)
    layer.add("bin/sleep", tarfile.SYMTYPE, link="busybox", mode=0o777)
    for name in ("dev/", "etc/", "proc/", "sys/"):
        layer.folder(name)
    layer.folder("n/", mode=0o750, owner=(7, 8), xattrs={"user.folder": b"yes"})
    # Modes, owners, times.
    for mode in (0o000, 0o644, 0o4755, 0o2755, 0o1777, 0o7777):
        layer.add(f"n/mode-{mode:04o}", data=b"x", mode=mode)
    layer.folder("n/sticky", mode=0o1777)
    layer.folder("n/setgid", mode=0o2775, owner=(0, 50))
    layer.add("n/owner", owner=(65534, 4_000_000))
    layer.add("n/nanoseconds", time=0, pax={"mtime": "1234567890.123456789"})
    layer.add("n/old", pax={"mtime": "-86400"})
    layer.add("n/epoch", time=0)
    layer.add("n/far", pax={"mtime": "9999999999"})
    # Extended attributes.
    layer.add("n/capability", data=b"#!", mode=0o755, xattrs={"security.capability": CAPABILITY})
    layer.add("n/attributes", xattrs={"user.text": b"text", "user.bytes": bytes(range(1, 128)), "user.empty": b""})
    # Names.
    layer.folder("n/names")
    layer.add(b"n/names/latin-\xe9-\xff", data=b"latin")
    layer.add("n/names/" + "l" * 255, data=b"long")
    deep = "n/names/" + "/".join("d" * 100 for _ in range(4))
    for end in range(1, 5):
        layer.folder("n/names/" + "/".join("d" * 100 for _ in range(end)))
    layer.add(deep + "/file", data=b"deep")
    layer.add("n/names/new\nline", data=b"line")
    layer.add("n/names/ \t'\"\\$*", data=b"shell")
    layer.add("n/names/\u00e4\u20ac\U0001f40b", data=b"whale")
    # Links.
    layer.add("n/one", data=b"one inode", mode=0o640, owner=(3, 4))
    layer.add("n/two", tarfile.LNKTYPE, link="n/one")
    layer.folder("n/links")
    layer.add("n/links/three", tarfile.LNKTYPE, link="n/one")
    layer.add("n/links/absolute", tarfile.SYMTYPE, link="/etc/passwd", mode=0o777, owner=(9, 9), time=99)
    layer.add("n/links/up", tarfile.SYMTYPE, link="../../../../n/one", mode=0o777)
    layer.add("n/links/dangling", tarfile.SYMTYPE, link="nothing", mode=0o777)
    layer.add("n/links/long", tarfile.SYMTYPE, link="t" * 300, mode=0o777)
    layer.add("n/links/of-a-link", tarfile.LNKTYPE, link="n/links/dangling")
    # Devices and pipes.
    layer.add("n/null", tarfile.CHRTYPE, device=(1, 3), mode=0o666)
    layer.add("n/disk", tarfile.BLKTYPE, device=(7, 200), mode=0o660, owner=(0, 6))
    layer.add("n/big-device", tarfile.CHRTYPE, device=(300, 70000), mode=0o600)
    layer.add("n/pipe", tarfile.FIFOTYPE, mode=0o622)
    # Contents.
    layer.add("n/empty")
    sparse(layer, "n/sparse")
    # To be covered by the layer above.
    for name in ("n/gone", "n/file-to-folder", "n/link-to-file", "n/kept"):
        layer.add(name, data=b"below")
    layer.folder("n/folder-to-file", mode=0o711)
    layer.add("n/folder-to-file/inside", data=b"below")
    for name in ("n/opaque", "n/opaque/sub", "n/removed", "n/removed/sub"):
        layer.folder(name, mode=0o700, owner=(1, 2))
    for name in ("n/opaque/old", "n/opaque/sub/old", "n/removed/old", "n/removed/sub/old"):
        layer.add(name, data=b"below")
    layer.folder("n/untouched", mode=0o710, owner=(5, 6), xattrs={"user.kept": b"1"})
    layer.add("n/untouched/below", data=b"below")
    return layer.done()


def top():
    layer = Layer()
    layer.add("n/.wh.gone")
    layer.folder("n/file-to-folder", mode=0o701)
    layer.add("n/file-to-folder/inside", data=b"above")
    layer.add("n/folder-to-file", data=b"above", mode=0o604)
    layer.add("n/link-to-file", tarfile.SYMTYPE, link="kept", mode=0o777)
    layer.folder("n/opaque", mode=0o750, owner=(3, 4), time=77)
    layer.add("n/opaque/.wh..wh..opq")
    layer.add("n/opaque/new", data=b"above")
    layer.add("n/.wh.removed")
    # A link to a file of this layer under a folder that only the layer below names.
    layer.add("n/untouched/above", data=b"above")
    layer.add("n/untouched/linked", tarfile.LNKTYPE, link="n/untouched/above")
    return layer.done()


def main():
    out, busybox = sys.argv[1:]
    layers = [bottom(busybox), top()]
    config = {"architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/sleep", "1000"]},
              "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(one).hexdigest() for one in layers]},
              "history": [{"created_by": "nasty"}, {"created_by": "nastier"}]}
    config = json.dumps(config).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = [{"Config": name, "RepoTags": ["nasty:latest"], "Layers": ["0/layer.tar", "1/layer.tar"]}]
    with tarfile.open(out, "w") as archive:
        for path, data in [(name, config), ("0/layer.tar", layers[0]), ("1/layer.tar", layers[1]),
                           ("manifest.json", json.dumps(manifest).encode())]:
            entry = tarfile.TarInfo(path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


main()
