//! What is told of a daemon: one line for each step, with what is the moment's or the machine's made the same.

use std::collections::HashMap;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::{BuildInfo, ContainerCreateBody};
use bollard::query_parameters::{CreateContainerOptionsBuilder, StartContainerOptions};
use futures_util::{Stream, TryStreamExt as _};
use regex_lite::Regex;
use serde::Serialize;
use serde_json::Value;

/// What a step gives.
pub(crate) type Told = Result<Value, Error>;

/// Runs a step and prints what it gives or is refused.
pub(crate) async fn step(name: &str, run: impl Future<Output = Told>) {
    let text = match tokio::time::timeout(Duration::from_secs(60), run).await {
        Ok(Ok(Value::String(text))) => text,
        Ok(Ok(value)) => value.to_string(),
        Ok(Err(Error::DockerResponseServerError {
            status_code,
            message,
        })) => format!("refused {status_code} {message}"),
        Ok(Err(error)) => format!("refused {error}"),
        Err(_) => "no end".to_owned(),
    };
    println!("{name}: {}", plain(&text));
}

fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, by) in [
        (r"\b(sha256:)?[0-9a-f]{64}\b", "<id>"),
        (r"\b(sha256:)?[0-9a-f]{12}\b", "<id12>"),
        (r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)", "<time>"),
        (r"127\.0\.0\.1:5000", "<registry>"),
        (r"\\r", ""),
        // Of manifests, whose text is the engine's own.
        (r#"("?\bsize"?: ?)\d{3}\b"#, "${1}<size>"),
        // The name of a runtime is not the same on all.
        (r"runc create failed: ", ""),
    ] {
        let pattern = Regex::new(pattern).expect("a pattern");
        text = pattern.replace_all(&text, by).into_owned();
    }
    text
}

/// What a call says that gives nothing but an error.
pub(crate) fn done(result: Result<(), Error>) -> Told {
    result.map(|()| "done".into())
}

/// A typed answer as it would be sent.
pub(crate) fn all(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("what was read")
}

/// Some members of an answer.
pub(crate) fn some(value: impl Serialize, names: &[&str]) -> Value {
    let value = all(value);
    names.iter().map(|name| value[*name].clone()).collect()
}

pub(crate) fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// One filter of each name.
pub(crate) fn filters(pairs: &[(&str, &str)]) -> HashMap<String, Vec<String>> {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), vec![(*value).to_owned()]))
        .collect()
}

/// All bytes of a body.
pub(crate) async fn bytes<B: AsRef<[u8]>>(
    body: impl Stream<Item = Result<B, Error>>,
) -> Result<Vec<u8>, Error> {
    body.try_fold(Vec::new(), |mut all, one| async move {
        all.extend_from_slice(one.as_ref());
        Ok(all)
    })
    .await
}

/// All messages of a stream.
pub(crate) async fn messages<M: Serialize>(
    body: impl Stream<Item = Result<M, Error>>,
) -> Result<Vec<Value>, Error> {
    body.map_ok(all).try_collect().await
}

/// What a build or a load says, and whether an error is among it.
pub(crate) async fn build_said(
    body: impl Stream<Item = Result<BuildInfo, Error>>,
) -> Result<(String, Option<Value>, Vec<BuildInfo>), Error> {
    let said: Vec<BuildInfo> = body.try_collect().await?;
    let text = said
        .iter()
        .filter_map(|one| one.stream.as_deref())
        .collect();
    let error = said.iter().find_map(|one| one.error_detail.as_ref());
    Ok((text, error.map(all), said))
}

/// The names in an archive.
pub(crate) fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().expect("an archive");
    let name = |one: std::io::Result<tar::Entry<'_, _>>| {
        let one = one.expect("an entry");
        one.path().expect("a path").display().to_string()
    };
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// Files as an archive.
pub(crate) fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(1_500_000_000);
        archive
            .append_data(&mut header, name, text.as_bytes())
            .expect("room in memory");
    }
    archive.into_inner().expect("room in memory")
}

/// Makes a container of `busybox` and starts it.
pub(crate) async fn start(
    docker: &Docker,
    name: &str,
    command: &[&str],
    config: ContainerCreateBody,
) -> Result<(), Error> {
    let config = ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: Some(list(command)),
        ..config
    };
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    docker.create_container(Some(options), config).await?;
    docker
        .start_container(name, None::<StartContainerOptions>)
        .await
}
