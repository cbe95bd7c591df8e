//! Instructions.

use std::sync::Arc;

use bollard_buildkit_proto::pb;
use prost::Message as _;
use wharf_builder::BuildError;
use wharf_dockerfile::{Instruction, Located, Run};

use super::base::Standing;
use super::{Build, BuildEvent, Housing};
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
                let text = self.converter.declare(&mut standing.stage, args)?;
                self.note(standing, &format!(" {text}")).await
            }
            Instruction::Maintainer(name) => {
                standing.stage.author.clone_from(name);
                self.note(standing, &format!(" MAINTAINER {name}")).await
            }
            Instruction::Workdir(_) => self.work_dir(standing, located).await,
            other => {
                let text = self.converter.set(&mut standing.stage, other)?;
                self.note(standing, &format!(" {text}")).await
            }
        }
    }

    /// A step without files.
    async fn note(&mut self, standing: &mut Standing, text: &str) -> Result<(), BuildError> {
        let created_by = standing.nop(text);
        self.commit(standing, None, &created_by).await
    }

    async fn run(
        &mut self,
        standing: &mut Standing,
        run: &Run,
        located: &Located,
    ) -> Result<(), BuildError> {
        self.prepare(standing, &located.instruction).await?;
        let at = self.stages.len();
        let stage = &mut standing.stage;
        let ran = self.converter.run_step(at, stage, run, located).await?;
        let created_by = remembered(&ran);
        let Some(image) = standing.image else {
            let program = ran.command.first().cloned().unwrap_or_default();
            return Err(BuildError::Failed(format!(
                "exec: \"{program}\": stat {program}: no such file or directory: there is nothing in the image yet"
            )));
        };
        let housing = Housing {
            image,
            options: self.options.clone(),
            output: self.output.clone(),
        };
        let job = self.job.housed(Arc::new(housing));
        self.layered(standing, &created_by, &job).await
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
        let created_by = standing.nop(&text);
        self.layered(standing, &created_by, self.job).await
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
