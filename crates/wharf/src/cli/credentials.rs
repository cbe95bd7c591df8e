//! Names and passwords for registries, where `docker login` keeps them: `config.json`, or the programs
//! (`docker-credential-NAME`) that it names. `DOCKER_AUTH_CONFIG` comes before them.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Map, Value, json};

use super::{Context, Exit, Outcome};

/// Under what Docker Hub's are kept.
const HUB: &str = "https://index.docker.io/v1/";

/// The key of a registry, by its name in references.
pub fn key(domain: &str) -> &str {
    match domain {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => HUB,
        domain => domain,
    }
}

/// What is known for a registry, as the API takes it.
pub fn find(context: &Context, key: &str) -> Option<Value> {
    let given = std::env::var("DOCKER_AUTH_CONFIG").ok();
    let given = given.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    if let Some(auth) = given.as_ref().and_then(|config| entry(config, key)) {
        return Some(auth);
    }
    match helper(context, key) {
        Some(helper) => ask(&helper, "get", key)
            .ok()
            .and_then(|said| from_helper(&said, key)),
        None => entry(&context.config, key),
    }
}

/// As [`find`], encoded for `X-Registry-Auth`.
pub fn header(context: &Context, domain: &str) -> Option<String> {
    find(context, key(domain)).map(|auth| URL_SAFE.encode(auth.to_string()))
}

/// Everything that is known, for `X-Registry-Config`.
pub fn all(context: &Context) -> Map<String, Value> {
    let mut servers: Vec<String> = Vec::new();
    for table in ["auths", "credHelpers"] {
        let table = context.config.get(table).and_then(Value::as_object);
        servers.extend(table.into_iter().flat_map(Map::keys).cloned());
    }
    let known = servers
        .into_iter()
        .filter_map(|server| find(context, &server).map(|auth| (server, auth)));
    known.collect()
}

/// Keeps a name and a password; where, if that is in clear.
pub fn store(context: &Context, key: &str, auth: &Value) -> Outcome<Option<String>> {
    let text = |name: &str| auth[name].as_str().unwrap_or_default();
    let token = Some(text("identitytoken")).filter(|token| !token.is_empty());
    if let Some(helper) = helper(context, key) {
        let (username, secret) = match token {
            Some(token) => ("<token>", token),
            None => (text("username"), text("password")),
        };
        let secret = json!({ "ServerURL": key, "Username": username, "Secret": secret });
        ask(&helper, "store", &secret.to_string())?;
        // So that it is known where to ask.
        change(context, |auths| {
            drop(auths.insert(key.to_owned(), json!({})))
        })?;
        return Ok(None);
    }
    let secret = STANDARD.encode(format!("{}:{}", text("username"), text("password")));
    let mut entry = json!({ "auth": secret });
    if let Some(token) = token {
        entry["identitytoken"] = token.into();
    }
    change(context, |auths| drop(auths.insert(key.to_owned(), entry)))?;
    Ok(Some(
        context
            .config_dir()
            .join("config.json")
            .display()
            .to_string(),
    ))
}

/// Forgets them.
pub fn erase(context: &Context, key: &str) -> Outcome {
    if let Some(helper) = helper(context, key) {
        ask(&helper, "erase", key)?;
    }
    change(context, |auths| drop(auths.remove(key)))
}

fn entry(config: &Value, key: &str) -> Option<Value> {
    let auths = config.get("auths")?.as_object()?;
    // Old clients kept them under whole addresses.
    let bare = |text: &str| {
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        text.split('/').next().unwrap_or_default().to_owned()
    };
    let found = auths.get(key);
    let found = found.or_else(|| {
        let mut same = auths.iter().filter(|(server, _)| bare(server) == bare(key));
        same.next().map(|(_, entry)| entry)
    })?;
    if let Some(token) = found.get("identitytoken").and_then(Value::as_str)
        && !token.is_empty()
    {
        let user = found.get("auth").and_then(Value::as_str).and_then(decode);
        let username = user.map_or_else(String::new, |(username, _)| username);
        return Some(json!({ "username": username, "identitytoken": token, "serveraddress": key }));
    }
    let secret = found.get("auth").and_then(Value::as_str)?;
    let (username, password) = decode(secret)?;
    Some(json!({ "username": username, "password": password, "serveraddress": key }))
}

