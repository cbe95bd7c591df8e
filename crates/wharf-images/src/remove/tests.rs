//! Every rule of removal, over a state in memory.

use std::sync::Arc;

use wharf_oci::{Digest, ImageConfig, Reference};

use super::Plan;
use crate::records::{Entry, ImageRecord, State};
use crate::{ImageUse, RemoveOptions};

/// An image whose id depends on `seed`, with layers named by single letters.
fn add(state: &mut State, seed: &str, layers: &str, parent: Option<Digest>) -> Digest {
    let diff_ids: Vec<_> = layers
        .chars()
        .map(|letter| Digest::sha256(letter.to_string().as_bytes()))
        .collect();
    let config = serde_json::json!({
        "os": "linux", "author": seed,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
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
    id
}

fn name(state: &mut State, text: &str, id: Digest) {
    let name = Reference::parse_normalized(text).unwrap();
    state.names.insert(name, id);
}

fn by_digest(repository: &str) -> String {
    format!("{repository}@{}", Digest::sha256(b"manifest"))
}

fn user(image: Digest, running: bool) -> Vec<ImageUse> {
    vec![ImageUse {
        container: "0123456789abcdef".into(),
        image,
        running,
    }]
}

/// What is removed, one word per step: `-name`, `image`, `layer`; or the refusal.
fn run(state: &State, text: &str, force: bool, users: Vec<ImageUse>) -> String {
    let uses = |id: &Digest| users.iter().filter(|u| u.image == *id).cloned().collect();
    let mut plan = Plan::new(state, &uses);
    let options = RemoveOptions {
        force,
        prune: true,
        platforms: Vec::new(),
    };
    match plan.remove(text, options) {
        Err(error) => error.to_string(),
        Ok(()) => {
            let steps: Vec<String> = plan
                .removed
                .iter()
                .map(|step| match (step.untagged(), step) {
                    (Some(name), _) => format!("-{}", name.split('@').next().unwrap()),
                    (None, crate::Removed::Image(_)) => "image".to_owned(),
                    (None, _) => "layer".to_owned(),
                })
                .collect();
            steps.join(" ")
        }
    }
}

#[test]
fn the_last_tag_takes_digests_image_and_layers_along() {
    let mut state = State::default();
    let id = add(&mut state, "1", "ab", None);
    name(&mut state, "app:1", id);
    name(&mut state, &by_digest("app"), id);
    assert_eq!(
        run(&state, "app:1", false, vec![]),
        "-app:1 -app image layer layer"
    );
    assert_eq!(
        run(&state, &id.short(), false, vec![]),
        "-app:1 -app image layer layer"
    );
    assert_eq!(run(&state, &by_digest("app"), false, vec![]), "-app");
}

#[test]
fn one_of_several_tags_is_only_untagged() {
    let mut state = State::default();
    let id = add(&mut state, "1", "a", None);
    name(&mut state, "app:1", id);
    name(&mut state, "app:2", id);
    assert_eq!(run(&state, "app:1", false, vec![]), "-app:1");
    // Even while a container uses the image.
    assert_eq!(run(&state, "app:1", false, user(id, true)), "-app:1");
    let refusal = format!(
        "conflict: unable to delete {} (must be forced) - image is referenced in multiple repositories",
        id.short()
    );
    assert_eq!(run(&state, &id.hex(), false, vec![]), refusal);
    assert_eq!(
        run(&state, &id.hex(), true, vec![]),
        "-app:1 -app:2 image layer"
    );
}

#[test]
fn containers_keep_an_image() {
    let mut state = State::default();
    let id = add(&mut state, "1", "a", None);
    name(&mut state, "app:1", id);
    let short = id.short();
    assert_eq!(
        run(&state, "app:1", false, user(id, false)),
        format!(
            "conflict: unable to remove repository reference \"app:1\" (must force) - container 0123456789ab is using its referenced image {short}"
        )
    );
    assert_eq!(
        run(&state, &short, false, user(id, false)),
        format!(
            "conflict: unable to delete {short} (must be forced) - image is being used by stopped container 0123456789ab"
        )
    );
    assert_eq!(
        run(&state, &short, true, user(id, true)),
        format!(
            "conflict: unable to delete {short} (cannot be forced) - image is being used by running container 0123456789ab"
        )
    );
    // By name, force leaves the image dangling; a stopped container keeps the layers only.
    assert_eq!(run(&state, "app:1", true, user(id, true)), "-app:1");
    assert_eq!(run(&state, "app:1", true, user(id, false)), "-app:1 image");
}

#[test]
fn shared_layers_stay() {
    let mut state = State::default();
    let one = add(&mut state, "1", "ab", None);
    let two = add(&mut state, "2", "acd", None);
    name(&mut state, "one:1", one);
    name(&mut state, "two:1", two);
    assert_eq!(
        run(&state, "two:1", false, vec![]),
        "-two:1 image layer layer"
    );
}

#[test]
fn parents_go_with_their_last_child() {
    let mut state = State::default();
    let base = add(&mut state, "1", "a", None);
    let middle = add(&mut state, "2", "ab", Some(base));
    let top = add(&mut state, "3", "abc", Some(middle));
    name(&mut state, "base:1", base);
    name(&mut state, "top:1", top);
    assert_eq!(
        run(&state, &middle.hex(), true, vec![]),
        format!(
            "conflict: unable to delete {} (cannot be forced) - image has dependent child images",
            middle.short()
        )
    );
    // What something stands on loses its name and stays; that it does is no error.
    assert_eq!(run(&state, "base:1", false, vec![]), "-base:1");
    // The base has a name and stays; that it does is no error.
    assert_eq!(
        run(&state, "top:1", false, vec![]),
        "-top:1 image layer image layer"
    );
}

#[test]
fn names_and_ids_are_told_apart() {
    let mut state = State::default();
    let id = add(&mut state, "1", "a", None);
    name(&mut state, "app:latest", id);
    for text in [
        "app",
        "app:latest",
        "docker.io/library/app",
        &id.short(),
        &id.to_string(),
        &id.hex()[..3],
        &id.to_string()[..12],
    ] {
        assert_eq!(state.lookup(text).unwrap(), id, "{text}");
    }
    let missing = |text: &str| state.lookup(text).unwrap_err().to_string();
    assert_eq!(missing("nope"), "No such image: nope:latest");
    assert_eq!(missing("q.io/a:1"), "No such image: q.io/a:1");
    assert_eq!(
        missing(&"0".repeat(64)),
        format!("No such image: sha256:{}", "0".repeat(64))
    );
    assert_eq!(
        missing("UPPER"),
        "invalid reference format: repository name (library/UPPER) must be lowercase"
    );
}
