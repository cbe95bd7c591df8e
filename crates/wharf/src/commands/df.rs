//! `wharf system df`.

use serde_json::Value;
use wharf_client::Url;

use super::{FORMAT_HELP, images, ps, volume};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Command, Context, Flag, Matches, Outcome, switch, text};
use crate::format::rows::{Headers, Row, render, short_id};
use crate::format::units::human_size;
use crate::format::{json, time};
use crate::row;

static FLAGS: &[Flag] = &[
    text("format", FORMAT_HELP),
    switch("verbose", "Show each object").short('v'),
];

/// Show disk usage
pub static COMMAND: Command = Command {
    name: "df",
    about: "Show how much disk is used",
    usage: "[OPTIONS]",
    flags: &[FLAGS],
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

const HEADERS: Headers = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    let url = Url::new(["system", "df"]).with("verbose", 1);
    let usage = objects(client.get(url).await?);
    if matches.on("verbose") {
        return out(&verbose(&usage, matches.text("format"))?);
    }
    let table = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";
    out(&render(
        matches.text("format"),
        table,
        HEADERS,
        summary(&usage),
    )?)
}

/// The objects of each kind, as API 1.51 has them; newer daemons have them one deeper.
fn objects(usage: Value) -> Value {
    if usage.get("ImageUsage").is_none() {
        return usage;
    }
    let items = |kind: &str| usage[kind]["Items"].clone();
    serde_json::json!({
        "LayersSize": usage["ImageUsage"]["TotalSize"],
        "Images": items("ImageUsage"),
        "Containers": items("ContainerUsage"),
        "Volumes": items("VolumeUsage"),
        "BuildCache": items("BuildCacheUsage"),
    })
}

fn line(
    kind: &str,
    items: usize,
    active: usize,
    size: i64,
    reclaimable: i64,
    percent: bool,
) -> Row {
    let share = match percent && size > 0 {
        true => format!(" ({}%)", reclaimable * 100 / size),
        false => String::new(),
    };
    row! {
        "Type" => kind,
        "TotalCount" => items.to_string(),
        "Active" => active.to_string(),
        "Size" => human_size(size, 4),
        "Reclaimable" => format!("{}{share}", human_size(reclaimable, 4)),
    }
}

// The rules of what counts as used are Docker's; see the fields of `GET /system/df`.
fn summary(usage: &Value) -> Vec<Row> {
    let items = |name: &str| json::items(usage, name);
    let images = items("Images");
    let layers = json::int(usage, "LayersSize");
    let used_image = |image: &&Value| json::int(image, "Containers") > 0;
    let used: i64 = images
        .iter()
        .filter(used_image)
        .filter(|image| json::int(image, "Size") != -1 && json::int(image, "SharedSize") != -1)
        .map(|image| json::int(image, "Size") - json::int(image, "SharedSize"))
        .sum();

    let containers = items("Containers");
    let active = |container: &&Value| {
        ["running", "paused", "restarting"]
            .iter()
            .any(|state| json::text(container, "State").contains(state))
    };
    let written = |container: &Value| json::int(container, "SizeRw");
    let idle: i64 = containers
        .iter()
        .filter(|it| !active(it))
        .map(written)
        .sum();

    let volumes = items("Volumes");
    let links = |volume: &&Value| json::int(&volume["UsageData"], "RefCount");
    let size = |volume: &Value| json::int(&volume["UsageData"], "Size").max(0);
    let unused: i64 = volumes.iter().filter(|it| links(it) == 0).map(size).sum();

    let caches = items("BuildCache");
    let own = |cache: &&Value| !json::on(cache, "Shared");
    let cached = |cache: &Value| json::int(cache, "Size");
    let free: i64 = caches
        .iter()
        .filter(own)
        .filter(|it| !json::on(it, "InUse"))
        .map(cached)
        .sum();
    vec![
        line(
            "Images",
            images.len(),
            images.iter().filter(used_image).count(),
            layers,
            layers - used,
            true,
        ),
        line(
            "Containers",
            containers.len(),
            containers.iter().filter(active).count(),
            containers.iter().map(written).sum(),
            idle,
            true,
        ),
        line(
            "Local Volumes",
            volumes.len(),
            volumes.iter().filter(|it| links(it) > 0).count(),
            volumes.iter().map(size).sum(),
            unused,
            true,
        ),
        line(
            "Build Cache",
            caches.len(),
            caches.iter().filter(|it| json::on(it, "InUse")).count(),
            caches.iter().filter(own).map(cached).sum(),
            free,
            false,
        ),
    ]
}

