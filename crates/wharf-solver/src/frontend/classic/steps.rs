//! Instructions.

use std::sync::Arc;

use bollard_buildkit_proto::pb;
use prost::Message as _;
use wharf_builder::BuildError;
use wharf_dockerfile::{Instruction, Located, Run};
use wharf_oci::{Digest, Healthcheck};

use super::base::Standing;
use super::image::Work;
use super::{Build, BuildEvent, ContainerRunner};
use crate::frontend::convert::Line;
use crate::frontend::llb::Output;
use crate::frontend::run::Ran;
use crate::{Job, Progress, Ref, VertexLog, solve};

impl Build<'_> {
    pub(super) async fn dispatch(
        &mut self,
        standing: &mut Standing,
        located: &Located,
    ) -> Result<(), BuildError> {
        match &located.instruction {
            Instruction::Run(run) => self.run(standing, run, located).await,
            Instruction::Copy(copy) => self.copy(standing, copy, None, located).await,
            Instruction::Add(add) => self.copy(standing, &add.copy, Some(add), located).await,
            Instruction::Arg(args) => {
                let text = self
                    .converter
                    .declare(&mut standing.stage, args, Line::AtOnce)?;
                self.note(standing, &format!(" {text}")).await
            }
            Instruction::Maintainer(name) => {
                standing.stage.author.clone_from(name);
                self.note(standing, &format!(" MAINTAINER {name}")).await
            }
            Instruction::Workdir(path) => {
                if self.converter.word(&standing.stage, path)?.is_empty() {
                    let text = "cannot normalize nothing".to_owned();
                    return Err(BuildError::Invalid(text));
                }
                self.work_dir(standing, located).await
            }
            Instruction::Expose(ports) => {
                self.converter
                    .set(&mut standing.stage, &located.instruction)?;
                // As they were written, in order, but for their variables.
                let words = ports
                    .iter()
                    .map(|port| self.converter.word(&standing.stage, port));
                let mut ports = words.collect::<Result<Vec<_>, _>>()?;
                ports.sort();
                self.note(standing, &format!(" EXPOSE {}", ports.join(" ")))
                    .await
            }
            Instruction::Healthcheck(_) => self.health_check(standing, located).await,
            other => {
                let text = self.converter.set(&mut standing.stage, other)?;
                self.note(standing, &format!(" {text}")).await
            }
        }
    }

    /// A step without files.
    async fn note(&mut self, standing: &mut Standing, text: &str) -> Result<(), BuildError> {
        let created_by = standing.nop(text);
        self.step(standing, &created_by, Work::Settings).await
    }

    /// What it leaves open is what the image has, as dockerd's containers take it from there (moby `daemon/commit.go`, `merge`).
    async fn health_check(
        &mut self,
        standing: &mut Standing,
        located: &Located,
    ) -> Result<(), BuildError> {
        let old = standing.stage.config.healthcheck.clone();
        let text = self
            .converter
            .set(&mut standing.stage, &located.instruction)?;
        if let Some(old) = old {
            if old.test.first().is_some_and(|kind| kind != "NONE") {
                let test = old.test.join(" ");
                let text = format!("Note: overriding previous HEALTHCHECK: [{test}]\n");
                self.output.say(text).await;
            }
            if let Some(new) = &mut standing.stage.config.healthcheck {
                fill(new, &old);
            }
        }
        self.note(standing, &format!(" {text}")).await
    }

    async fn run(
        &mut self,
        standing: &mut Standing,
        run: &Run,
        located: &Located,
    ) -> Result<(), BuildError> {
        self.prepare(standing, &located.instruction).await?;
        let at = self.stages.len();
        // What the history does not say of it, the solver's cache knows.
        let is_told = run.mounts.is_empty()
            && run.heredocs.is_empty()
            && run.network.is_none()
            && run.security.is_none();
        let stage = &mut standing.stage;
        stage.ignore_cache = is_told || self.options.no_cache || standing.busted;
        let ran = self.converter.run_step(at, stage, run, located).await?;
        let created_by = remembered(&ran);
        let Some(image) = standing.image else {
            let program = ran.command.first().cloned().unwrap_or_default();
            return Err(BuildError::Failed(format!(
                "failed to create task for container: failed to create shim task: OCI runtime create failed: unable to start container process: exec: {}: stat {program}: no such file or directory",
                wharf_dockerfile::quoted(&program)
            )));
        };
        let container_runner = ContainerRunner {
            remembers: !is_told,
            ..self.container_runner(image)
        };
        let job = self.job.housed(Arc::new(container_runner));
        match is_told {
            true => self.step(standing, &created_by, Work::Command(&job)).await,
            false => self.untold(standing, &created_by, &job).await,
        }
    }

    /// Where containers of the build are made, on this image.
    pub(super) fn container_runner(&self, image: Digest) -> ContainerRunner {
        ContainerRunner {
            image,
            options: self.options.clone(),
            output: self.output.clone(),
            remembers: false,
        }
    }

    /// The directory is made, so that it is there for those who only read the image.
    async fn work_dir(
        &mut self,
        standing: &mut Standing,
        located: &Located,
    ) -> Result<(), BuildError> {
        self.prepare(standing, &located.instruction).await?;
        let stage = &mut standing.stage;
        let text = self.converter.set(stage, &located.instruction)?;
        self.converter.work_dir(stage, located, "");
        let path = stage.config.working_dir.clone();
        let created_by = standing.nop(&text);
        let made = self.step(standing, &created_by, Work::Folder).await;
        made.map_err(|error| match error.to_string() {
            text if text.starts_with("mkdir ") && text.ends_with(": not a directory") => {
                BuildError::Failed(format!("Cannot mkdir: {path} is not a directory"))
            }
            _ => error,
        })
    }

    /// What an output of the instruction's graph is, and whether that was known.
    pub(super) async fn solve(
        &mut self,
        job: &Job,
        output: Option<Output>,
    ) -> Result<(Ref, bool), BuildError> {
        let definition = self.converter.builder.definition(output.as_ref());
        let mut listening = Listening::to(&definition, self.output);
        let mut solving = std::pin::pin!(solve::solve(job, &definition));
        let tree = loop {
            tokio::select! {
                biased;
                Some(said) = self.said.recv() => listening.hear(said).await,
                tree = &mut solving => break tree,
            }
        };
        while let Ok(said) = self.said.try_recv() {
            listening.hear(said).await;
        }
        listening.end().await;
        Ok((tree?, listening.cached))
    }
}

