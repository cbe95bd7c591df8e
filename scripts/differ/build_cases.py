"""The builds of `builds.py`: every instruction of the classic builder, well and badly."""
import io
import tarfile

APPLETS = "sh ash cat cp cut date dd echo env false find grep head id ln ls mkdir mv od printenv printf ps pwd readlink rm sed seq sleep sort stat tail test touch tr true tty umask uname wc whoami xargs chmod chown".split()
ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/:/bin/false\nalice:x:1000:1001:Alice:/home/alice:/bin/sh\n",
    "etc/group": "root:x:0:\ndaemon:x:1:\nalice:x:1001:\nstaff:x:50:alice\n",
}


def one(name, dockerfile, files=None, before=(), /, **query):
    context = dict(files or {})
    if dockerfile is not None:
        context[query.get("dockerfile", "Dockerfile")] = dockerfile
    return {"name": name, "files": context, "query": query, "before": list(before)}


def archive(members, compression=""):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=f"w:{compression}") as tar:
        for name, mode, uid, gid, text in members:
            member = tarfile.TarInfo(name)
            member.mode, member.uid, member.gid, member.mtime = mode, uid, gid, 1500000001
            if text is None:
                member.type = tarfile.DIRTYPE
                tar.addfile(member)
            elif text.startswith("->"):
                member.type, member.linkname = tarfile.SYMTYPE, text[2:]
                tar.addfile(member)
            else:
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
    return out.getvalue()


def cases():
    yield from settings()
    yield from files()
    yield from commands()
    yield from stages()
    yield from mistakes()
    yield from language()
    yield from options()
    yield from caches()


