//! Real applications, built from their authors' sources and of Debian's packages.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use wharf_testkit::fixtures;

use super::buildx::Files;
use super::containers::until;
use crate::case::Run;
use crate::case::skip;
use crate::{Case, Client};

/// What of BusyBox is built: enough to say and to hash something.
const BUSYBOX: &[(&str, &str)] = &[
    (
        "Dockerfile",
        r#"FROM debian-build AS build
WORKDIR /src
COPY busybox/ ./
COPY wanted /wanted
RUN make -s allnoconfig && while read one; do sed -i "s/# CONFIG_$one is not set/CONFIG_$one=y/" .config; done < /wanted && (yes n | make -s oldconfig)
RUN --mount=type=tmpfs,target=/tmp make -s -j4 && make -s install CONFIG_PREFIX=/out
RUN echo 'root:x:0:0::/:/bin/ash' > /passwd

FROM scratch
COPY --from=build /out/ /
COPY --from=build --chown=0:0 --chmod=644 /passwd /etc/passwd
USER root
ENTRYPOINT ["/bin/busybox"]
CMD ["ash", "-c", "echo \"built: $(echo x | sha256sum | cut -c 1-8)\""]
"#,
    ),
    (
        "wanted",
        "STATIC\nBUSYBOX\nASH\nSH_IS_ASH\nASH_ECHO\nECHO\nSHA256SUM\nCUT\n",
    ),
    (".dockerignore", "busybox/testsuite\nbusybox/**/*.html\n"),
];

