//! `wharf images --tree`: each image with its platforms below it.

use serde_json::Value;

use crate::format::rows::short_id;
use crate::format::{json, units};

struct Line {
    name: String,
    id: String,
    usage: String,
    content: String,
    used: bool,
}

/// Draws the tree. A daemon that keeps one platform of each image shows no branches.
pub fn render(images: &[Value], full: bool) -> String {
    let id = |id: &str| {
        if full {
            id.to_owned()
        } else {
            short_id(id).to_owned()
        }
    };
    let mut lines = Vec::new();
    for image in images {
        let names = json::texts(image, "RepoTags");
        let first = names.first().copied().unwrap_or("<untagged>");
        for name in names.iter().take(names.len().saturating_sub(1)) {
            lines.push(Line {
                name: (*name).to_owned(),
                id: String::new(),
                usage: String::new(),
                content: String::new(),
                used: false,
            });
        }
        let last = names.last().copied().unwrap_or(first);
        lines.push(Line {
            name: last.to_owned(),
            id: id(json::text(image, "Id")),
            usage: units::human_size(json::int(image, "Size"), 3),
            content: content(image),
            used: json::int(image, "Containers") > 0,
        });
        let platforms: Vec<&Value> = json::items(image, "Manifests")
            .iter()
            .filter(|manifest| json::text(manifest, "Kind") == "image")
            .collect();
        for (index, manifest) in platforms.iter().enumerate() {
            let corner = if index + 1 == platforms.len() {
                "└─"
            } else {
                "├─"
            };
            lines.push(Line {
                name: format!("{corner} {}", platform(&manifest["ImageData"]["Platform"])),
                id: id(json::text(manifest, "ID")),
                usage: units::human_size(json::int(&manifest["Size"], "Total"), 3),
                content: units::human_size(json::int(&manifest["Size"], "Content"), 3),
                used: !json::items(&manifest["ImageData"], "Containers").is_empty(),
            });
        }
    }
    draw(&lines)
}

fn content(image: &Value) -> String {
    let manifests = json::items(image, "Manifests");
    let sum: i64 = manifests
        .iter()
        .map(|manifest| json::int(&manifest["Size"], "Content"))
        .sum();
    if manifests.is_empty() {
        String::new()
    } else {
        units::human_size(sum, 3)
    }
}

fn platform(value: &Value) -> String {
    let parts = ["os", "architecture", "variant"].map(|name| json::text(value, name));
    parts
        .iter()
        .filter(|part| !part.is_empty())
        .copied()
        .collect::<Vec<_>>()
        .join("/")
}

fn draw(lines: &[Line]) -> String {
    let headers = Line {
        name: "IMAGE".to_owned(),
        id: "ID".to_owned(),
        usage: "DISK USAGE".to_owned(),
        content: "CONTENT SIZE".to_owned(),
        used: false,
    };
    let width = |cell: fn(&Line) -> &str| {
        lines
            .iter()
            .chain([&headers])
            .map(|line| cell(line).chars().count())
            .max()
            .unwrap_or_default()
    };
    let (name, id) = (width(|line| &line.name), width(|line| &line.id));
    let mut out = String::new();
    for (index, line) in [&headers].into_iter().chain(lines).enumerate() {
        let extra = match (index, line.used) {
            (0, _) => "EXTRA",
            (_, true) => "U",
            _ => "",
        };
        let text = format!(
            "{:name$}   {:id$}   {:>10}   {:>12}   {extra}",
            line.name, line.id, line.usage, line.content
        );
        out.push_str(text.trim_end());
        out.push('\n');
    }
    out.push_str("\nU: in use by a container\n");
    out
}
