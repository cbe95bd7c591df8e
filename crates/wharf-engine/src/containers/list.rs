//! `ps`.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use wharf_oci::Digest;

use super::{Containers, ListOptions, Listed};
use crate::filters::Patterns;
use crate::launch::links;
use crate::{EngineError, Filters, Port, View};

const KNOWN: &[&str] = &[
    "ancestor",
    "annotation",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];

/// Docker's words for states.
const STATES: &[&str] = &[
    "created",
    "dead",
    "exited",
    "paused",
    "removing",
    "restarting",
    "running",
];

/// Filters that have been understood.
struct Wanted {
    filters: Filters,
    name: Patterns,
    id: Patterns,
    exited: Vec<i32>,
    images: Option<HashSet<Digest>>,
    before: Option<jiff::Timestamp>,
    since: Option<jiff::Timestamp>,
    expose: Vec<(u16, u16, Option<String>)>,
    publish: Vec<(u16, u16, Option<String>)>,
    networks: Vec<String>,
    everything: bool,
}

impl Containers {
    /// Those that the options ask for, newest first.
    ///
    /// # Errors
    /// If a filter is unknown or malformed.
    pub async fn list(&self, options: ListOptions) -> Result<Vec<Listed>, EngineError> {
        let wanted = self.understand(&options)?;
        let mut views = self.views();
        views.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.id.cmp(&b.id)));
        let link_names = links::names(&views);
        views.retain(|view| wanted.fits(view));
        if let Some(limit) = options.limit.filter(|limit| *limit > 0) {
            views.truncate(limit);
        }
        let containers = self.clone();
        let list = move || containers.describe(views, link_names, options.size);
        let listed = tokio::task::spawn_blocking(list).await;
        listed.map_err(|error| EngineError::failed(&error))
    }

    fn describe(
        &self,
        views: Vec<Arc<View>>,
        mut link_names: HashMap<String, Vec<String>>,
        size: bool,
    ) -> Vec<Listed> {
        let mut images = HashMap::new();
        let describe = |view: Arc<View>| {
            let name = view.config.image.clone();
            let now = images
                .entry(name)
                .or_insert_with_key(|name| self.shared.images.id_of(name));
            // The name that was asked for, while it still means this image.
            let image = match now.as_ref() == Some(&view.image) {
                true => view.config.image.clone(),
                false => view.image.to_string(),
            };
            // One that goes while it is measured has no size.
            let size =
                size.then(|| super::inspect::measure(&self.shared, &view).unwrap_or_default());
            let link_names = link_names.remove(&view.name).unwrap_or_default();
            Listed {
                view,
                image,
                size,
                link_names,
            }
        };
        views.into_iter().map(describe).collect()
    }

    fn understand(&self, options: &ListOptions) -> Result<Wanted, EngineError> {
        let filters = options.filters.clone();
        filters.check(KNOWN)?;
        let invalid = |text: String| EngineError::Invalid(text);
        let mut exited = Vec::new();
        for value in filters.values("exited") {
            exited.push(value.parse().map_err(|_| {
                invalid(format!(
                    "invalid filter 'exited={value}': strconv.Atoi: parsing {value:?}: invalid syntax"
                ))
            })?);
        }
        if let Some(value) = filters
            .values("status")
            .find(|value| !STATES.contains(value))
        {
            return Err(invalid(format!("invalid filter 'status={value}'")));
        }
        let health = ["none", "starting", "healthy", "unhealthy"];
        if let Some(value) = filters
            .values("health")
            .find(|value| !health.contains(value))
        {
            return Err(invalid(format!(
                "unrecognized filter value for health: {value}"
            )));
        }
        filters.boolean("is-task")?;
        let created = |key: &str| match filters.values(key).last() {
            Some(container) => Ok::<_, EngineError>(Some(self.find(container)?.now().created)),
            None => Ok(None),
        };
        let (before, since) = (created("before")?, created("since")?);
        let ports = |key: &str| {
            filters
                .values(key)
                .map(|text| range(key, text))
                .collect::<Result<Vec<_>, _>>()
        };
        let (expose, publish) = (ports("expose")?, ports("publish")?);
        let images = filters.has("ancestor").then(|| self.descendants(&filters));
        // By both: what was never started has no id of its networks yet.
        let network = |name: &str| match self.shared.networks.get(name) {
            Ok(network) => vec![network.id, network.name],
            Err(_) => vec![name.to_owned()],
        };
        let networks = filters.values("network").flat_map(network).collect();
        let everything = options.all
            || options.limit.is_some_and(|limit| limit > 0)
            || before.is_some()
            || since.is_some()
            || filters.has("status")
            || filters.has("exited");
        Ok(Wanted {
            name: filters.patterns("name"),
            id: filters.patterns("id"),
            exited,
            images,
            before,
            since,
            expose,
            publish,
            networks,
            everything,
            filters,
        })
    }

    /// The images that `ancestor` names, and those built on them: whose layers begin with theirs.
    fn descendants(&self, filters: &Filters) -> HashSet<Digest> {
        let named = |name: &str| self.shared.images.resolve(name).ok();
        let ancestors: Vec<_> = filters.values("ancestor").filter_map(named).collect();
        let mut found: HashSet<Digest> = ancestors.iter().map(|image| image.id).collect();
        for view in self.views() {
            let child = ancestors.iter().any(|image| {
                image.chain.last().is_some_and(|top| {
                    view.chain.contains(top) && view.chain.len() > image.chain.len()
                })
            });
            if child {
                found.insert(view.image);
            }
        }
        found
    }
}

