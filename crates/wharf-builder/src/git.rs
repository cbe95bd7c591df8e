//! Git repositories that a build takes files from.
//!
//! What opens a repository, passwords and tokens, and whom ssh trusts is written into a folder in memory that git has for its
//! home. So nothing of it is in an argument, which everybody on the host sees, nor in the repository, which a build may keep.

mod redirect;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::percent_decode_str;
use tokio::process::Command;

use crate::BuildError;
use crate::fetch::redacted;

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

impl GitUrl {
    /// `text` as a repository, if it looks like one (moby `builder/remotecontext/urlutil`).
    pub fn read(text: &str) -> Option<Self> {
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
        Some(Self {
            repository,
            reference: reference.to_owned(),
            folder: folder.to_owned(),
        })
    }

    /// The commit that it names, if it names one.
    pub fn commit(&self) -> Option<&str> {
        commit(&self.reference)
    }
}

/// The commit that a source of BuildKit's names (`git://…#<commit>[:<folder>]`), if it names one.
pub fn commit_of(identifier: &str) -> Option<&str> {
    let (_, fragment) = identifier.strip_prefix("git://")?.split_once('#')?;
    commit(fragment.split(':').next()?)
}

fn commit(reference: &str) -> Option<&str> {
    let is_commit = reference.len() == 40 && reference.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_commit.then_some(reference)
}

/// Whether a repository is reached by ssh.
pub fn is_ssh(repository: &str) -> bool {
    match repository.split_once("://") {
        Some((scheme, _)) => scheme == "ssh",
        None => repository.contains('@'),
    }
}

/// The host of a repository that is on the web, with its port.
pub fn web_host(repository: &str) -> Option<&str> {
    let rest = repository.strip_prefix("https://");
    let rest = rest.or_else(|| repository.strip_prefix("http://"))?;
    let (authority, _) = rest.split_at(end_of_authority(rest));
    Some(
        authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host),
    )
}

fn end_of_authority(rest: &str) -> usize {
    rest.find(['/', '?', '#']).unwrap_or(rest.len())
}

/// What an address says of who asks, as git takes it from its home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// A line of git's credential store: shown to a server of that host that asks for it, and to no other.
    Stored(String),
    /// The value of the header `Authorization`, for a password or token without a name: git shows none such by itself.
    Header(String),
}

/// An address without what it says of who asks (the user of ssh stays), and that.
pub fn parted(address: &str) -> (String, Option<Login>) {
    let whole = || (address.to_owned(), None);
    let Some((scheme, rest)) = address.split_once("://") else {
        return whole();
    };
    let (authority, path) = rest.split_at(end_of_authority(rest));
    let Some((user, host)) = authority.rsplit_once('@') else {
        return whole();
    };
    // A token may stand alone. It is a name without a password then, and no terminal is there to ask for one.
    let (name, password) = user.split_once(':').unwrap_or((user, ""));
    if !matches!(scheme, "http" | "https") {
        // Nobody there takes a password from an address.
        return (format!("{scheme}://{name}@{host}{path}"), None);
    }
    let login = match (name, password) {
        ("", "") => None,
        ("", password) => {
            let password: Vec<u8> = percent_decode_str(password).collect();
            let pair = [b":".as_slice(), &password].concat();
            Some(Login::Header(format!("basic {}", BASE64.encode(pair))))
        }
        (name, password) => {
            let (name, password) = (name.replace('@', "%40"), password.replace('@', "%40"));
            Some(Login::Stored(format!(
                "{scheme}://{name}:{password}@{host}\n"
            )))
        }
    };
    (format!("{scheme}://{host}{path}"), login)
}

/// What git is given of its client. Nothing is opened with what the host's own user has.
pub struct Access<'a> {
    /// An empty folder in memory that nobody else may look into: git's home.
    pub home: &'a Path,
    /// The socket of the client's ssh agent.
    pub agent: Option<&'a Path>,
    /// Lines of a `known_hosts`: ssh trusts these servers and no other. Without, it trusts one that is new.
    pub known_hosts: Option<&'a str>,
    /// The value of the header `Authorization` for the repository.
    pub authorization: Option<&'a str>,
}

/// What becomes of the `.git` of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Own {
    /// It stays, without a trace of how and when it came here.
    Kept,
    /// The files alone are wanted.
    Dropped,
}

