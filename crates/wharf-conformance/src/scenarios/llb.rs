//! Graphs of a client's own (LLB), sent to BuildKit's control service without a frontend and without a session.

use std::collections::HashMap;
use std::path::Path;
use std::task::{Context, Poll};

use anyhow::{Context as _, Result, bail, ensure};
use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{
    BuildHistoryRequest, Exporter, SolveRequest, StatusRequest,
};
use bollard_buildkit_proto::pb;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message as _;
use sha2::Digest as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::body::Body;

use crate::Case;
use crate::case::skip;

/// gRPC over the daemon's socket.
#[derive(Clone)]
pub(super) struct Channel(SendRequest<Body>);

impl tower::Service<http::Request<Body>> for Channel {
    type Response = http::Response<hyper::body::Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<Self::Response, hyper::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

pub(super) async fn connect(socket: &Path) -> Result<Channel> {
    let mut stream = tokio::net::UnixStream::connect(socket).await?;
    let upgrade = "POST /grpc HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head);
    ensure!(head.starts_with("HTTP/1.1 101"), "{head}");
    let builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    let (sender, connection) = builder.handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Channel(sender))
}

pub(super) fn origin() -> http::Uri {
    http::Uri::from_static("http://localhost")
}

/// Runs a client of the case's daemon.
pub(super) fn with_client<T>(
    case: &Case,
    work: impl AsyncFnOnce(ControlClient<Channel>) -> Result<T>,
) -> Result<T> {
    let socket = case.engine.socket();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let channel = connect(&socket).await?;
        work(ControlClient::with_origin(channel, origin())).await
    })
}

/// A graph that is being written.
#[derive(Default)]
pub(super) struct Graph(pb::Definition);

impl Graph {
    fn add(&mut self, inputs: &[(&str, i64)], op: Option<pb::op::Op>) -> String {
        let inputs = inputs.iter().map(|(digest, index)| pb::Input {
            digest: (*digest).to_owned(),
            index: *index,
        });
        let op = pb::Op {
            inputs: inputs.collect(),
            op,
            ..pb::Op::default()
        };
        let bytes = op.encode_to_vec();
        let hash = sha2::Sha256::digest(&bytes);
        let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let digest = format!("sha256:{hex}");
        self.0.def.push(bytes);
        digest
    }

    pub(super) fn image(&mut self, name: &str) -> String {
        let source = pb::SourceOp {
            identifier: format!("docker-image://{name}"),
            ..pb::SourceOp::default()
        };
        self.add(&[], Some(pb::op::Op::Source(source)))
    }

    /// A shell command on `root` (output 0), with an empty tree at `/out` (output 1).
    fn shell(&mut self, root: &str, command: &str, change: impl FnOnce(&mut pb::ExecOp)) -> String {
        let mount = |input: i64, dest: &str, output: i64| pb::Mount {
            input,
            dest: dest.to_owned(),
            output,
            ..pb::Mount::default()
        };
        let mut exec = pb::ExecOp {
            meta: Some(pb::Meta {
                args: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
                cwd: "/".to_owned(),
                ..pb::Meta::default()
            }),
            mounts: vec![mount(0, "/", 0), mount(-1, "/out", 1)],
            network: pb::NetMode::None.into(),
            ..pb::ExecOp::default()
        };
        change(&mut exec);
        self.add(&[(root, 0)], Some(pb::op::Op::Exec(exec)))
    }

    pub(super) fn end(mut self, digest: &str, index: i64) -> pb::Definition {
        self.add(&[(digest, index)], None);
        self.0
    }
}

fn request(id: &str, definition: pb::Definition, name: &str) -> SolveRequest {
    let attrs = HashMap::from([("name".to_owned(), name.to_owned())]);
    SolveRequest {
        r#ref: id.to_owned(),
        definition: Some(definition),
        exporters: vec![Exporter {
            r#type: "moby".to_owned(),
            attrs,
        }],
        ..SolveRequest::default()
    }
}

