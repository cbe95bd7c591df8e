//! What the cache takes on disk, and making it less.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::os::fd::AsFd as _;
use std::path::Path;

use jiff::Timestamp;
use regex::Regex;
use wharf_builder::{remove_cache, tree};
use wharf_engine::CACHE_FIELDS;
use wharf_oci::ChainId;

use crate::cache::Record;
use crate::ops::Caches;
use crate::{CacheRecord, PruneOptions, SolveError, Solver, blocking};

/// The kind of what steps have made.
const REGULAR: &str = "regular";
/// The kind of cache mounts.
const MOUNT: &str = "exec.cachemount";

impl Solver {
    /// What the cache holds: results of steps, the folders of cache mounts, and `others`, which the caller keeps.
    ///
    /// # Errors
    /// If records or disk cannot be read, or a filter is none.
    pub async fn disk_usage(
        &self,
        filters: &[String],
        others: Vec<CacheRecord>,
    ) -> Result<Vec<CacheRecord>, SolveError> {
        let (solver, filters) = (self.clone(), filters.to_vec());
        blocking(move || {
            let filters = Filters::read(&filters)?;
            let mut records = solver.listed()?;
            records.extend(others);
            Ok(records
                .into_iter()
                .filter(|record| filters.fit(record))
                .collect())
        })
        .await
    }

    /// Removes from the cache, what was not used for longest first; what was removed. Cache mounts that a step has now
    /// stay, and so do layers that an image has or another result stands on. Those of `others`, which the caller keeps,
    /// are the caller's to remove.
    ///
    /// # Errors
    /// If records or disk refuse, or a filter is none.
    pub async fn prune(
        &self,
        options: &PruneOptions,
        others: Vec<CacheRecord>,
    ) -> Result<Vec<CacheRecord>, SolveError> {
        let (solver, options) = (self.clone(), options.clone());
        blocking(move || {
            let filters = Filters::read(&options.filters)?;
            let mut records = solver.listed()?;
            records.extend(others);
            let mut gone = Vec::new();
            for record in choose(records, &options, &filters, solver.free_space()) {
                if record.kind != MOUNT || solver.remove_mount(&record.id)? {
                    gone.push(record);
                }
            }
            let ids: HashSet<String> = gone.iter().map(|record| record.id.clone()).collect();
            solver.shared().cache.forget(&ids)?;
            Ok(gone)
        })
        .await
    }

    /// Removes a cache mount, unless a step has come to have it since it was looked at; whether it is gone.
    fn remove_mount(&self, name: &str) -> Result<bool, SolveError> {
        let trash = self.shared().scratch()?;
        Ok(remove_cache(&self.shared().caches(), name, trash.path())?)
    }

    fn listed(&self) -> Result<Vec<CacheRecord>, SolveError> {
        let shared = self.shared();
        let records = shared.cache.all()?;
        let images = shared.engine.images.store().image_layers();
        let owners: HashMap<ChainId, &str> = records
            .iter()
            .flat_map(|(id, record)| record.own.iter().map(move |chain| (*chain, id.as_str())))
            .collect();
        let mut listed: Vec<CacheRecord> = records
            .iter()
            .map(|(id, record)| described(id, record, &owners, &images))
            .collect();
        listed.extend(mounts(&shared.caches(), &shared.caches_used));
        Ok(listed)
    }

    /// Bytes of the disk that are free; none if that cannot be said.
    fn free_space(&self) -> Option<i64> {
        let stat = rustix::fs::statvfs(&self.shared().engine.config.data_root).ok()?;
        i64::try_from(stat.f_bavail.saturating_mul(stat.f_frsize)).ok()
    }
}