# Instructions which set something, each alone on `base`.
GOOD = [
    "ENV a=b", "ENV a b", "ENV a b  c d", "ENV a=b c=d", "ENV a='b c' d=\"e f\"", "ENV a=b\\ c", "ENV a=$PATH", "ENV a=\\$PATH", "ENV a='$PATH'",
    "ENV a=1 b=$a", "ENV a=1\nENV b=$a c=${a}x", "ENV a=${x:-y} b=${PATH:+set} c=${x:+unset}", "ENV a=", "ENV a=\"\"", "ENV PATH=/x:$PATH", "ENV a=b=c",
    "ENV a=\"x\\\"y\"", "ENV a='it''s'", "ENV a.b=c", "ENV a-b=c", "ENV a=b\nENV a=c", "ENV PATH=", "ENV a=\tb", "ENV\ta=b", "ENV a=\"x\\ny\"", "ENV a=\\a b=\"\\a\"",
    "ENV a 'b c'", "ENV a \"b c\"", "ENV a=${PATH#/} b=${PATH%bin}", "ENV a=~", "ENV a=ä", "ENV a=b # c=d", "ENV a=b \\\n  c=d", "ENV a=b \\\n# comment\n  c=d",
    "ENV a=b \\\n\n  c=d", "env a=b", "Env A=b", "ENV A1=x\nLABEL y=$A1", "ENV a=\"$PATH\" b='\\'", "ENV a=$$ b=$", "ENV a=${PATH", "ENV a=${x?bad}", "ENV a=${x:?bad}",
    "LABEL a=b", "LABEL a b c", "LABEL a=b c=d", "LABEL \"a b\"=c", "LABEL a=\"b\\\n c\"", "LABEL a.b.c=d", "LABEL a=b\nLABEL a=c d=e", "LABEL a=", "LABEL a=$PATH", "LABEL 'a'='b'",
    "CMD [\"a\", \"b\"]", "CMD a b", "CMD", "CMD []", "CMD [\"\"]", "CMD ['a']", "CMD [a]", "CMD [\"a\" \"b\"]", "CMD [\"a\",]", "CMD [\"a\", 1]", "CMD \"a b\"", "CMD [\"a\"] b", "CMD   a   b",
    "CMD [\"a\\\\b\"]", "CMD [\"a\\b\"]", "CMD echo $PATH", "CMD [\"$PATH\"]", "CMD a \\\n b", "CMD [ \"a\", \\\n \"b\" ]", "CMD a\nCMD b", "CMD [\"a\"]\nENTRYPOINT [\"b\"]", "CMD {}", "CMD [\"\\u00e4<>&\"]", "CMD a < b > c & d",
    "ENTRYPOINT [\"a\"]", "ENTRYPOINT a", "ENTRYPOINT []", "ENTRYPOINT", "ENTRYPOINT [\"a\"]\nCMD [\"b\"]", "ENTRYPOINT a\nENTRYPOINT b", "ENTRYPOINT [\"a\", \"b c\"]", "ENTRYPOINT [\"\"]",
    "EXPOSE 80", "EXPOSE 80 443/tcp 53/udp", "EXPOSE 80-82", "EXPOSE 80/TCP", "EXPOSE $p", "ENV p=80\nEXPOSE $p/udp", "EXPOSE 80/sctp", "EXPOSE 80/nope", "EXPOSE x", "EXPOSE 8080:80", "EXPOSE 1.2.3.4:80:80",
    "EXPOSE 70000", "EXPOSE 82-80", "EXPOSE", "EXPOSE -1", "EXPOSE 80,81", "EXPOSE 80/", "EXPOSE 0", "EXPOSE [\"80\"]", "EXPOSE 443 80", "EXPOSE 80-81:80-81", "EXPOSE 8000-8001:80",
    "VOLUME /a", "VOLUME /a /b", "VOLUME [\"/a\", \"/b\"]", "VOLUME a", "VOLUME []", "VOLUME", "VOLUME [\"\"]", "VOLUME /", "VOLUME $PATH", "VOLUME /a/../b", "VOLUME C:\\x", "VOLUME [ \"/a\" ", "VOLUME [\"/a b\"]",
    "USER alice", "USER 1000", "USER alice:staff", "USER 1000:50", "USER nobody-there", "USER $x", "USER", "USER a b", "ENV u=alice\nUSER $u", "USER alice\nUSER root", "USER 0:0", "USER :staff",
    "WORKDIR /a", "WORKDIR a", "WORKDIR /a\nWORKDIR b\nWORKDIR c", "WORKDIR", "WORKDIR /a b", "WORKDIR \"/a b\"", "WORKDIR $HOME", "ENV d=/x\nWORKDIR $d/y", "WORKDIR /a/../b/", "WORKDIR /etc/passwd", "WORKDIR ../..", "WORKDIR .", "WORKDIR /",
    "WORKDIR /a//b", "USER alice\nWORKDIR /home/alice/x", "WORKDIR /tmp/x/y", "WORKDIR ''", "WORKDIR $nothing", "WORKDIR C:\\a",
    "STOPSIGNAL SIGTERM", "STOPSIGNAL 9", "STOPSIGNAL KILL", "STOPSIGNAL NOPE", "STOPSIGNAL", "STOPSIGNAL 99", "STOPSIGNAL a b", "STOPSIGNAL SIGRTMIN+3", "ENV s=9\nSTOPSIGNAL $s", "STOPSIGNAL 0", "STOPSIGNAL -1", "STOPSIGNAL sigterm", "STOPSIGNAL SIGTERM\nSTOPSIGNAL SIGINT",
    "SHELL [\"/bin/sh\", \"-xc\"]", "SHELL [\"a\"]\nCMD b", "SHELL a", "SHELL []", "SHELL", "SHELL [\"/bin/sh\", \"-c\"]\nRUN echo $0", "SHELL [\"/bin/sh\", \"-ec\"]\nENTRYPOINT x\nRUN true", "SHELL [\"x\"]\nHEALTHCHECK CMD y",
    "HEALTHCHECK CMD a b", "HEALTHCHECK CMD [\"a\", \"b\"]", "HEALTHCHECK NONE", "HEALTHCHECK none", "HEALTHCHECK", "HEALTHCHECK CMD", "HEALTHCHECK a", "HEALTHCHECK NONE a", "HEALTHCHECK --interval=5s --timeout=3s --retries=2 --start-period=1m --start-interval=2s CMD a",
    "HEALTHCHECK --interval=0s CMD a", "HEALTHCHECK --interval=x CMD a", "HEALTHCHECK --interval=1us CMD a", "HEALTHCHECK --interval=-1s CMD a", "HEALTHCHECK --retries=0 CMD a", "HEALTHCHECK --retries=-1 CMD a", "HEALTHCHECK --retries=x CMD a", "HEALTHCHECK --nope=1 CMD a",
    "HEALTHCHECK --interval CMD a", "HEALTHCHECK --interval=1s NONE", "HEALTHCHECK CMD a\nHEALTHCHECK CMD b", "HEALTHCHECK CMD a\nHEALTHCHECK NONE", "HEALTHCHECK CMD []", "HEALTHCHECK --interval=1s --interval=2s CMD a", "HEALTHCHECK --timeout=1h30m CMD exit 1",
    "HEALTHCHECK --start-period=x CMD a", "HEALTHCHECK --timeout=500us CMD a", "HEALTHCHECK cmd a", "HEALTHCHECK NONE\nHEALTHCHECK NONE",
    "MAINTAINER me", "MAINTAINER me <me@example.com>", "MAINTAINER", "MAINTAINER \"me\"", "MAINTAINER $PATH",
    "ONBUILD RUN a", "ONBUILD ENV a=b\nONBUILD CMD [\"x\"]", "ONBUILD", "ONBUILD FROM x", "ONBUILD MAINTAINER x", "ONBUILD ONBUILD RUN x", "ONBUILD nope x", "ONBUILD COPY a b", "ONBUILD COPY --from=x a b", "onbuild run a", "ONBUILD RUN", "ONBUILD ENV", "ONBUILD   RUN   a   b", "ONBUILD HEALTHCHECK NONE",
    "ARG a", "ARG a=b", "ARG a=b\nENV c=$a", "ARG a=b c=d\nENV x=$a$c", "ARG", "ARG =x", "ARG a=$PATH\nENV b=$a", "ENV a=1\nARG a=2\nENV b=$a", "ARG a=1\nENV a=2\nENV b=$a", "ARG a='b c'\nENV d=$a", "ARG a b\nENV x=y", "ARG HTTP_PROXY=x\nENV y=$HTTP_PROXY", "ARG a=1\nARG a\nENV b=$a", "ARG TARGETPLATFORM\nENV t=$TARGETPLATFORM", "ARG TARGETARCH\nARG BUILDPLATFORM\nENV t=$TARGETARCH$BUILDPLATFORM",
    "ARG a=\"", "ARG a=b=c\nENV d=$a", "ARG a.b=c",
    "FOO", "FOO bar", "RU x", "foo bar", "# comment", "RUN", "RUN []", "COPY", "COPY a", "COPY a b", "ADD", "ADD a", "COPY [\"a\"]", "COPY []", "COPY [\"a\", \"b\"]", "ENV", "ENV a", "ENV =b", "ENV a=b c", "LABEL", "LABEL a", "LABEL =b", "LABEL a=b c", "ENV a=\"b", "ENV a='b", "LABEL a=\"b",
    "RUN --nope=1 x", "RUN --mount=type=cache,target=/x true", "RUN --network=none true", "RUN --security=insecure true", "COPY --nope a b", "COPY --link a b", "COPY --parents a b", "COPY --exclude=x a b", "ADD --checksum=sha256:x a b", "ADD --keep-git-dir a b", "ADD --link a b", "ADD --from=x a b", "CMD --x a", "ENV --x=y a=b",
    "USER --x", "FROM --nope=x base", "FROM", "FROM a b", "FROM base AS", "FROM base AS 1", "FROM base AS a b", "FROM base FOO x", "FROM base AS a/b", "FROM BASE", "FROM nope:nope/x", "FROM base@sha256:x", "RUN <<EOF\necho hi\nEOF", "COPY <<EOF /x\nhi\nEOF", "COPY --chown a b", "COPY --chown= a b", "COPY --from=a --from=b a b", "COPY --chmod=644 a b", "ADD --chmod=644 a b",
]


