//! Which images a listing shows, over a state in memory.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use wharf_oci::{Digest, ImageConfig, Reference};

use crate::ListOptions;
use crate::records::{Entry, ImageRecord, State};

/// `day` is in January 1970.
fn add(state: &mut State, day: u32, names: &[&str], parent: Option<Digest>) -> Digest {
    let config = serde_json::json!({
        "os": "linux", "created": format!("1970-01-{day:02}T00:00:00Z"),
        "config": {"Labels": {"day": day.to_string()}},
    });
    let config = ImageConfig::parse(config.to_string().into_bytes()).unwrap();
    let id = config.digest();
    let record = ImageRecord {
        parent,
        manifest: None,
        index: None,
        layers: Vec::new(),
        last_tagged: None,
        as_it_came: false,
        extras: Vec::new(),
    };
    state
        .images
        .insert(id, Arc::new(Entry::new(record, config)));
    for name in names {
        state
            .names
            .insert(Reference::parse_normalized(name).unwrap(), id);
    }
    id
}

/// The days of the images that are listed.
fn days(state: &State, options: &ListOptions) -> Vec<i64> {
    let images = state.list(options).unwrap();
    images
        .iter()
        .map(|image| image.created_unix() / 86_400 + 1)
        .collect()
}

fn world() -> State {
    let mut state = State::default();
    add(&mut state, 1, &["debian:12", "debian:latest"], None);
    let digest = format!("user/app@{}", Digest::sha256(b"x"));
    add(&mut state, 2, &[&digest], None);
    let parent = add(&mut state, 3, &[], None);
    add(&mut state, 4, &["q.io/x/app:1"], Some(parent));
    add(&mut state, 5, &[], None);
    state
}

#[test]
fn hides_nameless_parents_only() {
    let state = world();
    assert_eq!(days(&state, &ListOptions::default()), [5, 4, 2, 1]);
    let all = ListOptions {
        all: true,
        ..ListOptions::default()
    };
    assert_eq!(days(&state, &all), [5, 4, 3, 2, 1]);
}

#[test]
fn images_of_one_second_have_an_order() {
    let mut state = State::default();
    let at = |state: &mut State, fraction: &str| {
        let created = format!("2026-01-01T00:00:00.{fraction}Z");
        let config = serde_json::json!({"os": "linux", "created": created}).to_string();
        let config = ImageConfig::parse(config.into_bytes()).unwrap();
        let id = config.digest();
        let record = state.images.values().next().unwrap().record.clone();
        let entry = Entry::new(record, config);
        state.images.insert(id, Arc::new(entry));
        id
    };
    add(&mut state, 1, &["any:1"], None);
    let (first, second) = (at(&mut state, "1"), at(&mut state, "2"));
    let listed = |before: Vec<String>, since: Vec<String>| {
        let options = ListOptions {
            before,
            since,
            ..ListOptions::default()
        };
        let images = state.list(&options).unwrap();
        images.iter().map(|image| image.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(Vec::new(), vec![first.to_string()]), [second]);
    let any = state.lookup("any:1").unwrap();
    assert_eq!(listed(vec![second.to_string()], Vec::new()), [first, any]);
}

#[test]
fn filters() {
    let state = world();
    let with = |change: &dyn Fn(&mut ListOptions)| {
        let mut options = ListOptions::default();
        change(&mut options);
        days(&state, &options)
    };
    assert_eq!(with(&|o| o.dangling = Some(true)), [5, 2]);
    assert_eq!(with(&|o| o.dangling = Some(false)), [4, 2, 1]);
    assert_eq!(with(&|o| o.references = vec!["debian".into()]), [1]);
    assert_eq!(with(&|o| o.references = vec!["*/app".into()]), [2]);
    let names = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let (old, new) = ("debian", "q.io/x/app:1");
    assert_eq!(with(&|o| o.before = names(&[new])), [2, 1]);
    assert_eq!(with(&|o| o.since = names(&[old])), [5, 4, 2]);
    // Several are all of them.
    assert_eq!(with(&|o| o.before = names(&[new, old])), [0; 0]);
    assert_eq!(with(&|o| o.since = names(&[old, new])), [5]);
    assert_eq!(
        with(&|o| o.labels = vec!["day=4".into(), "day".into()]),
        [4]
    );
    assert_eq!(
        with(&|o| o.without_labels = vec!["day=4".into()]),
        [5, 2, 1]
    );
    let noon = UNIX_EPOCH + Duration::from_secs(86_400 * 3 / 2);
    assert_eq!(with(&|o| o.until = Some(noon)), [2, 1]);
    let bad = ListOptions {
        references: vec!["[".into()],
        ..ListOptions::default()
    };
    assert!(state.list(&bad).is_err());
}
