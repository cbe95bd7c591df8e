//! Progress of pulls and loads, drawn as Docker draws it: one line per layer, overwritten in place on a terminal;
//! without one, only the lines that do not move.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};

use rustix::termios::tcgetwinsize;
use serde::Deserialize;
use serde_json::Value;
use wharf_client::BodyStream;

use crate::cli::{Exit, Outcome};
use crate::format::units::human_size;

/// One line of Docker's progress stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Message {
    stream: Option<String>,
    status: Option<String>,
    id: Option<String>,
    #[serde(rename = "progressDetail")]
    detail: Option<Detail>,
    error: Option<String>,
    #[serde(rename = "errorDetail")]
    error_detail: Option<Value>,
    aux: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    current: i64,
    total: i64,
    units: String,
    hidecounts: bool,
}

impl Detail {
    fn bar(&self, width: u16) -> String {
        if self.current <= 0 && self.total <= 0 {
            return String::new();
        }
        if self.total <= 0 {
            return match self.units.as_str() {
                "" => format!("{:>8}", human_size(self.current, 4)),
                units => format!("{} {units}", self.current),
            };
        }
        let half = ((self.current as f64 / self.total as f64 * 100.0) as usize / 2).min(50);
        let mut bar = String::new();
        if width > 110 {
            bar = format!("[{}>{}] ", "=".repeat(half), " ".repeat(50 - half));
        }
        if self.hidecounts {
            return bar;
        }
        match self.units.as_str() {
            "" => {
                bar.push_str(&format!("{:>8}", human_size(self.current, 4)));
                if self.current <= self.total {
                    bar.push_str(&format!("/{}", human_size(self.total, 4)));
                }
            }
            units if self.current <= self.total => {
                bar.push_str(&format!("{}/{} {units}", self.current, self.total));
            }
            units => bar.push_str(&format!("{} {units}", self.current)),
        }
        bar
    }
}

/// Draws messages.
pub struct Display<W> {
    out: W,
    /// Columns of the terminal; `None` without one.
    width: Option<u16>,
    lines: HashMap<String, usize>,
}

impl<W: Write> Display<W> {
    /// Draws on `out`; `width` is that of the terminal it is, if it is one.
    pub fn new(out: W, width: Option<u16>) -> Display<W> {
        Display {
            out,
            width,
            lines: HashMap::new(),
        }
    }

    /// Draws one message; an error message is the failure of the whole stream.
    pub fn show(&mut self, message: &Message) -> Outcome {
        if message.aux.is_some() {
            return Ok(());
        }
        let id = message.id.as_deref().filter(|id| !id.is_empty());
        let mut up = 0;
        match (id, &message.detail) {
            (Some(id), Some(_)) => up = self.line_of(id)?,
            // Anything else scrolls: lines drawn before are out of reach.
            _ => self.lines.clear(),
        }
        if up > 0 && self.width.is_some() {
            write!(self.out, "\x1b[{up}A")?;
        }
        let drawn = self.draw(message);
        if up > 0 && self.width.is_some() {
            write!(self.out, "\x1b[{up}B")?;
        }
        self.out.flush()?;
        drawn
    }

    fn line_of(&mut self, id: &str) -> std::io::Result<usize> {
        let count = self.lines.len();
        let line = match self.lines.get(id) {
            Some(line) => *line,
            None => {
                self.lines.insert(id.to_owned(), count);
                if self.width.is_some() {
                    writeln!(self.out)?;
                }
                count
            }
        };
        Ok(self.lines.len() - line)
    }

    fn draw(&mut self, message: &Message) -> Outcome {
        if let Some(error) = error_of(message) {
            return Err(error);
        }
        let bar = message
            .detail
            .as_ref()
            .map(|detail| detail.bar(self.width.unwrap_or(200)));
        let mut end = "";
        match (&bar, self.width) {
            (Some(_), Some(_)) if message.stream.is_none() => {
                end = "\r";
                write!(self.out, "\x1b[2K\r")?;
            }
            // Bars are for terminals.
            (Some(bar), None) if !bar.is_empty() => return Ok(()),
            _ => {}
        }
        if let Some(id) = message.id.as_deref().filter(|id| !id.is_empty()) {
            write!(self.out, "{id}: ")?;
        }
        let status = message.status.as_deref().unwrap_or_default();
        match (bar, self.width, &message.stream) {
            (Some(bar), Some(_), _) => write!(self.out, "{status} {bar}{end}")?,
            (_, _, Some(stream)) => write!(self.out, "{stream}{end}")?,
            _ => writeln!(self.out, "{status}{end}")?,
        }
        Ok(())
    }
}

