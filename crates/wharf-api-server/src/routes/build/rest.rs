//! `POST /build?version=2`: what BuildKit is asked for, and what it says, in the words of this request.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use wharf_api_types::JsonMessage;
use wharf_buildkit::{RestBuild, RestEvent};

use super::{cache_from, map, resources, tags};
use crate::error::{ApiError, last_line};
use crate::params::Params;
use crate::routes;

/// Where a result goes.
#[derive(Deserialize)]
struct Output {
    #[serde(rename = "Type", default)]
    kind: String,
    #[serde(rename = "Attrs", default)]
    attrs: Option<BTreeMap<String, String>>,
}

/// moby `builder/builder-next`, `Build`.
pub(super) fn wanted(params: &Params) -> Result<RestBuild, ApiError> {
    if params.flag("squash") {
        return Err(ApiError::bad(
            "squash is only supported with experimental mode",
        ));
    }
    if params.get("remote") == "upload-request" {
        let text = "contexts in a request of their own (upload-request) are not built";
        return Err(ApiError::new(http::StatusCode::NOT_IMPLEMENTED, text));
    }
    let mut outputs = Vec::new();
    if let Some(text) = params.some("outputs") {
        let parsed: Result<Option<Vec<Output>>, _> = serde_json::from_str(&text);
        let parsed =
            parsed.map_err(|error| ApiError::bad(format!("error reading outputs: {error}")))?;
        let parsed = parsed.unwrap_or_default().into_iter();
        outputs.extend(parsed.map(|one| (one.kind, one.attrs.unwrap_or_default())));
    }
    let resources = resources(params)?;
    let ulimits = resources.ulimits.iter();
    let ulimits = ulimits.map(|one| format!("{}={}:{}", one.name, one.soft, one.hard));
    Ok(RestBuild {
        id: params.get("buildid").to_owned(),
        session: params.get("session").to_owned(),
        remote: params.get("remote").to_owned(),
        dockerfile: params.get("dockerfile").to_owned(),
        tags: tags(params)?,
        args: map(params, "buildargs", "error reading build args")?,
        labels: map(params, "labels", "error reading labels")?,
        target: params.get("target").to_owned(),
        no_cache: params.flag("nocache"),
        pull: params.flag("pull"),
        cache_from: cache_from(params)?,
        platform: routes::platform(params.get("platform"))?,
        network: params.get("networkmode").to_owned(),
        extra_hosts: params.all("extrahosts"),
        shm_size: params.number("shmsize")?.unwrap_or(0),
        ulimits: ulimits.collect(),
        cgroup_parent: resources.cgroup_parent,
        outputs,
    })
}

/// A line of the answer.
pub(super) fn message(event: RestEvent) -> JsonMessage {
    match event {
        RestEvent::Trace(bytes) => JsonMessage {
            id: Some("moby.buildkit.trace".to_owned()),
            aux: Some(json!(STANDARD.encode(bytes))),
            ..JsonMessage::default()
        },
        RestEvent::Image(id) => JsonMessage {
            id: Some("moby.image.id".to_owned()),
            aux: Some(json!({ "ID": id })),
            ..JsonMessage::default()
        },
        RestEvent::Failed(message) => last_line(&message, 0),
    }
}
