//! `wharf build`.

use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Map, Value, json};
use wharf_buildkit::Offer;
use wharf_client::{Body, Method, Url, upload};

use super::build_context::{self, Packing};
use super::build_session;
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{line, out};
use crate::cli::{
    Arity, Command, Context, Exit, Flag, Kind, Matches, Outcome, credentials, flag, list, switch,
    text,
};
use crate::format::units::human_size;
use crate::options::{checks, platform, proxies, resources};
use crate::term::progress;

static FLAGS: &[Flag] = &[
    flag(
        "add-host",
        Kind::Checked("list", checks::extra_host),
        "Add a name and its address (\"host:ip\") for RUN",
    ),
    list("build-arg", "Give an ARG its value"),
    list("cache-from", "Images whose steps may be used again"),
    text("cgroup-parent", "Control group for RUN to live under"),
    switch("compress", "Send the build context compressed"),
    flag(
        "cpu-period",
        Kind::Int,
        "Period of the processor quota in microseconds",
    ),
    flag(
        "cpu-quota",
        Kind::Int,
        "Processor time per period in microseconds",
    ),
    flag("cpu-shares", Kind::Int, "Weight against other containers").short('c'),
    text("cpuset-cpus", "Processors to run on (0-3, 0,1)"),
    text("cpuset-mems", "Memory nodes to use (0-3, 0,1)"),
    switch("disable-content-trust", "").default("true").hidden(),
    text(
        "file",
        "Path of the Dockerfile (PATH/Dockerfile if not given)",
    )
    .short('f'),
    switch(
        "force-rm",
        "Remove the containers of steps also when the build fails",
    ),
    text("iidfile", "Write the image's id to this file"),
    text("isolation", "Isolation technology of containers"),
    list("label", "Put a label on the image"),
    flag("memory", Kind::Bytes, "Limit of memory for RUN").short('m'),
    flag(
        "memory-swap",
        Kind::Swap,
        "Limit of memory and swap together, -1 for no limit",
    ),
    text("network", "Network of RUN").default("default"),
    switch("no-cache", "Do not use steps of earlier builds"),
    text(
        "platform",
        "Platform of the base images, if they have several",
    ),
    switch("pull", "Pull the base images though they are here"),
    switch("quiet", "Print nothing but the image's id").short('q'),
    switch("rm", "Remove the containers of steps that went well").default("true"),
    list("security-opt", "Security options"),
    flag("shm-size", Kind::Bytes, "Size of /dev/shm for RUN"),
    switch("squash", "Make one layer of all that the build adds"),
    list(
        "tag",
        "Name of the image, and optionally a tag (\"name:tag\")",
    )
    .short('t'),
    text("target", "Stage to stop at"),
    list("ulimit", "Limits of processes"),
];

/// Build an image
pub static COMMAND: Command = Command {
    name: "build",
    about: "Build an image from a Dockerfile",
    usage: "[OPTIONS] PATH | URL | -",
    also: "wharf image build, wharf build, wharf builder build",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

/// What is sent, and how it is told.
struct Source {
    body: Option<(Body, Option<Packing>)>,
    /// The folder, and what it offers, if nothing speaks against that.
    offer: Option<(PathBuf, Offer)>,
    remote: Option<String>,
    /// The Dockerfile's path as the daemon is to know it.
    dockerfile: String,
}

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let mut source = source(matches)?;
    let mut url = url(context, matches)?.with("dockerfile", &source.dockerfile);
    let client = context.client().await?;
    let mut session = None;
    if let Some((folder, offer)) = source.offer.take() {
        session = build_session::open(client, &folder, offer).await?;
        match &session {
            Some(session) => {
                url = url.with("session", &session.id);
                source.remote = Some("client-session".to_owned());
            }
            None => source.body = Some(packed(&folder, &source.dockerfile, None, false)?),
        }
    }
    if let Some(remote) = &source.remote {
        url = url.with("remote", remote);
    }
    let headers: Vec<_> = registries(context)
        .map(|value| ("x-registry-config", value))
        .into_iter()
        .collect();
    let quiet = matches.on("quiet");
    let stream = match source.body {
        None => {
            let stream = client.stream_with_headers(Method::POST, url, &headers);
            let stream = stream.await;
            if let Some(session) = session.as_ref().filter(|_| !quiet) {
                say_sent(session.sent())?;
            }
            stream?
        }
        Some((body, packing)) => {
            let kind = "application/x-tar";
            let stream = client.upload_with_headers(url, kind, body, &headers).await;
            if let Some(packing) = packing {
                sent(packing, stream.is_ok(), quiet).await?;
            }
            stream?
        }
    };
    let id = match quiet {
        true => {
            let said = progress::collect(stream).await?;
            let id = said.trim().to_owned();
            out(&format!("{id}\n"))?;
            id
        }
        false => progress::show_build(stream).await?,
    };
    if let Some(path) = matches.maybe("iidfile") {
        std::fs::write(path, id).map_err(|error| Exit::new(format!("write {path}: {error}")))?;
    }
    Ok(())
}

