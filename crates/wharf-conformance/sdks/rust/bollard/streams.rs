//! What containers say and are told.

use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder,
};
use futures_util::{Stream, TryStreamExt as _};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::told::{Told, done, list, some, start, step};

const NAME: &str = "speaks";

/// What is said, by stream: a message may come in several parts.
async fn heard(output: impl Stream<Item = Result<LogOutput, Error>>) -> Told {
    let all: Vec<LogOutput> = output.try_collect().await?;
    let of = |wanted: fn(&LogOutput) -> bool| -> String {
        all.iter()
            .filter(|one| wanted(one))
            .map(ToString::to_string)
            .collect()
    };
    Ok(json!([
        of(|one| matches!(one, LogOutput::StdOut { .. })),
        of(|one| matches!(one, LogOutput::StdErr { .. })),
        of(|one| matches!(one, LogOutput::Console { .. })),
    ]))
}

async fn spoken_to(attached: AttachContainerResults, text: &str) -> Told {
    let AttachContainerResults { output, mut input } = attached;
    input.write_all(text.as_bytes()).await?;
    input.shutdown().await?;
    heard(output).await
}

async fn remove(docker: &Docker, name: &str) -> Result<(), Error> {
    docker
        .remove_container(
            name,
            Some(RemoveContainerOptionsBuilder::default().force(true).build()),
        )
        .await
}

pub(crate) async fn tell(docker: &Docker) {
    logs(docker).await;
    attachments(docker).await;
    execs(docker).await;
}

async fn logs(docker: &Docker) {
    let options = || LogsOptionsBuilder::default().stdout(true).stderr(true);
    step("logs, followed", async {
        start(
            docker,
            NAME,
            &[
                "sh",
                "-c",
                "echo out; sleep 0.2; echo err >&2; sleep 0.2; echo more",
            ],
            ContainerCreateBody::default(),
        )
        .await?;
        heard(docker.logs(NAME, Some(options().follow(true).build()))).await
    })
    .await;
    step("logs, the last", async {
        heard(docker.logs(NAME, Some(options().tail("1").build()))).await
    })
    .await;
    step("logs with times", async {
        heard(docker.logs(NAME, Some(options().stderr(false).timestamps(true).build()))).await
    })
    .await;
    step("logs of no stream", async {
        heard(docker.logs(NAME, Some(LogsOptionsBuilder::default().build()))).await
    })
    .await;
    step("logs of what is not there", async {
        heard(docker.logs("nope", Some(options().build()))).await
    })
    .await;
    step("logs end", async { done(remove(docker, NAME).await) }).await;
}

async fn attachments(docker: &Docker) {
    let options = || {
        Some(
            AttachContainerOptionsBuilder::default()
                .stream(true)
                .stdin(true)
                .stdout(true)
                .stderr(true)
                .logs(true)
                .build(),
        )
    };
    let reads = |tty: bool| ContainerCreateBody {
        open_stdin: Some(true),
        stdin_once: Some(true),
        attach_stdin: Some(true),
        tty: Some(tty),
        ..Default::default()
    };
    step("attach", async {
        start(
            docker,
            NAME,
            &["sh", "-c", "cat; echo end >&2"],
            reads(false),
        )
        .await?;
        spoken_to(docker.attach_container(NAME, options()).await?, "told\n").await
    })
    .await;
    step("attach to what has ended", async {
        Ok(docker
            .attach_container(NAME, options())
            .await
            .is_ok()
            .into())
    })
    .await;
    step("attach ends", async { done(remove(docker, NAME).await) }).await;
    step("attach to a terminal", async {
        start(
            docker,
            NAME,
            &["sh", "-c", "read a; echo $a $a"],
            reads(true),
        )
        .await?;
        let attached = docker.attach_container(NAME, options()).await?;
        // An end of what it is told is the end of a terminal.
        let AttachContainerResults { output, mut input } = attached;
        input.write_all(b"told\n").await?;
        heard(output).await
    })
    .await;
    step("attach to what is not there", async {
        Ok(docker
            .attach_container("nope", options())
            .await
            .is_err()
            .into())
    })
    .await;
    step("terminal ends", async { done(remove(docker, NAME).await) }).await;
    step("attach by a web socket", async {
        start(
            docker,
            NAME,
            &["sh", "-c", "read a; echo $a $a"],
            reads(true),
        )
        .await?;
        let AttachContainerResults { output, mut input } =
            docker.attach_container_websocket(NAME, options()).await?;
        input.write_all(b"told\n").await?;
        input.flush().await?;
        let said = heard(output).await;
        Ok(said.is_ok().into())
    })
    .await;
    step("web socket ends", async {
        done(remove(docker, NAME).await)
    })
    .await;
}

