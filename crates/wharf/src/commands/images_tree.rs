//! `wharf images --tree`: each image with its platforms below it, byte for byte as `docker` 28.2 draws it.

use serde_json::Value;

use crate::format::rows::short_id;
use crate::format::{json, units};

/// Cells between columns.
const SPACING: usize = 3;
/// The columns behind the names: header, width, and whether its cells stand at the right.
const COLUMNS: &[(&str, usize, bool)] = &[
    ("ID", 12, false),
    ("DISK USAGE", 10, true),
    ("CONTENT SIZE", 12, true),
    ("EXTRA", 5, false),
];
const WARNING: &str =
    "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";
const RESET: &str = "\x1b[0m";
const BOLD: &str = "\x1b[39m\x1b[1m";
const NAME: &str = "\x1b[34m\x1b[1m";
const PLAIN: &str = "\x1b[39m";
/// A platform that is not here.
const FAINT: &str = "\x1b[39m\x1b[2m";
const USED: &str = "\x1b[38;5;0m\x1b[48;5;14m U \x1b[0m";

/// A line with cells.
struct Line {
    name: String,
    /// How the name is drawn on a terminal, and the other cells.
    styles: (&'static str, &'static str),
    cells: [String; 3],
    used: bool,
}

/// Where the tree is drawn.
#[derive(Clone, Copy)]
pub struct Canvas {
    /// Cells in a line.
    pub width: usize,
    /// Whether it is a terminal, with colours.
    pub colours: bool,
}

/// Draws the tree.
pub fn render(images: &[Value], canvas: Canvas) -> String {
    let mut images: Vec<&Value> = images.iter().collect();
    images.sort_by_key(|image| std::cmp::Reverse(json::int(image, "Created")));
    let blocks: Vec<(Vec<String>, Vec<Line>)> = images.into_iter().map(block).collect();
    let (columns, room) = fitting(canvas.width);
    let longest = blocks
        .iter()
        .flat_map(|(names, lines)| {
            let lines = lines.iter().map(|line| line.name.len());
            names.iter().map(String::len).chain(lines)
        })
        .chain(["IMAGE".len()])
        .max()
        .unwrap_or_default();
    let width = longest.min(room);
    let mut out = head(columns, width, canvas);
    let spacing = blocks.iter().any(|(_, lines)| lines.len() > 1);
    for (names, lines) in &blocks {
        for name in names {
            // In a file a line is as long as it is.
            let room = if canvas.colours {
                canvas.width
            } else {
                usize::MAX
            };
            out.push_str(&styled(&cut(name, room), NAME, canvas));
            out.push('\n');
        }
        for line in lines {
            draw(&mut out, line, columns, width, canvas);
        }
        if spacing {
            out.push('\n');
        }
    }
    out
}

/// The columns that there is room for, and the cells that they leave for names: at least twelve.
fn fitting(width: usize) -> (&'static [(&'static str, usize, bool)], usize) {
    let mut room = width;
    for (at, (_, width, _)) in COLUMNS.iter().enumerate() {
        let taken = width + SPACING;
        if room < taken + 12 {
            return (&COLUMNS[..at], room);
        }
        room -= taken;
    }
    (COLUMNS, room)
}