/// Fetches one commit of a repository into `path`, with the `git` of the host; which commit it is.
///
/// # Errors
/// What git says; if the disk refuses.
pub async fn clone(
    url: &GitUrl,
    path: &Path,
    own: Own,
    access: &Access<'_>,
) -> Result<String, BuildError> {
    let reference = match url.reference.as_str() {
        "" => "HEAD",
        text if text.starts_with('-') => {
            return Err(BuildError::Invalid(format!("invalid refspec: {text}")));
        }
        text => text,
    };
    let (repository, login) = parted(&url.repository);
    let git = Git::new(path, access)?;
    let header = access.write(&repository, login.as_ref())?;
    std::fs::create_dir(path).map_err(BuildError::io("make a folder for the repository"))?;
    git.run(&["init", "--quiet"]).await?;
    git.run(&["remote", "add", "origin", "--", &repository])
        .await?;
    let fetch = [
        "fetch", "--quiet", "--depth", "1", "origin", "--", reference,
    ];
    let mut fetched = git.run(&fetch).await;
    let redirected = match (&fetched, header) {
        (Err(_), Some(value)) => git.follow(&repository, value).await?,
        _ => false,
    };
    if redirected {
        fetched = git.run(&fetch).await;
    }
    if let Err(shallow) = fetched {
        // Servers that give no single commit by its digest, or know no depth, give everything. Their own choice is no branch of
        // ours then, and is fetched by its name.
        let whole = ["fetch", "--quiet", "--tags", "origin", "HEAD"];
        let (named, found) = match reference {
            "HEAD" => (&whole[..], "FETCH_HEAD"),
            other => (&whole[..4], other),
        };
        git.run(named).await.map_err(|_| shallow)?;
        git.run(&["checkout", "--quiet", found, "--"]).await?;
    } else {
        git.run(&["checkout", "--quiet", "FETCH_HEAD", "--"])
            .await?;
    }
    if redirected {
        // What it calls its origin is what was asked for, and so are the places beside it.
        git.move_origin(&repository).await?;
    }
    let modules = [
        "submodule",
        "update",
        "--init",
        "--recursive",
        "--depth",
        "1",
    ];
    git.run(&modules).await?;
    let commit = git.run(&["rev-parse", "HEAD"]).await?;
    match own {
        Own::Kept => git.forget().await?,
        Own::Dropped => {
            let own = path.join(".git");
            let gone = tokio::task::spawn_blocking(move || wharf_sys::trash::remove_tree(&own));
            let gone = gone.await.unwrap_or_else(|error| Err(error.into()));
            gone.map_err(BuildError::io("remove the repository's .git"))?;
        }
    }
    Ok(commit)
}

impl Access<'_> {
    /// Writes into git's home what opens `repository`; the value of the header that goes there, if one does.
    fn write<'b>(
        &'b self,
        repository: &str,
        login: Option<&'b Login>,
    ) -> Result<Option<&'b str>, BuildError> {
        let (mut settings, mut authorization) = (String::new(), self.authorization);
        match login {
            Some(Login::Stored(line)) => {
                self.file(CREDENTIALS, line)?;
                settings.push_str("[credential]\n\thelper = store\n");
            }
            // What the client has for the host goes before it.
            Some(Login::Header(value)) => authorization = authorization.or(Some(value)),
            None => {}
        }
        let header = authorization.filter(|_| web_host(repository).is_some());
        if let Some(value) = header {
            settings.push_str(&header_for(repository, value)?);
        }
        self.file(SETTINGS, &settings)?;
        if let Some(lines) = self.known_hosts {
            self.file(KNOWN_HOSTS, lines)?;
        }
        Ok(header)
    }

    fn file(&self, name: &str, text: &str) -> Result<(), BuildError> {
        let mut options = std::fs::File::options();
        let file = options.write(true).create_new(true).mode(0o600);
        let written = file
            .open(self.home.join(name))
            .and_then(|mut file| file.write_all(text.as_bytes()));
        written.map_err(BuildError::io("write what opens the repository"))
    }
}

/// Files of git's home.
const CREDENTIALS: &str = ".git-credentials";
const SETTINGS: &str = ".gitconfig";
const KNOWN_HOSTS: &str = "known_hosts";

/// Settings by which the header goes to `repository`. git would take it along where that redirects to: so it follows no
/// redirect, and we do ([`redirect`]). The empty value takes those back that other settings have for it.
fn header_for(repository: &str, value: &str) -> Result<String, BuildError> {
    let scope = quoted(scope(repository))?;
    let header = quoted(&format!("Authorization: {value}"))?;
    Ok(format!(
        "[http {scope}]\n\textraHeader =\n\textraHeader = {header}\n\tfollowRedirects = false\n"
    ))
}

/// Where a header goes: to the repository alone, but at GitHub also to those that it has in it (BuildKit's `tokenScope`).
fn scope(repository: &str) -> &str {
    let places = ["https://github.com/", "https://www.github.com/"];
    let found = places.iter().find(|place| repository.starts_with(**place));
    found.copied().unwrap_or(repository)
}

