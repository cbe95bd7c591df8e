//! `COPY` and `ADD`.

use bollard_buildkit_proto::pb;
use bollard_buildkit_proto::pb::file_action::Action;
use wharf_builder::git::GitUrl;
use wharf_builder::{ModeChange, fetch};
use wharf_dockerfile::{Add, Copy, Located, Source};

use super::convert::{Converter, owner_of};
use super::llb::{About, Output};
use super::places::Place;
use super::stage::Stage;
use crate::SolveError;

/// One thing to copy, still to be numbered.
pub(super) struct Part {
    /// The tree it is in; none is an empty one.
    pub(super) from: Option<Output>,
    pub(super) action: pb::FileActionCopy,
}

impl Converter<'_> {
    pub(super) async fn copy_step(
        &mut self,
        at: usize,
        stage: &mut Stage,
        copy: &Copy,
        add: Option<&Add>,
        located: &Located,
    ) -> Result<(), SolveError> {
        let name = if add.is_some() { "ADD" } else { "COPY" };
        let said = self.said(stage, name, copy)?;
        let target = stage.absolute(&self.word(stage, &copy.target)?);
        if copy.sources.len() > 1 && !target.ends_with('/') {
            return Err(SolveError::Invalid(format!(
                "When using {name} with more than one source file, the destination must be a directory and end with a /"
            )));
        }
        let parts = self.parts(at, stage, copy, add).await?;
        self.place_parts(stage, parts, copy, located);
        stage.layered(&said, true);
        Ok(())
    }

    /// What is to be copied, and from where.
    ///
    /// # Errors
    /// If the flags make no sense, or a place is none.
    pub(super) async fn parts(
        &mut self,
        at: usize,
        stage: &Stage,
        copy: &Copy,
        add: Option<&Add>,
    ) -> Result<Vec<Part>, SolveError> {
        let name = if add.is_some() { "ADD" } else { "COPY" };
        let target = stage.absolute(&self.word(stage, &copy.target)?);
        let template = self.template(stage, copy, &target)?;
        let files = match &copy.from {
            Some(from) => {
                let from = self.word(stage, from)?;
                let Place::Files(files) = self.place(at, stage, &from).await?;
                Some(files)
            }
            None => None,
        };
        let mut parts = Vec::new();
        for source in &copy.sources {
            let part = match source {
                Source::Inline(document) => {
                    let text = self.document(stage, document)?;
                    let file = document
                        .name
                        .rsplit('/')
                        .next()
                        .unwrap_or_default()
                        .to_owned();
                    Part {
                        from: Some(self.written(&file, &text)),
                        action: pb::FileActionCopy {
                            src: format!("/{file}"),
                            ..template.clone()
                        },
                    }
                }
                Source::Path(path) => {
                    let path = self.word(stage, path)?;
                    match add.and_then(|add| self.remote(stage, &path, add, &template).transpose())
                    {
                        Some(part) => part?,
                        None => {
                            let files = files.as_ref();
                            self.local_part(name, &path, copy, add, files, &template)
                                .await?
                        }
                    }
                }
            };
            parts.push(part);
        }
        Ok(parts)
    }

    /// The stage gets them.
    pub(super) fn place_parts(
        &mut self,
        stage: &mut Stage,
        parts: Vec<Part>,
        copy: &Copy,
        located: &Located,
    ) {
        let about = self.about(stage, located, &located.original);
        let output = match copy.link {
            true => self.linked(stage, parts, about),
            false => self.copied(stage.output, stage, parts, about),
        };
        stage.output = Some(output);
    }

    /// What the history says.
    fn said(&self, stage: &Stage, name: &str, copy: &Copy) -> Result<String, SolveError> {
        let mut said = name.to_owned();
        for (flag, value) in [("chown", &copy.chown), ("chmod", &copy.chmod)] {
            if let Some(value) = value {
                said.push_str(&format!(" --{flag}={}", self.word(stage, value)?));
            }
        }
        if copy.link {
            said.push_str(" --link");
        }
        if copy.parents {
            said.push_str(" --parents");
        }
        for source in &copy.sources {
            match source {
                Source::Path(path) => said.push_str(&format!(" {}", self.word(stage, path)?)),
                Source::Inline(document) => said.push_str(&format!(" <<{}", document.name)),
            }
        }
        let said = format!("{said} {}", self.word(stage, &copy.target)?);
        Ok(fetch::redacted(&said))
    }

    fn template(
        &self,
        stage: &Stage,
        copy: &Copy,
        target: &str,
    ) -> Result<pb::FileActionCopy, SolveError> {
        let word = |text: &Option<String>| {
            let text = text.as_ref().map(|text| self.word(stage, text));
            Ok::<_, SolveError>(text.transpose()?.filter(|text| !text.is_empty()))
        };
        let (mode, mode_str) = match word(&copy.chmod)? {
            Some(text) => mode_of(&text)?,
            None => (-1, String::new()),
        };
        let exclude = copy.exclude.iter().map(|text| self.word(stage, text));
        Ok(pb::FileActionCopy {
            dest: target.to_owned(),
            owner: word(&copy.chown)?.and_then(|text| owner_of(&text)),
            mode,
            mode_str,
            follow_symlink: true,
            dir_copy_contents: true,
            create_dest_path: true,
            allow_wildcard: true,
            allow_empty_wildcard: true,
            timestamp: -1,
            exclude_patterns: exclude.collect::<Result<_, _>>()?,
            ..pb::FileActionCopy::default()
        })
    }

    /// Files of the context, of a stage or of an image.
    async fn local_part(
        &mut self,
        name: &str,
        path: &str,
        copy: &Copy,
        add: Option<&Add>,
        files: Option<&Option<Output>>,
        template: &pb::FileActionCopy,
    ) -> Result<Part, SolveError> {
        if fetch::is_url(path) {
            return Err(SolveError::Invalid(format!(
                "source can't be a URL for {name}"
            )));
        }
        let from = match files {
            Some(files) => *files,
            None => self.context(path).await?,
        };
        let mut action = pb::FileActionCopy {
            // No way leads out, also none by the way.
            src: wharf_go::path::clean_from_top(path),
            attempt_unpack_docker_compatibility: add.is_some_and(|add| add.unpack.unwrap_or(true)),
            ..template.clone()
        };
        if copy.parents {
            let (pivot, pattern) = path.split_once("/./").unwrap_or(("/", path));
            let pattern = pattern
                .trim_start_matches('/')
                .trim_start_matches("./")
                .trim_end_matches('/');
            action.src = format!("/{}", pivot.trim_start_matches('/'));
            action.include_patterns = vec![pattern.to_owned()];
            action.required_paths = vec![pattern.to_owned()];
        }
        Ok(Part { from, action })
    }

    /// What an address means to `ADD`.
    fn remote(
        &mut self,
        stage: &Stage,
        text: &str,
        add: &Add,
        template: &pb::FileActionCopy,
    ) -> Result<Option<Part>, SolveError> {
        let checksum = add.checksum.as_ref().map(|text| self.word(stage, text));
        let checksum = checksum.transpose()?.filter(|sum| !sum.is_empty());
        let about = About {
            name: text.to_owned(),
            ..About::default()
        };
        if let Some(git) = GitUrl::read(text) {
            if checksum.is_some() {
                let text = "checksum is not supported for git sources yet";
                return Err(SolveError::NotImplemented(text.to_owned()));
            }
            let source = super::git_source(&git, add.keep_git_dir);
            let from = self
                .builder
                .add(pb::op::Op::Source(source), &[], None, about);
            return Ok(Some(Part {
                from: Some(from),
                action: pb::FileActionCopy {
                    src: "/".to_owned(),
                    ..template.clone()
                },
            }));
        }
        if !fetch::is_url(text) {
            return match checksum {
                Some(_) => Err(SolveError::Invalid(
                    "checksum can't be specified for non-HTTP(S) sources".to_owned(),
                )),
                None => Ok(None),
            };
        }
        let path = text.split(['?', '#']).next().unwrap_or_default();
        let path = path.split_once("://").map_or("", |(_, rest)| rest);
        let last = path
            .split_once('/')
            .map_or("", |(_, path)| path)
            .rsplit('/')
            .next();
        let file = match last.unwrap_or_default() {
            "" | "." | ".." => "__unnamed__",
            name => name,
        };
        let mut attrs = std::collections::BTreeMap::new();
        attrs.insert("http.filename".to_owned(), file.to_owned());
        if let Some(checksum) = checksum {
            attrs.insert("http.checksum".to_owned(), checksum);
        }
        let source = pb::SourceOp {
            identifier: text.to_owned(),
            attrs,
        };
        let from = self
            .builder
            .add(pb::op::Op::Source(source), &[], None, about);
        Ok(Some(Part {
            from: Some(from),
            action: pb::FileActionCopy {
                src: format!("/{file}"),
                allow_wildcard: false,
                attempt_unpack_docker_compatibility: add.unpack == Some(true),
                ..template.clone()
            },
        }))
    }

    /// A tree with one file.
    pub(super) fn written(&mut self, file: &str, text: &str) -> Output {
        let mkfile = pb::FileActionMkFile {
            path: format!("/{file}"),
            mode: 0o644,
            data: text.as_bytes().to_vec(),
            owner: None,
            timestamp: -1,
        };
        let action = pb::FileAction {
            input: -1,
            secondary_input: -1,
            output: 0,
            action: Some(Action::Mkfile(mkfile)),
        };
        let op = pb::op::Op::File(pb::FileOp {
            actions: vec![action],
        });
        let about = About {
            name: "[internal] preparing inline document".to_owned(),
            ..About::default()
        };
        self.builder.add(op, &[], None, about)
    }

    /// One operation with an action for each part.
    fn copied(
        &mut self,
        base: Option<Output>,
        stage: &Stage,
        parts: Vec<Part>,
        about: About,
    ) -> Output {
        let mut inputs: Vec<Output> = base.iter().cloned().collect();
        let first = if base.is_some() { 0 } else { -1 };
        let mut sources = Vec::new();
        for part in &parts {
            let number = part.from.as_ref().map(|from| {
                let known = inputs
                    .iter()
                    .skip(usize::from(base.is_some()))
                    .position(|one| one == from);
                known.map_or_else(
                    || {
                        inputs.push(*from);
                        inputs.len() - 1
                    },
                    |at| at + usize::from(base.is_some()),
                )
            });
            sources.push(number.map_or(-1, number_of));
        }
        let last = parts.len() - 1;
        let count = inputs.len();
        let actions = parts.into_iter().zip(sources).enumerate();
        let actions = actions.map(|(at, (part, secondary_input))| pb::FileAction {
            input: if at == 0 {
                first
            } else {
                number_of(count + at - 1)
            },
            secondary_input,
            output: if at == last { 0 } else { -1 },
            action: Some(Action::Copy(part.action)),
        });
        let op = pb::op::Op::File(pb::FileOp {
            actions: actions.collect(),
        });
        self.builder.add(op, &inputs, Some(&stage.platform), about)
    }

    /// `--link`: files of their own, laid on top of what is below.
    fn linked(&mut self, stage: &Stage, parts: Vec<Part>, about: About) -> Output {
        let merged = About {
            name: format!("[linked] {}", about.name),
            ..about.clone()
        };
        let own = self.copied(None, stage, parts, about);
        let Some(base) = stage.output else {
            return own;
        };
        let op = pb::op::Op::Merge(pb::MergeOp {
            inputs: vec![pb::MergeInput { input: 0 }, pb::MergeInput { input: 1 }],
        });
        self.builder
            .add(op, &[base, own], Some(&stage.platform), merged)
    }
}

/// `--chmod`, as a number or in letters.
fn mode_of(text: &str) -> Result<(i32, String), SolveError> {
    let invalid = || {
        SolveError::Invalid(format!(
            "invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        ))
    };
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        let mode = i32::from_str_radix(text, 8).ok();
        let mode = mode.filter(|mode| (0..=0o7777).contains(mode));
        return Ok((mode.ok_or_else(invalid)?, String::new()));
    }
    ModeChange::parse(text).ok_or_else(invalid)?;
    Ok((-1, text.to_owned()))
}

fn number_of(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(-1)
}
