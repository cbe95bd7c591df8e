//! The Dockerfile frontend: a file and its options become a graph for each platform, and these results.

pub(crate) mod classic;
mod convert;
mod copy;
mod files;
mod lint;
mod llb;
mod options;
mod outline;
mod places;
mod run;
mod sbom;
mod stage;
mod subrequest;
mod syntax;

use std::collections::BTreeMap;

use bollard_buildkit_proto::pb;
use serde_json::{Value, json};
use wharf_builder::fetch;
use wharf_builder::git::{self, GitUrl};
use wharf_dockerfile::{Dockerfile, Span};
use wharf_oci::Platform;

use self::convert::Converter;
use self::files::Files;
use self::options::Options;
use self::sbom::Scanner;
use crate::{Job, Progress, SolveError, SolveRequest, SolveResult, SourceRange, solve};

/// Solves by the frontend.
///
/// # Errors
/// What is wrong with the options, the Dockerfile or a step, with its place.
pub(crate) async fn run(job: &Job, request: &SolveRequest) -> Result<SolveResult, SolveError> {
    let options = Options::read(&request.frontend_attrs)?;
    if request.frontend == "gateway.v0" {
        syntax::check(&options.source)?;
    }
    let files = Files::read(job, &options).await?;
    let file = parse(&options.filename, &files.text)?;
    if let Some(syntax) = options.syntax.as_ref().or(file.syntax.as_ref()) {
        syntax::check(syntax.split_whitespace().next().unwrap_or_default())?;
    }
    let checks = options.args.get("BUILDKIT_DOCKERFILE_CHECK");
    let checks = lint::Settings::read(checks.and_then(Option::as_deref), &files.text)?;
    let mut found = lint::check(&files.text, &file, &checks, &files.ignore);
    let is_lint = options.request == "frontend.lint";
    if options.request == "frontend.outline" {
        let source = (options.filename.as_str(), files.text.as_str(), &file);
        let platform = options.platforms.first().cloned();
        let platform = platform.unwrap_or_else(Platform::host);
        let inputs = &request.frontend_inputs;
        return Converter::new(job, &options, source, platform, inputs).outline(&files.text);
    }
    if !is_lint && !options.request.is_empty() {
        return subrequest::answer(&options, &files.text, &file);
    }
    let scanner = Scanner::read(job, &options, &request.frontend_attrs).await?;
    let scanner = scanner.as_ref();
    let platforms = match options.platforms.is_empty() {
        true => vec![Platform::host()],
        false => options.platforms.clone(),
    };
    let conversions = platforms.iter().map(|platform| {
        let source = (options.filename.as_str(), files.text.as_str(), &file);
        let inputs = &request.frontend_inputs;
        let converter = Converter::new(job, &options, source, platform.clone(), inputs)
            .with_context(files.remote.clone(), files.ignore.clone());
        Box::pin(converter.run())
    });
    let converted = futures_util::future::try_join_all(conversions).await;
    let mut converted = match converted {
        // What cannot be built can be looked at all the same.
        Err(error) if is_lint => {
            let found = checks.keep(found);
            return Ok(lint::answer(
                &found,
                Some(&error),
                &options.filename,
                &files.text,
            ));
        }
        converted => converted?,
    };
    // One platform's word is enough.
    found.extend(
        converted
            .iter_mut()
            .take(1)
            .flat_map(|one| std::mem::take(&mut one.found)),
    );
    let found = checks.keep(found);
    if is_lint {
        return Ok(lint::answer(&found, None, &options.filename, &files.text));
    }
    checks.judge(&found)?;
    let info = llb::Builder::new(&options.filename, &files.text);
    for one in &found {
        job.tell(Progress::Warning(one.warning(info.info()))).await;
    }
    let solves = platforms.iter().zip(converted);
    let solves = solves.map(|(platform, converted)| {
        Box::pin(async move {
            let tree = solve::solve(job, &converted.definition).await?;
            let key = key_of(platform);
            let scanned = match scanner {
                Some(scanner) => Some(scanner.scan(job, &converted.definition, &key).await?),
                None => None,
            };
            Ok::<_, SolveError>((key, converted, tree, scanned))
        })
    });
    let mut result = SolveResult::default();
    for (key, converted, tree, scanned) in futures_util::future::try_join_all(solves).await? {
        let config = serde_json::to_vec(&converted.config)
            .map_err(|error| SolveError::Failed(error.to_string()))?;
        let (own, name) = match options.multi_platform {
            true => (key.clone(), format!("containerimage.config/{key}")),
            false => (String::new(), "containerimage.config".to_owned()),
        };
        result.metadata.insert(name, config);
        if let Some(scanned) = scanned {
            result.attestations.insert(key.clone(), vec![scanned]);
        }
        result.definitions.insert(own.clone(), converted.definition);
        match options.multi_platform {
            true => drop(result.refs.insert(own, tree)),
            false => result.single = Some(tree),
        }
        result.platforms.push((key, converted.platform));
    }
    let platforms = result.platforms.iter().map(|(key, platform)| {
        json!({ "ID": key, "Platform": {
            "architecture": platform.architecture,
            "os": platform.os,
            "variant": platform.variant,
        }})
    });
    let platforms = json!({ "Platforms": platforms.collect::<Vec<Value>>() });
    let platforms = platforms.to_string().into_bytes();
    result
        .metadata
        .insert("refs.platforms".to_owned(), platforms);
    if let Some(Some(epoch)) = options.args.get("SOURCE_DATE_EPOCH") {
        let epoch = epoch.clone().into_bytes();
        result
            .metadata
            .insert("source.date.epoch".to_owned(), epoch);
    }
    Ok(result)
}

