//! Push: into a registry that we did not write, and back.

use anyhow::{Result, ensure};
use wharf_testkit::Registry;

use crate::Case;

/// An empty registry on port 5000 of the case's world.
fn registry(case: &Case) -> Result<Registry> {
    let storage = case.engine.world.path().join("registry");
    std::fs::create_dir_all(&storage)?;
    Registry::serve(&case.engine.world, &storage, 5000)
}

/// The digest in the line that ends a push.
pub(super) fn digest(said: &str) -> Option<&str> {
    let line = said
        .lines()
        .find(|line| line.contains(": digest: sha256:"))?;
    line.split_whitespace().nth(2)
}

pub(crate) fn there_and_back(case: &mut Case) -> Result<()> {
    let _registry = registry(case)?;
    case.ok(&["tag", "busybox", "localhost:5000/a/box:one"])?;
    let said = case.ok(&["push", "localhost:5000/a/box:one"])?;
    ensure!(
        said.starts_with("The push refers to repository [localhost:5000/a/box]"),
        "{said}"
    );
    let lines = |text: &str| said.lines().filter(|line| line.ends_with(text)).count();
    ensure!(
        lines(": Preparing") == 1 && lines(": Pushed") == 1,
        "{said}"
    );
    let pushed = digest(&said).map(str::to_owned);
    ensure!(
        said.lines()
            .any(|line| line.starts_with("one: digest: sha256:") && line.contains(" size: ")),
        "{said}"
    );
    let id = case.ok(&["images", "-q", "--no-trunc", "busybox"])?;
    case.ok(&["rmi", "-f", "busybox", "localhost:5000/a/box:one"])?;
    let said = case.ok(&["pull", "localhost:5000/a/box:one"])?;
    let pulled = said.lines().find_map(|line| line.strip_prefix("Digest: "));
    ensure!(pulled == pushed.as_deref(), "{pushed:?}: {said}");
    case.prints(&["images", "-q", "--no-trunc", "localhost:5000/a/box"], &id)?;
    case.prints(
        &["run", "--rm", "localhost:5000/a/box:one", "echo", "hi"],
        "hi",
    )?;
    // What was pulled is pushed as it came.
    case.ok(&[
        "tag",
        "localhost:5000/a/box:one",
        "localhost:5000/a/box:two",
    ])?;
    let said = case.ok(&["push", "localhost:5000/a/box:two"])?;
    ensure!(said.contains(": Layer already exists"), "{said}");
    ensure!(digest(&said) == pushed.as_deref(), "{said}");
    Ok(())
}

pub(crate) fn layers_are_taken_over(case: &mut Case) -> Result<()> {
    let _registry = registry(case)?;
    case.ok(&["tag", "busybox", "localhost:5000/a:one"])?;
    case.ok(&["tag", "busybox", "localhost:5000/b:one"])?;
    case.ok(&["push", "-q", "localhost:5000/a:one"])?;
    let said = case.ok(&["push", "localhost:5000/b:one"])?;
    ensure!(said.contains(": Mounted from a"), "{said}");
    Ok(())
}

pub(crate) fn all_tags(case: &mut Case) -> Result<()> {
    let _registry = registry(case)?;
    for tag in ["one", "two"] {
        case.ok(&["tag", "busybox", &format!("localhost:5000/a:{tag}")])?;
    }
    let said = case.ok(&["push", "-a", "localhost:5000/a"])?;
    ensure!(
        said.contains("one: digest: ") && said.contains("two: digest: "),
        "{said}"
    );
    case.prints(
        &["push", "-q", "localhost:5000/a:two"],
        "localhost:5000/a:two",
    )
}

pub(crate) fn what_cannot_be_pushed(case: &mut Case) -> Result<()> {
    let _registry = registry(case)?;
    case.fails(
        &["push", "localhost:5000/nope"],
        1,
        "An image does not exist locally with the tag: localhost:5000/nope",
    )?;
    case.ok(&["tag", "busybox", "localhost:5000/a:one"])?;
    case.fails(
        &["push", "localhost:5000/a:two"],
        1,
        "tag does not exist: localhost:5000/a:two",
    )?;
    case.fails(
        &["push", "-a", "localhost:5000/a:one"],
        1,
        "tag can't be used with --all-tags/-a",
    )?;
    case.ok(&["tag", "busybox", "localhost:5001/a"])?;
    case.fails(&["push", "localhost:5001/a"], 1, "connection refused")
}

pub(crate) fn what_was_built_is_pushed(case: &mut Case) -> Result<()> {
    let _registry = registry(case)?;
    let folder = tempfile::tempdir()?;
    let file = "FROM busybox\nRUN echo x > /x\nENV A=1\n";
    std::fs::write(folder.path().join("Dockerfile"), file)?;
    let path = folder.path().display().to_string();
    case.ok(&["build", "-q", "-t", "localhost:5000/made", &path])?;
    let id = case.ok(&["images", "-q", "--no-trunc", "localhost:5000/made"])?;
    case.ok(&["push", "localhost:5000/made"])?;
    case.ok(&["rmi", "-f", "localhost:5000/made"])?;
    case.ok(&["pull", "-q", "localhost:5000/made"])?;
    case.prints(&["images", "-q", "--no-trunc", "localhost:5000/made"], &id)?;
    case.prints(&["run", "--rm", "localhost:5000/made", "cat", "/x"], "x")
}