/// Redis and nginx, at the same time, and what they are linked with; without their compilers' pains, which take long.
const SERVERS: &[(&str, &str)] = &[
    (
        "Dockerfile",
        r#"FROM debian-build AS redis
WORKDIR /src
COPY redis/deps ./deps
COPY redis/src ./src
RUN make -s -j4 -C src redis-server redis-cli MALLOC=libc OPTIMIZATION=-O0 > /dev/null \
    && install -D -t /out/bin src/redis-server src/redis-cli

FROM debian-build AS nginx
WORKDIR /src
COPY nginx/ ./
RUN ./configure --prefix=/srv --with-cc-opt=-O0 --without-http_rewrite_module --without-http_gzip_module > /dev/null
RUN make -s -j4 > /dev/null && make -s install DESTDIR=/out > /dev/null

FROM debian-build AS libraries
COPY --from=redis /out /out
COPY --from=nginx /out /out
RUN ldd /out/bin/* /out/srv/sbin/* | grep -o '/[^ )]*' | grep -v : | sort -u | xargs -I{} cp -L --parents {} /out

FROM scratch AS both
COPY --from=libraries /out/ /
COPY <<PASSWD /etc/passwd
nobody:x:65534:65534::/:
PASSWD
COPY <<GROUP /etc/group
nogroup:x:65534:
GROUP

FROM both AS queue
USER nobody
CMD ["/bin/redis-server", "--save", ""]

FROM both
EXPOSE 80
STOPSIGNAL SIGQUIT
CMD ["/srv/sbin/nginx", "-g", "daemon off; error_log /dev/stderr;"]
"#,
    ),
    (".dockerignore", "redis/tests\n**/*.md\n"),
];

/// A server of Node.js, with Express in a folder of its own, as a package manager would leave it.
const EXPRESS: &[(&str, &str)] = &[
    (
        "Dockerfile",
        r#"ARG BASE=debian-build
FROM ${BASE} AS packages
WORKDIR /app
COPY package.json ./
RUN mkdir node_modules && node -e "require('/usr/share/nodejs/express'); \
        const folders = Object.keys(require.cache).map(file => file.split('/').slice(0, 5).join('/')); \
        console.log([...new Set(folders)].join('\\n'))" | xargs -I{} cp -rL {} node_modules/ && node -e "require('express')"

FROM packages AS check
COPY *.js ./
RUN node --check server.js && echo checked > /checked

FROM ${BASE}
ENV NODE_ENV=production PORT=3000
WORKDIR /app
COPY --from=packages /app/node_modules ./node_modules
COPY --from=check /checked /checked
COPY package.json server.js ./
RUN useradd --system app && chown app: /app
USER app
EXPOSE 3000
HEALTHCHECK --interval=200ms CMD node -e "fetch('http://127.0.0.1:3000/').then(answer => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"
CMD ["node", "server.js"]
"#,
    ),
    (
        "package.json",
        r#"{"name": "app", "version": "1.0.0", "main": "server.js"}"#,
    ),
    (
        "server.js",
        "const app = require('express')();\n\
         app.get('/', (request, answer) => answer.send(`served as ${require('os').userInfo().username}`));\n\
         app.listen(process.env.PORT, '0.0.0.0');\n\
         process.on('SIGTERM', () => process.exit(0));\n",
    ),
    ("compose.yaml", COMPOSED),
    (".dockerignore", "compose.yaml\n.dockerignore\n"),
];

/// Python without what needs libraries that are not there; it is neither optimised nor compiles its modules, which takes longest.
const PYTHON: &[(&str, &str)] = &[
    (
        "Dockerfile",
        r#"FROM debian-build AS build
WORKDIR /src
COPY cpython/ ./
RUN ./configure -q --prefix=/usr --without-ensurepip --without-doc-strings --disable-test-modules CFLAGS=-O0 > /dev/null 2>&1
RUN make -s -j4 > /dev/null 2>&1 && make -s altbininstall sharedinstall DESTDIR=/out > /dev/null 2>&1 && cp -r Lib/. /out/usr/lib/python3.11
RUN ldd /out/usr/bin/python3.11 /out/usr/lib/python3.11/lib-dynload/*.so | grep -o '/[^ )]*' | grep -v : | sort -u | xargs -I{} cp -L --parents {} /out

FROM scratch
COPY --from=build /out/ /
ENV PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["/usr/bin/python3.11"]
CMD ["-c", "import asyncio, hashlib, json; print(json.dumps([asyncio.run(asyncio.sleep(0, 6 * 7)), hashlib.sha3_256(b'x').hexdigest()[:8]]))"]
"#,
    ),
    ("compose.yaml", COMPOSED),
    (".dockerignore", "compose.yaml\n.dockerignore\n"),
];

/// A program of Rust, with Debian's compiler, and with its crates beside it: cargo asks no registry.
const RIPGREP: &[(&str, &str)] = &[
    (
        "Dockerfile",
        r#"FROM debian-build AS rust
COPY rust/ /packages/
RUN dpkg --force-unsafe-io --install /packages/*.deb > /dev/null && rm -r /packages

FROM rust AS build
WORKDIR /src
COPY ripgrep/ ./
ENV CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0
RUN cargo build --quiet --frozen && install -D -t /out/usr/bin target/debug/rg && rm -r target
RUN ldd /out/usr/bin/rg | grep -o '/[^ )]*' | sort -u | xargs -I{} cp -L --parents {} /out

FROM scratch
COPY --from=build /out/ /
COPY poem /poem
ENTRYPOINT ["/usr/bin/rg", "--no-heading"]
CMD ["--line-number", "^\\w+ (fish|bird)$", "/poem"]
"#,
    ),
    ("poem", "one fish\ntwo fishes\nred bird\n"),
    ("compose.yaml", COMPOSED),
    (
        ".dockerignore",
        "compose.yaml\n.dockerignore\nripgrep/vendor/winapi-*/lib\n",
    ),
];

/// What Compose builds of a folder.
const COMPOSED: &str = "name: app\nservices:\n  web:\n    build: .\n    image: composed\n";

pub(super) fn import(case: &Case, name: &str) -> Result<()> {
    let archive = fixtures::applications()?.join(format!("{name}.tar.gz"));
    let archive = archive.display().to_string();
    case.ok(&["import", &archive, &format!("debian-{name}")])
        .map(drop)
}

fn good(run: Run) -> Result<()> {
    ensure!(run.code == 0, "{}", run.stderr);
    Ok(())
}

fn copied(from: &Path, to: &str) -> Result<()> {
    let copied = Command::new("cp").arg("-r").arg(from).arg(to).status()?;
    ensure!(copied.success(), "cp {}", from.display());
    Ok(())
}

/// BusyBox, of the sources of Debian's package, in two stages.
pub(crate) fn busybox_is_built_from_its_sources(case: &mut Case) -> Result<()> {
    import(case, "build")?;
    let files = Files::new(BUSYBOX)?;
    let sources = fixtures::applications()?.join("busybox");
    copied(&sources, &files.path("busybox"))?;
    files.build(case, &["-t", "made"])?;
    let said = case.ok(&["run", "--rm", "made"])?;
    ensure!(said == "built: 73cb3858", "{said}");
    let size = case.ok(&["image", "inspect", "-f", "{{.Size}}", "made"])?;
    ensure!(size.parse::<u64>()? < 10_000_000, "{size}");
    // Nothing has changed, and what is not sent counts for nothing.
    std::fs::write(files.path("busybox/testsuite/new"), "x")?;
    let said = files.build(case, &["-t", "again"])?;
    ensure!(said.matches("CACHED").count() >= 5, "{said}");
    Ok(())
}

/// Redis and nginx, of the sources of Debian's packages, into two images without anything else.
pub(crate) fn redis_and_nginx_are_built_from_their_sources(case: &mut Case) -> Result<()> {
    if case.client == Client::Wharf {
        // The plugin builds, whichever command asks.
        return Ok(());
    }
    import(case, "build")?;
    let files = Files::new(SERVERS)?;
    for name in ["redis", "nginx"] {
        copied(&fixtures::sources()?.join(name), &files.path(name))?;
    }
    files.build(case, &["-t", "queue", "--target", "queue"])?;
    let said = files.build(case, &["-t", "web"])?;
    ensure!(said.matches("CACHED").count() >= 5, "{said}");
    case.ok(&["run", "-d", "--name", "queue", "queue"])?;
    case.ok(&[
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1:8090:80",
        "web",
    ])?;
    let ask = |words: &[&str]| {
        let own = [
            "run",
            "--rm",
            "--network",
            "container:queue",
            "queue",
            "/bin/redis-cli",
        ];
        case.run(&[&own[..], words].concat())
    };
    until(|| Ok(ask(&["ping"])?.stdout == "PONG"))?;
    good(ask(&["set", "greeting", "built"])?)?;
    case.prints(
        &["exec", "queue", "/bin/redis-cli", "get", "greeting"],
        "built",
    )?;
    let world = &case.engine.world;
    let page = || world.sh("curl -s http://127.0.0.1:8090/");
    until(|| Ok(page().is_ok_and(|page| page.contains("Welcome to nginx!"))))?;
    for name in ["queue", "web"] {
        case.ok(&["stop", name])?;
        case.prints(&["inspect", "-f", "{{.State.ExitCode}}", name], "0")?;
    }
    Ok(())
}

/// What builds a folder.
#[derive(Clone, Copy)]
enum By {
    /// The stock command with its plugin.
    Buildx,
    /// The stock command without it: the classic builder.
    Classic,
    /// The stock Compose, which asks BuildKit.
    Compose,
    /// Our own command, which asks the classic builder.
    Wharf,
}

impl By {
    const ALL: [Self; 4] = [Self::Buildx, Self::Classic, Self::Compose, Self::Wharf];

    /// The image that it makes.
    fn image(self) -> &'static str {
        match self {
            Self::Buildx => "built",
            Self::Classic => "classic",
            Self::Compose => "composed",
            Self::Wharf => "wharf",
        }
    }

    fn build(self, case: &Case, files: &Files) -> Result<()> {
        let image = self.image();
        let mut command = match self {
            Self::Buildx => return files.build(case, &["-t", image]).map(drop),
            Self::Compose => files.command(case, &["compose", "build"]),
            Self::Classic => files.command(case, &["build", "-t", image, "."]),
            Self::Wharf => case.engine.wharf(["build", "-t", image, &files.path(".")]),
        };
        if matches!(self, Self::Classic) {
            command.env("DOCKER_BUILDKIT", "0");
        }
        let output = command.output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{image}: {error}");
        Ok(())
    }
}

