//! What builds may do, and how much of what they leave stays.

use std::path::Path;

/// The key `builder` of daemon.json.
#[derive(Debug, Clone)]
pub struct BuildConfig {
    /// Steps may have the host's network, if their client allows it too.
    pub network_host: bool,
    /// Steps may be without a sandbox, if their client allows it too.
    pub security_insecure: bool,
    /// What is removed of the cache when builds have ended.
    pub gc: Gc,
}

impl Default for BuildConfig {
    /// As dockerd has it.
    fn default() -> Self {
        Self {
            network_host: true,
            security_insecure: false,
            gc: Gc::Default(GcLimits::default()),
        }
    }
}

/// What is removed of the build cache by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gc {
    /// Nothing.
    Off,
    /// What the usual rules say, with these limits; those that are 0 are a tenth of the disk.
    Default(GcLimits),
    /// What these rules say, one after the other.
    Rules(Vec<GcRule>),
}

/// How much may stay, in bytes; 0 for no word about it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GcLimits {
    /// As much stays in any case.
    pub reserved_space: i64,
    /// No more stays.
    pub max_used_space: i64,
    /// As much of the disk is to be free.
    pub min_free_space: i64,
}

/// What a record of the build cache is told apart by, beside times: the fields of [`GcRule::filters`] and of
/// `docker builder prune --filter`.
pub const CACHE_FIELDS: [&str; 9] = [
    "id",
    "parents",
    "description",
    "inuse",
    "mutable",
    "immutable",
    "type",
    "shared",
    "private",
];

/// A rule of what is removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GcRule {
    /// Also what images share, and what is internal.
    pub all: bool,
    /// Only what was not used for so long, in seconds.
    pub keep_duration: i64,
    /// How much may stay.
    pub limits: GcLimits,
    /// Only what fits one of these (`type==source.local`), each with one of [`CACHE_FIELDS`].
    pub filters: Vec<String>,
}

/// Two days, and sixty, in seconds.
const SHORT: i64 = 48 * 60 * 60;
const LONG: i64 = 60 * 24 * 60 * 60;
/// What is the easiest to make again may take so many of a hundred parts of the limit, as with dockerd
/// (`math.E * math.Pi * math.Phi`), or 512 MB.
const EASY: f64 = std::f64::consts::E * std::f64::consts::PI * 1.618_033_988_749_895;
const LEAST_EASY: i64 = 512_000_000;

impl Gc {
    /// The rules, for a cache on the disk of `folder`.
    pub fn rules(&self, folder: &Path) -> Vec<GcRule> {
        match self {
            Self::Off => Vec::new(),
            Self::Default(limits) => usual(*limits, tenth(folder)),
            Self::Rules(rules) => rules.clone(),
        }
    }
}

/// dockerd's own rules (`builder-next/worker/gc.go`).
fn usual(mut limits: GcLimits, tenth: i64) -> Vec<GcRule> {
    if limits == GcLimits::default() {
        limits.reserved_space = tenth;
    }
    let keep = limits.reserved_space.max(limits.max_used_space);
    #[expect(clippy::cast_possible_truncation, reason = "far below 2^53")]
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let easy = (keep as f64 / 100. * EASY).round() as i64;
    let kinds = ["source.local", "exec.cachemount", "source.git.checkout"];
    vec![
        GcRule {
            keep_duration: SHORT,
            limits: GcLimits {
                reserved_space: easy.max(LEAST_EASY),
                ..GcLimits::default()
            },
            filters: kinds.map(|kind| format!("type=={kind}")).into(),
            ..GcRule::default()
        },
        GcRule {
            keep_duration: LONG,
            limits,
            ..GcRule::default()
        },
        GcRule {
            limits,
            ..GcRule::default()
        },
        GcRule {
            all: true,
            limits,
            ..GcRule::default()
        },
    ]
}

/// A tenth of the folder's disk, in whole gigabytes, rounded up.
fn tenth(folder: &Path) -> i64 {
    let Ok(stat) = rustix::fs::statvfs(folder) else {
        return 2_000_000_000;
    };
    let bytes = stat.f_blocks.saturating_mul(stat.f_frsize) / 10;
    i64::try_from(bytes / (1 << 30) + 1)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_rules_grow_stricter() {
        let rules = usual(GcLimits::default(), 20_000_000_000);
        assert_eq!(rules[0].limits.reserved_space, 2_763_516_045);
        assert!(
            rules[0]
                .filters
                .contains(&"type==exec.cachemount".to_owned())
        );
        assert!(rules[1].keep_duration == LONG && !rules[2].all && rules[3].all);
        assert_eq!(rules[3].limits.reserved_space, 20_000_000_000);
        let own = GcLimits {
            max_used_space: 7,
            ..GcLimits::default()
        };
        assert_eq!(usual(own, 1)[3].limits, own);
        assert!(Gc::Off.rules(Path::new("/")).is_empty());
    }
}
