//! `wharf login` and `wharf logout`.

use std::io::{BufRead as _, IsTerminal as _, Read as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use serde_json::{Value, json};
use wharf_client::{Method, Url};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{line, out};
use crate::cli::{
    Arity, Command, Context, Exit, Flag, Matches, Outcome, credentials, switch, text,
};

static FLAGS: &[Flag] = &[
    text("password", "Password or access token").short('p'),
    switch("password-stdin", "Read the password from standard input"),
    text("username", "Name of the user").short('u'),
];

/// Log in to a registry
pub static LOGIN: Command = Command {
    name: "login",
    about: "Log in to a registry",
    usage: "[OPTIONS] [SERVER]",
    flags: &[FLAGS],
    arity: Arity::Between(0, 1),
    run: Some(|context, matches| Box::pin(login(context, matches))),
    ..EMPTY
};

/// Log out of a registry
pub static LOGOUT: Command = Command {
    name: "logout",
    about: "Log out of a registry",
    usage: "[SERVER]",
    arity: Arity::Between(0, 1),
    run: Some(|context, matches| Box::pin(logout(context, matches))),
    ..EMPTY
};

/// The registry that is meant: its host alone, as Docker keeps it.
fn server(matches: &Matches) -> String {
    let server = matches.args.first().map_or("docker.io", String::as_str);
    let bare = server.split_once("://").map_or(server, |(_, rest)| rest);
    let host = bare.split('/').next().unwrap_or_default();
    credentials::key(host).to_owned()
}

async fn login(context: &Context, matches: &Matches) -> Outcome {
    let key = server(matches);
    let (mut auth, answer) = match kept(context, matches, &key).await? {
        Some(done) => done,
        None => {
            let auth = ask(context, matches, &key)?;
            let answer = check(context, &auth).await?;
            (auth, answer)
        }
    };
    // What the registry gives in the password's place is kept instead of it.
    if let Some(token) = answer["IdentityToken"]
        .as_str()
        .filter(|token| !token.is_empty())
    {
        auth["password"] = "".into();
        auth["identitytoken"] = token.into();
    }
    if let Some(place) = credentials::store(context, &key, &auth)? {
        eprintln!(
            "\nWARNING! Your credentials are stored unencrypted in '{place}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n"
        );
    }
    line(answer["Status"].as_str().unwrap_or("Login Succeeded"))
}

/// Asks the registry, through the daemon.
async fn check(context: &Context, auth: &Value) -> Result<Value, Exit> {
    let client = context.client().await?;
    let url = Url::new(["auth"]);
    Ok(client.json(Method::POST, url, Some(auth)).await?)
}

/// With what is kept already, if nothing is said and the registry still takes it; otherwise the user is asked.
async fn kept(context: &Context, matches: &Matches, key: &str) -> Outcome<Option<(Value, Value)>> {
    let given = ["username", "password"];
    if matches.on("password-stdin") || given.iter().any(|flag| matches.maybe(flag).is_some()) {
        return Ok(None);
    }
    let Some(known) = credentials::find(context, key) else {
        return Ok(None);
    };
    let name = known["username"].as_str().unwrap_or_default();
    line(format!(
        "Authenticating with existing credentials... [Username: {name}]"
    ))?;
    match check(context, &known).await {
        Ok(answer) => Ok(Some((known, answer))),
        Err(exit) => {
            eprintln!("Login did not succeed, error: {}", exit.message);
            Ok(None)
        }
    }
}

/// Who is known already need not be typed again.
fn ask_name(context: &Context, key: &str) -> Outcome<String> {
    let known = credentials::find(context, key);
    let known = known.and_then(|auth| auth["username"].as_str().map(str::to_owned));
    let known = known.unwrap_or_default();
    let question = match known.as_str() {
        "" => "Username: ".to_owned(),
        name => format!("Username ({name}): "),
    };
    Ok(match prompt(&question, true)? {
        name if name.is_empty() => known,
        name => name,
    })
}

fn ask(context: &Context, matches: &Matches, key: &str) -> Outcome<Value> {
    let given = matches.maybe("password").map(str::to_owned);
    let from_stdin = matches.on("password-stdin");
    if given.is_some() {
        if from_stdin {
            return Err(Exit::new(
                "conflicting options: cannot specify both --password and --password-stdin",
            ));
        }
        eprintln!("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let user = matches.maybe("username").map(str::to_owned);
    if from_stdin && user.is_none() {
        return Err(Exit::new(
            "the --password-stdin option requires --username to be set",
        ));
    }
    let can_ask = std::io::stdin().is_terminal();
    let cannot = || Exit::new("cannot perform an interactive login from a non TTY device");
    let username = match user {
        Some(user) => user,
        None if !can_ask => return Err(cannot()),
        None => ask_name(context, key)?,
    };
    let password = match given {
        Some(password) => password,
        None if from_stdin => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text)?;
            text.trim_end_matches(['\r', '\n']).to_owned()
        }
        None if !can_ask => return Err(cannot()),
        None => prompt("Password: ", false)?,
    };
    if password.is_empty() {
        return Err(Exit::new("password is empty"));
    }
    Ok(json!({ "username": username, "password": password, "serveraddress": key }))
}

/// One line from the terminal; a secret is not shown.
fn prompt(question: &str, shown: bool) -> Outcome<String> {
    out(question)?;
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin).map_err(std::io::Error::from)?;
    if !shown {
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Now, &quiet).map_err(std::io::Error::from)?;
    }
    let mut text = String::new();
    let read = stdin.lock().read_line(&mut text);
    if !shown {
        tcsetattr(&stdin, OptionalActions::Now, &before).map_err(std::io::Error::from)?;
        out("\n")?;
    }
    read?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

async fn logout(context: &Context, matches: &Matches) -> Outcome {
    let key = server(matches);
    if credentials::find(context, &key).is_none() {
        return line(format!("Not logged in to {key}"));
    }
    line(format!("Removing login credentials for {key}"))?;
    credentials::erase(context, &key)
}