const CACHE_HEADERS: Headers = &[
    ("ID", "CACHE ID"),
    ("Parent", "PARENT"),
    ("CacheType", "CACHE TYPE"),
    ("Size", "SIZE"),
    ("CreatedSince", "CREATED"),
    ("LastUsedSince", "LAST USED"),
    ("UsageCount", "USAGE"),
    ("Shared", "SHARED"),
];

fn cache(cache: &Value) -> Row {
    let since = |name: &str| json::text(cache, name).to_owned();
    let ago = |text: String| time::seconds(&text).map(time::ago).unwrap_or_default();
    row! {
        "ID" => short_id(json::text(cache, "ID")),
        "Parent" => json::text(cache, "Parent"),
        "CacheType" => json::text(cache, "Type"),
        "Size" => human_size(json::int(cache, "Size"), 3),
        "CreatedSince" => ago(since("CreatedAt")),
        "LastUsedSince" => ago(since("LastUsedAt")),
        "UsageCount" => json::int(cache, "UsageCount").to_string(),
        "Shared" => json::on(cache, "Shared").to_string(),
    }
}

fn verbose(usage: &Value, format: &str) -> Result<String, String> {
    let images: Vec<Row> = json::items(usage, "Images")
        .iter()
        .map(images::first_row)
        .collect();
    let containers = json::items(usage, "Containers").iter().map(|container| {
        let mut row = ps::row(container, false)?;
        let size = human_size(json::int(container, "SizeRw"), 3);
        row.insert("Size".to_owned(), size.into());
        Ok(row)
    });
    let containers = containers.collect::<serde_json::Result<Vec<Row>>>();
    let containers = containers.map_err(|error| error.to_string())?;
    let volumes: Vec<Row> = json::items(usage, "Volumes")
        .iter()
        .map(volume::row)
        .collect();
    let caches: Vec<Row> = json::items(usage, "BuildCache").iter().map(cache).collect();
    if !matches!(format, "" | "table") {
        return as_document(format, [images, containers, volumes, caches]);
    }
    let own = json::items(usage, "BuildCache")
        .iter()
        .filter(|cache| !json::on(cache, "Shared"));
    let cached: i64 = own.map(|cache| json::int(cache, "Size")).sum();
    let mut text = String::from("Images space usage:\n\n");
    text += &render(
        "",
        "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}",
        images::HEADERS,
        images,
    )?;
    text += "\nContainers space usage:\n\n";
    text += &render(
        "",
        "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t{{.RunningFor}}\t{{.Status}}\t{{.Names}}",
        ps::HEADERS,
        containers,
    )?;
    text += "\nLocal Volumes space usage:\n\n";
    text += &render(
        "",
        "{{.Name}}\t{{.Links}}\t{{.Size}}",
        volume::HEADERS,
        volumes,
    )?;
    text += &format!("\nBuild cache usage: {}\n\n", human_size(cached, 4));
    text += &render(
        "",
        "{{.ID}}\t{{.CacheType}}\t{{.Size}}\t{{.CreatedSince}}\t{{.LastUsedSince}}\t{{.UsageCount}}\t{{.Shared}}",
        CACHE_HEADERS,
        caches,
    )?;
    Ok(text)
}

fn as_document(format: &str, lists: [Vec<Row>; 4]) -> Result<String, String> {
    let list = |rows: &[Row]| -> Value {
        rows.iter()
            .map(|row| {
                let mut row = row.clone();
                row.remove("__labels");
                row.sort_keys();
                Value::Object(row)
            })
            .collect()
    };
    let document = row! {
        "BuildCache" => list(&lists[3]),
        "Containers" => list(&lists[1]),
        "Images" => list(&lists[0]),
        "Volumes" => list(&lists[2]),
    };
    render(format, "", &[], vec![document])
}
