//! The prune commands: of containers, images, volumes, networks, and of all at once.

use serde_json::Value;
use wharf_client::{Client, Method, Url};

use super::{filters, rmi};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{confirm, line, out};
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

fn agreed(matches: &Matches, warning: &str) -> Outcome<bool> {
    if matches.on("force") {
        return Ok(true);
    }
    confirm(&format!(
        "WARNING! {warning}\nAre you sure you want to continue?"
    ))
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
    let mut text = String::new();
    if !names.is_empty() {
        text = format!("{title}:\n{}\n", names.join("\n"));
    }
    Pruned {
        text,
        bytes: json::int(answer, "SpaceReclaimed"),
    }
}

async fn containers(context: &Context, matches: &Matches) -> Outcome {
    if !agreed(matches, "This will remove all stopped containers.")? {
        return Err(Exit::new("container prune has been cancelled"));
    }
    let answer = prune(
        context.client().await?,
        "containers",
        matches.list("filter"),
    )
    .await?;
    report(&named(&answer, "ContainersDeleted", "Deleted Containers"))
}

fn images_report(answer: &Value) -> Pruned {
    let done = json::items(answer, "ImagesDeleted");
    let text = match done.is_empty() {
        true => String::new(),
        false => format!(
            "Deleted Images:\n{}",
            rmi::lines(done)
                .replace("Untagged:", "untagged:")
                .replace("Deleted:", "deleted:")
        ),
    };
    Pruned {
        text,
        bytes: json::int(answer, "SpaceReclaimed"),
    }
}

fn image_filters(matches: &Matches) -> Vec<String> {
    let mut wanted = matches.list("filter").to_vec();
    wanted.push(format!("dangling={}", !matches.on("all")));
    wanted
}

async fn images(context: &Context, matches: &Matches) -> Outcome {
    let warning = match matches.on("all") {
        true => "This will remove all images without at least one container associated to them.",
        false => "This will remove all dangling images.",
    };
    if !agreed(matches, warning)? {
        return Err(Exit::new("image prune has been cancelled"));
    }
    let answer = prune(context.client().await?, "images", &image_filters(matches)).await?;
    report(&images_report(&answer))
}

async fn volumes(context: &Context, matches: &Matches) -> Outcome {
    let all = matches.on("all");
    let warning = match all {
        true => "This will remove all local volumes not used by at least one container.",
        false => "This will remove anonymous local volumes not used by at least one container.",
    };
    if !agreed(matches, warning)? {
        return Err(Exit::new("volume prune has been cancelled"));
    }
    let mut wanted = matches.list("filter").to_vec();
    if all {
        wanted.push("all=true".to_owned());
    }
    let answer = prune(context.client().await?, "volumes", &wanted).await?;
    report(&named(&answer, "VolumesDeleted", "Deleted Volumes"))
}

async fn networks(context: &Context, matches: &Matches) -> Outcome {
    if !agreed(
        matches,
        "This will remove all custom networks not used by at least one container.",
    )? {
        return Err(Exit::new("network prune has been cancelled"));
    }
    let answer = prune(context.client().await?, "networks", matches.list("filter")).await?;
    let pruned = named(&answer, "NetworksDeleted", "Deleted Networks");
    if pruned.text.is_empty() {
        Ok(())
    } else {
        line(&pruned.text)
    }
}

fn system_warning(matches: &Matches) -> String {
    let mut text = String::from(
        "This will remove:\n  - all stopped containers\n  - all networks not used by at least one container\n",
    );
    if matches.on("volumes") {
        text.push_str("  - all anonymous volumes not used by at least one container\n");
    }
    text.push_str(match matches.on("all") {
        true => "  - all images without at least one container associated to them\n",
        false => "  - all dangling images\n",
    });
    text.push_str("  - unused build cache\n");
    let wanted = matches.list("filter");
    if !wanted.is_empty() {
        text.push_str("\n  Items to be pruned will be filtered with:\n");
        text.extend(wanted.iter().map(|filter| format!("  - {filter}\n")));
    }
    text
}

async fn system(context: &Context, matches: &Matches) -> Outcome {
    if !agreed(matches, &system_warning(matches))? {
        return Err(Exit::new("system prune has been cancelled"));
    }
    let client = context.client().await?;
    let wanted = matches.list("filter");
    let mut all = Vec::new();
    all.push(named(
        &prune(client, "containers", wanted).await?,
        "ContainersDeleted",
        "Deleted Containers",
    ));
    all.push(named(
        &prune(client, "networks", wanted).await?,
        "NetworksDeleted",
        "Deleted Networks",
    ));
    if matches.on("volumes") {
        all.push(named(
            &prune(client, "volumes", wanted).await?,
            "VolumesDeleted",
            "Deleted Volumes",
        ));
    }
    all.push(images_report(
        &prune(client, "images", &image_filters(matches)).await?,
    ));
    for pruned in all.iter().filter(|pruned| !pruned.text.is_empty()) {
        line(&pruned.text)?;
    }
    let bytes = all.iter().map(|pruned| pruned.bytes).sum();
    out(&format!(
        "Total reclaimed space: {}\n",
        units::human_size(bytes, 4)
    ))
}
