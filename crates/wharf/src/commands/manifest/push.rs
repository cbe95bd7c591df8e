//! `wharf manifest push`.

use std::collections::BTreeSet;

use bytes::Bytes;
use wharf_distribution::Source;
use wharf_oci::{Descriptor, Reference};

use super::entry::{Entry, list};
use super::remote::{Remote, failure};
use super::store::Store;
use super::{INSECURE_HELP, name};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::line;
use crate::cli::{Arity, Command, Context, Exit, Flag, Matches, Outcome, switch};

static FLAGS: &[Flag] = &[
    switch("insecure", INSECURE_HELP),
    switch("purge", "Remove the local list after the push").short('p'),
];

/// Push a list
pub(super) static COMMAND: Command = Command {
    name: "push",
    about: "Push a manifest list to a repository",
    usage: "[OPTIONS] MANIFEST_LIST",
    flags: &[FLAGS],
    arity: Arity::Exactly(1),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let target = name(&matches.args[0])?;
    let store = Store::of(context);
    let missing = || Exit::new(format!("No such manifest: {target}"));
    let entries = store.list(&target)?.ok_or_else(missing)?;
    let (kind, document) = list(&entries, &target)?;
    let remote = Remote::writer(context, &target, matches.on("insecure"))?;
    let others = from_elsewhere(&entries, &target)?;
    let repositories: BTreeSet<String> = others
        .iter()
        .map(|(from, _)| from.path().to_owned())
        .collect();
    let repositories: Vec<String> = repositories.into_iter().collect();
    let failed = |error| failure(&target, &error);
    let source = remote
        .client
        .push_target(&target, remote.credentials.as_ref(), &repositories)
        .map_err(failed)?;
    for (from, entry) in others {
        take_over(&remote, &source, &target, &from, entry).await?;
    }
    let descriptor = Descriptor::of(kind, document.as_bytes());
    let which = match target.digest() {
        Some(digest) => digest.to_string(),
        None => target.tag().unwrap_or("latest").to_owned(),
    };
    remote
        .client
        .push_manifest(&source, &which, &descriptor, &Bytes::from(document))
        .await
        .map_err(failed)?;
    line(descriptor.digest)?;
    match matches.on("purge") {
        true => store.remove(&target),
        false => Ok(()),
    }
}

/// The members that are in other repositories of the registry.
fn from_elsewhere<'a>(
    entries: &'a [Entry],
    target: &Reference,
) -> Outcome<Vec<(Reference, &'a Entry)>> {
    let mut others = Vec::new();
    for entry in entries {
        let from = name(&entry.reference)?;
        if from.path() != target.path() {
            others.push((from, entry));
        }
    }
    Ok(others)
}

/// Makes a member one of the list's own repository: blobs first, then the manifest.
async fn take_over(
    remote: &Remote,
    source: &Source,
    target: &Reference,
    from: &Reference,
    entry: &Entry,
) -> Outcome {
    let failed = |error| failure(target, &error);
    let manifest = entry.manifest()?;
    let blobs = manifest.layers.iter().chain([&manifest.config]);
    // A foreign layer is in no registry.
    for blob in blobs.filter(|blob| blob.urls.is_empty()) {
        let mounted = remote.client.mount_blob(source, &blob.digest, from.path());
        if !mounted.await.map_err(failed)? {
            return Err(Exit::new(format!(
                "failed to mount blob {}@{} to {}",
                from.name(),
                blob.digest,
                target.name()
            )));
        }
    }
    let digest = entry.descriptor.digest;
    remote
        .client
        .push_manifest(
            source,
            &digest.to_string(),
            &entry.descriptor,
            &Bytes::from(entry.bytes()?),
        )
        .await
        .map_err(failed)?;
    line(format!(
        "Pushed ref {}@{digest} with digest: {digest}",
        target.name()
    ))
}
