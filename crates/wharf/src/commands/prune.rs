//! The prune commands: of containers, images, volumes, networks, builds, and of all at once.

use serde_json::Value;
use wharf_client::{Client, Method, Url};

use super::{filters, rmi};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{confirm, line};
use crate::cli::{Command, Context, Exit, Flag, Kind, Matches, Outcome, flag, switch};
use crate::format::{json, units};

const FILTER: Flag = flag(
    "filter",
    Kind::Checked("filter", crate::options::checks::filter),
    "Prune only those that match: KEY=VALUE",
);
const FORCE: Flag = switch("force", "Do not ask").short('f');

static FLAGS: &[Flag] = &[FILTER, FORCE];
static IMAGE_FLAGS: &[Flag] = &[
    FILTER,
    FORCE,
    switch(
        "all",
        "All images that no container uses, not only dangling ones",
    )
    .short('a'),
];
static VOLUME_FLAGS: &[Flag] = &[
    FILTER,
    FORCE,
    switch("all", "Named volumes too, not only anonymous ones").short('a'),
];
static SYSTEM_FLAGS: &[Flag] = &[
    FILTER,
    FORCE,
    switch(
        "all",
        "All images that no container uses, not only dangling ones",
    )
    .short('a'),
    switch("volumes", "Anonymous volumes too"),
];

/// Remove stopped containers
pub static CONTAINERS: Command = Command {
    name: "prune",
    about: "Remove all stopped containers",
    usage: "[OPTIONS]",
    flags: &[FLAGS],
    run: Some(|context, matches| Box::pin(containers(context, matches))),
    ..EMPTY
};

/// Remove unused images
pub static IMAGES: Command = Command {
    name: "prune",
    about: "Remove unused images",
    usage: "[OPTIONS]",
    flags: &[IMAGE_FLAGS],
    run: Some(|context, matches| Box::pin(images(context, matches))),
    ..EMPTY
};

/// Remove unused volumes
pub static VOLUMES: Command = Command {
    name: "prune",
    about: "Remove unused volumes",
    usage: "[OPTIONS]",
    flags: &[VOLUME_FLAGS],
    run: Some(|context, matches| Box::pin(volumes(context, matches))),
    ..EMPTY
};

/// Remove unused networks
pub static NETWORKS: Command = Command {
    name: "prune",
    about: "Remove all networks that no container uses",
    usage: "[OPTIONS]",
    flags: &[FLAGS],
    run: Some(|context, matches| Box::pin(networks(context, matches))),
    ..EMPTY
};

/// Remove all that is unused
pub static SYSTEM: Command = Command {
    name: "prune",
    about: "Remove all that is unused",
    usage: "[OPTIONS]",
    flags: &[SYSTEM_FLAGS],
    run: Some(|context, matches| Box::pin(system(context, matches))),
    ..EMPTY
};

/// What one kind gave back.
struct Pruned {
    text: String,
    bytes: i64,
}

impl Pruned {
    /// Where nothing was removed, bytes are not looked at.
    fn nothing() -> Pruned {
        Pruned {
            text: String::new(),
            bytes: 0,
        }
    }
}

/// Whether the user wants it. Who does not is told nothing more, and it is no failure, as with Docker's client.
fn agreed(matches: &Matches, question: &str) -> Outcome<bool> {
    Ok(matches.on("force") || confirm(&format!("WARNING! {question}"))?)
}

fn sure(matches: &Matches, warning: &str) -> Outcome<bool> {
    agreed(
        matches,
        &format!("{warning}\nAre you sure you want to continue?"),
    )
}