/// What of a graph's progress is told, and what is remembered.
struct Listening<'a> {
    output: &'a super::Output,
    /// The operation that is wanted.
    digest: String,
    cached: bool,
    /// Bytes of a letter whose rest has not been heard, of standard output and standard error.
    rests: [Vec<u8>; 2],
}

impl<'a> Listening<'a> {
    fn to(definition: &pb::Definition, output: &'a super::Output) -> Self {
        let end = definition
            .def
            .last()
            .map(|bytes| pb::Op::decode(&bytes[..]));
        let end = end.and_then(Result::ok);
        let wanted = end.and_then(|end| Some(end.inputs.first()?.digest.clone()));
        Self {
            output,
            digest: wanted.unwrap_or_default(),
            cached: false,
            rests: Default::default(),
        }
    }

    async fn hear(&mut self, said: Progress) {
        match said {
            Progress::Vertex(vertex) if vertex.digest == self.digest => {
                self.cached = vertex.cached;
            }
            Progress::Log(log) => self.pass_on(&log).await,
            _ => {}
        }
    }

    async fn pass_on(&mut self, log: &VertexLog) {
        let is_error = log.stream == 2;
        let rest = &mut self.rests[usize::from(is_error)];
        rest.extend_from_slice(&log.data);
        let valid = match std::str::from_utf8(rest) {
            Ok(_) => rest.len(),
            // In the middle of a letter.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => rest.len(),
        };
        let text: Vec<u8> = rest.drain(..valid).collect();
        self.print(text, is_error).await;
    }

    async fn end(&mut self) {
        for (is_error, rest) in [false, true]
            .into_iter()
            .zip(std::mem::take(&mut self.rests))
        {
            self.print(rest, is_error).await;
        }
    }

    async fn print(&self, text: Vec<u8>, is_error: bool) {
        if text.is_empty() {
            return;
        }
        let text = String::from_utf8_lossy(&text).into_owned();
        self.output
            .send(BuildEvent::Output { is_error, text })
            .await;
    }
}

fn fill(new: &mut Healthcheck, old: &Healthcheck) {
    for (new, old) in [
        (&mut new.interval, old.interval),
        (&mut new.timeout, old.timeout),
        (&mut new.start_period, old.start_period),
        (&mut new.start_interval, old.start_interval),
        (&mut new.retries, old.retries),
    ] {
        if *new == 0 {
            *new = old;
        }
    }
}

/// The command as the history knows it: with the arguments that were set for it.
fn remembered(ran: &Ran) -> String {
    let command = ran.command.iter().cloned();
    if ran.args.is_empty() && !ran.has_proxies {
        return command.collect::<Vec<_>>().join(" ");
    }
    let count = format!("|{}", ran.args.len());
    let words = std::iter::once(count).chain(ran.args.iter().cloned());
    words.chain(command).collect::<Vec<_>>().join(" ")
}
