//! What a client's own frontend asks while it builds (`frontend/gateway`): commands in containers.

use anyhow::{Result, bail, ensure};
use bollard_buildkit_proto::moby::buildkit::v1::SolveRequest;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::exec_message::Input;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_client::LlbBridgeClient;
use bollard_buildkit_proto::moby::buildkit::v1::frontend::{
    ExecMessage, FdMessage, InitMessage, NewContainerRequest, ReleaseContainerRequest,
    ResizeMessage, ReturnRequest, SignalMessage, SolveRequest as FrontendSolve, result,
};
use bollard_buildkit_proto::pb;
use futures_util::{StreamExt as _, stream};
use tonic::Request;
use tonic::metadata::MetadataValue;

use super::containers::until;
use super::llb::{Channel, Graph, connect, origin, with_client};
use crate::Case;
use crate::case::skip;

/// What a client's own frontend asks in a build.
struct Frontend {
    bridge: LlbBridgeClient<Channel>,
    build: &'static str,
}

/// What a process came to.
#[derive(Debug, Default)]
struct Ran {
    code: u32,
    error: String,
    said: String,
    complained: String,
}

impl Frontend {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let build = MetadataValue::from_static(self.build);
        let metadata = request.metadata_mut();
        metadata.insert("buildkit-controlapi-buildid", build);
        request
    }

    async fn contain(&mut self, name: &str, root: &str) -> Result<()> {
        let mount = |dest: &str, kind: pb::MountType, result: &str| pb::Mount {
            dest: dest.to_owned(),
            input: -1,
            output: -1,
            mount_type: kind.into(),
            result_id: result.to_owned(),
            ..pb::Mount::default()
        };
        let request = self.request(NewContainerRequest {
            container_id: name.to_owned(),
            mounts: vec![
                mount("/", pb::MountType::Bind, root),
                mount("/scratch", pb::MountType::Tmpfs, ""),
            ],
            network: pb::NetMode::None.into(),
            hostname: "mine".to_owned(),
            ..NewContainerRequest::default()
        });
        self.bridge.new_container(request).await?;
        Ok(())
    }

    /// Runs a shell command; `words` are what it is told, and the signals that it gets.
    async fn run(
        &mut self,
        container: &str,
        command: &str,
        change: impl FnOnce(&mut InitMessage),
        words: Vec<Input>,
    ) -> Result<Ran> {
        let mut init = InitMessage {
            container_id: container.to_owned(),
            meta: Some(pb::Meta {
                args: ["/bin/sh", "-c", command].map(str::to_owned).to_vec(),
                env: vec!["WORD=said".to_owned()],
                cwd: "/".to_owned(),
                ..pb::Meta::default()
            }),
            fds: vec![0, 1, 2],
            ..InitMessage::default()
        };
        change(&mut init);
        let (sender, mut messages) = tokio::sync::mpsc::channel(8);
        let message = |input| ExecMessage {
            process_id: "p".to_owned(),
            input: Some(input),
        };
        sender.send(message(Input::Init(init))).await?;
        let stream = stream::poll_fn(move |context| messages.poll_recv(context));
        let request = self.request(stream);
        let answer = self.bridge.exec_process(request).await?;
        let mut answers = answer.into_inner();
        let mut ran = Ran::default();
        let is_signal = |word: &Input| matches!(word, Input::Signal(_));
        let (mut signals, mut words): (Vec<_>, Vec<_>) = words.into_iter().partition(is_signal);
        while let Some(answer) = answers.next().await {
            match answer?.input {
                Some(Input::Started(_)) => {
                    for word in words.drain(..) {
                        sender.send(message(word)).await?;
                    }
                }
                Some(Input::File(file)) => {
                    let to = match file.fd {
                        2 => &mut ran.complained,
                        _ => &mut ran.said,
                    };
                    to.push_str(&String::from_utf8_lossy(&file.data));
                    // Who has said something is ready for them.
                    for signal in signals.drain(..) {
                        sender.send(message(signal)).await?;
                    }
                }
                Some(Input::Exit(exit)) => {
                    ran.code = exit.code;
                    ran.error = exit.error.unwrap_or_default().message;
                }
                Some(Input::Done(_)) => return Ok(ran),
                other => bail!("{other:?}"),
            }
        }
        bail!("no last word: {ran:?}")
    }
}

fn told(text: &str, eof: bool) -> Input {
    Input::File(FdMessage {
        fd: 0,
        eof,
        data: text.as_bytes().to_vec(),
    })
}

