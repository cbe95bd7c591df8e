//! `wharf info`.

use serde_json::{Value, json};
use wharf_client::Url;

use super::{DOCUMENT_HELP, inspect_defaults, root};
use crate::cli::command::COMMAND as EMPTY;
use crate::cli::context::{line, out};
use crate::cli::{Command, Context, Exit, Flag, Matches, Outcome, text};
use crate::format::json as read;
use crate::format::template::Template;
use crate::format::units::binary_size;

static FLAGS: &[Flag] = &[text("format", DOCUMENT_HELP).short('f')];

/// Show facts about the daemon
pub static COMMAND: Command = Command {
    name: "info",
    about: "Show what the daemon is and has",
    usage: "[OPTIONS]",
    also: "wharf system info, wharf info",
    flags: &[FLAGS],
    run: Some(|context, matches| Box::pin(run(context, matches))),
    ..EMPTY
};

async fn run(context: &Context, matches: &Matches) -> Outcome {
    let source = match matches.text("format") {
        "json" => "{{json .}}",
        source => source,
    };
    if source.contains(".ClientInfo") && !asks_more(source) {
        return formatted(context, source, Ok(json!({"ID": ""})));
    }
    let answer: Outcome<Value> = match context.client().await {
        Ok(client) => client.get(Url::new(["info"])).await.map_err(Exit::from),
        Err(exit) => Err(exit),
    };
    if !source.is_empty() {
        return formatted(context, source, answer);
    }
    out(&format!(
        "Client: Wharf\n Version:    {}\n Context:    {}\n Debug Mode: false\n\nServer:\n",
        root::VERSION,
        context.name(),
    ))?;
    match answer {
        Ok(info) => {
            out(&pretty(&info))?;
            for warning in read::texts(&info, "Warnings") {
                eprintln!("{warning}");
            }
            Ok(())
        }
        Err(exit) => Err(Exit::new(format!(
            "{}\nerrors pretty printing info",
            exit.message
        ))),
    }
}

/// By a template. What it says of the client alone needs no daemon, and none is asked.
fn formatted(context: &Context, source: &str, answer: Outcome<Value>) -> Outcome {
    let template = Template::typed(source, "", "system.dockerInfo")?;
    let (mut info, failure) = match answer {
        Ok(info) => (info, None),
        Err(exit) => (json!({"ID": ""}), Some(exit)),
    };
    info["ClientInfo"] = json!({"Debug": false, "Version": root::VERSION, "Context": context.name(), "Plugins": [], "Warnings": null});
    match template.render_completed(&info, &completed(&info)) {
        Ok(text) => line(text)?,
        Err(error) => {
            // Docker ends the line that it had begun.
            out("\n")?;
            return Err(error.into());
        }
    }
    failure.map_or(Ok(()), Err)
}

/// Whether a template has a field that is not below `ClientInfo`.
fn asks_more(source: &str) -> bool {
    let fields = source
        .split("{{")
        .skip(1)
        .filter_map(|part| part.split("}}").next());
    let mut starts = fields.filter_map(|part| part.find('.').map(|at| &part[at..]));
    starts.any(|field| !field.starts_with(".ClientInfo"))
}

/// The fields of Docker's struct that may be missing, with Go's zero values.
const ALL: &str = r#"{
    "Containers": 0, "ContainersRunning": 0, "ContainersPaused": 0, "ContainersStopped": 0, "Images": 0, "Driver": "",
    "DriverStatus": null, "SystemStatus": null,
    "Plugins": {"Volume": null, "Network": null, "Authorization": null, "Log": null}, "MemoryLimit": false,
    "SwapLimit": false, "KernelMemory": false, "KernelMemoryTCP": false, "CpuCfsPeriod": false, "CpuCfsQuota": false,
    "CPUShares": false, "CPUSet": false, "PidsLimit": false, "IPv4Forwarding": false, "Debug": false, "NFd": 0,
    "OomKillDisable": false, "NGoroutines": 0, "SystemTime": "", "LoggingDriver": "", "CgroupDriver": "",
    "CgroupVersion": "", "NEventsListener": 0, "KernelVersion": "", "OperatingSystem": "", "OSVersion": "", "OSType": "",
    "Architecture": "", "IndexServerAddress": "", "RegistryConfig": null, "NCPU": 0, "MemTotal": 0,
    "GenericResources": null, "DockerRootDir": "", "HttpProxy": "", "HttpsProxy": "", "NoProxy": "", "Name": "",
    "Labels": null, "ExperimentalBuild": false, "ServerVersion": "", "Runtimes": null, "DefaultRuntime": "", "Swarm": {
        "NodeID": "", "NodeAddr": "", "LocalNodeState": "", "ControlAvailable": false, "Error": "",
        "RemoteManagers": null, "Nodes": 0, "Managers": 0, "Cluster": null, "Warnings": null
    },
    "LiveRestoreEnabled": false, "Isolation": "", "InitBinary": "", "ContainerdCommit": {"ID": "", "Expected": ""},
    "RuncCommit": {"ID": "", "Expected": ""}, "InitCommit": {"ID": "", "Expected": ""}, "SecurityOptions": null,
    "ProductLicense": "", "DefaultAddressPools": null, "FirewallBackend": null, "CDISpecDirs": null,
    "DiscoveredDevices": null, "Containerd": null, "Warnings": null, "BridgeNfIptables": false,
    "BridgeNfIp6tables": false, "ServerErrors": null
}"#;