def settings():
    for text in GOOD:
        yield one(f"base: {text!r}", f"FROM base\n{text}\n", {"a": "A"})
    inherited = 'FROM base\nENV x=1 y=2\nLABEL l=1\nCMD ["c"]\nENTRYPOINT ["e"]\nEXPOSE 1\nVOLUME /v\nUSER alice\nWORKDIR /w\nSTOPSIGNAL 9\nSHELL ["/bin/sh","-c"]\nHEALTHCHECK --interval=1s CMD h\nMAINTAINER m\n'
    first = one("", inherited)
    for text in ("ENV x=3", "LABEL l=2 m=3", "CMD x", "ENTRYPOINT x", "EXPOSE 2", "VOLUME /z", "USER root", "WORKDIR z", "STOPSIGNAL 3", 'SHELL ["/bin/sh", "-ec"]', "HEALTHCHECK CMD z", "HEALTHCHECK NONE", "MAINTAINER z", "RUN id -un; pwd", "CMD []", "ENTRYPOINT []", "HEALTHCHECK --retries=3 CMD z", "LABEL l=1", "ENV x=1", "EXPOSE 1", "VOLUME /v", "COPY a b", "ADD a ."):
        yield one(f"inherits: {text!r}", f"FROM before0\n{text}\n", {"a": "A"}, [first])
    trigger = one("", "FROM base\nONBUILD RUN echo one > /one\nONBUILD COPY a /a\nONBUILD ENV b=c\nONBUILD LABEL d=e\n")
    yield one("triggers", "FROM before0\nRUN cat /one /a\n", {"a": "A"}, [trigger])
    yield one("triggers fail", "FROM before0\nRUN true\n", {}, [trigger])
    yield one("a trigger alone", "FROM before0\n", {}, [one("", "FROM base\nONBUILD ENV b=c\n")])
    yield one("a trigger that is wrong", "FROM before0\n", {}, [one("", "FROM base\nONBUILD RUN exit 4\n")])
    yield one("a trigger that copies of a stage", "FROM base AS x\nRUN echo x > /x\nFROM before0\n", {}, [one("", "FROM base\nONBUILD COPY --from=x /x /y\n")])


SOURCES = {"a": "A", "b": (0o755, "#!/bin/sh\n"), "d": None, "d/e": "E", "d/f": None, "d/f/g": "G", "d/.h": "H", "l": "->a", "ld": "->d", "x y": "blank", "out": "->/etc/passwd", "up": "->../../etc/passwd", "loop": "->loop", "[x]": "brackets", "empty": None}