/// The failure that a message tells of; a command of a build that failed passes its exit code on.
fn error_of(message: &Message) -> Option<Exit> {
    let detail = message.error_detail.as_ref();
    let text = detail.and_then(|detail| detail["message"].as_str());
    let text = text.map(str::to_owned).or_else(|| message.error.clone())?;
    let code = detail.and_then(|detail| detail["code"].as_i64());
    let code = code.and_then(|code| i32::try_from(code).ok());
    Some(match code {
        None | Some(0) => Exit::new(text),
        Some(code) => Exit::with_code(code, text),
    })
}

/// Shows a whole stream on standard output or standard error.
pub async fn show(stream: BodyStream, to_stderr: bool) -> Outcome {
    show_all(stream, to_stderr).await.map(drop)
}

/// Shows a build on standard output; the id of its image.
pub async fn show_build(stream: BodyStream) -> Outcome<String> {
    show_all(stream, false).await
}

/// The last id that the stream has told beside its text.
async fn show_all(mut stream: BodyStream, to_stderr: bool) -> Outcome<String> {
    let (out, is_terminal): (Box<dyn Write>, bool) = match to_stderr {
        true => (Box::new(std::io::stderr()), std::io::stderr().is_terminal()),
        false => (Box::new(std::io::stdout()), std::io::stdout().is_terminal()),
    };
    let size = if to_stderr {
        tcgetwinsize(std::io::stderr())
    } else {
        tcgetwinsize(std::io::stdout())
    };
    let width = is_terminal.then(|| size.map_or(200, |size| size.ws_col));
    let mut display = Display::new(out, width);
    let mut id = String::new();
    while let Some(message) = stream.next::<Message>().await? {
        if let Some(found) = message.aux.as_ref().and_then(|aux| aux["ID"].as_str()) {
            id = found.to_owned();
        }
        display.show(&message)?;
    }
    Ok(id)
}

/// Reads a whole stream without showing it; fails as it fails.
pub async fn discard(stream: BodyStream) -> Outcome {
    collect(stream).await.map(drop)
}

/// The text of a whole stream, which is shown only if it fails.
pub async fn collect(mut stream: BodyStream) -> Outcome<String> {
    let mut text = String::new();
    while let Some(message) = stream.next::<Message>().await? {
        if let Some(error) = error_of(&message) {
            std::io::stdout().write_all(text.as_bytes())?;
            return Err(error);
        }
        text.push_str(message.stream.as_deref().unwrap_or_default());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PULL: &[&str] = &[
        r#"{"status":"Pulling from library/x","id":"latest"}"#,
        r#"{"status":"Pulling fs layer","progressDetail":{},"id":"aaa"}"#,
        r#"{"status":"Pulling fs layer","progressDetail":{},"id":"bbb"}"#,
        r#"{"status":"Downloading","progressDetail":{"current":500,"total":1000},"id":"aaa"}"#,
        r#"{"status":"Pull complete","progressDetail":{},"id":"aaa"}"#,
        r#"{"status":"Digest: sha256:1"}"#,
    ];

    fn draw(width: Option<u16>) -> String {
        let mut out = Vec::new();
        let mut display = Display::new(&mut out, width);
        for line in PULL {
            display.show(&serde_json::from_str(line).unwrap()).unwrap();
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_without_a_terminal() {
        let expected = "latest: Pulling from library/x\naaa: Pulling fs layer\nbbb: Pulling fs layer\naaa: Pull complete\nDigest: sha256:1\n";
        assert_eq!(draw(None), expected);
    }

    #[test]
    fn bars_on_a_terminal() {
        let bar = format!("[{}>{}]     500B/1kB", "=".repeat(25), " ".repeat(25));
        let expected = format!(
            "latest: Pulling from library/x\n\
             \n\x1b[1A\x1b[2K\raaa: Pulling fs layer \r\x1b[1B\
             \n\x1b[1A\x1b[2K\rbbb: Pulling fs layer \r\x1b[1B\
             \x1b[2A\x1b[2K\raaa: Downloading {bar}\r\x1b[2B\
             \x1b[2A\x1b[2K\raaa: Pull complete \r\x1b[2B\
             Digest: sha256:1\n"
        );
        assert_eq!(draw(Some(120)), expected);
    }

    #[test]
    fn an_error_in_the_stream_is_an_error() {
        let mut display = Display::new(Vec::new(), None);
        let message =
            serde_json::from_str(r#"{"errorDetail":{"message":"no"},"error":"no"}"#).unwrap();
        assert_eq!(display.show(&message).unwrap_err().message, "no");
    }
}