/// Commands, copies, merges and differences.
fn example() -> pb::Definition {
    let mut graph = Graph::default();
    let base = graph.image("docker.io/library/busybox:latest");
    let ran = graph.shell(
        &base,
        "echo said; echo made > /out/f; echo root > /r",
        |_| {},
    );
    let copy = pb::FileActionCopy {
        src: "/f".to_owned(),
        dest: "/copied".to_owned(),
        mode: -1,
        timestamp: -1,
        ..pb::FileActionCopy::default()
    };
    let action = pb::FileAction {
        input: 0,
        secondary_input: 1,
        output: 0,
        action: Some(pb::file_action::Action::Copy(copy)),
    };
    let copied = graph.add(
        &[(&base, 0), (&ran, 1)],
        Some(pb::op::Op::File(pb::FileOp {
            actions: vec![action],
        })),
    );
    let diff = graph.add(
        &[(&base, 0), (&ran, 0)],
        Some(pb::op::Op::Diff(pb::DiffOp {
            lower: Some(pb::LowerDiffInput { input: 0 }),
            upper: Some(pb::UpperDiffInput { input: 1 }),
        })),
    );
    let merged = graph.add(
        &[(&copied, 0), (&diff, 0)],
        Some(pb::op::Op::Merge(pb::MergeOp {
            inputs: vec![pb::MergeInput { input: 0 }, pb::MergeInput { input: 1 }],
        })),
    );
    graph.end(&merged, 0)
}

pub(crate) fn graphs_of_clients_are_solved(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("Its own image store merges nothing");
    }
    let said = with_client(case, async |mut client| {
        let solved = client.solve(request("one", example(), "made")).await?;
        let response = solved.into_inner().exporter_response;
        ensure!(
            response["containerimage.config.digest"].starts_with("sha256:"),
            "{response:?}"
        );
        let status = client.status(StatusRequest {
            r#ref: "one".to_owned(),
        });
        let mut status = status.await?.into_inner();
        let (mut said, mut names) = (Vec::new(), Vec::new());
        while let Some(one) = status.next().await {
            let one = one?;
            said.extend(one.logs.into_iter().flat_map(|log| log.msg));
            names.extend(one.vertexes.into_iter().map(|vertex| vertex.name));
        }
        for wanted in [
            "docker-image://",
            "/bin/sh -c echo said",
            "merge",
            "exporting to image",
        ] {
            let has = names.iter().any(|name| name.starts_with(wanted));
            ensure!(has, "{wanted}: {names:?}");
        }
        Ok(String::from_utf8(said)?)
    })?;
    ensure!(said.contains("said\n"), "{said}");
    case.prints(
        &[
            "run",
            "--rm",
            "--entrypoint",
            "cat",
            "made",
            "/copied",
            "/r",
        ],
        "made\nroot",
    )
}

pub(crate) fn what_is_no_graph_is_refused(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It has other words for some");
    }
    let insecure = |change: fn(&mut pb::ExecOp)| {
        let mut graph = Graph::default();
        let base = graph.image("busybox");
        let ran = graph.shell(&base, "true", change);
        graph.end(&ran, 0)
    };
    let lost = {
        let mut graph = Graph::default();
        let base = graph.image("busybox");
        graph.end(&base, 3)
    };
    let circle = pb::Definition {
        def: vec![vec![0x0a, 0xff, 0xff, 0xff, 0x7f]],
        ..pb::Definition::default()
    };
    let cases = [
        (
            insecure(|exec| exec.security = pb::SecurityMode::Insecure.into()),
            "security.insecure is not allowed",
        ),
        (
            insecure(|exec| exec.network = pb::NetMode::Host.into()),
            "network.host is not allowed",
        ),
        (
            insecure(|exec| exec.mounts.clear()),
            "invalid exec op with no mounts",
        ),
        (
            insecure(|exec| exec.meta = None),
            "invalid exec op with no args",
        ),
        (insecure(|exec| exec.mounts[1].input = 7), "no input 7"),
        (lost, "no output 3"),
        (circle, "failed to parse llb proto op"),
    ];
    with_client(case, async |mut client| {
        for (number, (definition, wanted)) in cases.into_iter().enumerate() {
            let sent = client.solve(request(&format!("bad-{number}"), definition, "bad"));
            let Err(error) = sent.await else {
                bail!("{wanted}: it was solved");
            };
            ensure!(error.message().contains(wanted), "{wanted}: {error}");
        }
        let wanted = SolveRequest {
            entitlements: vec!["security.insecure".to_owned()],
            ..request("bad", example(), "bad")
        };
        let error = client.solve(wanted).await.err().context("it was granted")?;
        ensure!(
            error
                .message()
                .contains("granting entitlement security.insecure is not allowed"),
            "{error}"
        );
        let wanted = SolveRequest {
            entitlements: vec!["network.host".to_owned()],
            ..request(
                "good",
                insecure(|exec| exec.network = pb::NetMode::Host.into()),
                "good",
            )
        };
        client.solve(wanted).await?;
        Ok(())
    })
}