/// The folder, built by these clients as far as the engine knows them; the names of the images.
fn built_by(case: &Case, files: &Files, all: &[By]) -> Result<Vec<&'static str>> {
    let known = |by: &&By| !(case.engine.kind.is_dockerd() && matches!(by, By::Wharf));
    let build = |by: &By| by.build(case, files).map(|()| by.image());
    all.iter().filter(known).map(build).collect()
}

/// CPython, of the sources of Debian's package, by BuildKit's clients.
pub(crate) fn cpython_is_built_from_its_sources(case: &mut Case) -> Result<()> {
    let printed = "[42, \"741efa31\"]";
    program_of_a_language(
        case,
        PYTHON,
        &["cpython"],
        &[By::Buildx, By::Compose],
        printed,
    )
}

/// ripgrep, of the sources of Debian's package and its crates, by the classic builder's clients.
pub(crate) fn a_rust_program_is_built_with_its_crates(case: &mut Case) -> Result<()> {
    let printed = "1:one fish\n3:red bird";
    let folders = ["rust", "ripgrep"];
    program_of_a_language(case, RIPGREP, &folders, &[By::Classic, By::Wharf], printed)
}

/// The two builders have caches of their own, and each compiles, which takes a minute: here one of them, by its two clients.
/// Where `WHARF_TEST_LONG` is set, as in `make conformance`, it is both, by all four.
fn program_of_a_language(
    case: &Case,
    files: &[(&str, &str)],
    folders: &[&str],
    clients: &[By],
    printed: &str,
) -> Result<()> {
    if case.client == Client::Wharf {
        // It is one of the clients.
        return Ok(());
    }
    let Some(sources) = fixtures::languages()? else {
        return skip("cargo's registry is not reachable");
    };
    import(case, "build")?;
    let files = Files::new(files)?;
    for folder in folders {
        copied(&sources.join(folder), &files.path(folder))?;
    }
    let long = std::env::var_os("WHARF_TEST_LONG").is_some();
    let clients = if long { &By::ALL[..] } else { clients };
    for name in built_by(case, &files, clients)? {
        case.prints(&["run", "--rm", "--network", "none", name], printed)?;
    }
    Ok(())
}