fn completed(info: &Value) -> Value {
    let mut info = info.clone();
    // It is JSON: a test reads it.
    let defaults = serde_json::from_str(ALL).unwrap_or_default();
    inspect_defaults::fill(&mut info, &defaults);
    info
}

struct Lines(String);

impl Lines {
    fn put(&mut self, title: &str, value: impl std::fmt::Display) {
        self.0.push_str(&format!(" {title}: {value}\n"));
    }

    fn text(&mut self, info: &Value, title: &str, name: &str) {
        match read::text(info, name) {
            "" => {}
            value => self.put(title, value),
        }
    }

    fn list(&mut self, title: &str, items: &[&str]) {
        if !items.is_empty() {
            self.0.push_str(&format!(" {title}:\n"));
            self.0
                .extend(items.iter().map(|item| format!("  {item}\n")));
        }
    }
}

fn pretty(info: &Value) -> String {
    let mut lines = Lines(String::new());
    counts(info, &mut lines);
    lines.text(info, "Server Version", "ServerVersion");
    lines.text(info, "Storage Driver", "Driver");
    for pair in read::items(info, "DriverStatus") {
        let cell = |index: usize| pair.get(index).and_then(Value::as_str).unwrap_or_default();
        lines.0.push_str(&format!("  {}: {}\n", cell(0), cell(1)));
    }
    lines.text(info, "Logging Driver", "LoggingDriver");
    lines.text(info, "Cgroup Driver", "CgroupDriver");
    lines.text(info, "Cgroup Version", "CgroupVersion");
    plugins(info, &mut lines);
    lines.list("CDI spec directories", &read::texts(info, "CDISpecDirs"));
    let swarm = read::text(&info["Swarm"], "LocalNodeState");
    lines.put("Swarm", if swarm.is_empty() { "inactive" } else { swarm });
    runtimes(info, &mut lines);
    security(info, &mut lines);
    machine(info, &mut lines);
    proxies(info, &mut lines);
    registries(info, &mut lines);
    lines.put("Live Restore Enabled", read::on(info, "LiveRestoreEnabled"));
    lines.text(info, "Product License", "ProductLicense");
    pools(info, &mut lines);
    lines.0.push('\n');
    lines.0
}

fn counts(info: &Value, lines: &mut Lines) {
    lines.put("Containers", read::int(info, "Containers"));
    for (title, name) in [
        ("Running", "ContainersRunning"),
        ("Paused", "ContainersPaused"),
        ("Stopped", "ContainersStopped"),
    ] {
        lines
            .0
            .push_str(&format!("  {title}: {}\n", read::int(info, name)));
    }
    lines.put("Images", read::int(info, "Images"));
}

fn plugins(info: &Value, lines: &mut Lines) {
    let plugins = &info["Plugins"];
    lines.0.push_str(" Plugins:\n");
    for name in ["Volume", "Network", "Authorization", "Log"] {
        let names = read::texts(plugins, name);
        if !names.is_empty() || matches!(name, "Volume" | "Network" | "Log") {
            lines
                .0
                .push_str(&format!("  {name}: {}\n", names.join(" ")));
        }
    }
}

