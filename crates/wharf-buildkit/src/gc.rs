//! Keeps what builds leave below its limits, by itself: after builds, at most once a minute (`builder.gc`).

use std::sync::{Arc, Weak};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::types::GcPolicy;
use wharf_engine::GcRule;
use wharf_solver::PruneOptions;

use crate::service::Kit;

/// From the end of a build to what is done then: other builds may end meanwhile.
const AFTER: Duration = Duration::from_secs(1);
/// From one look to the next.
const PAUSE: Duration = Duration::from_secs(60);

/// The rules that hold.
pub(crate) fn rules(kit: &Kit) -> Vec<GcRule> {
    let config = &kit.engine.config;
    config.build.gc.rules(&config.data_root)
}

/// The rules as clients see them.
pub(crate) fn policies(kit: &Kit) -> Vec<GcPolicy> {
    let policy = |rule: GcRule| GcPolicy {
        all: rule.all,
        keep_duration: rule.keep_duration.saturating_mul(1_000_000_000),
        filters: rule.filters,
        reserved_space: rule.limits.reserved_space,
        max_used_space: rule.limits.max_used_space,
        min_free_space: rule.limits.min_free_space,
    };
    rules(kit).into_iter().map(policy).collect()
}

/// Looks after the cache until `kit` is gone: when it begins, as an earlier life of the daemon has left something, and
/// after builds.
pub(crate) async fn run(kit: Weak<Kit>) {
    if let Some(kit) = kit.upgrade() {
        collect(&kit).await;
    }
    let mut pause = Duration::ZERO;
    while let Some(built) = kit.upgrade().map(|kit| kit.built.clone()) {
        tokio::time::sleep(pause).await;
        built.notified().await;
        drop(built);
        tokio::time::sleep(AFTER).await;
        let Some(kit) = kit.upgrade() else { return };
        collect(&kit).await;
        pause = PAUSE;
    }
}

async fn collect(kit: &Arc<Kit>) {
    for rule in rules(kit) {
        let options = PruneOptions {
            all: rule.all,
            keep_duration: rule.keep_duration,
            reserved_space: rule.limits.reserved_space,
            max_used_space: rule.limits.max_used_space,
            min_free_space: rule.limits.min_free_space,
            filters: rule.filters,
        };
        match kit.prune(&options).await {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => {
                let bytes: i64 = gone.iter().map(|record| record.size).sum();
                tracing::info!(records = gone.len(), bytes, "build cache made smaller");
            }
            Err(error) => tracing::warn!(%error, "make the build cache smaller"),
        }
    }
}