/// A value as git's settings have it.
fn quoted(text: &str) -> Result<String, BuildError> {
    if text.contains(['\n', '\r', '\0']) {
        let text = "a repository's address and the secrets that open it are of one line";
        return Err(BuildError::Invalid(text.to_owned()));
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    Ok(format!("\"{escaped}\""))
}

/// A program `git` in a folder.
struct Git<'a> {
    folder: &'a Path,
    home: &'a Path,
    agent: Option<&'a Path>,
    /// Command line of ssh.
    ssh: String,
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

/// ssh without any key of the host's: OpenSSH looks for them in the home that the system knows, whatever `HOME` says.
const SSH: &str = "ssh -F none -o IdentityFile=none -o BatchMode=yes -o PasswordAuthentication=no -o ForwardAgent=no \
                   -o GlobalKnownHostsFile=none";

/// ssh, trusting the servers of a file. Without one, nobody is there to be asked whether a server is who it should be; as with
/// BuildKit, one that is new is taken.
fn ssh(known: Option<&Path>) -> Result<String, BuildError> {
    let Some(known) = known else {
        return Ok(format!(
            "{SSH} -o StrictHostKeyChecking=accept-new -o UserKnownHostsFile=/dev/null"
        ));
    };
    // It is a word for a shell, in it one for ssh, in it a text with `%` signs.
    let path = known
        .to_str()
        .filter(|path| !path.contains(['\'', '"', '\\', '$']));
    let path = path.ok_or_else(|| {
        BuildError::Failed(format!("ssh takes no such path: {}", known.display()))
    })?;
    let path = path.replace('%', "%%");
    Ok(format!(
        "{SSH} -o StrictHostKeyChecking=yes -o 'UserKnownHostsFile=\"{path}\"'"
    ))
}

impl<'a> Git<'a> {
    fn new(folder: &'a Path, access: &Access<'a>) -> Result<Self, BuildError> {
        let known = access.known_hosts.map(|_| access.home.join(KNOWN_HOSTS));
        Ok(Self {
            folder,
            home: access.home,
            agent: access.agent,
            ssh: ssh(known.as_deref())?,
        })
    }

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
            .env("GIT_SSH_COMMAND", &self.ssh)
            // No settings but ours: one could name programs to run, or have credentials of the host's.
            .env("HOME", self.home)
            .env("GIT_CONFIG_GLOBAL", self.home.join(SETTINGS))
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
        self.finish(self.command(arguments), arguments).await
    }

    async fn finish(&self, mut command: Command, arguments: &[&str]) -> Result<String, BuildError> {
        let output = command.output().await;
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

    /// Removes what the repository says of when it was fetched, as BuildKit does: one commit is the same files.
    async fn forget(&self) -> Result<(), BuildError> {
        let expire = ["reflog", "expire", "--all", "--expire=now"];
        self.run(&expire).await?;
        match tokio::fs::remove_file(self.folder.join(".git/FETCH_HEAD")).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(BuildError::io("remove the repository's FETCH_HEAD")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_told_from_files() {
        let git = GitUrl::read("https://h.example/a/b.git#v1:sub/x").unwrap();
        assert_eq!(git.repository, "https://h.example/a/b.git");
        assert_eq!(
            (git.reference.as_str(), git.folder.as_str()),
            ("v1", "sub/x")
        );
        assert_eq!(
            GitUrl::read("github.com/a/b").unwrap().repository,
            "https://github.com/a/b"
        );
        assert!(GitUrl::read("https://h.example/a.tar.gz").is_none());
        assert!(GitUrl::read("git@h.example:a/b.git").is_some());
        assert!(is_ssh("git@h:a") && is_ssh("ssh://h/a") && !is_ssh("https://u@h/a"));
        assert_eq!(web_host("https://u:p@h:8/a"), Some("h:8"));
        assert_eq!((web_host("ssh://h/a"), web_host("git@h:a")), (None, None));
    }

    #[test]
    fn commits_are_told_from_branches() {
        let commit = "0123456789012345678901234567890123456789";
        assert_eq!(commit_of(&format!("git://h/a#{commit}:sub")), Some(commit));
        for other in [
            "git://h/a#main",
            "git://h/a",
            "https://h/a#x",
            "git://h/a#:x",
        ] {
            assert_eq!(commit_of(other), None, "{other}");
        }
        let url = |text: &str| GitUrl::read(text).unwrap();
        assert!(url(&format!("git://h/a#{commit}")).commit().is_some());
        assert!(url("git://h/a").commit().is_none());
    }

    #[test]
    fn passwords_are_parted_from_addresses() {
        let stored = |line: &str| Some(Login::Stored(format!("{line}\n")));
        for (text, clean, login) in [
            (
                "https://u:p@h:1/a",
                "https://h:1/a",
                stored("https://u:p@h:1"),
            ),
            (
                "http://u:p@ss@h/a",
                "http://h/a",
                stored("http://u:p%40ss@h"),
            ),
            (
                "https://token@h/a",
                "https://h/a",
                stored("https://token:@h"),
            ),
            (
                "https://:to%6ben@h/a",
                "https://h/a",
                // `:token`, in base 64.
                Some(Login::Header("basic OnRva2Vu".to_owned())),
            ),
            ("https://@h/a", "https://h/a", None),
            ("https://:@h/a", "https://h/a", None),
            ("ssh://git:p@h/a", "ssh://git@h/a", None),
            ("ssh://git@h/a", "ssh://git@h/a", None),
            ("git@h:a/b.git", "git@h:a/b.git", None),
            ("https://h/a@b", "https://h/a@b", None),
        ] {
            assert_eq!(parted(text), (clean.to_owned(), login), "{text}");
        }
    }

    fn access_of<'a>(home: &'a Path, agent: Option<&'a Path>) -> Access<'a> {
        Access {
            home,
            agent,
            known_hosts: None,
            authorization: None,
        }
    }

    /// What git is run with, told by git itself.
    #[tokio::test]
    async fn git_has_nothing_of_the_hosts() {
        let dir = tempfile::tempdir().unwrap();
        let told = async |access: &Access<'_>| {
            let git = Git::new(dir.path(), access).unwrap();
            git.run(&["-c", "alias.show-env=!env", "show-env"])
                .await
                .unwrap()
        };
        let home = dir.path().join("home");
        let alone = told(&access_of(&home, None)).await;
        assert!(alone.contains("IdentityFile=none") && alone.contains("accept-new"));
        assert!(alone.contains(&format!("HOME={}", home.display())));
        // The test itself has some of these.
        assert!(!alone.contains("CARGO") && !alone.contains("SSH_AUTH_SOCK"));
        let agent = Path::new("/run/agent.sock");
        let all = Access {
            known_hosts: Some("h ssh-ed25519 x\n"),
            ..access_of(&home, Some(agent))
        };
        let all = told(&all).await;
        assert!(all.contains("SSH_AUTH_SOCK=/run/agent.sock"), "{all}");
        assert!(all.contains("StrictHostKeyChecking=yes") && !all.contains("accept-new"));
        // A repository on our disk is no repository that anybody may have.
        let url = GitUrl {
            repository: dir.path().display().to_string(),
            reference: String::new(),
            folder: String::new(),
        };
        let own = tempfile::tempdir().unwrap();
        let error = clone(
            &url,
            &dir.path().join("x"),
            Own::Kept,
            &access_of(own.path(), None),
        )
        .await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("'file' not allowed"), "{error}");
    }

    /// What git makes of its home: told by git itself.
    #[tokio::test]
    async fn what_opens_a_repository_is_in_gits_home_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (home, path) = (dir.path().join("home"), dir.path().join("r"));
        std::fs::create_dir(&home).unwrap();
        let access = Access {
            authorization: Some("basic \"x\\y\""),
            known_hosts: Some("h ssh-ed25519 x\n"),
            ..access_of(&home, None)
        };
        let url = GitUrl::read("http://u:hush@127.0.0.1:9/a.git").unwrap();
        // Nobody is there; all is written by then.
        let error = clone(&url, &path, Own::Kept, &access).await.unwrap_err();
        assert!(!error.to_string().contains("hush"), "{error}");
        let git = Git::new(&path, &access).unwrap();
        let told = async |arguments: &[&str]| git.run(arguments).await.unwrap();
        let own = "http://127.0.0.1:9/a.git";
        assert_eq!(told(&["remote", "get-url", "origin"]).await, own);
        let header = ["config", "--get-urlmatch", "http.extraHeader"];
        let header = [&header[..], &["http://127.0.0.1:9/a.git/info/refs"]].concat();
        assert_eq!(told(&header).await, "Authorization: basic \"x\\y\"");
        assert_eq!(told(&["config", "credential.helper"]).await, "store");
        let line = std::fs::read_to_string(home.join(CREDENTIALS)).unwrap();
        assert_eq!(line, "http://u:hush@127.0.0.1:9\n");
        let kept = std::fs::read_to_string(path.join(".git/config")).unwrap();
        assert!(!kept.contains("hush") && !kept.contains("basic"), "{kept}");
        assert!(home.join(KNOWN_HOSTS).exists());
        assert!(quoted("a\nb").is_err());
        assert_eq!(scope("https://github.com/a/b"), "https://github.com/");
    }

    /// A web server with files below `folder`, for who has the password: this one, in base 64.
    fn serve(folder: std::path::PathBuf, login: &'static str) -> String {
        use std::io::{BufRead as _, BufReader};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answer = move |mut stream: std::net::TcpStream| -> std::io::Result<()> {
            let mut lines = BufReader::new(stream.try_clone()?).lines();
            let first = lines.next().unwrap_or(Ok(String::new()))?;
            let mut is_known = false;
            for line in lines {
                let line = line?;
                let value = line
                    .split_once(": ")
                    .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
                let pair = value.and_then(|(_, value)| value.split_once(' '));
                is_known |= pair.is_some_and(|(_, pair)| pair == login);
                if line.is_empty() {
                    break;
                }
            }
            let path = first.split([' ', '?']).nth(1).unwrap_or_default();
            let file = std::fs::read(folder.join(path.trim_start_matches('/')));
            let (status, body) = match (is_known, file) {
                (false, _) => ("401 No\r\nWWW-Authenticate: Basic realm=\"x\"", Vec::new()),
                (true, Err(_)) => ("404 None", Vec::new()),
                (true, Ok(body)) => ("200 OK", body),
            };
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who has gone gets no answer.
                let _ = answer(stream);
            }
        });
        address
    }

    /// Makes the repository `r` in a folder, as a server of plain files has it.
    pub(super) fn repository(folder: &Path) {
        let script = "git init -q -b main r && cd r && echo x > f && git add . \
                      && git -c user.name=n -c user.email=e@x commit -qm one && git update-server-info";
        let mut made = std::process::Command::new("sh");
        made.args(["-c", script]).current_dir(folder);
        assert!(made.status().unwrap().success());
    }

    /// Every file below a folder, as text.
    fn texts(folder: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(folder).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let texts = paths.flat_map(|path| match path.is_dir() {
            true => texts(&path),
            false => vec![String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()],
        });
        texts.collect()
    }

    #[tokio::test]
    async fn a_repository_behind_a_password_is_kept_without_it() {
        let dir = tempfile::tempdir().unwrap();
        repository(dir.path());
        // `u:hush`, `hush:` and `:hush`.
        for (number, (user, authorization, login)) in [
            ("u:hush@", None, "dTpodXNo"),
            ("", Some("basic dTpodXNo"), "dTpodXNo"),
            ("hush@", None, "aHVzaDo="),
            ("hu%73h@", None, "aHVzaDo="),
            (":hush@", None, "Omh1c2g="),
            // What the client has for the host goes before what the address says.
            (":other@", Some("basic dTpodXNo"), "dTpodXNo"),
        ]
        .into_iter()
        .enumerate()
        {
            let address = serve(dir.path().to_owned(), login);
            let home = tempfile::tempdir().unwrap();
            let access = Access {
                authorization,
                ..access_of(home.path(), None)
            };
            let url = GitUrl {
                repository: format!("http://{user}{address}/r/.git"),
                reference: "main".to_owned(),
                folder: String::new(),
            };
            let path = dir.path().join(number.to_string());
            let commit = clone(&url, &path, Own::Kept, &access).await.unwrap();
            assert!(super::commit(&commit).is_some(), "{commit}");
            assert_eq!(std::fs::read(path.join("f")).unwrap(), b"x\n");
            let kept = texts(&path.join(".git"));
            assert!(kept.iter().any(|text| text.contains(&address)));
            for secret in ["hush", login] {
                assert!(!kept.iter().any(|text| text.contains(secret)), "{secret}");
            }
            assert!(!path.join(".git/FETCH_HEAD").exists());
            let chosen = GitUrl {
                reference: String::new(),
                ..url.clone()
            };
            let (other, head) = (tempfile::tempdir().unwrap(), dir.path().join("head"));
            let access = Access {
                home: other.path(),
                ..access
            };
            let head_commit = clone(&chosen, &head, Own::Dropped, &access).await.unwrap();
            assert_eq!(head_commit, commit);
            std::fs::remove_dir_all(head).unwrap();
            let (bare, again) = (tempfile::tempdir().unwrap(), dir.path().join("again"));
            let none = access_of(bare.path(), None);
            let url = GitUrl {
                repository: format!("http://{address}/r/.git"),
                ..url
            };
            assert!(clone(&url, &again, Own::Dropped, &none).await.is_err());
            std::fs::remove_dir_all(again).unwrap();
        }
    }
}
