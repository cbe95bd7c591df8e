//! `wharf port`.

mod audit;

use serde_json::Value;
use wharf_client::Url;

use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::out;
use crate::cli::{Arity, Command, Context, Exit, Matches, Outcome};
use crate::format::json;

/// Show published ports
pub static COMMAND: Command = Command {
    name: "port",
    about: "Show the published ports of a container, or where one of them goes; `port audit`: what of all containers is reached from where",
    usage: "CONTAINER [PRIVATE_PORT[/PROTO]]",
    also: "wharf container port, wharf port",
    arity: Arity::Between(1, 2),
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let client = context.client().await?;
    let name = &matches.args[0];
    let inspect: Value = match client.get(Url::new(["containers", name, "json"])).await {
        // A container of that name comes first: `port` knows no other words with dockerd's command.
        Err(_) if name == "audit" && matches.args.len() == 1 => return audit::run(client).await,
        answer => answer?,
    };
    let ports = json::deep(&inspect, &["NetworkSettings", "Ports"]);
    let Some(port) = matches.args.get(1) else {
        return out(&all(ports));
    };
    let (number, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    if number.parse::<u16>().is_err() {
        return Err(Exit::new(format!(
            "Error: invalid port ({port}): invalid port '{number}'"
        )));
    }
    let bindings = json::items(ports, &format!("{number}/{protocol}"));
    if bindings.is_empty() {
        return Err(Exit::new(format!(
            "Error: No public port '{port}' published for {name}"
        )));
    }
    out(&lines(bindings, ""))
}

fn lines(bindings: &[Value], prefix: &str) -> String {
    let line = |binding: &Value| {
        let (address, port) = (
            json::text(binding, "HostIp"),
            json::text(binding, "HostPort"),
        );
        let address = if address.contains(':') {
            format!("[{address}]")
        } else {
            address.to_owned()
        };
        format!("{prefix}{address}:{port}\n")
    };
    bindings.iter().map(line).collect()
}

fn all(ports: &Value) -> String {
    let mut entries: Vec<(u16, &str, &[Value])> = ports
        .as_object()
        .into_iter()
        .flatten()
        .map(|(port, _)| {
            let number = port
                .split('/')
                .next()
                .and_then(|number| number.parse().ok())
                .unwrap_or_default();
            (number, port.as_str(), json::items(ports, port))
        })
        .collect();
    entries.sort_by_key(|entry| (entry.0, entry.1));
    entries
        .iter()
        .map(|(_, port, bindings)| lines(bindings, &format!("{port} -> ")))
        .collect()
}