/// `base64(USER:PASSWORD)`; Docker before 1.0 wrote NULs behind it.
fn decode(secret: &str) -> Option<(String, String)> {
    let secret = String::from_utf8(STANDARD.decode(secret).ok()?).ok()?;
    let (username, password) = secret.split_once(':')?;
    let password = password.trim_end_matches('\0');
    Some((username.to_owned(), password.to_owned()))
}

/// The program that keeps the secrets of a registry.
fn helper(context: &Context, key: &str) -> Option<String> {
    let own = context
        .config
        .get("credHelpers")
        .and_then(|table| table.get(key));
    let own = own.and_then(Value::as_str).filter(|name| !name.is_empty());
    own.or_else(|| context.setting("credsStore"))
        .map(str::to_owned)
}

/// Speaks to a helper (docker-credential-helpers, "Development").
fn ask(helper: &str, verb: &str, input: &str) -> Outcome<String> {
    let program = format!("docker-credential-{helper}");
    let failed = |error: &dyn std::fmt::Display| {
        Exit::new(format!(
            "error getting credentials - err: {program}: {error}"
        ))
    };
    let child = Command::new(&program)
        .arg(verb)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| failed(&error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read says why by its status.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(|error| failed(&error))?;
    let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.success() {
        true => Ok(said),
        false => Err(failed(&format!("{}, out: `{said}`", output.status))),
    }
}

fn from_helper(said: &str, key: &str) -> Option<Value> {
    let said: Value = serde_json::from_str(said).ok()?;
    let text = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
    let (username, secret) = (text("Username"), text("Secret"));
    match username {
        "" => None,
        "<token>" => Some(json!({ "identitytoken": secret, "serveraddress": key })),
        _ => Some(json!({ "username": username, "password": secret, "serveraddress": key })),
    }
}

/// Changes the table of names and passwords, and nothing else.
fn change(context: &Context, change: impl FnOnce(&mut Map<String, Value>)) -> Outcome {
    rewrite(context, |config| {
        let auths = config.entry("auths").or_insert_with(|| json!({}));
        if let Some(auths) = auths.as_object_mut() {
            change(auths);
        }
    })
}

/// Changes `config.json`: whole or not at all. A link to it stays one, and who owned it and could read it does so still; a
/// new one only the user can read.
///
/// # Errors
/// If it is no JSON object, or the system's.
pub fn rewrite(context: &Context, change: impl FnOnce(&mut Map<String, Value>)) -> Outcome {
    std::fs::create_dir_all(context.config_dir())?;
    let path = context.config_dir().join("config.json");
    // What a link leads to is replaced, not the link.
    let path = std::fs::canonicalize(&path).unwrap_or(path);
    let mut config = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|error| Exit::new(format!("{}: {error}", path.display())))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => json!({}),
        Err(error) => return Err(error.into()),
    };
    let Some(table) = config.as_object_mut() else {
        return Err(Exit::new(format!("{} is no JSON object", path.display())));
    };
    change(table);
    let mut text = Vec::new();
    let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut writer = serde_json::Serializer::with_formatter(&mut text, tabs);
    serde::Serialize::serialize(&config, &mut writer)
        .map_err(|error| Exit::new(error.to_string()))?;
    replace(&path, &text)
}

fn replace(path: &Path, text: &[u8]) -> Outcome {
    use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
    let name = format!("config.json.{}", std::process::id());
    let temporary = path.with_file_name(name);
    let mut options = std::fs::File::options();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(text)?;
    if let Ok(old) = std::fs::metadata(path) {
        // Who may not give it away keeps it, as Docker's client does.
        let _ = fchown(&file, Some(old.uid()), Some(old.gid()));
        file.set_permissions(std::fs::Permissions::from_mode(old.mode() & 0o777))?;
    }
    Ok(std::fs::rename(&temporary, path)?)
}