/// Says how much was sent. That the daemon took no more is no failure here: it says itself why.
async fn sent(packing: Packing, accepted: bool, quiet: bool) -> Outcome {
    let size = match packing.finish().await {
        Ok(size) => size,
        Err(_) if !accepted => return Ok(()),
        Err(exit) => return Err(exit),
    };
    match quiet {
        true => Ok(()),
        false => say_sent(size),
    }
}

fn say_sent(size: u64) -> Outcome {
    let size = human_size(i64::try_from(size).unwrap_or(i64::MAX), 4);
    line(format!("Sending build context to Wharf daemon  {size}"))
}

fn source(matches: &Matches) -> Outcome<Source> {
    let place = matches.args[0].as_str();
    let file = matches.maybe("file");
    if build_context::is_remote(place) {
        return Ok(Source {
            body: None,
            offer: None,
            remote: Some(place.to_owned()),
            dockerfile: file.unwrap_or_default().to_owned(),
        });
    }
    let compress = matches.on("compress");
    if place == "-" {
        return standard_input(file, compress);
    }
    let folder = PathBuf::from(place);
    let meta = std::fs::metadata(&folder);
    let meta = meta.map_err(|_| {
        Exit::new(format!(
            "unable to prepare context: path {place:?} not found"
        ))
    })?;
    if !meta.is_dir() {
        return Err(Exit::new(format!(
            "unable to prepare context: context must be a directory: {place}"
        )));
    }
    let (dockerfile, extra) = dockerfile(&folder, file)?;
    let mut offer = None;
    if extra.is_none() && !compress {
        offer = build_context::offer(&folder, &dockerfile)?;
    }
    let body = match offer {
        Some(_) => None,
        None => Some(packed(&folder, &dockerfile, extra, compress)?),
    };
    Ok(Source {
        body,
        offer: offer.map(|offer| (folder, offer)),
        remote: None,
        dockerfile,
    })
}

fn packed(
    folder: &Path,
    dockerfile: &str,
    extra: Option<Vec<u8>>,
    compress: bool,
) -> Outcome<(Body, Option<Packing>)> {
    let (pipe, packing) = build_context::pack(folder, dockerfile, extra, compress)?;
    Ok((upload(reader(pipe)?), Some(packing)))
}

fn reader(pipe: OwnedFd) -> Outcome<tokio::net::unix::pipe::Receiver> {
    Ok(tokio::net::unix::pipe::Receiver::from_owned_fd(pipe)?)
}

/// The Dockerfile's path in the context, or its text if it is somewhere else.
fn dockerfile(folder: &Path, file: Option<&str>) -> Outcome<(String, Option<Vec<u8>>)> {
    let Some(file) = file.filter(|file| !file.is_empty()) else {
        // A name in lower case does, if the other is not there.
        let lower = !folder.join("Dockerfile").exists() && folder.join("dockerfile").exists();
        let name = if lower { "dockerfile" } else { "Dockerfile" };
        return Ok((name.to_owned(), None));
    };
    if file == "-" {
        let mut text = Vec::new();
        std::io::stdin().read_to_end(&mut text)?;
        return Ok((build_context::random_name(), Some(text)));
    }
    let failed = |error: std::io::Error| {
        let reason = crate::options::env::reason(&error);
        Exit::new(format!(
            "unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat {file}: {reason}"
        ))
    };
    let whole = std::fs::canonicalize(file).map_err(failed)?;
    let base = std::fs::canonicalize(folder)?;
    match whole.strip_prefix(&base) {
        Ok(inside) => Ok((inside.display().to_string(), None)),
        Err(_) => {
            let text = std::fs::read(&whole).map_err(failed)?;
            Ok((build_context::random_name(), Some(text)))
        }
    }
}