fn described(
    id: &str,
    record: &Record,
    owners: &HashMap<ChainId, &str>,
    images: &HashSet<ChainId>,
) -> CacheRecord {
    let layers = || record.outputs.iter().flatten().flatten();
    let own = layers().filter(|layer| record.own.contains(&layer.chain));
    // Of each tree the nearest below its own that a record has made.
    let trees = record.outputs.iter().flatten();
    let parents = trees.filter_map(|layers| {
        let mut below = layers.iter().rev();
        let owner = below.find_map(|layer| owners.get(&layer.chain).filter(|one| **one != id));
        owner.map(|owner| (*owner).to_owned())
    });
    let parents: BTreeSet<String> = parents.collect();
    CacheRecord {
        id: id.to_owned(),
        kind: REGULAR.to_owned(),
        description: record.description.clone(),
        in_use: false,
        shared: record.own.iter().any(|chain| images.contains(chain)),
        mutable: false,
        size: own
            .map(|layer| i64::try_from(layer.size).unwrap_or(i64::MAX))
            .sum(),
        parents: parents.into_iter().collect(),
        created: second(record.created),
        last_used: Some(second(record.used)),
        usage_count: record.count,
    }
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap_or_default()
}

/// The folders of cache mounts.
fn mounts(folder: &Path, used: &Caches) -> Vec<CacheRecord> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries.map(|entry| {
        let path = entry.path();
        let last = std::fs::metadata(path.join("lock")).and_then(|meta| meta.modified());
        let made = std::fs::metadata(&path).and_then(|meta| meta.modified());
        let time = |time: std::io::Result<std::time::SystemTime>| {
            time.ok().and_then(|time| Timestamp::try_from(time).ok())
        };
        let about = std::fs::read(path.join("about")).unwrap_or_default();
        let about: serde_json::Value = serde_json::from_slice(&about).unwrap_or_default();
        let data = std::fs::File::open(path.join("data"));
        // Steps may be changing it.
        let size = data.and_then(|data| tree::size(data.as_fd()));
        let id = about["id"].as_str().unwrap_or_default().to_owned();
        let name = entry.file_name().to_string_lossy().into_owned();
        CacheRecord {
            in_use: used.in_use(&name),
            id: name,
            kind: MOUNT.to_owned(),
            description: format!("cached mount with id {id:?}"),
            mutable: true,
            size: size.map_or(0, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            created: time(made).unwrap_or_default(),
            last_used: time(last),
            usage_count: 1,
            ..CacheRecord::default()
        }
    });
    found.collect()
}

/// Which of them go: the longest unused first, of those that no other stands on. What another one stands on would free
/// nothing.
fn choose(
    records: Vec<CacheRecord>,
    options: &PruneOptions,
    filters: &Filters,
    free: Option<i64>,
) -> Vec<CacheRecord> {
    let mut total: i64 = records.iter().map(|record| record.size).sum();
    let keep = keep_bytes(options, total, free);
    let until = Timestamp::now()
        .as_second()
        .saturating_sub(options.keep_duration);
    let is_wanted = |record: &CacheRecord| {
        let used = record.last_used.unwrap_or(record.created).as_second();
        let is_own = !record.shared && record.kind == REGULAR || record.mutable;
        let is_recent = options.keep_duration > 0 && used > until;
        !record.in_use && (options.all || is_own) && !is_recent && filters.fit(record)
    };
    let mut standing: HashMap<String, usize> = HashMap::new();
    for parent in records.iter().flat_map(|record| &record.parents) {
        *standing.entry(parent.clone()).or_default() += 1;
    }
    let is_free = |standing: &HashMap<String, usize>, id: &str| !standing.contains_key(id);
    let mut waiting: HashMap<String, CacheRecord> = HashMap::new();
    let mut next: BTreeMap<(Option<Timestamp>, String), CacheRecord> = BTreeMap::new();
    for record in records {
        match is_free(&standing, &record.id) {
            true => drop(next.insert((record.last_used, record.id.clone()), record)),
            false => drop(waiting.insert(record.id.clone(), record)),
        }
    }
    let mut gone = Vec::new();
    while let Some((_, record)) = next.pop_first() {
        if !is_wanted(&record) {
            continue;
        }
        if keep.is_some_and(|keep| total <= keep) {
            break;
        }
        total -= record.size;
        for parent in &record.parents {
            let count = standing.entry(parent.clone()).or_default();
            *count = count.saturating_sub(1);
            if *count == 0 {
                standing.remove(parent);
                let freed = waiting.remove(parent).into_iter();
                next.extend(freed.map(|record| ((record.last_used, record.id.clone()), record)));
            }
        }
        gone.push(record);
    }
    gone
}

