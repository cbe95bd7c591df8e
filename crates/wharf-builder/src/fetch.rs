//! What a build takes from addresses.

use std::path::{Path, PathBuf};

use http::header;
use jiff::Timestamp;
use percent_encoding::percent_decode_str;
use rustix::fs::{Timespec, Timestamps};
use tokio::io::AsyncWriteExt as _;
use wharf_distribution::{Config, Download};

use crate::BuildError;

/// What stands for a password.
const HIDDEN: &str = "xxxxx";

/// What a file is called that says nothing of its name.
pub const UNNAMED: &str = "__unnamed__";

/// A file that was downloaded.
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// Its name, unless nobody has said one.
    pub name: Option<String>,
    /// What the server says it is.
    pub content_type: String,
}

/// Whether a source is an address.
pub fn is_url(text: &str) -> bool {
    text.starts_with("http://") || text.starts_with("https://")
}

/// Downloads into `folder`. The file's time is what the server says of it, else 1970; its mode 0600, as Docker's.
///
/// # Errors
/// If it cannot be had or written.
pub async fn download(url: &str, folder: &Path, config: &Config) -> Result<Fetched, BuildError> {
    let failed = |error: wharf_distribution::RegistryError| BuildError::Failed(error.to_string());
    let mut answer = Download::open(config.clone(), url).await.map_err(failed)?;
    if !answer.is_success() {
        let mut body = Vec::new();
        while let Ok(Some(bytes)) = answer.chunk().await {
            body.extend_from_slice(&bytes);
            if body.len() > 1024 {
                break;
            }
        }
        let body = String::from_utf8_lossy(&body).trim().to_owned();
        return Err(BuildError::Failed(format!(
            "failed to GET {} with status {}: {body}",
            redacted(url),
            answer.status()
        )));
    }
    let name = name_of(url, answer.header(header::CONTENT_DISPOSITION));
    let path = folder.join(name.as_deref().unwrap_or(UNNAMED));
    let io = BuildError::io("write what was downloaded");
    let mut options = tokio::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600);
    let mut file = file.open(&path).await.map_err(&io)?;
    while let Some(bytes) = answer.chunk().await.map_err(failed)? {
        file.write_all(&bytes).await.map_err(&io)?;
    }
    file.flush().await.map_err(&io)?;
    let modified = answer.header(header::LAST_MODIFIED);
    let seconds =
        jiff::fmt::rfc2822::parse(modified).map_or(0, |time| time.timestamp().as_second());
    let time = Timespec {
        tv_sec: seconds,
        tv_nsec: 0,
    };
    let times = Timestamps {
        last_access: time,
        last_modification: time,
    };
    rustix::fs::futimens(file.into_std().await, &times).map_err(|error| io(error.into()))?;
    Ok(Fetched {
        path,
        name,
        content_type: answer.header(header::CONTENT_TYPE).to_owned(),
    })
}

/// The last name of the address' path, else of what the server proposes. Never one that leads anywhere.
fn name_of(url: &str, disposition: &str) -> Option<String> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or("", |(_, rest)| rest);
    let path = path.split_once('/').map_or("", |(_, path)| path);
    let last = path.rsplit('/').next().unwrap_or_default();
    let decoded = percent_decode_str(last).decode_utf8_lossy().into_owned();
    let proposed = disposition
        .split(';')
        .find_map(|part| part.trim().strip_prefix("filename="))
        .unwrap_or_default()
        .trim_matches('"');
    let good = |name: &&str| !matches!(*name, "" | "." | "..") && !name.contains(['/', '\0']);
    let found = [decoded.as_str(), proposed].into_iter().find(good);
    found.map(str::to_owned)
}

/// Whether the file is a tar archive, compressed or not: its first header has the right sum.
pub fn is_archive(path: &Path) -> bool {
    std::fs::File::open(path).is_ok_and(starts_an_archive)
}