/// An archive, or a Dockerfile alone.
fn standard_input(file: Option<&str>, compress: bool) -> Outcome<Source> {
    if file == Some("-") {
        return Err(Exit::new(
            "invalid argument: can't use stdin for both build context and dockerfile",
        ));
    }
    let mut start = vec![0; 512];
    let mut stdin = std::io::stdin().lock();
    let mut length = 0;
    while length < start.len() {
        match stdin.read(&mut start[length..])? {
            0 => break,
            count => length += count,
        }
    }
    start.truncate(length);
    if build_context::is_archive(&start) {
        let (read, write) = std::io::pipe()?;
        std::thread::spawn(move || {
            let mut write = std::fs::File::from(OwnedFd::from(write));
            // The daemon says what is wrong with an archive that ends early.
            let _ = write.write_all(&start);
            let _ = std::io::copy(&mut std::io::stdin().lock(), &mut write);
        });
        return Ok(Source {
            body: Some((upload(reader(read.into())?), None)),
            offer: None,
            remote: None,
            dockerfile: file.unwrap_or_default().to_owned(),
        });
    }
    stdin.read_to_end(&mut start)?;
    drop(stdin);
    let (pipe, packing) = build_context::only(start, compress)?;
    Ok(Source {
        body: Some((upload(reader(pipe)?), Some(packing))),
        offer: None,
        remote: None,
        dockerfile: "Dockerfile".to_owned(),
    })
}

fn url(context: &Context, matches: &Matches) -> Outcome<Url> {
    let mut url = Url::new(["build"])
        .flag("q", matches.on("quiet"))
        .flag("nocache", matches.on("no-cache"))
        .flag("pull", matches.on("pull"))
        .with("rm", if matches.on("rm") { "1" } else { "0" })
        .flag("forcerm", matches.on("force-rm"))
        .flag("squash", matches.on("squash"))
        .with("networkmode", matches.text("network"))
        .with(
            "buildargs",
            arguments(context, matches.list("build-arg")).to_string(),
        )
        .with(
            "labels",
            Value::from(crate::options::pairs(matches.list("label"))).to_string(),
        )
        .with("cachefrom", json!(matches.list("cache-from")).to_string());
    for tag in matches.list("tag") {
        url = url.with("t", tag);
    }
    for host in matches.list("add-host") {
        url = url.with("extrahosts", host);
    }
    for option in matches.list("security-opt") {
        url = url.with("securityopt", option);
    }
    let ulimits: Result<Vec<Value>, String> = matches
        .list("ulimit")
        .iter()
        .map(|text| resources::ulimit(text))
        .collect();
    url = url.with("ulimits", json!(ulimits.map_err(Exit::new)?).to_string());
    for (name, parameter) in [
        ("cpu-period", "cpuperiod"),
        ("cpu-quota", "cpuquota"),
        ("cpu-shares", "cpushares"),
        ("memory", "memory"),
        ("memory-swap", "memswap"),
        ("shm-size", "shmsize"),
    ] {
        if matches.given(name) {
            url = url.with(parameter, matches.int(name).to_string());
        }
    }
    for (name, parameter) in [
        ("cgroup-parent", "cgroupparent"),
        ("cpuset-cpus", "cpusetcpus"),
        ("cpuset-mems", "cpusetmems"),
        ("isolation", "isolation"),
        ("target", "target"),
    ] {
        url = url.maybe(parameter, matches.maybe(name));
    }
    Ok(url.maybe("platform", platform::wanted(matches)))
}

/// `NAME=value`, or a `NAME` whose value is that of the environment, if it has one; and the proxies of `config.json`.
fn arguments(context: &Context, list: &[String]) -> Value {
    let mut all = Map::new();
    for text in list {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), std::env::var(text).ok()),
        };
        all.insert(name.to_owned(), value.map_or(Value::Null, Value::from));
    }
    let known = |name: &str| all.contains_key(name);
    for (name, value) in proxies::missing(&context.config, context.host(), &known) {
        all.insert(name, value.into());
    }
    all.into()
}

/// All names and passwords that `docker login` left, for the base images.
fn registries(context: &Context) -> Option<String> {
    let all = credentials::all(context);
    let encode =
        |all| base64::engine::general_purpose::URL_SAFE.encode(Value::Object(all).to_string());
    (!all.is_empty()).then(|| encode(all))
}
