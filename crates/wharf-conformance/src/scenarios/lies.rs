//! A registry that lies on purpose: every lie ends in success or in a clear error, and harms nothing that is here.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::json;
use wharf_testkit::liar::{Liar, LiarImage, Reply, Request};

use crate::Case;

const PORT: u16 = 5000;

/// What the registry does to whoever pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Lie {
    CutOnce,
    OtherBytes,
    Shorter,
    Longer,
    Drip,
    BusyManifest,
    BusyBlob,
    TokenRefusedMidway,
    Broken,
    RedirectLoop,
    Html,
    HugeManifest,
    TenThousandLayers,
}

/// Each with what must come of it: `Ok`, or some of these words.
const LIES: &[(Lie, &str, &[&str])] = &[
    (Lie::CutOnce, "cut", &[]),
    (
        Lie::OtherBytes,
        "other",
        &["filesystem layer verification failed for digest sha256:"],
    ),
    (
        Lie::Shorter,
        "shorter",
        &["filesystem layer verification failed for digest sha256:"],
    ),
    (
        Lie::Longer,
        "longer",
        &[
            "filesystem layer verification failed for digest sha256:",
            "registry sends more than announced for sha256:",
        ],
    ),
    (Lie::Drip, "drip", &[]),
    (Lie::BusyManifest, "busy-manifest", &[]),
    (Lie::BusyBlob, "busy-blob", &[]),
    (Lie::TokenRefusedMidway, "token", &[]),
    (
        Lie::Broken,
        "broken",
        &["received unexpected HTTP status: 500"],
    ),
    (Lie::RedirectLoop, "loop", &["stopped after 10 redirects"]),
    (
        Lie::Html,
        "html",
        &["error unmarshalling content: invalid character '<' looking for beginning of value"],
    ),
    (Lie::HugeManifest, "huge", &["more than", "longer than"]),
    (Lie::TenThousandLayers, "layers", &["max depth exceeded"]),
];

/// dockerd does not ask again when a registry has no time for a manifest or does not like its token any more, and reads a
/// manifest of any length.
const OURS_ALONE: &[Lie] = &[
    Lie::BusyManifest,
    Lie::TokenRefusedMidway,
    Lie::HugeManifest,
];

/// The liar's memory: how often it was asked for what.
struct Script {
    images: HashMap<&'static str, LiarImage>,
    asked: Mutex<HashMap<String, usize>>,
    many: Vec<u8>,
}

impl Script {
    fn new() -> Result<Script> {
        let mut images = HashMap::new();
        for (_, name, _) in LIES {
            let noise: Vec<u8> = noise(name, 300_000);
            images.insert(*name, LiarImage::new(&[name.as_bytes(), &noise])?);
        }
        Ok(Script {
            images,
            asked: Mutex::default(),
            many: many_layers(),
        })
    }

    /// How often this was asked for before.
    fn before(&self, what: &str) -> usize {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let count = asked.entry(what.to_owned()).or_default();
        *count += 1;
        *count - 1
    }

    fn answer(&self, request: &Request) -> Reply {
        let path = request.path.clone();
        if path.starts_with("/token") {
            let number = self.before("/token");
            return Reply::ok(format!(r#"{{"token":"t{number}"}}"#));
        }
        let name = path.split('/').nth(2).unwrap_or_default();
        let lie = LIES.iter().find(|(_, known, _)| *known == name);
        match lie.and_then(|(lie, name, _)| Some((*lie, self.images.get(name)?))) {
            Some((lie, image)) => self.lie(lie, image, request),
            None => Reply::default(),
        }
    }

    fn lie(&self, lie: Lie, image: &LiarImage, request: &Request) -> Reply {
        let honest = image.answer(request);
        let manifest = request.path.contains("/manifests/");
        let layer = image.is_layer(request, 1);
        let first = |script: &Script| script.before(&request.path) == 0;
        match lie {
            Lie::CutOnce if layer && first(self) => Reply {
                // Any byte: the layer's own noise says which.
                cut: Some(usize::from(honest.body[1000]) * honest.body.len() / 256),
                ..honest
            },
            Lie::OtherBytes if layer => {
                let mut bytes = honest.body.to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                Reply::ok(bytes)
            }
            Lie::Shorter if layer => Reply::ok(honest.body[..1000].to_vec()),
            Lie::Longer if layer => Reply::ok([honest.body.as_slice(), b"more"].concat()),
            Lie::Drip if !manifest => Reply {
                drip: Some((16 * 1024, Duration::from_millis(20))),
                ..honest
            },
            Lie::BusyManifest if manifest && request.method == "GET" && first(self) => busy(),
            Lie::BusyBlob if layer && first(self) => busy(),
            Lie::TokenRefusedMidway => token(request, layer, honest),
            Lie::Broken if manifest => Reply::status(500, "oops"),
            Lie::RedirectLoop if layer => {
                Reply::status(307, "").with("Location", request.path.clone())
            }
            Lie::Html if manifest => {
                Reply::ok("<html>Please log in</html>").with("Content-Type", "text/html")
            }
            Lie::HugeManifest if manifest => {
                let mut bytes = image.manifest.clone();
                bytes.resize(100 * 1024 * 1024, b' ');
                Reply::ok(bytes).with("Content-Type", "application/vnd.oci.image.manifest.v1+json")
            }
            Lie::TenThousandLayers if manifest => Reply::ok(self.many.clone())
                .with("Content-Type", "application/vnd.oci.image.manifest.v1+json"),
            _ => honest,
        }
    }
}

fn busy() -> Reply {
    Reply::error(429, "TOOMANYREQUESTS", "too many requests").with("Retry-After", "1")
}

/// The first token is good for manifests alone.
fn token(request: &Request, layer: bool, honest: Reply) -> Reply {
    let shown = request.header("authorization").unwrap_or_default();
    let good = shown.starts_with("Bearer t") && !(layer && shown == "Bearer t0");
    if good {
        return honest;
    }
    let realm = format!("Bearer realm=\"http://127.0.0.1:{PORT}/token\",service=\"liar\"");
    Reply::error(401, "UNAUTHORIZED", "authentication required").with("WWW-Authenticate", realm)
}

fn many_layers() -> Vec<u8> {
    let blob = |kind: &str, number: usize| {
        json!({ "mediaType": format!("application/vnd.oci.image.{kind}"),
            "digest": format!("sha256:{number:064x}"), "size": 100 })
    };
    let layers: Vec<_> = (0..10_000)
        .map(|number| blob("layer.v1.tar+gzip", number))
        .collect();
    json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blob("config.v1+json", 10_000), "layers": layers })
    .to_string()
    .into_bytes()
}