def files():
    for text in (
        "a /x", "a /x/", "a .", "a b /x/", "a b /x", "d /x", "d/ /x/", "d/. /x", ". /x", ". .", "./a /x", "/a /x", "../a /x", "nope /x", "a nope /x/", "n* /x/", "* /x/", "? /x/", "d/* /x/", "d/*/g /x/", "[ab] /x/", "[[]x] /x/", "[ /x/", "l /x", "ld /x", "ld/ /x/", "ld/e /x", "out /x", "up /x", "loop /x",
        "a /etc/passwd/x", "a /etc", "a /etc/", "a /new/deep/x", "d d /x/", '["x y", "/x y"]', '"x y" /x', "a b", "$x /y", "a $PATH", "empty /x", "empty /x/", "d/f/g d/e /y/", "a /bin/sh/x", "a a /x/", "d a /x/", "a /tmp", "d /tmp/new", "/ /x", "d/../a /x", "a x y", "a /x/y/", "a ''", "a ../../x", "a /x\nCOPY b /x", "a  /x", "a\t/x",
        "--chown=alice a /x", "--chown=alice:staff a /x/y/", "--chown=1:2 d /x", "--chown=nope a /x", "--chown=alice:nope a /x", "--chown=alice d /x", "--chown=:50 a /x", "--chown=1000 a /x", "--chown=-1 a /x", "--chown=a:b:c a /x", "--chown=$u a /x", "--chown=4294967296 a /x", "--chown=alice: a /x", "--chown='' a /x",
        "--from=base /etc/passwd /x", "--from=base etc /x", "--from=nope:1 /a /x", "--from=0 /a /x", "--from=1 a /x", "--from=-1 a /x", "--from=base nope /x", "--from=base /etc/pass* /x/", "--from=base /bin/cat /x", "--from= a /x", "--from=scratch /a /x", "--from=BASE a /x", "--from=base / /x/", "--from=base --chown=alice /etc /x",
    ):
        yield one(f"COPY {text}", f"FROM base\nCOPY {text}\n", SOURCES)
        if "--from" not in text:
            yield one(f"ADD {text}", f"FROM base\nADD {text}\n", SOURCES)
    yield one("COPY with WORKDIR", "FROM base\nWORKDIR /w\nCOPY a b/\nCOPY a c\nCOPY d .\nCOPY a ./\nADD a ..\n", SOURCES)
    yield one("COPY over a link", "FROM base\nRUN ln -s /etc /link && ln -s /nowhere /broken\nCOPY a /link/\nCOPY a /broken\nCOPY d /link\n", SOURCES)
    yield one("COPY over a file with a folder", "FROM base\nCOPY a /x\nCOPY d /x\n", SOURCES)
    yield one("COPY over a folder with a file", "FROM base\nCOPY d /x\nCOPY a /x\n", SOURCES)
    yield one("COPY as a user", "FROM base\nUSER alice\nWORKDIR /home/alice\nCOPY a .\nCOPY a n/m\n", SOURCES)
    yield one("ENV in COPY", "FROM base\nENV f=a t=/t\nCOPY $f $t/\nCOPY ${f} ${t}/$f$f\nADD $f $t/z\n", SOURCES)
    members = [("m", 0o640, 7, 8, "M"), ("n/", 0o700, 9, 10, None), ("n/o", 0o604, 11, 12, "O"), ("p", 0o777, 0, 0, "->m")]
    packed = {"t.tar": archive(members), "t.tgz": archive(members, "gz"), "t.tbz": archive(members, "bz2"), "t.txz": archive(members, "xz"), "bad.tar.gz": "not at all", "half.tgz": archive(members, "gz")[:60], "empty.tar": archive([])}
    for text in ("t.tar /x", "t.tar /x/", "t.tgz /x/", "t.tbz /x/", "t.txz /x/", "bad.tar.gz /x/", "half.tgz /x/", "empty.tar /x/", "t.tar t.tgz /x/", "--chown=alice t.tar /x/", "t.* /x/", "t.tar /etc/passwd", "t.tar .", "t.tar /new"):
        yield one(f"ADD {text}", f"FROM base\nADD {text}\n", packed)
        yield one(f"COPY {text}", f"FROM base\nCOPY {text}\n", packed)
    for text in ("http://127.0.0.1:1/x /y", "http:///x /y", "https://127.0.0.1:1/ /y/", "http://127.0.0.1:1 /y/", "http://127.0.0.1:1/ /y", "ftp://x/y /z", "git://x/y /z", "http://127.0.0.1:1/a.tar.gz /x/", "--checksum=sha256:0 http://127.0.0.1:1/x /y"):
        yield one(f"ADD {text}", f"FROM base\nADD {text}\n", {})
    yield one("COPY http", "FROM base\nCOPY http://127.0.0.1:1/x /y\n", {})
    for ignore in ("a", "*", "*\n!a", "d", "d/e", "**/e", "# c\n\na", "!a", "/a", "a/", "Dockerfile", ".dockerignore", "[", "d\n!d/e", "*\n!d/f", "x y", " a ", "a\r\n", "**", "?", "d/*\n!d/f"):
        yield one(f".dockerignore {ignore!r}", "FROM base\nCOPY . /x/\n", {**{name: SOURCES[name] for name in ("a", "b", "d", "d/e", "d/f", "d/f/g")}, ".dockerignore": ignore})
    yield one("a context with owners", "FROM base\nCOPY . /x/\n", {"own": owned("own", 5, 6), "a": "A"})
    yield one("a device in the context", "FROM base\nCOPY . /x/\n", {"null": device("null")})
    yield one("a pipe in the context", "FROM base\nCOPY . /x/\n", {"pipe": pipe("pipe")})
    yield one("a hard link in the context", "FROM base\nCOPY . /x/\n", {"a": "A", "h": hard("h", "a")})
    yield one("a name that leads out", "FROM base\nCOPY . /x/\n", {"../out": "x"})
    yield one("an absolute name", "FROM base\nCOPY . /x/\n", {"/abs": "x"})
    yield one("a link, and something behind it", "FROM base\nCOPY . /x/\n", {"l": "->/tmp", "l/x": "x"})


def owned(name, uid, gid):
    member = tarfile.TarInfo(name)
    member.uid, member.gid = uid, gid
    return member


def device(name):
    member = tarfile.TarInfo(name)
    member.type, member.devmajor, member.devminor, member.mode = tarfile.CHRTYPE, 1, 3, 0o666
    return member


def pipe(name):
    member = tarfile.TarInfo(name)
    member.type = tarfile.FIFOTYPE
    return member


