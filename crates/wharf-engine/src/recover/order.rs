//! In which order containers are started with the daemon: whoever needs another one waits for it.
//!
//! A container needs those whose namespaces it joins and those it has links to, as dockerd knows, and those that Compose
//! has written into its labels, with their conditions. A circle is cut at one place: its containers start as if there were no
//! order among them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::record::Record;
use crate::{IpcMode, NamespaceMode, NetworkMode};

const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// What must hold of a container before another one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Condition {
    /// It has been started, if it is to be.
    Started,
    /// And its health checks find it healthy.
    Healthy,
    /// And it has ended well.
    Completed,
}

/// For each container that waits, what it waits for.
pub(super) type Needs = HashMap<String, Vec<(String, Condition)>>;

/// The order among `records`.
pub(super) fn needs<'a>(records: impl Iterator<Item = &'a Record> + Clone) -> Needs {
    let names: HashMap<&str, &str> = records
        .clone()
        .flat_map(|record| {
            let id = record.id.as_str();
            [(record.name.as_str(), id), (id, id)]
        })
        .collect();
    let mut services: HashMap<(&str, &str), Vec<&str>> = HashMap::new();
    for record in records.clone() {
        if let Some(key) = service(record) {
            services.entry(key).or_default().push(&record.id);
        }
    }
    let mut all: BTreeMap<&str, BTreeMap<&str, Condition>> = BTreeMap::new();
    for record in records {
        let joined = joined(record).filter_map(|name| names.get(name).copied());
        let mut needed: BTreeMap<&str, Condition> =
            joined.map(|id| (id, Condition::Started)).collect();
        for (name, condition) in composed(record) {
            let project = record.config.labels.get(PROJECT).map(String::as_str);
            let found = project.and_then(|project| services.get(&(project, name)));
            for id in found.into_iter().flatten() {
                let known = needed.entry(id).or_insert(condition);
                *known = condition.max(*known);
            }
        }
        needed.remove(record.id.as_str());
        all.insert(&record.id, needed);
    }
    without_circles(&all)
}

fn service(record: &Record) -> Option<(&str, &str)> {
    let labels = &record.config.labels;
    Some((labels.get(PROJECT)?, labels.get(SERVICE)?))
}

/// Names and ids of containers without which this one cannot be started.
fn joined(record: &Record) -> impl Iterator<Item = &str> {
    let host = &record.host;
    let network = match &host.network_mode {
        NetworkMode::Container(other) => Some(other.as_str()),
        _ => None,
    };
    let ipc = match &host.ipc_mode {
        IpcMode::Container(other) => Some(other.as_str()),
        _ => None,
    };
    let pid = match &host.pid_mode {
        NamespaceMode::Container(other) => Some(other.as_str()),
        _ => None,
    };
    let linked = host.links.iter().map(|link| {
        let name = link.split(':').next().unwrap_or_default();
        name.trim_start_matches('/')
    });
    [network, ipc, pid].into_iter().flatten().chain(linked)
}

/// Compose's label: `db:service_healthy:true,cache:service_started:false`.
fn composed(record: &Record) -> impl Iterator<Item = (&str, Condition)> {
    let label = record.config.labels.get(DEPENDS_ON);
    let entries = label.map(String::as_str).unwrap_or_default().split(',');
    entries.filter_map(|entry| {
        let mut parts = entry.split(':');
        let name = parts.next().filter(|name| !name.is_empty())?;
        let condition = match parts.next() {
            Some("service_healthy") => Condition::Healthy,
            Some("service_completed_successfully") => Condition::Completed,
            _ => Condition::Started,
        };
        Some((name, condition))
    })
}

/// Leaves out whatever would lead back to where it came from.
fn without_circles(all: &BTreeMap<&str, BTreeMap<&str, Condition>>) -> Needs {
    let mut kept = Needs::new();
    let mut done = BTreeSet::new();
    for id in all.keys() {
        visit(id, all, &mut Vec::new(), &mut done, &mut kept);
    }
    kept
}

fn visit<'a>(
    id: &'a str,
    all: &BTreeMap<&'a str, BTreeMap<&'a str, Condition>>,
    path: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
    kept: &mut Needs,
) {
    if !done.insert(id) {
        return;
    }
    path.push(id);
    for (other, condition) in all.get(id).into_iter().flatten() {
        if path.contains(other) {
            continue;
        }
        let edge = ((*other).to_owned(), *condition);
        kept.entry(id.to_owned()).or_default().push(edge);
        visit(other, all, path, done, kept);
    }
    path.pop();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_cut_and_the_rest_stays() {
        let edges = |list: &[&'static str]| -> BTreeMap<&'static str, Condition> {
            list.iter().map(|id| (*id, Condition::Started)).collect()
        };
        let all = BTreeMap::from([
            ("a", edges(&["b"])),
            ("b", edges(&["c"])),
            ("c", edges(&["a", "d"])),
            ("d", edges(&[])),
        ]);
        let kept = without_circles(&all);
        let of = |id: &str| -> Vec<&str> {
            let edges = kept.get(id).into_iter().flatten();
            edges.map(|(other, _)| other.as_str()).collect()
        };
        assert_eq!(
            (of("a"), of("b"), of("c"), of("d")),
            (vec!["b"], vec!["c"], vec!["d"], vec![])
        );
    }
}