fn runtimes(info: &Value, lines: &mut Lines) {
    let runtimes = read::field(info, "Runtimes").and_then(Value::as_object);
    let mut names: Vec<&str> = runtimes
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect();
    names.sort_unstable();
    if !names.is_empty() {
        lines.put("Runtimes", names.join(" "));
        lines.put("Default Runtime", read::text(info, "DefaultRuntime"));
    }
    lines.put("Init Binary", read::text(info, "InitBinary"));
    for (title, name) in [
        ("containerd version", "ContainerdCommit"),
        ("runc version", "RuncCommit"),
        ("init version", "InitCommit"),
    ] {
        lines.put(title, read::text(&info[name], "ID"));
    }
}

// `name=seccomp,profile=builtin` is shown as a name with its fields below it.
fn security(info: &Value, lines: &mut Lines) {
    let options = read::texts(info, "SecurityOptions");
    if options.is_empty() {
        return;
    }
    lines.0.push_str(" Security Options:\n");
    for option in options {
        for (index, field) in option.split(',').enumerate() {
            let (key, value) = field.split_once('=').unwrap_or(("name", field));
            if index == 0 && key == "name" {
                lines.0.push_str(&format!("  {value}\n"));
            } else {
                let mut title = key.to_owned();
                if let Some(first) = title.get_mut(..1) {
                    first.make_ascii_uppercase();
                }
                lines.0.push_str(&format!("   {title}: {value}\n"));
            }
        }
    }
}

fn machine(info: &Value, lines: &mut Lines) {
    for (title, name) in [
        ("Kernel Version", "KernelVersion"),
        ("Operating System", "OperatingSystem"),
        ("OSType", "OSType"),
        ("Architecture", "Architecture"),
    ] {
        lines.text(info, title, name);
    }
    lines.put("CPUs", read::int(info, "NCPU"));
    lines.put("Total Memory", binary_size(read::int(info, "MemTotal")));
    lines.text(info, "Name", "Name");
    lines.text(info, "ID", "ID");
    lines.put("Docker Root Dir", read::text(info, "DockerRootDir"));
    lines.put("Debug Mode", read::on(info, "Debug"));
    if read::on(info, "Debug") {
        for (title, name) in [
            ("File Descriptors", "NFd"),
            ("Goroutines", "NGoroutines"),
            ("EventsListeners", "NEventsListener"),
        ] {
            lines
                .0
                .push_str(&format!("  {title}: {}\n", read::int(info, name)));
        }
        lines.0.push_str(&format!(
            "  System Time: {}\n",
            read::text(info, "SystemTime")
        ));
    }
}

fn proxies(info: &Value, lines: &mut Lines) {
    for (title, name) in [
        ("HTTP Proxy", "HttpProxy"),
        ("HTTPS Proxy", "HttpsProxy"),
        ("No Proxy", "NoProxy"),
    ] {
        lines.text(info, title, name);
    }
    lines.list("Labels", &read::texts(info, "Labels"));
    lines.put("Experimental", read::on(info, "ExperimentalBuild"));
}

fn registries(info: &Value, lines: &mut Lines) {
    let config = &info["RegistryConfig"];
    let indexes = read::field(config, "IndexConfigs").and_then(Value::as_object);
    let mut insecure: Vec<&str> = indexes
        .into_iter()
        .flatten()
        .filter(|(_, index)| !read::on(index, "Secure"))
        .map(|(name, _)| name.as_str())
        .collect();
    insecure.sort_unstable();
    insecure.extend(read::texts(config, "InsecureRegistryCIDRs"));
    lines.list("Insecure Registries", &insecure);
    lines.list("Registry Mirrors", &read::texts(config, "Mirrors"));
}

fn pools(info: &Value, lines: &mut Lines) {
    let pools = read::items(info, "DefaultAddressPools");
    if !pools.is_empty() {
        lines.0.push_str(" Default Address Pools:\n");
        for pool in pools {
            lines.0.push_str(&format!(
                "   Base: {}, Size: {}\n",
                read::text(pool, "Base"),
                read::int(pool, "Size")
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_daemon_does_not_say_is_zero() {
        let info = completed(&json!({"Swarm": {"Error": "x"}, "Images": 3}));
        assert_eq!((&info["Images"], &info["NCPU"]), (&json!(3), &json!(0)));
        assert_eq!(
            (&info["Swarm"]["Error"], &info["Swarm"]["Nodes"]),
            (&json!("x"), &json!(0))
        );
    }
}