def hard(name, target):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.LNKTYPE, target
    return member


def commands():
    for text in (
        "echo hi", "echo hi >&2", "echo a; echo b >&2", "true", "false", "exit 3", "nope", '["echo", "hi"]', '["nope"]', '["/bin/sh", "-c", "exit 5"]', '["echo", "$PATH"]', "echo $PATH", "printf x", "printf 'a\\tb\\r\\n'", "printf '\\033[1mx\\033[0m'", "kill -9 $$", "id", "pwd", "tty; test -t 1 || echo no", "cat", "echo ä", "printf '\\303'", "env | grep -v HOSTNAME | sort",
        "echo 'a  b'", "echo \"a\" \\\n  b", "echo a \\\n# no\n  && echo b", "mkdir /x && touch -d '2017-07-14 02:40:00' /x/y && ln -s y /x/z && chmod 4755 /x/y", "rm -rf /etc/group", "rm -rf /home && mkdir /home", "echo x > /tmp/y", "echo x > /dev/shm/y", "echo x >> /etc/hosts", "umask", "ls /proc/1/fd | wc -l", "sleep 0.1 & echo done", "a=1; echo ${a}", "echo $undefined.", "echo '$PATH'",
        "seq 3", "cat /etc/hostname | wc -c", "test -w / && echo w", '["sh", "-c", "echo a b", "x"]', '["sh"]', '[ "echo" ]', "[ 1 = 1 ] && echo y", '["/etc/passwd"]', '["/"]', "/etc/passwd", "echo \\a", "echo a\\", "echo a #b",
        "ln -s /x /y; mkdir -p /q/w/e; chown 5:6 /q/w", "printf '#!/nope\\n' > /s && chmod +x /s && /s", "echo\techo", "printf 'no newline' >&2; exit 1",
    ):
        yield one(f"RUN {text}", f"FROM base\nRUN {text}\n", {})
    yield one("RUN as alice", "FROM base\nUSER alice\nRUN id -u; id -g; echo $HOME; pwd\n")
    yield one("RUN as nobody known", "FROM base\nUSER nope\nRUN id -u\n")
    yield one("RUN as a number", "FROM base\nUSER 1234:5678\nRUN id\n")
    yield one("RUN in a directory", "FROM base\nWORKDIR /w\nRUN pwd; touch x\n")
    yield one("RUN with args", "FROM base\nARG a=1\nARG b\nRUN echo $a $b\nARG c=3\nRUN echo $a $b $c\n", buildargs={"b": "2"})
    yield one("RUN with proxies", "FROM base\nRUN echo $HTTP_PROXY $no_proxy\n", buildargs={"HTTP_PROXY": "http://p", "no_proxy": "x"})
    yield one("RUN with a proxy that is declared", "FROM base\nARG HTTP_PROXY\nRUN echo $HTTP_PROXY\n", buildargs={"HTTP_PROXY": "http://p"})
    yield one("RUN over ENTRYPOINT", 'FROM base\nENTRYPOINT ["nope"]\nCMD ["nope"]\nRUN echo fine\n')
    yield one("RUN with a volume", "FROM base\nRUN mkdir /v && echo before > /v/b\nVOLUME /v\nRUN echo after > /v/a; ls /v\nRUN ls /v\n")
    yield one("RUN after COPY", "FROM base\nCOPY a /a\nRUN cat /a && rm /a\n", {"a": "A"})
    yield one("RUN without a shell", "FROM scratch\nCOPY a /a\nRUN echo\n", {"a": "A"})
    yield one("RUN without a program", 'FROM scratch\nCOPY a /a\nRUN ["/nope"]\n', {"a": "A"})
    yield one("RUN on nothing", "FROM scratch\nRUN echo\n")
    yield one("many", "FROM base\nRUN echo 1\nENV a=b\nRUN echo 2\nRUN exit 7\nRUN echo 3\n")