/// A server of Node.js, by every client there is; each makes the same of it.
pub(crate) fn a_node_application_by_every_client(case: &mut Case) -> Result<()> {
    import(case, "build")?;
    let files = Files::new(EXPRESS)?;
    let names = built_by(case, &files, &By::ALL)?;
    let config = |name: &str| {
        let format = "{{json .Config.Env}} {{.Config.User}} {{.Config.Cmd}} {{.Config.WorkingDir}} {{json .Config.ExposedPorts}} {{json .Config.Healthcheck}}";
        case.ok(&["image", "inspect", "-f", format, name])
    };
    let first = config("built")?;
    for (number, name) in names.into_iter().enumerate() {
        ensure!(config(name)? == first, "{name}: {}", config(name)?);
        let port = format!("127.0.0.1:{}:3000", 8000 + number);
        case.ok(&["run", "-d", "--name", name, "-p", &port, name])?;
        let state = || case.ok(&["inspect", "-f", "{{.State.Health.Status}}", name]);
        until(|| Ok(state()? == "healthy"))?;
        let address = format!("curl -sf http://127.0.0.1:{}/", 8000 + number);
        let page = case.engine.world.sh(&address)?;
        ensure!(page == "served as app", "{name}: {page}");
        case.ok(&["stop", name])?;
        case.prints(&["inspect", "-f", "{{.State.ExitCode}}", name], "0")?;
    }
    Ok(())
}