/// `80`, `80/tcp`, `80-90/udp`.
fn range(key: &str, text: &str) -> Result<(u16, u16, Option<String>), EngineError> {
    let invalid = || {
        EngineError::Invalid(format!(
            "error while looking up for {key} {text}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        ))
    };
    let (numbers, protocol) = match text.split_once('/') {
        Some((numbers, protocol)) => (numbers, Some(protocol.to_owned())),
        None => (text, None),
    };
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let first = first.parse().map_err(|_| invalid())?;
    let last = last.parse().map_err(|_| invalid())?;
    Ok((first, last, protocol))
}

fn within(ranges: &[(u16, u16, Option<String>)], number: u16, protocol: &str) -> bool {
    ranges.iter().any(|(first, last, wanted)| {
        (*first..=*last).contains(&number)
            && wanted.as_deref().is_none_or(|wanted| wanted == protocol)
    })
}

impl Wanted {
    fn fits(&self, view: &View) -> bool {
        let filters = &self.filters;
        let state = &view.state;
        (self.everything || state.running)
            && self.name.fit_name(&view.name)
            && self.id.fit(&view.id)
            && filters.labels("label", &view.config.labels)
            && filters.labels("annotation", &view.host.annotations)
            && filters.any("status", |wanted| state.status.as_str() == wanted)
            && filters.any("health", |wanted| wanted == state.health_word())
            && filters.any("is-task", |wanted| matches!(wanted, "false" | "0"))
            && (self.exited.is_empty()
                || (!state.running
                    && state.started_at.is_some()
                    && self.exited.contains(&state.exit_code)))
            && self
                .images
                .as_ref()
                .is_none_or(|images| images.contains(&view.image))
            && self.before.is_none_or(|before| view.created < before)
            && self.since.is_none_or(|since| view.created > since)
            && filters.any("volume", |wanted| mounts(view, wanted))
            && (self.networks.is_empty() || self.networked(view))
            && (self.expose.is_empty() || self.exposed(view))
            && (self.publish.is_empty() || self.published(view))
    }

    fn networked(&self, view: &View) -> bool {
        view.network.endpoints.iter().any(|(name, endpoint)| {
            self.networks
                .iter()
                .any(|wanted| *wanted == endpoint.network_id || wanted == name)
        })
    }

    /// As with dockerd, `expose` asks for ports of a running container, and `publish` for those of the host that lead there.
    fn exposed(&self, view: &View) -> bool {
        let wanted = |port: &Port| within(&self.expose, port.number, port.protocol.as_str());
        view.state.running && view.network.ports.keys().any(wanted)
    }

    fn published(&self, view: &View) -> bool {
        let bound = |(port, bindings): (&Port, &Vec<crate::PortBinding>)| {
            let protocol = port.protocol.as_str();
            bindings
                .iter()
                .any(|binding| within(&self.publish, binding.host_port, protocol))
        };
        view.state.running && view.network.ports.iter().any(bound)
    }
}

fn mounts(view: &View, wanted: &str) -> bool {
    view.mounts.iter().any(|mount| {
        mount.name == wanted || mount.destination == wanted || mount.source.as_os_str() == wanted
    })
}