async fn execs(docker: &Docker) {
    step("a container for execs", async {
        done(
            start(
                docker,
                NAME,
                &["sleep", "1000"],
                ContainerCreateBody::default(),
            )
            .await,
        )
    })
    .await;
    let run =
        async |options: CreateExecOptions<String>, start: StartExecOptions, text: &str| -> Told {
            let id = docker
                .create_exec(
                    NAME,
                    CreateExecOptions {
                        attach_stdout: Some(true),
                        attach_stderr: Some(true),
                        ..options
                    },
                )
                .await?
                .id;
            let heard: Value = match docker.start_exec(&id, Some(start)).await? {
                StartExecResults::Attached { output, input } => {
                    spoken_to(AttachContainerResults { output, input }, text).await?
                }
                StartExecResults::Detached => "detached".into(),
            };
            Ok(json!([
                heard,
                some(
                    docker.inspect_exec(&id).await?,
                    &["ExitCode", "OpenStdin", "ProcessConfig"]
                )
            ]))
        };
    let shell = |text: &str| CreateExecOptions {
        cmd: Some(list(&["sh", "-c", text])),
        ..Default::default()
    };
    step(
        "exec",
        run(
            shell("echo out; echo err >&2; exit 3"),
            StartExecOptions::default(),
            "",
        ),
    )
    .await;
    let told = CreateExecOptions {
        attach_stdin: Some(true),
        env: Some(list(&["A=b"])),
        working_dir: Some("/tmp".to_owned()),
        user: Some("1:1".to_owned()),
        ..shell("cat; echo $A; pwd; id -u")
    };
    step(
        "exec with all",
        run(told, StartExecOptions::default(), "told\n"),
    )
    .await;
    let terminal = CreateExecOptions {
        tty: Some(true),
        ..shell("tty > /dev/null && echo a terminal")
    };
    step(
        "exec in a terminal",
        run(
            terminal,
            StartExecOptions {
                tty: true,
                ..Default::default()
            },
            "",
        ),
    )
    .await;
    step("exec of what is not there", async {
        // The code that it is given is one of two.
        Ok(run(
            CreateExecOptions {
                cmd: Some(list(&["nope"])),
                ..Default::default()
            },
            StartExecOptions::default(),
            "",
        )
        .await?[0]
            .clone())
    })
    .await;
    step(
        "exec without a command",
        run(
            CreateExecOptions::default(),
            StartExecOptions::default(),
            "",
        ),
    )
    .await;
    step("exec, detached", async {
        let id = docker.create_exec(NAME, shell("sleep 1000")).await?.id;
        docker
            .start_exec(
                &id,
                Some(StartExecOptions {
                    detach: true,
                    ..Default::default()
                }),
            )
            .await?;
        docker
            .resize_exec(
                &id,
                ResizeExecOptions {
                    height: 10,
                    width: 20,
                },
            )
            .await
            .ok();
        Ok(some(docker.inspect_exec(&id).await?, &["Running"]))
    })
    .await;
    step("inspect of an exec that there is not", async {
        Ok(some(docker.inspect_exec("nope").await?, &["ID"]))
    })
    .await;
    step("execs end", async { done(remove(docker, NAME).await) }).await;
}