def stages():
    yield one("two stages", "FROM base AS one\nRUN echo 1 > /1\nFROM base\nCOPY --from=one /1 /2\n")
    yield one("by number", "FROM base\nRUN echo 1 > /1\nFROM base\nCOPY --from=0 /1 /2\n")
    yield one("on a stage", "FROM base AS one\nENV a=b\nFROM one AS two\nENV c=d\nFROM two\n")
    yield one("a stage's name in capitals", "FROM base AS One\nRUN echo 1 > /1\nFROM ONE\nCOPY --from=oNe /1 /2\n")
    yield one("two of a name", "FROM base AS x\nENV a=1\nFROM base AS x\nENV a=2\nFROM x\n")
    yield one("a later stage", "FROM base AS one\nCOPY --from=two /1 /2\nFROM base AS two\nRUN echo 1 > /1\n")
    yield one("itself", "FROM base AS one\nCOPY --from=one /etc/passwd /2\n")
    yield one("itself by number", "FROM base\nCOPY --from=0 /etc/passwd /2\n")
    yield one("a stage that is not used", "FROM base AS one\nRUN echo one\nFROM base\nENV a=b\n")
    yield one("scratch", "FROM scratch\nCOPY a /\n", {"a": "A"})
    yield one("scratch alone", "FROM scratch\n")
    yield one("scratch and a label", "FROM scratch\nLABEL a=b\n")
    yield one("scratch with a name", "FROM scratch AS x\nFROM x\nLABEL a=b\n")
    yield one("scratch and WORKDIR", "FROM scratch\nWORKDIR /a\n")
    yield one("scratch and ADD", "FROM scratch\nADD t.tar /\n", {"t.tar": archive([("bin/", 0o755, 0, 0, None), ("bin/x", 0o755, 0, 0, "x")])})
    yield one("FROM alone", "FROM base\n")
    yield one("FROM an id", "FROM nope123\n")
    yield one("ARG in FROM", "ARG b=base\nFROM $b\nRUN echo $b\n")
    yield one("ARG in FROM given", "ARG b\nFROM $b\n", buildargs={"b": "base"})
    yield one("ARG before and within", "ARG v=1\nFROM base\nARG v\nRUN echo $v\nENV w=$v\n")
    yield one("ARG before, given", "ARG v=1\nFROM base\nARG v\nENV w=$v\n", buildargs={"v": "2"})
    yield one("ARG not given", "ARG b\nFROM $b\n")
    yield one("ARG in AS", "ARG n=x\nFROM base AS $n\n")
    yield one("two ARGs before", "ARG a=base b=c\nFROM $a\nENV d=$b\n")
    yield one("ARG of ARG", "ARG a=ba\nARG b=${a}se\nFROM ${b}\n")
    yield one("FROM --platform", "FROM --platform=linux/amd64 base\nENV a=b\n")
    yield one("FROM --platform of another", "FROM --platform=linux/arm64 base\nENV a=b\n")
    yield one("FROM --platform wrong", "FROM --platform=a/b/c/d base\nENV a=b\n")
    yield one("FROM --platform of a variable", "FROM --platform=$BUILDPLATFORM base\nENV a=b\n")
    yield one("FROM --platform empty", "FROM --platform= base\nENV a=b\n")
    yield one("FROM default in braces", "FROM ${b:-base}\n")
    yield one("FROM scratch AS scratch", "FROM scratch AS scratch\nCOPY a /\nFROM scratch\nENV a=b\n", {"a": "A"})
    yield one("a stage called as an image", "FROM base AS base\nENV a=b\nFROM base\nENV c=d\n")
    for target in ("one", "ONE", "0", "1", "2", "nope", "-1", "two"):
        yield one(f"target {target}", "FROM base AS one\nENV a=b\nFROM base AS two\nENV c=d\n", target=target)
    yield one("args not consumed", "FROM base\nARG a\nENV b=$a\n", buildargs={"a": "1", "z": "2", "y": "3"})
    yield one("args not consumed by any", "FROM base\nENV b=c\nFROM base\nARG a\n", buildargs={"a": "1", "z": "2"})
    yield one("args null", "FROM base\nARG a=5\nENV b=$a\n", buildargs={"a": None})
    yield one("args in a stage on a stage", "FROM base AS one\nARG a=5\nFROM one\nENV b=$a\n")


def mistakes():
    yield one("no Dockerfile", None, {"a": "A"})
    yield one("nothing at all", None, {})
    yield one("an empty Dockerfile", "")
    yield one("a blank Dockerfile", "\n\n  \n")
    yield one("a comment", "# only\n")
    yield one("ARG only", "ARG a=b\n")
    yield one("no FROM", "RUN x\n")
    yield one("FROM later", "ENV a=b\nFROM base\n")
    yield one("another name", "FROM base\nENV a=b\n", dockerfile="Other")
    yield one("another name in a folder", "FROM base\nCOPY . /x/\n", dockerfile="sub/Other")
    yield one("another name that is not there", None, {"Dockerfile": "FROM base"}, dockerfile="Other")
    yield one("a name that leads out", None, {"Dockerfile": "FROM base"}, dockerfile="../Dockerfile")
    yield one("an absolute name of a Dockerfile", None, {"Dockerfile": "FROM base"}, dockerfile="/Dockerfile")
    yield one("a folder as Dockerfile", None, {"Dockerfile": None})
    yield one("a link as Dockerfile", None, {"Dockerfile": "->x", "x": "FROM base\n"})
    yield one("a link out as Dockerfile", None, {"Dockerfile": "->/etc/passwd"})
    yield one("dockerfile in small letters", None, {"dockerfile": "FROM base\nENV a=b\n"})
    yield {**one("nonsense", None), "raw": b"nonsense that is no archive at all, however long it is" * 20}
    yield {**one("a short nonsense", None), "raw": b"x"}
    yield {**one("half an archive", None), "raw": context_half()}
    yield one("mistake on the last line", "FROM base\nRUN echo one\nFOO\n")
    yield one("two mistakes", "FROM base\nFOO\nBAR\n")
    yield one("a mistake in a later stage", "FROM base\nFROM base\nCOPY x\n")
    yield one("no end of a here-document", "FROM base\nRUN <<EOF\nx\n")
    yield one("a continuation without an end", "FROM base\nRUN echo a \\")
    yield one("a continuation and nothing", "FROM base\nENV a=b \\\n")
    yield one("a letter that is none", b"FROM base\nENV a=\xff\n".decode("latin-1"))
    yield one("a BOM", "\ufeffFROM base\nENV a=b\n")
    yield one("a very long line", "FROM base\nENV a=" + "x" * 70000 + "\n")
    yield one("no newline at the end", "FROM base\nENV a=b")
    yield one("CRLF", "FROM base\r\nENV a=b\r\nRUN echo a \\\r\n b\r\n")
    yield one("a NUL", "FROM base\nENV a=\0b\n")
    yield one("control letters", "FROM base\nFOO\a\n")
    yield one("control letters in a path", "FROM base\nCOPY a\ab /x\n")
    yield one("control letters in a name", "FROM b\ase\n")
    yield one("quoted name", "FROM \"base\"\n")
    yield one("unknown image", "FROM localhost:1/nope\n")
    yield one("unknown digest", "FROM base@sha256:" + "0" * 64 + "\n")
    yield one("a tag with capitals", "FROM base:LATEST\n")
    yield one("a bad reference", "FROM a:b:c\n")
    yield one("an id that is none", "FROM " + "0" * 64 + "\n")


