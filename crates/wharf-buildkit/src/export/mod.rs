//! What becomes of a result: an image in the store, an archive or files for the client, a push.

mod archive;
mod tree;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1::Exporter;
use wharf_solver::{ArchiveKind, ExporterKind, SolveResult, check_export, flag};

use crate::error::Error;
use crate::job::Job;
use crate::service::Kit;

type Response = HashMap<String, String>;

/// One exporter at work.
struct Export<'a> {
    kit: &'a Arc<Kit>,
    job: &'a Arc<Job>,
    outcome: &'a SolveResult,
    attributes: BTreeMap<String, String>,
    /// Its number, where there are several.
    number: Option<usize>,
}

/// Whether all of them are known.
///
/// # Errors
/// Which is not.
pub(crate) fn check(exporters: &[Exporter]) -> Result<(), Error> {
    for exporter in exporters {
        let mut attributes: BTreeMap<_, _> = exporter.attrs.clone().into_iter().collect();
        let kind = match exporter.r#type.as_str() {
            "" => continue,
            "image" => ExporterKind::Image,
            "moby" => {
                flag(&attributes, "push")?;
                attributes.remove("push");
                ExporterKind::Image
            }
            "docker" | "oci" => ExporterKind::Archive,
            "tar" | "local" => ExporterKind::Files,
            other => {
                // As BuildKit has it: a code of its own would be printed before the text.
                let text = format!("exporter {other:?} could not be found");
                return Err(Error::Invalid(text));
            }
        };
        check_export(kind, &attributes)?;
        for name in ["unpack-only", "dangling-name-prefix"] {
            let asked = exporter.attrs.get(name).map_or("", String::as_str);
            if !matches!(asked, "" | "0" | "false") {
                return Err(Error::Unimplemented(format!(
                    "the attribute {name} of the exporter {} is not built",
                    exporter.r#type
                )));
            }
        }
    }
    Ok(())
}

/// Lets all of them at what was built; what the client is told.
///
/// # Errors
/// Of the first that fails.
pub(crate) async fn all(
    kit: &Arc<Kit>,
    job: &Arc<Job>,
    exporters: &[Exporter],
    outcome: &SolveResult,
) -> Result<Response, Error> {
    let mut response = Response::new();
    for (name, value) in &outcome.metadata {
        if name.starts_with("result.") || name == "version" {
            response.insert(name.clone(), String::from_utf8_lossy(value).into_owned());
        }
    }
    if outcome.single.is_none() && outcome.refs.is_empty() {
        return Ok(response);
    }
    for (number, exporter) in exporters.iter().enumerate() {
        let export = Export {
            kit,
            job,
            outcome,
            attributes: exporter.attrs.clone().into_iter().collect(),
            number: (exporters.len() > 1).then_some(number),
        };
        response.extend(match exporter.r#type.as_str() {
            "moby" | "image" => export.image(exporter.r#type == "image").await?,
            "docker" => export.archive(ArchiveKind::Docker).await?,
            "oci" => export.archive(ArchiveKind::Oci).await?,
            "tar" => export.archive(ArchiveKind::Tar).await?,
            "local" => export.local().await?,
            _ => Response::new(),
        });
    }
    Ok(response)
}

impl Export<'_> {
    /// Into the store. The daemon's own exporter leaves a push to the client.
    async fn image(mut self, pushes: bool) -> Result<Response, Error> {
        if !pushes {
            self.attributes.remove("push");
        }
        let work = &self.job.work;
        let provenance = work.provenance()?;
        // dockerd's own exporter has no place for what is said beside an image, unless it is asked for.
        let provenance = provenance.filter(|one| pushes || !one.inline_only());
        let attributes = &self.attributes;
        let said = work.export_image(self.outcome, attributes, provenance);
        Ok(said.await?.into_iter().collect())
    }
}