/// How many bytes may stay; `None` for none (`cache/manager.go`, `calculateKeepBytes`).
fn keep_bytes(options: &PruneOptions, total: i64, free: Option<i64>) -> Option<i64> {
    let limits = [
        options.reserved_space,
        options.max_used_space,
        options.min_free_space,
    ];
    if limits.iter().all(|limit| *limit == 0) {
        return None;
    }
    let mut keep = match options.max_used_space {
        0 if options.min_free_space == 0 => options.reserved_space,
        0 => total,
        max => max,
    };
    if options.min_free_space > 0
        && let Some(free) = free
    {
        let excess = options.min_free_space.saturating_sub(free).max(0);
        keep = keep.min(total.saturating_sub(excess));
    }
    Some(keep.max(options.reserved_space))
}

impl CacheRecord {
    /// Its id as it is shown.
    pub fn short_id(&self) -> String {
        short_id(&self.id)
    }
}

/// An id as it is shown: as long as BuildKit's are, and another one for each private cache.
pub fn short_id(id: &str) -> String {
    let hex = id.strip_prefix("sha256:").unwrap_or(id);
    let (hex, number) = hex
        .split_once('-')
        .map_or((hex, ""), |(hex, number)| (hex, number));
    let hex = hex.get(..25).unwrap_or(hex);
    match number {
        "" => hex.to_owned(),
        number => format!("{hex}-{number}"),
    }
}

/// containerd's filters, as far as records have fields; one that fits is enough.
struct Filters(Vec<Vec<Test>>);

struct Test {
    field: String,
    operator: String,
    value: String,
    /// Of `~=`.
    pattern: Option<Regex>,
}

impl Filters {
    fn read(texts: &[String]) -> Result<Self, SolveError> {
        let filters = texts.iter().map(|text| {
            let tests = text
                .split(',')
                .filter(|test| !test.is_empty())
                .map(Test::read);
            tests.collect::<Result<Vec<_>, _>>()
        });
        Ok(Self(filters.collect::<Result<_, _>>()?))
    }

    fn fit(&self, record: &CacheRecord) -> bool {
        let all = |tests: &Vec<Test>| tests.iter().all(|test| test.fits(record));
        self.0.is_empty() || self.0.iter().any(all)
    }
}

impl Test {
    fn read(text: &str) -> Result<Self, SolveError> {
        let operators = ["==", "!=", "~=", "="];
        let found = operators
            .iter()
            .find_map(|operator| Some((*operator, text.split_once(operator)?)));
        let (operator, field, value) = match found {
            Some((operator, (field, value))) => (operator, field, value),
            None => ("", text, ""),
        };
        if !CACHE_FIELDS.contains(&field) {
            return Err(SolveError::Invalid(format!(
                "failed to parse prune filters {text:?}"
            )));
        }
        let value = value.trim_matches('"').to_owned();
        let pattern = (operator == "~=").then(|| Regex::new(&value));
        let pattern = pattern.transpose().map_err(|error| {
            SolveError::Invalid(format!("failed to parse prune filters {text:?}: {error}"))
        })?;
        Ok(Self {
            field: field.to_owned(),
            operator: operator.to_owned(),
            value,
            pattern,
        })
    }

