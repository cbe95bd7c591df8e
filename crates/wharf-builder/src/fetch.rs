//! What a build takes from other places: files at addresses, git repositories.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use http::header;
use jiff::Timestamp;
use rustix::fs::{Timespec, Timestamps};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
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
    let decoded: String = form_urlencoded(last);
    let proposed = disposition
        .split(';')
        .find_map(|part| part.trim().strip_prefix("filename="))
        .unwrap_or_default()
        .trim_matches('"');
    let good = |name: &&str| !matches!(*name, "" | "." | "..") && !name.contains(['/', '\0']);
    let found = [decoded.as_str(), proposed].into_iter().find(good);
    found.map(str::to_owned)
}

/// `%41` as `A`.
fn form_urlencoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let hex = more.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        let hex = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (first, hex) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(first);
                rest = more;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
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

/// A text without what addresses in it say of who asks: nothing of a password or a token is shown or kept anywhere. The
/// user of a password stays, and so does the one of an ssh address, as with BuildKit (`util/urlutil`).
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
                match user.split_once(':') {
                    Some((user, _)) => shown.push_str(&format!("{user}:{HIDDEN}@")),
                    None if before.ends_with("ssh://") => shown.push_str(&format!("{user}@")),
                    None => shown.push_str(&format!("{HIDDEN}@")),
                }
                shown.push_str(host);
            }
            None => shown.push_str(authority),
        }
        rest = after;
    }
    shown + rest
}

/// A git repository, a place in it and a folder of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitUrl {
    /// Its address.
    pub repository: String,
    /// A branch, tag or commit; empty for its own choice.
    pub reference: String,
    /// A folder in it; empty for all.
    pub folder: String,
}

/// `text` as a repository, if it looks like one (moby `builder/remotecontext/urlutil`).
pub fn git_url(text: &str) -> Option<GitUrl> {
    let (repository, fragment) = text.split_once('#').unwrap_or((text, ""));
    let web = repository.starts_with("http://") || repository.starts_with("https://");
    let other = ["git://", "ssh://", "github.com/", "git@"]
        .iter()
        .any(|prefix| repository.starts_with(prefix));
    let is_git = other || (web && repository.ends_with(".git"));
    if !is_git {
        return None;
    }
    let repository = match repository.starts_with("github.com/") {
        true => format!("https://{repository}"),
        false => repository.to_owned(),
    };
    let (reference, folder) = fragment.split_once(':').unwrap_or((fragment, ""));
    Some(GitUrl {
        repository,
        reference: reference.to_owned(),
        folder: folder.to_owned(),
    })
}

/// A program `git` in a folder.
struct Git<'a> {
    folder: &'a Path,
    /// The socket of the client's ssh agent.
    agent: Option<&'a Path>,
}

/// Whether a repository is reached by ssh.
pub fn is_ssh(repository: &str) -> bool {
    match repository.split_once("://") {
        Some((scheme, _)) => scheme == "ssh",
        None => repository.contains('@'),
    }
}

/// Fetches one commit of a repository into `path`, with the `git` of the host; by ssh with the client's `agent` alone: nothing
/// is opened with what the host's own user has.
///
/// # Errors
/// What git says.
pub async fn clone(url: &GitUrl, path: &Path, agent: Option<&Path>) -> Result<(), BuildError> {
    let git = Git {
        folder: path,
        agent,
    };
    let reference = match url.reference.as_str() {
        "" => "HEAD",
        text if text.starts_with('-') => {
            return Err(BuildError::Invalid(format!("invalid refspec: {text}")));
        }
        text => text,
    };
    std::fs::create_dir(path).map_err(BuildError::io("make a folder for the repository"))?;
    git.run(&["init", "--quiet"]).await?;
    git.run(&["remote", "add", "origin", "--", &url.repository])
        .await?;
    let fetch = [
        "fetch", "--quiet", "--depth", "1", "origin", "--", reference,
    ];
    if let Err(shallow) = git.run(&fetch).await {
        // Servers that give no single commit by its digest give everything.
        let whole = ["fetch", "--quiet", "--tags", "origin"];
        git.run(&whole).await.map_err(|_| shallow)?;
        git.run(&["checkout", "--quiet", reference, "--"]).await?;
    } else {
        git.run(&["checkout", "--quiet", "FETCH_HEAD", "--"])
            .await?;
    }
    let modules = [
        "submodule",
        "update",
        "--init",
        "--recursive",
        "--depth",
        "1",
    ];
    git.run(&modules).await.map(drop)
}

/// The commit that is checked out in a repository.
///
/// # Errors
/// What git says.
pub async fn commit(path: &Path) -> Result<String, BuildError> {
    let git = Git {
        folder: path,
        agent: None,
    };
    git.run(&["rev-parse", "HEAD"]).await
}