/// Names in a graph, and of a build, are no paths of the daemon's host (CVE-2026-33747).
pub(crate) fn names_lead_nowhere(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let up = "../../../../../../../../../../../..";
    let place = case.engine.world.path().join("outside");
    let out = format!("{up}{}", place.display());
    let mut graph = Graph::default();
    let base = graph.image("docker.io/library/busybox:latest");
    let cache = pb::Mount {
        input: -1,
        dest: "/cache".to_owned(),
        output: -1,
        mount_type: pb::MountType::Cache.into(),
        cache_opt: Some(pb::CacheOpt {
            id: out.clone(),
            ..pb::CacheOpt::default()
        }),
        ..pb::Mount::default()
    };
    let ran = graph.shell(&base, "echo x > /cache/f; echo y > /out/f", |exec| {
        exec.mounts.push(cache);
        exec.mounts[1].dest = format!("/{up}/out");
    });
    let written = pb::FileAction {
        input: 0,
        secondary_input: -1,
        output: 0,
        action: Some(pb::file_action::Action::Mkfile(pb::FileActionMkFile {
            path: out.clone(),
            mode: 0o644,
            data: b"inside".to_vec(),
            timestamp: -1,
            ..pb::FileActionMkFile::default()
        })),
    };
    let parents = pb::FileAction {
        action: Some(pb::file_action::Action::Mkdir(pb::FileActionMkDir {
            path: place.parent().context("a folder")?.display().to_string(),
            mode: 0o755,
            make_parents: true,
            timestamp: -1,
            ..pb::FileActionMkDir::default()
        })),
        output: -1,
        ..written.clone()
    };
    let written = pb::FileAction {
        input: 1,
        ..written
    };
    let file = graph.add(
        &[(&ran, 0)],
        Some(pb::op::Op::File(pb::FileOp {
            actions: vec![parents, written],
        })),
    );
    let definition = graph.end(&file, 0);
    with_client(case, async |mut client| {
        for id in [out.as_str(), "..", "a/b", "", "a\0b"] {
            let sent = client.solve(request(id, definition.clone(), "made")).await;
            let error = sent.err().with_context(|| format!("{id:?} is an id"))?;
            ensure!(error.message().contains("invalid build ref"), "{error}");
        }
        client
            .solve(request("good", definition.clone(), "made"))
            .await?;
        for name in ["../../x", "/etc/x", "A B"] {
            let sent = client
                .solve(request("named", definition.clone(), name))
                .await;
            ensure!(sent.is_err(), "{name:?} is a name");
        }
        Ok(())
    })?;
    ensure!(!place.exists(), "a name led out");
    let path = place.display().to_string();
    case.prints(
        &["run", "--rm", "--entrypoint", "cat", "made", &path],
        "inside",
    )
}

/// Builds of the past, with how they ended.
pub(crate) fn the_past_is_told(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("The example merges");
    }
    with_client(case, async |mut client| {
        client.solve(request("good", example(), "made")).await?;
        let mut graph = Graph::default();
        let base = graph.image("busybox");
        let failing = graph.shell(&base, "exit 3", |_| {});
        let failing = graph.end(&failing, 0);
        ensure!(client.solve(request("bad", failing, "bad")).await.is_err());
        let past = client.listen_build_history(BuildHistoryRequest {
            early_exit: true,
            ..BuildHistoryRequest::default()
        });
        let mut past = past.await?.into_inner();
        let mut records = HashMap::new();
        while let Some(event) = past.next().await {
            let record = event?.record.context("an event without a record")?;
            records.insert(record.r#ref.clone(), record);
        }
        let (good, bad) = (&records["good"], &records["bad"]);
        ensure!(good.error.is_none() && good.num_total_steps > 4, "{good:?}");
        ensure!(good.completed_at.is_some(), "{good:?}");
        let error = bad.error.as_ref().context("no error")?;
        ensure!(error.message.contains("exit code: 3"), "{error:?}");
        Ok(())
    })
}
