//! Repositories that are somewhere else than they are said to be, where a header is shown to them.
//!
//! git follows the redirect of its first request (`http.followRedirects=initial`), and asks all that comes after of the server that
//! it was led to, by the settings of the address that it began with: libcurl leaves `Authorization` out where the redirect leads to
//! another server, but git's next request, which is none of a redirect's, has it. (What stands in its credential store goes by
//! the host, and does not follow.) So redirects are followed here, and the header goes on only where the server stays the same.

use std::io::Write as _;

use super::{Git, SETTINGS, header_for, parted, web_host};
use crate::BuildError;

/// The most redirects in a row, as for libcurl in git.
const MOST: usize = 20;
/// What git asks for first.
const FIRST: &str = "/info/refs?service=git-upload-pack";
/// What git notes of its requests, in its home.
const TRACE: &str = "trace";

impl Git<'_> {
    /// Goes where `repository`, the origin, redirects to: the origin is there then. `header` is what it is shown, and goes on
    /// only to the same server. Whether there was a redirect.
    ///
    /// # Errors
    /// If it leads around, or nowhere.
    pub(super) async fn follow(&self, repository: &str, header: &str) -> Result<bool, BuildError> {
        let mut now = repository.to_owned();
        for _ in 0..MOST {
            let Some(next) = self.redirect(&now).await? else {
                return Ok(now != repository);
            };
            self.move_origin(&next).await?;
            if !is_same_server(&now, &next) {
                // From here on git goes by itself, without anything that it could show.
                return Ok(true);
            }
            let mut settings = std::fs::File::options()
                .append(true)
                .open(self.home.join(SETTINGS))
                .map_err(BuildError::io("write what opens the repository"))?;
            let written = settings.write_all(header_for(&next, header)?.as_bytes());
            written.map_err(BuildError::io("write what opens the repository"))?;
            now = next;
        }
        Err(BuildError::Failed(format!(
            "error in git fetch: more than {MOST} redirects"
        )))
    }

    /// Where the origin, which is at `now`, redirects to; `None` if it does not, or git is to say itself what is wrong.
    async fn redirect(&self, now: &str) -> Result<Option<String>, BuildError> {
        let trace = self.home.join(TRACE);
        let arguments = ["ls-remote", "--quiet", "origin", "HEAD"];
        let mut command = self.command(&arguments);
        command
            .env("GIT_TRACE_CURL", &trace)
            .env("GIT_TRACE_CURL_NO_DATA", "1");
        let listed = self.finish(command, &arguments).await;
        let noted = std::fs::read(&trace).unwrap_or_default();
        // There is none of a git that could not be run.
        let _ = std::fs::remove_file(&trace);
        match listed {
            Ok(_) => Ok(None),
            Err(_) => Ok(leads_to(now, &String::from_utf8_lossy(&noted))),
        }
    }

    pub(super) async fn move_origin(&self, address: &str) -> Result<(), BuildError> {
        let arguments = ["remote", "set-url", "origin", "--", address];
        self.run(&arguments).await.map(drop)
    }
}

/// Where the last answer in git's notes redirects the repository at `now` to, if that is what it does.
fn leads_to(now: &str, notes: &str) -> Option<String> {
    let headers = notes
        .lines()
        .filter_map(|line| line.split_once("<= Recv header: "));
    let headers: Vec<&str> = headers.map(|(_, header)| header.trim()).collect();
    let begin = headers.iter().rposition(|line| line.starts_with("HTTP/"))?;
    let (status, answer) = headers[begin..].split_first()?;
    let status = status.split(' ').nth(1)?;
    if !matches!(status, "301" | "302" | "303" | "307" | "308") {
        return None;
    }
    let location = answer.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("location").then(|| value.trim())
    })?;
    let (scheme, rest) = now.split_once("://")?;
    let location = match location {
        path if path.starts_with("//") => format!("{scheme}:{path}"),
        path if path.starts_with('/') => {
            let host = rest.split('/').next().unwrap_or_default();
            format!("{scheme}://{host}{path}")
        }
        address => address.to_owned(),
    };
    // git refuses every other place, too: it could not be asked for the rest.
    let repository = location.strip_suffix(FIRST)?;
    web_host(repository)?;
    Some(parted(repository).0)
}