/// An image: the names that have lines of their own, and the lines with cells.
fn block(image: &Value) -> (Vec<String>, Vec<Line>) {
    let mut names: Vec<String> = json::texts(image, "RepoTags")
        .into_iter()
        .map(str::to_owned)
        .collect();
    // The shortest stands before the cells.
    names.sort_by_key(|name| std::cmp::Reverse(name.len()));
    let last = names.pop();
    let platforms: Vec<&Value> = json::items(image, "Manifests")
        .iter()
        .filter(|manifest| json::text(manifest, "Kind") == "image")
        .collect();
    let content: i64 = platforms
        .iter()
        .map(|one| json::int(&one["Size"], "Content"))
        .sum();
    let is_used = |one: &Value| !json::items(&one["ImageData"], "Containers").is_empty();
    let style = if last.is_some() { NAME } else { BOLD };
    let mut lines = vec![Line {
        name: last.unwrap_or_else(|| "<untagged>".to_owned()),
        styles: (style, PLAIN),
        cells: [
            short_id(json::text(image, "Id")).to_owned(),
            units::human_size(json::int(image, "Size"), 3),
            units::human_size(content, 3),
        ],
        used: json::int(image, "Containers") > 0 || platforms.iter().any(|one| is_used(one)),
    }];
    for (at, one) in platforms.iter().enumerate() {
        let corner = match at + 1 == platforms.len() {
            true => "└─",
            false => "├─",
        };
        let style = if json::on(one, "Available") {
            PLAIN
        } else {
            FAINT
        };
        lines.push(Line {
            name: format!("{corner} {}", platform(&one["ImageData"]["Platform"])),
            styles: (style, style),
            cells: [
                short_id(json::text(one, "ID")).to_owned(),
                units::human_size(json::int(&one["Size"], "Total"), 3),
                units::human_size(json::int(&one["Size"], "Content"), 3),
            ],
            used: is_used(one),
        });
    }
    (names, lines)
}

fn platform(value: &Value) -> String {
    let parts = ["os", "architecture", "variant"].map(|name| json::text(value, name));
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

/// The warning, the legend at the right, and the headers.
fn head(columns: &[(&str, usize, bool)], width: usize, canvas: Canvas) -> String {
    let (warning, legend, cells) = match canvas.colours {
        true => (
            format!("\x1b[93m{WARNING}{RESET}"),
            format!(
                "\x1b[1m\x1b[106m\x1b[30mi{RESET}{RESET} \x1b[96mInfo → {RESET}{RESET} {USED} In Use "
            ),
            21,
        ),
        false => (WARNING.to_owned(), "Info ->  U In Use ".to_owned(), 18),
    };
    let indent = " ".repeat(canvas.width.saturating_sub(cells));
    let mut out = format!("{warning}\n{indent}{legend}\n\n");
    let mut header = |text: &str, width: usize| {
        // Docker makes headers bold in a file, too.
        out.push_str(&format!("{BOLD}{text}{RESET}"));
        out.push_str(&" ".repeat(width.saturating_sub(text.len())));
    };
    header("IMAGE", width);
    for (text, width, _) in columns {
        header("", SPACING);
        header(text, *width);
    }
    // A column without a text is only space.
    let out = out.replace(&format!("{BOLD}{RESET}"), "");
    format!("{out}\n")
}

fn draw(
    out: &mut String,
    line: &Line,
    columns: &[(&str, usize, bool)],
    width: usize,
    canvas: Canvas,
) {
    let name = cut(&line.name, width);
    out.push_str(&styled(&name, line.styles.0, canvas));
    out.push_str(&" ".repeat(width.saturating_sub(name.chars().count())));
    for (at, (_, width, right)) in columns.iter().enumerate() {
        out.push_str(&" ".repeat(SPACING));
        let Some(cell) = line.cells.get(at) else {
            out.push_str(match (line.used, canvas.colours) {
                (true, true) => USED,
                (true, false) => " U ",
                (false, _) => "   ",
            });
            out.push_str("  ");
            continue;
        };
        let space = " ".repeat(width.saturating_sub(cell.len()));
        let cell = styled(cell, line.styles.1, canvas);
        match right {
            true => out.push_str(&format!("{space}{cell}")),
            false => out.push_str(&format!("{cell}{space}")),
        }
    }
    out.push('\n');
}

/// The text, cut to a number of cells.
fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width && width > 0 {
        true => text.chars().take(width - 1).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

fn styled(text: &str, style: &str, canvas: Canvas) -> String {
    match canvas.colours {
        true => format!("{style}{text}{RESET}"),
        false => text.to_owned(),
    }
}