/// Whether what is read begins with a header of a tar archive, behind any compression that we know.
pub fn starts_an_archive(reader: impl std::io::Read) -> bool {
    let Ok(mut plain) = wharf_layer::decompress(reader) else {
        return false;
    };
    let mut header = [0_u8; 512];
    if std::io::Read::read_exact(&mut plain, &mut header).is_err() {
        return false;
    }
    let field = String::from_utf8_lossy(&header[148..156]).into_owned();
    let field = field.trim_matches([' ', '\0']);
    let Ok(expected) = u32::from_str_radix(field, 8) else {
        return false;
    };
    // The sum counts its own field as blanks (POSIX ustar).
    let sum = |range: std::ops::Range<usize>| -> u32 {
        header[range].iter().map(|byte| u32::from(*byte)).sum()
    };
    sum(0..148) + sum(156..512) + 8 * u32::from(b' ') == expected
}

/// A text without what addresses in it say of who asks: nothing of a password or a token is shown or kept anywhere, and what
/// stands for a user may be one (BuildKit's `util/urlutil`). The user of an ssh address stays.
pub fn redacted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, address) = rest.split_at(at + 3);
        shown.push_str(before);
        let is_end = |letter: char| letter.is_whitespace() || "/?#\"'`<>\\".contains(letter);
        let (authority, after) = address.split_at(address.find(is_end).unwrap_or(address.len()));
        match authority.rsplit_once('@') {
            Some((user, host)) => {
                let (user, password) = match user.split_once(':') {
                    Some((user, _)) => (user, format!(":{HIDDEN}")),
                    None => (user, String::new()),
                };
                let user = match before.ends_with("ssh://") {
                    true => user,
                    false => HIDDEN,
                };
                shown.push_str(&format!("{user}{password}@"));
                shown.push_str(host);
            }
            None => shown.push_str(authority),
        }
        rest = after;
    }
    shown + rest
}

/// Now, as configurations have it.
pub fn now() -> String {
    Timestamp::now().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_tokens_are_not_shown() {
        for (text, shown) in [
            (
                "https://u:p@h.example/a.git#v1",
                "https://xxxxx:xxxxx@h.example/a.git#v1",
            ),
            ("https://token@h.example/a", "https://xxxxx@h.example/a"),
            ("ssh://git@h.example/a", "ssh://git@h.example/a"),
            ("git@h.example:a/b.git", "git@h.example:a/b.git"),
            (
                "ADD https://u:p@ss@h/x /y",
                "ADD https://xxxxx:xxxxx@h/x /y",
            ),
            ("https://TOKEN:@h/a", "https://xxxxx:xxxxx@h/a"),
            ("https://TOKEN:x-oauth-basic@h/a", "https://xxxxx:xxxxx@h/a"),
            ("ssh://git:p@h.example/a", "ssh://git:xxxxx@h.example/a"),
            (
                "'https://u:p@h' https://a:b@c/",
                "'https://xxxxx:xxxxx@h' https://xxxxx:xxxxx@c/",
            ),
            ("https://h/a@b", "https://h/a@b"),
            ("docker-image://h/a@sha256:0", "docker-image://h/a@sha256:0"),
            ("no address", "no address"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    #[test]
    fn files_get_harmless_names() {
        assert_eq!(name_of("http://h/a/b%20c?x=1", "").as_deref(), Some("b c"));
        assert_eq!(name_of("http://h/a/..%2f..%2fetc", ""), None);
        assert_eq!(
            name_of("http://h/", "attachment; filename=\"x\"").as_deref(),
            Some("x")
        );
        assert_eq!(name_of("http://h", "attachment; filename=../x"), None);
    }

    #[test]
    fn archives_are_known_by_their_sum() {
        let mut archive = Vec::new();
        let mut header = vec![0_u8; 512];
        header[..1].copy_from_slice(b"a");
        header[148..156].copy_from_slice(b"        ");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend_from_slice(&header);
        assert!(starts_an_archive(&archive[..]));
        archive[0] = b'b';
        assert!(!starts_an_archive(&archive[..]));
        assert!(!starts_an_archive(&b"text"[..]));
    }
}
