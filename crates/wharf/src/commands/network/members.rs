//! `wharf network connect`, `disconnect` and `rm`.

use serde_json::{Value, json};
use wharf_client::{Method, Url};

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{each, line};
use crate::cli::{
    Arity, Command, Context, Exit, Flag, Kind, Matches, Outcome, flag, list, switch, text,
};
use crate::options::{Fields, checks};

static CONNECT_FLAGS: &[Flag] = &[
    list("alias", "Further name of the container in the network"),
    list("driver-opt", "Set an option of the driver: KEY=VALUE"),
    flag(
        "gw-priority",
        Kind::Int,
        "The network with the highest number leads outside",
    ),
    text("ip", "IPv4 address (172.30.100.104)"),
    text("ip6", "IPv6 address (2001:db8::33)"),
    flag(
        "link",
        Kind::Checked("list", checks::link),
        "Make another container known by name: NAME[:ALIAS]",
    ),
    list("link-local-ip", "Link-local address"),
];
static DISCONNECT_FLAGS: &[Flag] =
    &[switch("force", "Disconnect even what cannot be stopped").short('f')];
static RM_FLAGS: &[Flag] = &[switch("force", "Do not mind networks that are not there").short('f')];

/// Connect a container to a network
pub(super) static CONNECT: Command = Command {
    name: "connect",
    about: "Connect a container to a network",
    usage: "[OPTIONS] NETWORK CONTAINER",
    flags: &[CONNECT_FLAGS],
    arity: Arity::Exactly(2),
    run: Some(|context, matches| Box::pin(connect(context, matches))),
    ..EMPTY
};

/// Disconnect a container from a network
pub(super) static DISCONNECT: Command = Command {
    name: "disconnect",
    about: "Disconnect a container from a network",
    usage: "[OPTIONS] NETWORK CONTAINER",
    flags: &[DISCONNECT_FLAGS],
    arity: Arity::Exactly(2),
    run: Some(|context, matches| Box::pin(disconnect(context, matches))),
    ..EMPTY
};

/// Remove networks
pub(super) static RM: Command = Command {
    name: "rm",
    aliases: &["remove"],
    about: "Remove networks that no container is connected to",
    usage: "NETWORK [NETWORK...]",
    also: "wharf network rm, wharf network remove",
    flags: &[RM_FLAGS],
    arity: Arity::AtLeast(1),
    run: Some(|context, matches| Box::pin(rm(context, matches))),
    ..EMPTY
};

async fn connect(context: &Context, matches: &Matches) -> Outcome {
    let mut endpoint = Fields::new();
    endpoint.list("Aliases", matches.list("alias"));
    endpoint.list("Links", matches.list("link"));
    endpoint.int("GwPriority", matches.int("gw-priority"));
    let mut options = serde_json::Map::new();
    for text in matches.list("driver-opt") {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| Exit::new("invalid key/value pair format in driver options"))?;
        options.insert(key.trim().to_owned(), Value::from(value.trim()));
    }
    endpoint.object("DriverOpts", options);
    let mut ipam = Fields::new();
    ipam.text("IPv4Address", matches.text("ip"));
    ipam.text("IPv6Address", matches.text("ip6"));
    ipam.list("LinkLocalIPs", matches.list("link-local-ip"));
    endpoint.object("IPAMConfig", ipam.0);
    let body = json!({ "Container": matches.args[1], "EndpointConfig": endpoint.0 });
    let client = context.client().await?;
    let url = Url::new(["networks", &matches.args[0], "connect"]);
    client.bytes(Method::POST, url, Some(&body)).await?;
    Ok(())
}

async fn disconnect(context: &Context, matches: &Matches) -> Outcome {
    let body = json!({ "Container": matches.args[1], "Force": matches.on("force") });
    let client = context.client().await?;
    let url = Url::new(["networks", &matches.args[0], "disconnect"]);
    client.bytes(Method::POST, url, Some(&body)).await?;
    Ok(())
}

async fn rm(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    each(&matches.args, |name| async move {
        let url = Url::new(["networks", name]);
        match client.bytes(Method::DELETE, url, None::<&()>).await {
            Err(error) if matches.on("force") && error.status() == Some(404) => Ok(()),
            other => {
                other?;
                line(name)
            }
        }
    })
    .await
}