async fn commands(frontend: &mut Frontend) -> Result<()> {
    let mut graph = Graph::default();
    let base = graph.image("docker.io/library/busybox:latest");
    let request = frontend.request(FrontendSolve {
        definition: Some(graph.end(&base, 0)),
        allow_result_return: true,
        allow_result_array_ref: true,
        ..FrontendSolve::default()
    });
    let solved = frontend.bridge.solve(request).await?.into_inner();
    let solved = solved.result.and_then(|result| result.result);
    let Some(result::Result::Ref(root)) = solved else {
        bail!("no reference: {solved:?}");
    };
    frontend.contain("c", &root.id).await?;
    let again = frontend.contain("c", &root.id).await;
    ensure!(again.is_err(), "two of one name");
    let plain = |_: &mut InitMessage| {};
    let command = "echo $WORD by $(hostname); echo oops >&2; echo kept > /kept; exit 3";
    let ran = frontend.run("c", command, plain, Vec::new()).await?;
    ensure!(
        (ran.code, ran.said.as_str(), ran.complained.as_str()) == (3, "said by mine\n", "oops\n"),
        "{ran:?}"
    );
    ensure!(ran.error.contains("exit code: 3"), "{ran:?}");
    // What one has written, the next one sees; it reads to the end.
    let words = vec![told("to ", false), told("the end", true)];
    let ran = frontend.run("c", "cat /kept -", plain, words).await?;
    ensure!(ran.code == 0 && ran.said == "kept\nto the end", "{ran:?}");
    let signal = Input::Signal(SignalMessage {
        name: "SIGUSR1".to_owned(),
    });
    let command = "trap 'echo heard; exit 7' USR1; echo up; while true; do sleep 0.05; done";
    let ran = frontend
        .run("c", command, plain, vec![signal.clone()])
        .await?;
    ensure!(ran.code == 7 && ran.said == "up\nheard\n", "{ran:?}");
    // A signal does not wait behind what nobody reads.
    let unread = told(&"x".repeat(100_000), false);
    let mut words = vec![unread; 100];
    words.push(signal);
    let ran = frontend.run("c", command, plain, words).await?;
    ensure!(ran.code == 7 && ran.said == "up\nheard\n", "{ran:?}");
    // Of very much the client waits for the process, until that has ended.
    let much = told(&"x".repeat(100_000), false);
    let ran = frontend
        .run("c", "head -c 1; exit 5", plain, vec![much; 720])
        .await?;
    ensure!(ran.code == 5 && ran.said == "x", "{ran:?}");
    let size = Input::Resize(ResizeMessage { rows: 33, cols: 44 });
    let terminal = |init: &mut InitMessage| init.tty = true;
    let command = "test -t 0 && read line && echo \"$line $(stty size)\"";
    let ran = frontend
        .run("c", command, terminal, vec![size, told("hi\n", false)])
        .await?;
    ensure!(ran.code == 0 && ran.said.contains("hi 33 44"), "{ran:?}");
    // No more than a step may (CVE-2024-23653).
    let insecure = |init: &mut InitMessage| init.security = pb::SecurityMode::Insecure.into();
    let ran = frontend.run("c", "true", insecure, Vec::new()).await?;
    ensure!(
        ran.code != 0 && ran.error.contains("security.insecure is not allowed"),
        "{ran:?}"
    );
    let ran = frontend.run("none", "true", plain, Vec::new()).await?;
    ensure!(ran.code != 0 && ran.error.contains("not found"), "{ran:?}");
    let request = frontend.request(ReleaseContainerRequest {
        container_id: "c".to_owned(),
    });
    frontend.bridge.release_container(request).await?;
    let ran = frontend.run("c", "true", plain, Vec::new()).await?;
    ensure!(ran.code != 0, "{ran:?}");
    Ok(())
}

/// Commands that a client's own frontend runs while it builds.
pub(crate) fn commands_of_frontends(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("only Wharf has this");
    }
    let socket = case.engine.socket();
    with_client(case, async |mut client| {
        let channel = connect(&socket).await?;
        let mut frontend = Frontend {
            bridge: LlbBridgeClient::with_origin(channel, origin()),
            build: "by-client",
        };
        let solve = client.solve(SolveRequest {
            r#ref: "by-client".to_owned(),
            ..SolveRequest::default()
        });
        let work = async {
            let ran = commands(&mut frontend).await;
            let request = frontend.request(ReturnRequest::default());
            frontend.bridge.r#return(request).await?;
            ran
        };
        let (solved, ran) = tokio::join!(solve, work);
        solved?;
        ran
    })?;
    until(|| Ok(case.engine.world.sh("pgrep wharf-shim | wc -l")?.trim() <= "1"))
}
