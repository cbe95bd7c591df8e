//! Users from a file of Apache's `htpasswd -B`: bcrypt alone, as docker-registry has it. Read anew when it changes.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use ring::{digest, hmac};

use super::{Access, Action};
use crate::Error;
use crate::error::io_at;
use crate::registry::blocking;

/// What some users may do with some repositories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Names; `*` is everybody.
    pub(crate) users: Vec<String>,
    /// Names of repositories; `team/*` is all below, `*` is all.
    pub(crate) repositories: Vec<String>,
    pub(crate) actions: Vec<Action>,
}

/// The file, and who has come with the right password.
#[derive(Debug)]
pub(crate) struct Htpasswd {
    realm: String,
    rules: Vec<Rule>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    state: Mutex<State>,
    /// Passwords are compared with bcrypt once, and by a keyed hash then: a bcrypt for each request would be all we do.
    key: hmac::Key,
}

#[derive(Debug, Default)]
struct State {
    changed: Option<SystemTime>,
    users: HashMap<String, User>,
}

#[derive(Debug)]
struct User {
    hash: String,
    known: Option<Vec<u8>>,
}

/// bcrypt of nobody's password, for a file without users.
const NOBODY: &str = "$2y$05$abcdefghijklmnopqrstuuGm2XKKsVzwGo5lDIOOVSZ5sCSHqEoRS";

impl Htpasswd {
    /// # Errors
    /// [`Error::Config`] if the file cannot be read or has another kind of hash.
    pub(crate) fn open(path: &Path, realm: &str, rules: Vec<Rule>) -> Result<Htpasswd, Error> {
        let secret: [u8; 32] = rand::random();
        let shared = Shared {
            path: path.to_owned(),
            state: Mutex::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &secret),
        };
        shared.reload()?;
        Ok(Htpasswd {
            realm: realm.to_owned(),
            rules,
            shared: Arc::new(shared),
        })
    }

    pub(super) fn challenge(&self) -> String {
        format!("Basic realm={:?}", self.realm)
    }

    /// Whether this is the user's password.
    pub(super) async fn verify(&self, name: &str, password: String) -> Result<bool, Error> {
        let (shared, name) = (self.shared.clone(), name.to_owned());
        blocking(move || {
            if let Err(error) = shared.reload() {
                // Who was a user a moment ago is one; an editor may be at the file.
                tracing::error!(%error, "read the users");
            }
            Ok(shared.verify(&name, &password))
        })
        .await
    }

    /// What the user may do.
    pub(super) fn rights(&self, name: &str) -> impl Fn(&Access) -> bool + Send + '_ {
        let name = name.to_owned();
        move |access| {
            self.rules.is_empty() || self.rules.iter().any(|rule| rule.allows(&name, access))
        }
    }
}

impl Rule {
    fn allows(&self, user: &str, access: &Access) -> bool {
        let user_fits = self.users.iter().any(|one| one == "*" || one == user);
        // The list of all repositories is for who may see all of them.
        let target_fits = match access.kind {
            "repository" => self
                .repositories
                .iter()
                .any(|pattern| fits(pattern, &access.name)),
            _ => self.repositories.iter().any(|pattern| pattern == "*"),
        };
        let action = match access.action {
            Action::All => Action::Pull,
            action => action,
        };
        let action_fits = self
            .actions
            .iter()
            .any(|one| *one == Action::All || *one == action);
        user_fits && target_fits && action_fits
    }
}

fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => name.starts_with(prefix),
        None => pattern == name,
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reload(&self) -> Result<(), Error> {
        let stat = std::fs::metadata(&self.path).map_err(io_at("look at", &self.path))?;
        let changed = stat.modified().ok();
        if changed.is_some() && self.state().changed == changed {
            return Ok(());
        }
        let text = std::fs::read_to_string(&self.path).map_err(io_at("read", &self.path))?;
        let users = parse(&text).map_err(|line| {
            Error::Config(format!(
                "{}: line {line} is not NAME:BCRYPT (htpasswd -B)",
                self.path.display()
            ))
        })?;
        *self.state() = State { changed, users };
        Ok(())
    }

    fn verify(&self, name: &str, password: &str) -> bool {
        let short = digest::digest(&digest::SHA256, password.as_bytes());
        let (hash, costliest) = {
            let state = self.state();
            let user = state.users.get(name);
            let known = user.and_then(|user| user.known.as_deref());
            if known.is_some_and(|known| hmac::verify(&self.key, short.as_ref(), known).is_ok()) {
                return true;
            }
            let hash = user.map(|user| user.hash.clone());
            (hash, costliest(&state.users))
        };
        let costliest = costliest.unwrap_or_else(|| NOBODY.to_owned());
        let fits = |hash: &String| bcrypt::verify(password, hash).unwrap_or(false);
        let is_right = hash.as_ref().is_some_and(fits);
        if !is_right
            && hash
                .as_ref()
                .is_none_or(|hash| cost(hash) < cost(&costliest))
        {
            // As much work for everybody who is refused: the time must not tell who is there.
            let _ = bcrypt::verify(password, &costliest);
        }
        let mut state = self.state();
        let user = state.users.get_mut(name);
        let Some(user) = user.filter(|user| is_right && Some(&user.hash) == hash.as_ref()) else {
            return false;
        };
        user.known = Some(hmac::sign(&self.key, short.as_ref()).as_ref().to_vec());
        true
    }
}

/// The hash that takes longest to compare with: `$2y$COST$...`.
fn costliest(users: &HashMap<String, User>) -> Option<String> {
    let hashes = users.values().map(|user| &user.hash);
    hashes.max_by_key(|hash| cost(hash)).cloned()
}

fn cost(hash: &str) -> Option<u32> {
    hash.split('$').nth(2)?.parse().ok()
}

/// Users with their hashes; or the number of the line that is none.
fn parse(text: &str) -> Result<HashMap<String, User>, usize> {
    let mut users = HashMap::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, hash) = line.split_once(':').ok_or(index + 1)?;
        if !["$2y$", "$2a$", "$2b$", "$2x$"]
            .iter()
            .any(|prefix| hash.starts_with(prefix))
        {
            return Err(index + 1);
        }
        let user = User {
            hash: hash.to_owned(),
            known: None,
        };
        users.insert(name.to_owned(), user);
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_and_changes_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users");
        let hash = bcrypt::hash("secret", 4).unwrap();
        std::fs::write(&path, format!("# users\n\nsomebody:{hash}\n")).unwrap();
        let file = Htpasswd::open(&path, "here", Vec::new()).unwrap();
        for _ in 0..2 {
            assert!(file.shared.verify("somebody", "secret"));
            assert!(!file.shared.verify("somebody", "Secret"));
            assert!(!file.shared.verify("nobody", "secret"));
        }
        std::fs::write(&path, format!("other:{hash}\n")).unwrap();
        std::fs::File::open(&path)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH)
            .unwrap();
        file.shared.reload().unwrap();
        assert!(file.shared.verify("other", "secret") && !file.shared.verify("somebody", "secret"));
        std::fs::write(&path, "somebody:{SHA}x\n").unwrap();
        assert!(file.shared.reload().is_err());
        assert!(file.shared.verify("other", "secret"));
    }

    #[test]
    fn whoever_is_not_there_costs_as_much_as_anybody() {
        let users = parse("a:$2y$05$x\nb:$2y$12$y\nc:$2a$10$z\n").unwrap();
        assert_eq!(costliest(&users).as_deref(), Some("$2y$12$y"));
        assert_eq!(costliest(&HashMap::new()), None);
    }

    #[test]
    fn rules_by_repository() {
        let rule = Rule {
            users: vec!["a".into()],
            repositories: vec!["team/*".into(), "one".into()],
            actions: vec![Action::Pull],
        };
        let of = |name: &str, action| Access::repository(name, action);
        assert!(
            rule.allows("a", &of("team/x/y", Action::Pull))
                && rule.allows("a", &of("one", Action::Pull))
        );
        assert!(
            !rule.allows("b", &of("one", Action::Pull))
                && !rule.allows("a", &of("one", Action::Push))
        );
        assert!(
            !rule.allows("a", &of("teams", Action::Pull)) && !rule.allows("a", &Access::catalog())
        );
    }
}