/// Bytes that gzip cannot make fewer, other ones for each seed.
fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut state = seed.bytes().fold(0x9e37_79b9_7f4a_7c15_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    let next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// What is stored is whole, by our own check; a dockerd has none.
pub(super) fn is_whole(case: &Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return Ok(());
    }
    case.engine.wharf_ok(&["system", "check"]).map(drop)
}

pub(crate) fn every_lie_ends_well(case: &mut Case) -> Result<()> {
    let script = Script::new()?;
    let _liar = Liar::start_inside(case.engine.pid()?, PORT, move |request| {
        script.answer(request)
    })?;
    for (lie, name, words) in LIES {
        let dockerd = case.engine.kind.is_dockerd();
        if dockerd && OURS_ALONE.contains(lie) {
            continue;
        }
        let image = format!("127.0.0.1:{PORT}/{name}:1");
        let run = case.run(&["pull", &image])?;
        let listed = case.ok(&["images", "-q", &image])?;
        if words.is_empty() {
            ensure!(run.code == 0, "{lie:?}: {}", run.stderr);
            ensure!(!listed.is_empty(), "{lie:?}: pulled, and not there");
        } else {
            ensure!(run.code == 1, "{lie:?} is believed: {}", run.stdout);
            let said = words.iter().any(|words| run.stderr.contains(words));
            // An older dockerd has other words for some; that it fails is what counts.
            if !said && !dockerd {
                bail!("{lie:?}: {:?}, not one of {words:?}", run.stderr);
            }
            ensure!(listed.is_empty(), "{lie:?}: failed, and is there");
        }
        is_whole(case).with_context(|| format!("after {lie:?}"))?;
    }
    case.prints(&["run", "--rm", "busybox", "echo", "alive"], "alive")
}

pub(crate) fn a_lie_while_pushing(case: &mut Case) -> Result<()> {
    let _liar = Liar::start_inside(case.engine.pid()?, PORT, push_answer)?;
    for (name, words) in [
        (
            "denied",
            "denied: requested access to the resource is denied",
        ),
        ("html", "error parsing HTTP 404 response body"),
        ("loop", "stopped after 10 redirects"),
        ("nowhere", "Location"),
    ] {
        // The words for these change from one dockerd to the next.
        if matches!(name, "html" | "nowhere") && case.engine.kind.is_dockerd() {
            continue;
        }
        let image = format!("127.0.0.1:{PORT}/{name}:1");
        case.ok(&["tag", "busybox", &image])?;
        case.fails(&["push", &image], 1, words)?;
        is_whole(case)?;
    }
    Ok(())
}

fn push_answer(request: &Request) -> Reply {
    let begins = request.method == "POST";
    match request.path.split('/').nth(2).unwrap_or_default() {
        "denied" if begins => {
            Reply::error(403, "DENIED", "requested access to the resource is denied")
        }
        "html" if begins => Reply::status(404, "<html>"),
        "loop" if begins => Reply::status(307, "").with("Location", request.path.clone()),
        "nowhere" if begins => Reply::status(202, ""),
        _ => Reply::default(),
    }
}