def context_half():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("Dockerfile")
        member.size = 4000
        tar.addfile(member, io.BytesIO(b"FROM base\n" + b"#" * 3990))
    return out.getvalue()[:2000]


def language():
    yield one("escape", "# escape=`\nFROM base\nENV a=b`\n c=d\nRUN echo a `\n b\nENV x=`$PATH y=\\\n")
    yield one("escape twice", "# escape=`\n# escape=\\\nFROM base\n")
    yield one("escape wrong", "# escape=x\nFROM base\n")
    yield one("escape late", "# a comment\n# escape=`\nFROM base\nENV a=b\\\n c=d\n")
    yield one("syntax", "# syntax=docker/dockerfile:1\nFROM base\nENV a=b\n")
    yield one("syntax twice", "# syntax=a\n# syntax=b\nFROM base\nENV a=b\n")
    yield one("check", "# check=skip=all\nFROM base\nENV a=b\n")
    yield one("an unknown directive", "# nope=x\n# escape=`\nFROM base\nENV a=b\\\n c=d\n")
    yield one("blanks before", "  FROM base\n\tENV a=b\n   # comment\nRUN echo x\n")
    yield one("blank before a comment in a continuation", "FROM base\nRUN echo a \\\n   # c\n   b\n")
    yield one("blank lines in a continuation", "FROM base\nRUN echo a \\\n\n\n b\n")
    yield one("small letters", "from base as x\nrun echo a\ncopy a /b\nexpose 1\ncmd x\n", {"a": "A"})
    yield one("a comment at the end", "FROM base # comment\n")
    yield one("a comment after an argument", "FROM base\nRUN echo a # comment\n")
    yield one("trailing blanks", "FROM base   \nENV a=b   \nRUN echo a   \n")
    yield one("a backslash within", "FROM base\nRUN echo a\\b \\ c\n")
    yield one("two backslashes at the end", "FROM base\nRUN echo a \\\\\nENV a=b\n")
    yield one("a backslash and a blank at the end", "FROM base\nRUN echo a \\ \n b\n")
    yield one("unicode", "FROM base\nENV ü=ö\nLABEL é=è\nRUN echo ß\n")
    yield one("variables everywhere", "FROM base\nENV p=80 d=/d u=alice s=9 k=key\nEXPOSE $p\nVOLUME $d\nUSER $u\nSTOPSIGNAL $s\nLABEL $k=$d\nWORKDIR $d\nONBUILD ENV x=$p\nCMD echo $p\nHEALTHCHECK CMD $p\n")
    yield one("escaped variables", "FROM base\nENV a=\\$b c='\\$d' e=\"\\$f\" g=\\\\$PATH\n")
    yield one("modifiers", "FROM base\nENV v=one e=\nENV a=${v-x} b=${e-x} c=${n-x} d=${v:-x} f=${e:-x} g=${n:-x} h=${v+x} i=${e+x} j=${n+x} k=${v:+x} l=${e:+x} m=${n:+x}\n")
    yield one("modifiers nested", "FROM base\nENV v=one\nENV a=${n:-${v}} b=${n:-${m:-deep}} c=\"${n:-a b}\"\n")
    yield one("modifiers that are none", "FROM base\nENV a=${PATH!x}\n")
    yield one("patterns", "FROM base\nENV v=foobarbaz\nENV a=${v#f*o} b=${v##*b} c=${v%b*} d=${v%%b*} e=${v/ba/x} f=${v//ba/x}\n")
    yield one("an empty name", "FROM base\nENV a=${}\n")
    yield one("a number as name", "FROM base\nENV a=$1x$@y$*\n")


