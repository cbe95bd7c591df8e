//! What becomes of a result: an image in the store, an archive or files for the client, a push.

mod archive;
mod image;
mod tree;

use std::collections::HashMap;
use std::sync::Arc;

use bollard_buildkit_proto::moby::buildkit::v1::Exporter;

use crate::error::Error;
use crate::job::{Built, Job, Outcome};
use crate::service::Kit;

type Response = HashMap<String, String>;

/// One exporter at work.
struct Export<'a> {
    kit: &'a Arc<Kit>,
    job: &'a Arc<Job>,
    built: &'a Arc<Built>,
    attributes: &'a HashMap<String, String>,
    /// Its number, where there are several.
    number: Option<usize>,
}

/// Whether all of them are known.
///
/// # Errors
/// Which is not.
pub(crate) fn check(exporters: &[Exporter]) -> Result<(), Error> {
    for exporter in exporters {
        match exporter.r#type.as_str() {
            "" | "moby" | "image" | "docker" | "oci" | "tar" | "local" => {}
            other => {
                return Err(Error::NotFound(format!(
                    "exporter {other:?} could not be found"
                )));
            }
        }
        let asks = |name: &str| exporter.attrs.get(name).is_some_and(|value| is_on(value));
        for name in ["push-by-digest", "unpack-only", "dangling-name-prefix"] {
            if asks(name) {
                return Err(Error::Unimplemented(format!(
                    "the attribute {name} of the exporter {} is not built",
                    exporter.r#type
                )));
            }
        }
        let annotated = exporter
            .attrs
            .keys()
            .find(|key| key.starts_with("annotation"));
        if let Some(key) = annotated {
            return Err(Error::Unimplemented(format!("{key} is not built")));
        }
    }
    Ok(())
}

/// Go's `strconv.ParseBool`, where nothing is no.
fn is_on(text: &str) -> bool {
    matches!(text, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

/// Lets all of them at what was built; what the client is told.
///
/// # Errors
/// Of the first that fails.
pub(crate) async fn all(
    kit: &Arc<Kit>,
    job: &Arc<Job>,
    exporters: &[Exporter],
    outcome: &Outcome,
) -> Result<Response, Error> {
    let mut response = Response::new();
    for (name, value) in &outcome.metadata {
        if name.starts_with("result.") || name == "version" {
            response.insert(name.clone(), String::from_utf8_lossy(value).into_owned());
        }
    }
    let Some(built) = &outcome.built else {
        return Ok(response);
    };
    for (number, exporter) in exporters.iter().enumerate() {
        let export = Export {
            kit,
            job,
            built,
            attributes: &exporter.attrs,
            number: (exporters.len() > 1).then_some(number),
        };
        response.extend(match exporter.r#type.as_str() {
            "moby" | "image" => export.image(exporter.r#type == "image").await?,
            "docker" | "oci" => export.archive(&exporter.r#type).await?,
            "tar" => export.tar().await?,
            "local" => export.local().await?,
            _ => Response::new(),
        });
    }
    Ok(response)
}