/// Whether what is known to the server of the first address may be shown to that of the other: it is the same one, by the same or
/// a safer protocol.
fn is_same_server(now: &str, next: &str) -> bool {
    let of = |address: &str| -> Option<(bool, String, u16)> {
        let safe = address.starts_with("https://");
        let host = web_host(address)?.to_ascii_lowercase();
        let port = host
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse().ok());
        let name = match port {
            Some(_) => host
                .rsplit_once(':')
                .map_or("", |(name, _)| name)
                .to_owned(),
            None => host,
        };
        Some((safe, name, port.unwrap_or(if safe { 443 } else { 80 })))
    };
    match (of(now), of(next)) {
        (Some(now), Some(next)) if now == next => true,
        (Some((false, now, 80)), Some((true, next, 443))) => now == next,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::io::BufRead as _;
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use super::super::tests::repository;
    use super::super::{Access, GitUrl, Own, clone};
    use super::*;

    #[test]
    fn redirects_are_found_in_gits_notes() {
        let notes = |status: &str, location: &str| {
            format!(
                "11:22:33.4 http.c:1   => Send header: GET /a/info/refs?service=git-upload-pack HTTP/1.1\n\
                 11:22:33.4 http.c:1   <= Recv header, 0000000020 bytes (0x00000014)\n\
                 11:22:33.4 http.c:1   <= Recv header: HTTP/1.1 {status}\n\
                 11:22:33.4 http.c:1   <= Recv header: LOCATION: {location}\n\
                 11:22:33.4 http.c:1   <= Recv header:\n"
            )
        };
        let now = "https://h:1/a";
        let to = |location: &str| leads_to(now, &notes("302 Found", location));
        let tail = "/info/refs?service=git-upload-pack";
        for (location, next) in [
            ("https://other/b", Some("https://other/b")),
            ("https://u:p@other/b", Some("https://other/b")),
            ("/b", Some("https://h:1/b")),
            ("//other/b", Some("https://other/b")),
            ("file:///b", None),
            ("b", None),
        ] {
            let found = to(&format!("{location}{tail}"));
            assert_eq!(found.as_deref(), next, "{location}");
        }
        assert_eq!(to("https://other/login"), None);
        let other = format!("https://other/b{tail}");
        assert_eq!(leads_to(now, &notes("200 OK", &other)), None);
        assert_eq!(leads_to(now, ""), None);
        // After a redirect that was followed it is the last answer that counts.
        let both = notes("302 Found", &other) + &notes("200 OK", "");
        assert_eq!(leads_to(now, &both), None);
    }

    #[test]
    fn servers_are_told_apart() {
        for (now, next, same) in [
            ("https://h/a", "https://h/b", true),
            ("https://h/a", "https://H:443/b", true),
            ("http://h/a", "https://h/a", true),
            ("https://h/a", "http://h/a", false),
            ("http://h:8080/a", "https://h/a", false),
            ("https://h/a", "https://h:444/a", false),
            ("https://h/a", "https://h.other/a", false),
        ] {
            assert_eq!(is_same_server(now, next), same, "{now} {next}");
        }
    }

    /// What each that has asked has shown.
    type Shown = Mutex<Vec<Option<String>>>;

    /// A web server.
    struct Server {
        address: String,
        asked: Arc<Shown>,
    }

    impl Server {
        /// One with the files below `folder`, for who shows `needs`. What is below `/moved` is at `target`.
        fn new(folder: &Path, needs: Option<&'static str>, target: &str) -> Self {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let asked = Arc::new(Shown::default());
            let (folder, target) = (folder.to_owned(), target.to_owned());
            let noted = asked.clone();
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    // Who has gone gets no answer.
                    let _ = answer(stream, &folder, needs, &target, &noted);
                }
            });
            Self { address, asked }
        }

        /// What they have shown, from the first on.
        fn shown(&self) -> Vec<Option<String>> {
            let asked = std::mem::take(&mut *self.asked.lock().unwrap());
            assert!(!asked.is_empty(), "nobody has asked");
            asked
        }
    }

    fn answer(
        mut stream: std::net::TcpStream,
        folder: &Path,
        needs: Option<&str>,
        target: &str,
        asked: &Shown,
    ) -> std::io::Result<()> {
        let mut lines = std::io::BufReader::new(stream.try_clone()?).lines();
        let first = lines.next().unwrap_or(Ok(String::new()))?;
        let mut shown = None;
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            let header = line.split_once(": ");
            let own = header.filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
            shown = own.map(|(_, value)| value.to_owned()).or(shown);
        }
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        asked.lock().unwrap().push(shown.clone());
        let plain = path.split('?').next().unwrap_or_default();
        let file = std::fs::read(folder.join(plain.trim_start_matches('/')));
        let (status, body) = match (path.strip_prefix("/moved"), file) {
            (Some(rest), _) => (format!("302 There\r\nLocation: {target}{rest}"), Vec::new()),
            _ if needs.is_some() && shown.as_deref() != needs => (
                "401 No\r\nWWW-Authenticate: Basic realm=\"x\"".to_owned(),
                Vec::new(),
            ),
            (None, Ok(body)) => ("200 OK".to_owned(), body),
            (None, Err(_)) => ("404 None".to_owned(), Vec::new()),
        };
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)
    }

    async fn fetched(folder: &Path, address: &str, authorization: Option<&str>) -> bool {
        let home = tempfile::tempdir().unwrap();
        let access = Access {
            home: home.path(),
            agent: None,
            known_hosts: None,
            authorization,
        };
        let url = GitUrl {
            repository: format!("http://{address}/moved/r/.git"),
            reference: "main".to_owned(),
            folder: String::new(),
        };
        let path = folder.join("fetched");
        let done = clone(&url, &path, Own::Kept, &access).await;
        if done.is_ok() {
            assert_eq!(std::fs::read(path.join("f")).unwrap(), b"x\n");
            // Nobody sees where it was.
            let own = std::fs::read_to_string(path.join(".git/config")).unwrap();
            let (_, host) = address.rsplit_once('@').unwrap_or(("", address));
            assert!(
                own.contains(&format!("http://{host}/moved/r/.git")),
                "{own}"
            );
        }
        std::fs::remove_dir_all(path).unwrap();
        assert!(!home.path().join(TRACE).exists());
        done.is_ok()
    }

    /// `:hush`, in base 64.
    const SHOWN: &str = "basic Omh1c2g=";

    #[tokio::test]
    async fn a_header_reaches_the_server_alone_that_it_is_for() {
        let dir = tempfile::tempdir().unwrap();
        repository(dir.path());
        let other = Server::new(dir.path(), None, "");
        let own = Server::new(dir.path(), None, &format!("http://{}", other.address));
        let known = |address: &str| format!(":hush@{address}");
        for (address, authorization) in [
            (own.address.clone(), Some(SHOWN)),
            (known(&own.address), None),
        ] {
            assert!(fetched(dir.path(), &address, authorization).await);
            assert!(own.shown().contains(&Some(SHOWN.to_owned())));
            let shown = other.shown();
            assert!(shown.iter().all(Option::is_none), "{shown:?}");
        }
        // Where it is the same server, it goes on being shown.
        for target in ["", "/moved/moved"] {
            let own = Server::new(dir.path(), Some(SHOWN), target);
            let followed = fetched(dir.path(), &known(&own.address), None).await;
            // One that leads around has an end.
            assert_eq!(followed, target.is_empty(), "{target}");
            assert!(own.shown().contains(&Some(SHOWN.to_owned())));
        }
    }
}