/// The filters of the command line and of `pruneFilters` in `config.json`. One of those that says the contrary of what was
/// written gives way.
///
/// Docker 28.2.2 means that too, but asks for an exact match with nothing: a `label` of the configuration counts there only
/// beside a `label!` that was written. More is removed so than the user set, which is not done here.
fn filtered(context: &Context, matches: &Matches) -> Vec<String> {
    let mut all = matches.list("filter").to_vec();
    for kept in json::texts(&context.config, "pruneFilters") {
        let Some((key, value)) = kept.split_once('=') else {
            continue;
        };
        // `label!=x` is key `label!`.
        let contrary = match key {
            "label" => format!("label!={value}"),
            "label!" => format!("label={value}"),
            _ => String::new(),
        };
        if !all.contains(&contrary) && !all.iter().any(|known| known == kept) {
            all.push(kept.to_owned());
        }
    }
    all
}

fn report(pruned: &Pruned) -> Outcome {
    if !pruned.text.is_empty() {
        line(&pruned.text)?;
    }
    line(format_args!(
        "Total reclaimed space: {}",
        units::human_size(pruned.bytes, 4)
    ))
}

async fn prune(client: &Client, kind: &str, wanted: &[String]) -> Outcome<Value> {
    let url = Url::new([kind, "prune"]).maybe("filters", filters(wanted));
    Ok(client.json(Method::POST, url, None::<&()>).await?)
}

fn named(answer: &Value, list: &str, title: &str) -> Pruned {
    let names = json::texts(answer, list);
    if names.is_empty() {
        return Pruned::nothing();
    }
    Pruned {
        text: format!("{title}:\n{}\n", names.join("\n")),
        bytes: json::int(answer, "SpaceReclaimed"),
    }
}

async fn containers(context: &Context, matches: &Matches) -> Outcome {
    if !sure(matches, "This will remove all stopped containers.")? {
        return Ok(());
    }
    let client = context.client().await?;
    report(&prune_containers(client, &filtered(context, matches)).await?)
}

async fn prune_containers(client: &Client, wanted: &[String]) -> Outcome<Pruned> {
    let answer = prune(client, "containers", wanted).await?;
    Ok(named(&answer, "ContainersDeleted", "Deleted Containers"))
}

fn images_report(answer: &Value) -> Pruned {
    let done = json::items(answer, "ImagesDeleted");
    if done.is_empty() {
        return Pruned::nothing();
    }
    let lines = rmi::lines(done)
        .replace("Untagged:", "untagged:")
        .replace("Deleted:", "deleted:");
    Pruned {
        text: format!("Deleted Images:\n{lines}"),
        bytes: json::int(answer, "SpaceReclaimed"),
    }
}

async fn images(context: &Context, matches: &Matches) -> Outcome {
    let all = matches.on("all");
    let warning = match all {
        true => "This will remove all images without at least one container associated to them.",
        false => "This will remove all dangling images.",
    };
    if !sure(matches, warning)? {
        return Ok(());
    }
    let client = context.client().await?;
    report(&prune_images(client, &filtered(context, matches), all).await?)
}

async fn prune_images(client: &Client, wanted: &[String], all: bool) -> Outcome<Pruned> {
    let mut wanted = wanted.to_vec();
    wanted.push(format!("dangling={}", !all));
    Ok(images_report(&prune(client, "images", &wanted).await?))
}

async fn volumes(context: &Context, matches: &Matches) -> Outcome {
    let all = matches.on("all");
    let warning = match all {
        true => "This will remove all local volumes not used by at least one container.",
        false => "This will remove anonymous local volumes not used by at least one container.",
    };
    if !sure(matches, warning)? {
        return Ok(());
    }
    let mut wanted = filtered(context, matches);
    if all {
        wanted.push("all=true".to_owned());
    }
    report(&prune_volumes(context.client().await?, &wanted).await?)
}

async fn prune_volumes(client: &Client, wanted: &[String]) -> Outcome<Pruned> {
    let answer = prune(client, "volumes", wanted).await?;
    Ok(named(&answer, "VolumesDeleted", "Deleted Volumes"))
}