/// What git and ssh are told of the daemon's variables: how to reach the net, and whom to trust there.
const KEPT: [&str; 12] = [
    "PATH",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "GIT_SSL_CAINFO",
];

/// ssh without any key of the host's: OpenSSH looks for them in the home that the system knows, whatever `HOME` says. Nobody
/// is there to be asked whether a server is who it should be; as with BuildKit, one that is new is taken.
const SSH: &str = "ssh -F none -o IdentityFile=none -o BatchMode=yes -o PasswordAuthentication=no \
                   -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/dev/null -o ForwardAgent=no";

impl Git<'_> {
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("git");
        command
            .current_dir(self.folder)
            .args(arguments)
            .env_clear()
            // Nothing is asked at a terminal, and no protocol that runs programs (`ext::`) or reads our disk.
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_PROTOCOL_FROM_USER", "0")
            .env("GIT_ALLOW_PROTOCOL", "https:http:ssh:git")
            .env("GIT_SSH_COMMAND", SSH)
            // No settings: one could name programs to run, or have credentials of the host's.
            .env("HOME", "/nonexistent")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        for name in KEPT {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(agent) = self.agent {
            command.env("SSH_AUTH_SOCK", agent);
        }
        command
    }

    /// Runs it; what it says.
    async fn run(&self, arguments: &[&str]) -> Result<String, BuildError> {
        let output = self.command(arguments).output().await;
        let output = output.map_err(|error| {
            BuildError::Failed(format!(
                "unable to find git on the host, which git contexts need: {error}"
            ))
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let text = redacted(text.trim());
        let verb = arguments.first().copied().unwrap_or_default();
        Err(BuildError::Failed(format!(
            "error in git {verb}: {text}: {}",
            output.status
        )))
    }
}

/// Now, as configurations have it.
pub fn now() -> String {
    Timestamp::now().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_files() {
        let git = git_url("https://h.example/a/b.git#v1:sub/x").unwrap();
        assert_eq!(git.repository, "https://h.example/a/b.git");
        assert_eq!(
            (git.reference.as_str(), git.folder.as_str()),
            ("v1", "sub/x")
        );
        assert_eq!(
            git_url("github.com/a/b").unwrap().repository,
            "https://github.com/a/b"
        );
        assert!(git_url("https://h.example/a.tar.gz").is_none());
        assert!(git_url("git@h.example:a/b.git").is_some());
    }

    #[test]
    fn passwords_and_tokens_are_not_shown() {
        for (text, shown) in [
            (
                "https://u:p@h.example/a.git#v1",
                "https://u:xxxxx@h.example/a.git#v1",
            ),
            ("https://token@h.example/a", "https://xxxxx@h.example/a"),
            ("ssh://git@h.example/a", "ssh://git@h.example/a"),
            ("git@h.example:a/b.git", "git@h.example:a/b.git"),
            ("ADD https://u:p@ss@h/x /y", "ADD https://u:xxxxx@h/x /y"),
            (
                "'https://u:p@h' https://a:b@c/",
                "'https://u:xxxxx@h' https://a:xxxxx@c/",
            ),
            ("https://h/a@b", "https://h/a@b"),
            ("docker-image://h/a@sha256:0", "docker-image://h/a@sha256:0"),
            ("no address", "no address"),
        ] {
            assert_eq!(redacted(text), shown);
        }
    }

    /// What git is run with, told by git itself.
    #[tokio::test]
    async fn git_has_nothing_of_the_hosts() {
        let dir = tempfile::tempdir().unwrap();
        let told = async |agent| {
            let git = Git {
                folder: dir.path(),
                agent,
            };
            git.run(&["-c", "alias.show-env=!env", "show-env"])
                .await
                .unwrap()
        };
        let alone = told(None).await;
        assert!(alone.contains("IdentityFile=none") && alone.contains("HOME=/nonexistent"));
        // The test itself has some of these.
        assert!(!alone.contains("CARGO") && !alone.contains("SSH_AUTH_SOCK"));
        let agent = Path::new("/run/agent.sock");
        assert!(
            told(Some(agent))
                .await
                .contains("SSH_AUTH_SOCK=/run/agent.sock")
        );
        assert!(is_ssh("git@h:a") && is_ssh("ssh://h/a") && !is_ssh("https://u@h/a"));
        // A repository on our disk is no repository that anybody may have.
        let url = GitUrl {
            repository: dir.path().display().to_string(),
            reference: String::new(),
            folder: String::new(),
        };
        let error = clone(&url, &dir.path().join("x"), None).await.unwrap_err();
        assert!(error.to_string().contains("'file' not allowed"), "{error}");
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
