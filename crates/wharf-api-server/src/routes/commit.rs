//! `POST /commit`.

use http::StatusCode;
use wharf_api_types::{ContainerConfig, ContainerCreateRequest, IdResponse};
use wharf_engine::CommitOptions;
use wharf_oci::Reference;

use super::State;
use crate::convert;
use crate::error::ApiError;
use crate::params::{OptionalJson, Params};
use crate::reply::{self, Answer};

pub(crate) async fn commit(
    engine: State,
    params: Params,
    OptionalJson(request): OptionalJson<Option<ContainerCreateRequest>>,
) -> Answer {
    let container = params.get("container");
    if container.is_empty() {
        return Err(ApiError::bad("invalid name or ID supplied: \"\""));
    }
    let config = request.map(|request| request.config);
    // A client that sends nothing to say of the settings sends an empty object.
    let config = config.filter(|config| *config != ContainerConfig::default());
    let options = CommitOptions {
        name: name(&params)?,
        author: params.get("author").to_owned(),
        comment: params.get("comment").to_owned(),
        pause: params.flag_or("pause", true),
        changes: params.all("changes"),
        config: config.map(convert::config).transpose()?,
    };
    let id = engine.containers.commit(container, options).await?;
    let id = id.to_string();
    Ok(reply::json(StatusCode::CREATED, &IdResponse { id }))
}

/// `repo` and `tag` (moby `httputils.RepoTagReference`).
fn name(params: &Params) -> Result<Option<Reference>, ApiError> {
    let (repo, tag) = (params.get("repo"), params.get("tag"));
    if repo.is_empty() {
        return Ok(None);
    }
    let name = super::images::reference(repo, tag)?;
    match name.digest() {
        Some(_) => Err(ApiError::bad("cannot import digest reference")),
        None => Ok(Some(name.with_default_tag())),
    }
}
