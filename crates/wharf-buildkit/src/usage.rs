//! What builds keep on the disk (`docker buildx du`, `prune`): the solver's cache, and the folders of clients.

use std::sync::Arc;
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::{PruneRequest, UsageRecord};
use jiff::Timestamp;
use wharf_solver::{CacheRecord, PruneOptions, short_id};

use crate::error::Error;
use crate::service::Kit;
use crate::time;

impl Kit {
    /// What fits the filters (containerd's; any of them).
    ///
    /// # Errors
    /// If the disk refuses, or a filter is none.
    pub(crate) async fn usage(&self, filters: &[String]) -> Result<Vec<CacheRecord>, Error> {
        let folders = self.folders().await?;
        Ok(self.solver.disk_usage(filters, folders).await?)
    }

    /// Removes what is asked for; what is gone.
    ///
    /// # Errors
    /// If the disk refuses, or a filter is none.
    pub(crate) async fn prune(&self, options: &PruneOptions) -> Result<Vec<CacheRecord>, Error> {
        let folders = self.folders().await?;
        let chosen = self.solver.prune(options, folders).await?;
        let mut gone = Vec::new();
        for record in chosen {
            let stays = record.kind == "source.local" && !self.contexts.forget(&record.id).await?;
            if !stays {
                gone.push(record);
            }
        }
        Ok(gone)
    }

    /// The folders of clients that are kept.
    async fn folders(&self) -> Result<Vec<CacheRecord>, Error> {
        let contexts = self.contexts.clone();
        let kept = tokio::task::spawn_blocking(move || contexts.list()).await;
        let kept = kept.map_err(|error| Error::Failed(error.to_string()))?;
        let kept = kept.map_err(Error::io("look at what builds keep"))?;
        let records = kept.into_iter().map(|kept| {
            let used = Timestamp::try_from(kept.used).unwrap_or_default();
            CacheRecord {
                id: kept.key,
                kind: "source.local".to_owned(),
                description: "local source for context".to_owned(),
                mutable: true,
                size: kept.bytes.try_into().unwrap_or(i64::MAX),
                created: used,
                last_used: Some(used),
                usage_count: 1,
                ..CacheRecord::default()
            }
        });
        Ok(records.collect())
    }
}

/// `DiskUsage`.
///
/// # Errors
/// As [`Kit::usage`].
pub(crate) async fn list(kit: &Arc<Kit>, filters: &[String]) -> Result<Vec<UsageRecord>, Error> {
    let records = kit.usage(&wanted(filters)).await?;
    Ok(records.into_iter().map(record).collect())
}

/// `Prune`.
///
/// # Errors
/// As [`Kit::prune`].
pub(crate) async fn prune(
    kit: &Arc<Kit>,
    request: &PruneRequest,
) -> Result<Vec<UsageRecord>, Error> {
    let keep = Duration::from_nanos(u64::try_from(request.keep_duration).unwrap_or(0));
    let options = PruneOptions {
        all: request.all,
        keep_duration: i64::try_from(keep.as_secs()).unwrap_or(i64::MAX),
        reserved_space: request.reserved_space,
        max_used_space: request.max_used_space,
        min_free_space: request.min_free_space,
        filters: wanted(&request.filter),
    };
    let gone = kit.prune(&options).await?;
    Ok(gone.into_iter().map(record).collect())
}

fn wanted(filters: &[String]) -> Vec<String> {
    let given = filters.iter().filter(|filter| !filter.is_empty());
    given.cloned().collect()
}

fn record(record: CacheRecord) -> UsageRecord {
    UsageRecord {
        id: record.short_id(),
        mutable: record.mutable,
        in_use: record.in_use,
        size: record.size,
        parents: record
            .parents
            .iter()
            .map(|parent| short_id(parent))
            .collect(),
        created_at: Some(time::of(record.created)),
        last_used_at: record.last_used.map(time::of),
        usage_count: record.usage_count,
        description: record.description,
        record_type: record.kind,
        shared: record.shared,
        ..UsageRecord::default()
    }
}
