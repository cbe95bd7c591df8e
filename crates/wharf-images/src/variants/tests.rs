//! Names, lookups and removals of an image for several platforms, over a state in memory.

use std::sync::Arc;

use wharf_oci::{Descriptor, Digest, ImageConfig, Platform, Reference, media_type};

use crate::records::{Entry, ImageRecord, State};
use crate::remove::Plan;
use crate::{ImageUse, ListOptions, RemoveOptions};

fn entry(architecture: &str, index: &str) -> Entry {
    let config = serde_json::json!({
        "os": "linux", "architecture": architecture,
        "rootfs": {"type": "layers", "diff_ids": [Digest::sha256(architecture.as_bytes())]},
    });
    let record = ImageRecord {
        parent: None,
        manifest: None,
        index: Some(Descriptor::of(media_type::OCI_INDEX, index.as_bytes())),
        layers: Vec::new(),
        last_tagged: None,
        as_it_came: true,
        extras: Vec::new(),
    };
    Entry::new(
        record,
        ImageConfig::parse(config.to_string().into_bytes()).unwrap(),
    )
}

/// The host's image and a foreign one of the same index, with one name.
fn world() -> (State, Digest, Digest) {
    let mut state = State::default();
    let host = entry(&Platform::host().architecture, "index");
    let foreign = entry("s390x", "index");
    let ids = (host.config.digest(), foreign.config.digest());
    for entry in [host, foreign] {
        state.images.insert(entry.config.digest(), Arc::new(entry));
    }
    let name = Reference::parse_normalized("app:1").unwrap();
    state.names.insert(name, ids.0);
    (state, ids.0, ids.1)
}

fn platform(text: &str) -> Platform {
    text.parse().unwrap()
}

#[test]
fn a_name_means_one_image_for_each_platform() {
    let (state, host, foreign) = world();
    assert_eq!(state.lookup_for("app:1", None).unwrap(), host);
    let wanted = platform("linux/s390x");
    assert_eq!(state.lookup_for("app:1", Some(&wanted)).unwrap(), foreign);
    let missing = state.lookup_for("app:1", Some(&platform("linux/riscv64")));
    assert_eq!(
        missing.unwrap_err().to_string(),
        "image with reference app:1 was found but does not provide the specified platform (linux/riscv64)"
    );
    let by_id = state.lookup_for(&host.hex(), Some(&wanted));
    assert!(by_id.unwrap_err().to_string().contains("does not match"));
}

#[test]
fn only_the_one_with_the_name_is_listed() {
    let (mut state, host, _) = world();
    let shown = |state: &State| -> Vec<Digest> {
        let images = state.list(&ListOptions::default()).unwrap();
        images.into_iter().map(|image| image.id).collect()
    };
    assert_eq!(shown(&state), [host]);
    state.names.clear();
    assert_eq!(shown(&state).len(), 2);
}

#[test]
fn a_name_stays_with_the_image_that_runs_here() {
    let (state, host, foreign) = world();
    let pulled = entry("s390x", "index");
    assert_eq!(state.better(&host, &pulled), host);
    assert_eq!(
        state.better(&host, &entry("s390x", "another index")),
        foreign
    );
    let native = entry(&Platform::host().architecture, "index");
    assert_eq!(state.better(&foreign, &native), host);
}

/// What is deleted, or the refusal.
fn remove(
    state: &State,
    text: &str,
    platforms: &[&str],
    used: Option<Digest>,
) -> Result<Vec<Digest>, String> {
    let uses = |id: &Digest| match used {
        Some(used) if used == *id => vec![ImageUse {
            container: "0123456789abcdef".into(),
            image: used,
            running: false,
        }],
        _ => Vec::new(),
    };
    let mut plan = Plan::new(state, &uses);
    let options = RemoveOptions {
        force: false,
        prune: true,
        platforms: platforms.iter().map(|text| platform(text)).collect(),
    };
    plan.remove(text, options)
        .map_err(|error| error.to_string())?;
    Ok(plan.change.delete_images)
}

#[test]
fn the_last_name_takes_all_platforms_along() {
    let (mut state, host, foreign) = world();
    assert_eq!(remove(&state, "app:1", &[], None).unwrap(), [host, foreign]);
    let refusal = remove(&state, "app:1", &[], Some(foreign)).unwrap_err();
    assert!(refusal.starts_with("conflict: "), "{refusal}");
    state
        .names
        .insert(Reference::parse_normalized("other:1").unwrap(), host);
    assert_eq!(remove(&state, "app:1", &[], None).unwrap(), []);
}

#[test]
fn one_platform_goes_and_the_name_stays_with_the_rest() {
    let (state, host, foreign) = world();
    assert_eq!(
        remove(&state, "app:1", &["linux/s390x"], None).unwrap(),
        [foreign]
    );
    let native = Platform::host().to_string();
    assert_eq!(remove(&state, "app:1", &[&native], None).unwrap(), [host]);
    assert_eq!(
        remove(&state, "app:1", &[&native, "linux/s390x"], None).unwrap(),
        [host, foreign]
    );
    assert!(remove(&state, "app:1", &["linux/s390x"], Some(foreign)).is_err());
    assert!(remove(&state, "app:1", &["linux/riscv64"], None).is_err());
}