def options():
    for name, value in (
        ("labels", {"a": "b", "c": "d e"}), ("labels", {"a": ""}), ("labels", {"it's": "x'y"}), ("labels", {"a": "$PATH"}), ("labels", {"b": "1", "a": "2", "c": "3"}), ("labels", {"": "x"}), ("labels", {"a": "x\"y\\z"}), ("labels", {"a b": "c"}), ("nocache", "1"), ("rm", "0"), ("forcerm", "1"), ("q", "1"), ("memory", "104857600"), ("memory", "1"), ("cpushares", "5"),
        ("networkmode", "none"), ("networkmode", "host"), ("networkmode", "nope"), ("extrahosts", "a:1.2.3.4"), ("extrahosts", "a"), ("shmsize", "1048576"), ("shmsize", "-1"), ("ulimits", [{"Name": "nofile", "Soft": 100, "Hard": 200}]), ("ulimits", [{"Name": "nope", "Soft": 100, "Hard": 200}]), ("t", "other:tag"), ("t", ""), ("t", "UP"), ("t", "a@sha256:" + "0" * 64),
        ("platform", "linux/amd64"), ("platform", "linux/arm64"), ("platform", "x/y/z/w"), ("cpusetcpus", "0"), ("cpusetcpus", "99"), ("cgroupparent", "/x"), ("memswap", "-1"), ("cachefrom", ["nope"]), ("cachefrom", ["base"]), ("pull", "0"), ("isolation", "x"), ("buildargs", {"a": 1}), ("cpuquota", "1"), ("cpuperiod", "1"), ("target", ""), ("remote", "nope"), ("remote", "http://127.0.0.1:1/x"), ("remote", "https://127.0.0.1:1/x.git"),
    ):
        for dockerfile in ("FROM base\nRUN echo x > /x; ulimit -n; cat /etc/hosts | grep 1.2.3.4; ls /sys/class/net\n", "FROM base\nRUN exit 3\n", "FROM base\nENV a=b\n"):
            yield one(f"{name}={value} of {dockerfile!r}", dockerfile, None, (), **{name: value})


def caches():
    text = "FROM base\nENV a=b\nRUN echo hi > /hi\nCOPY a /a\nWORKDIR /w\nADD a .\nLABEL l=m\nCMD x\nUSER alice\nEXPOSE 1\nVOLUME /v\nHEALTHCHECK CMD x\nONBUILD RUN x\nSTOPSIGNAL 9\nSHELL [\"/bin/sh\"]\nMAINTAINER m\nARG q=r\n"
    first = one("", text, {"a": "A"})
    yield one("all again", text, {"a": "A"}, [first])
    yield one("a file has changed", text, {"a": "B"}, [first])
    yield one("a setting has changed", text.replace("a=b", "a=c"), {"a": "A"}, [first])
    yield one("the end has changed", text.replace("USER alice", "USER root"), {"a": "A"}, [first])
    yield one("without the cache", text, {"a": "A"}, [first], nocache="1")
    yield one("one more label", text, {"a": "A"}, [first], labels={"x": "y"})
    args = "FROM base\nARG v\nRUN echo $v\nENV a=b\n"
    yield one("the same argument", args, None, [one("", args, buildargs={"v": "1"})], buildargs={"v": "1"})
    yield one("another argument", args, None, [one("", args, buildargs={"v": "1"})], buildargs={"v": "2"})
    yield one("an argument that is not used", args, None, [one("", args, buildargs={"v": "1"})], buildargs={"v": "1", "w": "2"})
    unused = "FROM base\nARG v\nENV a=b\nRUN true\n"
    yield one("an argument that no command uses", unused, None, [one("", unused, buildargs={"v": "1"})], buildargs={"v": "2"})
    proxy = "FROM base\nRUN echo x\n"
    yield one("another proxy", proxy, None, [one("", proxy, buildargs={"HTTP_PROXY": "1"})], buildargs={"HTTP_PROXY": "2"})
    stages_ = "FROM base AS one\nCOPY a /a\nFROM base\nCOPY --from=one /a /b\nRUN cat /b\n"
    yield one("stages again", stages_, {"a": "A"}, [one("", stages_, {"a": "A"})])
    yield one("stages with another file", stages_, {"a": "B"}, [one("", stages_, {"a": "A"})])
    yield one("an argument of a variable's name", "FROM base\nENV a=1\nARG a=2\nRUN echo $a\nARG a\nRUN echo $a\n")
    yield one("an argument of a variable's name, given", "FROM base\nENV a=1\nARG a=2\nRUN echo $a\nENV b=$a\n", buildargs={"a": "3"})
    yield one("a variable of an argument's name", "FROM base\nARG a=2\nENV a=1\nRUN echo $a\nENV b=$a\n", buildargs={"a": "3"})
    for mode in (0o4755, 0o2755, 0o6711, 0o1777, 0o4000):
        yield one(f"COPY of mode {mode:o}", "FROM base\nCOPY a /a\nCOPY a /d/\nRUN stat -c %a /a /d/a\n", {"a": (mode, "A")})
        yield one(f"COPY --chown of mode {mode:o}", "FROM base\nCOPY --chown=alice a /a\nRUN stat -c '%a %u' /a\n", {"a": (mode, "A")})
        yield one(f"ADD of mode {mode:o}", "FROM base\nADD a /a\nADD t /t\nRUN stat -c %a /a /t/x\n", {"a": (mode, "A"), "t": archive([("x", mode, 1, 1, "x")])})
        yield one(f"COPY of a stage of mode {mode:o}", f"FROM base AS one\nRUN echo x > /x && chown alice /x && chmod {mode:o} /x\nFROM base\nCOPY --from=one /x /y\nRUN stat -c '%a %u' /y\n")
    yield one("another mode", "FROM base\nCOPY a /a\n", {"a": (0o755, "A")}, [one("", "FROM base\nCOPY a /a\n", {"a": (0o644, "A")})])
    yield one("cache from the one before", text, {"a": "A"}, [first], cachefrom=["before0"])
    yield one("an onbuild again", "FROM before0\n", {"a": "A"}, [one("", "FROM base\nONBUILD COPY a /a\nONBUILD RUN echo x\n"), one("", "FROM before0\n", {"a": "A"})])