    fn fits(&self, record: &CacheRecord) -> bool {
        let flag = |on: bool| if on { "true".to_owned() } else { String::new() };
        let field = match self.field.as_str() {
            // As it is shown, or whole.
            "id" if self.value == record.id => record.id.clone(),
            "id" => record.short_id(),
            "parents" => {
                let parents = record.parents.iter().map(|parent| short_id(parent));
                parents.collect::<Vec<_>>().join(";")
            }
            "description" => record.description.clone(),
            "inuse" => flag(record.in_use),
            "mutable" => flag(record.mutable),
            "immutable" => flag(!record.mutable),
            "type" => record.kind.clone(),
            "shared" => flag(record.shared),
            _ => flag(!record.shared),
        };
        match self.operator.as_str() {
            "" => !field.is_empty(),
            "!=" => field != self.value,
            "~=" => self
                .pattern
                .as_ref()
                .is_some_and(|one| one.is_match(&field)),
            _ => field == self.value,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, size: i64, used: i64) -> CacheRecord {
        CacheRecord {
            id: id.to_owned(),
            kind: "regular".to_owned(),
            size,
            last_used: Some(second(used)),
            ..CacheRecord::default()
        }
    }

    fn chosen(options: &PruneOptions, free: Option<i64>) -> Vec<String> {
        let records = vec![
            record("new", 10, 300),
            record("old", 10, 100),
            record("mid", 10, 200),
        ];
        let filters = Filters::read(&options.filters).unwrap();
        let gone = choose(records, options, &filters, free);
        gone.into_iter().map(|record| record.id).collect()
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let all = PruneOptions::default();
        assert_eq!(chosen(&all, None), ["old", "mid", "new"]);
        let limited = |reserved, max, free| PruneOptions {
            reserved_space: reserved,
            max_used_space: max,
            min_free_space: free,
            ..PruneOptions::default()
        };
        assert_eq!(chosen(&limited(20, 0, 0), None), ["old"]);
        assert_eq!(chosen(&limited(0, 15, 0), None), ["old", "mid"]);
        assert_eq!(chosen(&limited(20, 15, 0), None), ["old"]);
        assert_eq!(chosen(&limited(0, 0, 100), Some(95)), ["old"]);
        assert!(chosen(&limited(0, 0, 100), Some(200)).is_empty());
        let filtered = PruneOptions {
            filters: vec!["id==mid".to_owned(), "type==source.git".to_owned()],
            ..PruneOptions::default()
        };
        assert_eq!(chosen(&filtered, None), ["mid"]);
        assert!(Filters::read(&["x==y".to_owned()]).is_err());
    }

    #[test]
    fn what_is_in_use_or_shared_stays() {
        let mut busy = record("busy", 1, 1);
        busy.in_use = true;
        let mut shared = record("shared", 1, 1);
        shared.shared = true;
        let none = Filters::read(&[]).unwrap();
        let records = vec![busy, shared];
        assert!(choose(records.clone(), &PruneOptions::default(), &none, None).is_empty());
        let all = PruneOptions {
            all: true,
            ..PruneOptions::default()
        };
        assert_eq!(choose(records, &all, &none, None).len(), 1);
    }
    /// What others stand on frees nothing, however long it was not used for; what only a record has is no image's.
    #[test]
    fn what_stands_on_others_goes_before_them() {
        let on = |mut record: CacheRecord, parent: &str| {
            record.parents = vec![parent.to_owned()];
            record
        };
        let records = || {
            vec![
                record("base", 10, 1),
                on(record("middle", 10, 2), "base"),
                on(record("top", 10, 300), "middle"),
                record("other", 10, 100),
            ]
        };
        let none = Filters::read(&[]).unwrap();
        let ids = |options: &PruneOptions, filters: &Filters| -> Vec<String> {
            let gone = choose(records(), options, filters, None);
            gone.into_iter().map(|record| record.id).collect()
        };
        let all = PruneOptions::default();
        assert_eq!(ids(&all, &none), ["other", "top", "middle", "base"]);
        let limited = PruneOptions {
            reserved_space: 25,
            ..PruneOptions::default()
        };
        assert_eq!(ids(&limited, &none), ["other", "top"]);
        let lower = Filters::read(&["id==base".to_owned()]).unwrap();
        assert!(ids(&all, &lower).is_empty());
    }

    #[test]
    fn records_are_found_by_the_ids_that_are_shown() {
        let long = "0123456789abcdef0123456789abcdef";
        let regular = record(&format!("sha256:{long}"), 1, 1);
        let private = [
            record(&format!("{long}-0"), 1, 1),
            record(&format!("{long}-1"), 1, 1),
        ];
        assert_eq!(regular.short_id(), &long[..25]);
        assert_ne!(private[0].short_id(), private[1].short_id());
        let fits = |filter: &str, record: &CacheRecord| {
            Filters::read(&[filter.to_owned()]).unwrap().fit(record)
        };
        for record in private.iter().chain([&regular]) {
            for id in [record.short_id(), record.id.clone()] {
                assert!(fits(&format!("id=={id}"), record), "{id}");
            }
            assert!(fits(&format!("id~=^{}$", record.short_id()), record));
            assert!(fits("id~=^0123.*", record) && !fits("id~=^123", record));
        }
        assert!(Filters::read(&["id~=(".to_owned()]).is_err());
    }
}