/// What a comment right above an instruction says of the stage or argument that the instruction names: a line of it begins
/// with the name.
fn described(lines: &[&str], span: Span, name: &str) -> String {
    let begins = |line: &&str| !name.is_empty() && line.starts_with(&format!("{name} "));
    let above = comments_above(lines, span);
    let line = above.iter().find(|line| begins(line));
    line.map_or_else(String::new, |line| line[name.len() + 1..].to_owned())
}

/// The comments right above an instruction, in the order of the file.
fn comments_above<'a>(lines: &[&'a str], span: Span) -> Vec<&'a str> {
    let above = lines
        .get(..span.start.saturating_sub(1))
        .unwrap_or_default();
    let comments = above
        .iter()
        .rev()
        .map_while(|line| line.trim().strip_prefix('#'));
    let mut comments: Vec<&str> = comments.map(str::trim).collect();
    comments.reverse();
    comments
}

/// `linux/amd64`, `linux/arm/v7`.
pub(crate) fn key_of(platform: &Platform) -> String {
    let (os, architecture) = (&platform.os, &platform.architecture);
    match platform.variant.as_str() {
        "" => format!("{os}/{architecture}"),
        variant => format!("{os}/{architecture}/{variant}"),
    }
}

fn parse(filename: &str, text: &str) -> Result<Dockerfile, SolveError> {
    Dockerfile::parse(text).map_err(|error| {
        let line = error.line;
        let info = pb::SourceInfo {
            filename: filename.to_owned(),
            data: text.as_bytes().to_vec(),
            definition: None,
            language: "Dockerfile".to_owned(),
        };
        let span = wharf_dockerfile::Span {
            start: line,
            end: line,
        };
        let source = SourceRange {
            info,
            ranges: vec![llb::range(span)],
        };
        SolveError::Invalid(error.to_string()).at("", vec![source])
    })
}

/// The source that an address is: of git, with its `.git` or without, or of the web.
fn remote_source(address: &str, keep_git_dir: bool) -> Option<pb::SourceOp> {
    if let Some(git) = GitUrl::read(address) {
        return Some(git_source(&git, keep_git_dir));
    }
    fetch::is_url(address).then(|| pb::SourceOp {
        identifier: address.to_owned(),
        attrs: [("http.filename".to_owned(), "context".to_owned())].into(),
    })
}

/// The source of a repository.
pub(crate) fn git_source(git: &GitUrl, keep_git_dir: bool) -> pb::SourceOp {
    // What opens it is in an attribute alone.
    let (clean, _) = git::parted(&git.repository);
    let (_, address) = clean.split_once("://").unwrap_or(("", &clean));
    let fragment = match (git.reference.as_str(), git.folder.as_str()) {
        ("", "") => String::new(),
        (reference, "") => format!("#{reference}"),
        (reference, folder) => format!("#{reference}:{folder}"),
    };
    let mut attrs = BTreeMap::new();
    attrs.insert("git.fullurl".to_owned(), git.repository.clone());
    if keep_git_dir {
        attrs.insert("git.keepgitdir".to_owned(), "true".to_owned());
    }
    if git::web_host(&git.repository).is_some() {
        for (attr, secret) in GIT_SECRETS {
            attrs.insert(attr.to_owned(), secret.to_owned());
        }
    }
    pb::SourceOp {
        identifier: format!("git://{address}{fragment}"),
        attrs,
    }
}

/// The secrets that open repositories (BuildKit's `client/llb`, `Git`).
const GIT_SECRETS: [(&str, &str); 2] = [
    ("git.authheadersecret", "GIT_AUTH_HEADER"),
    ("git.authtokensecret", "GIT_AUTH_TOKEN"),
];