async fn networks(context: &Context, matches: &Matches) -> Outcome {
    let warning = "This will remove all custom networks not used by at least one container.";
    if !sure(matches, warning)? {
        return Ok(());
    }
    let client = context.client().await?;
    let pruned = prune_networks(client, &filtered(context, matches)).await?;
    if pruned.text.is_empty() {
        Ok(())
    } else {
        line(&pruned.text)
    }
}

async fn prune_networks(client: &Client, wanted: &[String]) -> Outcome<Pruned> {
    let answer = prune(client, "networks", wanted).await?;
    Ok(named(&answer, "NetworksDeleted", "Deleted Networks"))
}

fn system_warning(matches: &Matches, wanted: &[String]) -> String {
    let mut text = String::from(
        "This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n",
    );
    if matches.on("volumes") {
        text.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    text.push_str(match matches.on("all") {
        true => {
            "  - all images without at least one container associated to them\n  - all build cache\n"
        }
        false => "  - all dangling images\n  - unused build cache\n",
    });
    let mut shown: Vec<&String> = wanted.iter().collect();
    shown.sort();
    if !shown.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        text.extend(shown.iter().map(|filter| format!("  - {filter}\n")));
    }
    text
}

async fn system(context: &Context, matches: &Matches) -> Outcome {
    let has_until = |filter: &String| filter.starts_with("until=");
    if matches.on("volumes") && matches.list("filter").iter().any(has_until) {
        return Err(Exit::new(
            "ERROR: The \"until\" filter is not supported with \"--volumes\"",
        ));
    }
    let wanted = filtered(context, matches);
    if !sure(matches, &system_warning(matches, &wanted))? {
        return Ok(());
    }
    let client = context.client().await?;
    let all = matches.on("all");
    let mut bytes = 0;
    let mut tell = |pruned: Pruned| {
        bytes += pruned.bytes;
        match pruned.text.is_empty() {
            true => Ok(()),
            false => line(&pruned.text),
        }
    };
    tell(prune_containers(client, &wanted).await?)?;
    tell(prune_networks(client, &wanted).await?)?;
    if matches.on("volumes") {
        tell(prune_volumes(client, &wanted).await?)?;
    }
    tell(prune_images(client, &wanted, all).await?)?;
    tell(prune_builds(client, &wanted, all, 0).await?)?;
    let bytes = units::human_size(bytes, 4);
    line(format_args!("Total reclaimed space: {bytes}"))
}

/// Remove what builds keep
pub static BUILDS: Command = Command {
    name: "prune",
    about: "Remove what builds keep for the next build",
    usage: "[OPTIONS]",
    flags: &[BUILD_FLAGS],
    run: Some(|context, matches| Box::pin(builds(context, matches))),
    ..EMPTY
};

static BUILD_FLAGS: &[Flag] = &[
    switch("all", "Also steps whose images have names").short('a'),
    flag(
        "filter",
        Kind::Checked("filter", crate::options::checks::filter),
        "Remove only what matches: until=24h",
    ),
    FORCE,
    flag("keep-storage", Kind::Bytes, "Bytes that may stay"),
];

async fn builds(context: &Context, matches: &Matches) -> Outcome {
    let all = matches.on("all");
    let warning = match all {
        true => "This will remove all build cache.",
        false => "This will remove all dangling build cache.",
    };
    let question = format!("{warning} Are you sure you want to continue?");
    if !agreed(matches, &question)? {
        return Ok(());
    }
    let client = context.client().await?;
    let kept = matches.int("keep-storage");
    report(&prune_builds(client, &filtered(context, matches), all, kept).await?)
}

async fn prune_builds(client: &Client, wanted: &[String], all: bool, kept: i64) -> Outcome<Pruned> {
    let url = Url::new(["build", "prune"])
        .flag("all", all)
        .maybe("keep-storage", (kept != 0).then_some(kept))
        .maybe("filters", filters(wanted));
    let answer = client.json(Method::POST, url, None::<&()>).await?;
    Ok(named(
        &answer,
        "CachesDeleted",
        "Deleted build cache objects",
    ))
}
