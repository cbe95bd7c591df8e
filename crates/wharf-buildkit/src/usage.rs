//! What builds keep on the disk (`docker buildx du`, `prune`).

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bollard_buildkit_proto::google::protobuf::Timestamp;
use bollard_buildkit_proto::moby::buildkit::v1::{PruneRequest, UsageRecord};
use wharf_builder::PruneOptions;

use crate::error::Error;
use crate::service::Kit;

fn timestamp(time: SystemTime) -> Timestamp {
    let time = jiff::Timestamp::try_from(time).unwrap_or_default();
    Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    }
}

/// The folders of clients and the caches of commands that fit the filters.
///
/// # Errors
/// If the disk refuses, or a filter is none.
pub(crate) async fn list(kit: &Arc<Kit>, filters: &[String]) -> Result<Vec<UsageRecord>, Error> {
    let filters = filters.iter().filter(|filter| !filter.is_empty());
    let filters = filters.map(|filter| Filter::parse(filter));
    let filters = filters.collect::<Result<Vec<_>, _>>()?;
    let work = {
        let kit = kit.clone();
        move || -> Result<Vec<UsageRecord>, Error> {
            let failed = Error::io("look at what builds keep");
            let mut records = Vec::new();
            for kept in kit.contexts.list().map_err(&failed)? {
                records.push(record(
                    (&kept.key, kept.bytes, kept.used),
                    "source.local",
                    "local source for context",
                ));
            }
            for kept in kit.builder.cache_mounts() {
                records.push(record(
                    (&kept.name, kept.bytes, kept.used),
                    "exec.cachemount",
                    "cached mount",
                ));
            }
            Ok(records)
        }
    };
    let records = tokio::task::spawn_blocking(work).await;
    let mut records = records.map_err(|error| Error::Failed(error.to_string()))??;
    // A record is shown if one of the filters fits it (containerd's `filters`).
    records.retain(|record| filters.is_empty() || filters.iter().any(|one| one.fits(record)));
    Ok(records)
}

fn record(
    (id, bytes, used): (&str, u64, SystemTime),
    kind: &str,
    description: &str,
) -> UsageRecord {
    UsageRecord {
        id: id.get(..25).unwrap_or(id).to_owned(),
        mutable: true,
        size: bytes.try_into().unwrap_or(i64::MAX),
        created_at: Some(timestamp(used)),
        last_used_at: Some(timestamp(used)),
        usage_count: 1,
        description: description.to_owned(),
        record_type: kind.to_owned(),
        ..UsageRecord::default()
    }
}

/// Removes what is asked for; what is gone.
///
/// # Errors
/// If the disk refuses, or a filter is none.
pub(crate) async fn prune(
    kit: &Arc<Kit>,
    request: &PruneRequest,
) -> Result<Vec<UsageRecord>, Error> {
    let keep = Duration::from_nanos(u64::try_from(request.keep_duration).unwrap_or(0));
    let until = SystemTime::now().checked_sub(keep);
    let until = until.unwrap_or(SystemTime::UNIX_EPOCH);
    let mut gone = Vec::new();
    let reserved = u64::try_from(request.reserved_space).unwrap_or(0);
    let before = list(kit, &request.filter).await?;
    let mut left: u64 = before
        .iter()
        .map(|one| u64::try_from(one.size).unwrap_or(0))
        .sum();
    let work = {
        let kit = kit.clone();
        move || kit.contexts.list()
    };
    let contexts = tokio::task::spawn_blocking(work).await;
    let contexts = contexts.map_err(|error| Error::Failed(error.to_string()))?;
    let mut contexts = contexts.map_err(Error::io("look at what builds keep"))?;
    contexts.sort_by_key(|kept| kept.used);
    for kept in contexts {
        let fits = before.iter().find(|one| kept.key.starts_with(&one.id));
        let Some(record) = fits else { continue };
        if kept.used > until || (reserved > 0 && left <= reserved) {
            continue;
        }
        if kit.contexts.forget(&kept.key).await? {
            left = left.saturating_sub(kept.bytes);
            gone.push(record.clone());
        }
    }
    if request.filter.iter().all(String::is_empty) {
        let options = PruneOptions {
            all: request.all,
            until: (!keep.is_zero())
                .then(|| jiff::Timestamp::try_from(until).ok())
                .flatten(),
            keep_bytes: reserved,
        };
        let caches: Vec<UsageRecord> = before
            .into_iter()
            .filter(|one| one.record_type == "exec.cachemount")
            .collect();
        let pruned = kit.builder.prune(options).await?;
        for name in pruned.gone {
            let known = caches.iter().find(|one| name.starts_with(&one.id));
            gone.push(known.cloned().unwrap_or_else(|| UsageRecord {
                id: name.get(..25).unwrap_or(&name).to_owned(),
                record_type: "regular".to_owned(),
                ..UsageRecord::default()
            }));
        }
    }
    Ok(gone)
}

/// One filter: `field`, `field==value`, `field!=value` or `field~=part`, several of them with commas between them.
struct Filter(Vec<(String, Option<(Compare, String)>)>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compare {
    Same,
    Other,
    Has,
}

impl Filter {
    fn parse(text: &str) -> Result<Self, Error> {
        let parts = text.split(',').map(|part| {
            for (sign, compare) in [
                ("==", Compare::Same),
                ("!=", Compare::Other),
                ("~=", Compare::Has),
            ] {
                if let Some((field, value)) = part.split_once(sign) {
                    let value = value.trim_matches('"').to_owned();
                    return (field.to_owned(), Some((compare, value)));
                }
            }
            (part.to_owned(), None)
        });
        let parts: Vec<_> = parts.collect();
        let known = |name: &str| {
            matches!(
                name,
                "id" | "parent"
                    | "parents"
                    | "description"
                    | "inuse"
                    | "mutable"
                    | "immutable"
                    | "type"
                    | "shared"
                    | "private"
            )
        };
        match parts.iter().find(|(name, _)| !known(name)) {
            Some((name, _)) => Err(Error::Invalid(format!("unknown filter {name:?}"))),
            None => Ok(Self(parts)),
        }
    }

    fn fits(&self, record: &UsageRecord) -> bool {
        self.0.iter().all(|(field, compared)| {
            let flag = |set: bool| set.then(|| "true".to_owned());
            let value = match field.as_str() {
                "id" => Some(record.id.clone()),
                "description" => Some(record.description.clone()),
                "type" => Some(record.record_type.clone()),
                "inuse" => flag(record.in_use),
                "mutable" => flag(record.mutable),
                "immutable" => flag(!record.mutable),
                "shared" => flag(record.shared),
                "private" => flag(!record.shared),
                _ => None,
            };
            match compared {
                None => value.is_some_and(|value| !value.is_empty()),
                Some((Compare::Same, wanted)) => value.as_ref() == Some(wanted),
                Some((Compare::Other, wanted)) => value.as_ref() != Some(wanted),
                Some((Compare::Has, wanted)) => {
                    value.is_some_and(|value| value.contains(wanted.as_str()))
                }
            }
        })
    }
}
