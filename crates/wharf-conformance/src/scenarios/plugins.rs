//! Volume plugins that listen elsewhere than at a socket in Docker's folder: specifications, TLS.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use wharf_testkit::volume_plugin::VolumePlugin;

use super::containers::until;
use super::settings::certificates;
use crate::Case;
use crate::case::skip;

/// What stands before a plugin's socket: TLS that asks for a certificate on port 7443, none on port 7080.
const DOORS: &str = r#"
import socket, ssl, sys, threading
folder, target = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(folder + "/server.pem", folder + "/server-key.pem")
context.load_verify_locations(folder + "/ca.pem")
context.verify_mode = ssl.CERT_REQUIRED
def pipe(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass
def serve(client, tls):
    try:
        if tls:
            client = context.wrap_socket(client, server_side=True)
    except OSError:
        return
    plugin = socket.socket(socket.AF_UNIX)
    plugin.connect(target)
    threading.Thread(target=pipe, args=(client, plugin), daemon=True).start()
    pipe(plugin, client)
    client.close()
def door(server, tls):
    while True:
        threading.Thread(target=serve, args=(server.accept()[0], tls), daemon=True).start()
servers = [(socket.create_server(("127.0.0.1", port)), tls) for port, tls in ((7443, True), (7080, False))]
print("ready", flush=True)
for server in servers[1:]:
    threading.Thread(target=door, args=server, daemon=True).start()
door(*servers[0])
"#;

/// Opens the doors of the plugin `inner`, and makes folders of specifications of the world's own.
fn doors(case: &Case) -> Result<()> {
    let world = &case.engine.world;
    let folder = world.path().display().to_string();
    certificates(world.path())?;
    std::fs::write(world.path().join("doors.py"), DOORS)?;
    world.sh(&format!(
        "mkdir {folder}/upper {folder}/work && \
         mount -t overlay -o lowerdir=/etc,upperdir={folder}/upper,workdir={folder}/work etc /etc && \
         mkdir -p /etc/docker/plugins && \
         {{ python3 {folder}/doors.py {folder} /run/docker/plugins/inner.sock > {folder}/doors 2>&1 & }}"
    ))?;
    until(|| Ok(world.sh(&format!("cat {folder}/doors"))?.contains("ready")))
}

fn specify(case: &Case, file: &str, text: &str) -> Result<()> {
    let line = format!("cat > /etc/docker/plugins/{file} <<'END'\n{text}\nEND\n");
    case.engine.world.sh(&line).map(drop)
}

/// The settings of TLS, with these in the place of those that lead to the plugin.
fn tls(case: &Case, changes: &Value) -> Value {
    let path = |name: &str| case.engine.world.path().join(name).display().to_string();
    let mut config = json!({
        "InsecureSkipVerify": false, "CAFile": path("ca.pem"),
        "CertFile": path("client.pem"), "KeyFile": path("client-key.pem"),
    });
    for (key, value) in changes.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}

pub(crate) fn specifications_and_tls(case: &mut Case) -> Result<()> {
    let plugin = VolumePlugin::start(&case.engine, "inner")?;
    doors(case)?;
    let other = case.engine.world.path().join("other-ca.pem");
    let address = "https://127.0.0.1:7443";
    for (name, config) in [
        ("safe", tls(case, &json!({}))),
        // Without an authority, or if it is said so, any certificate will do.
        ("trusting", tls(case, &json!({ "CAFile": "" }))),
        (
            "careless",
            tls(
                case,
                &json!({ "CAFile": other, "InsecureSkipVerify": true }),
            ),
        ),
    ] {
        let spec = json!({ "Name": name, "Addr": address, "TLSConfig": config });
        specify(case, &format!("{name}.json"), &spec.to_string())?;
        let volume = format!("of-{name}");
        case.prints(&["volume", "create", "-d", name, &volume], &volume)?;
        let bind = format!("{volume}:/d");
        let args = ["run", "--rm", "-v", &bind, "busybox", "touch", "/d/f"];
        case.ok(&args)?;
        ensure!(plugin.folder_of(&volume).join("f").exists(), "{name}");
        until(|| Ok(plugin.mounts_of(&volume) == 0))?;
    }
    specify(case, "plain.spec", "tcp://127.0.0.1:7080")?;
    case.prints(&["volume", "create", "-d", "plain", "of-plain"], "of-plain")?;
    Ok(())
}

/// Each is an error that says what is wrong, and no volume.
pub(crate) fn specifications_that_lead_nowhere(case: &mut Case) -> Result<()> {
    if case.engine.kind.is_dockerd() {
        return skip("It tries again for half a minute each time");
    }
    let plugin = VolumePlugin::start(&case.engine, "inner")?;
    doors(case)?;
    let other = case.engine.world.path().join("other-ca.pem");
    let https = "https://127.0.0.1:7443";
    for (name, address, config, words) in [
        (
            "stranger",
            https,
            tls(case, &json!({ "CAFile": other })),
            "invalid peer certificate: UnknownIssuer",
        ),
        (
            "misnamed",
            "https://localhost:7443",
            tls(case, &json!({})),
            "invalid peer certificate: certificate not valid for name",
        ),
        (
            "unnamed",
            https,
            tls(case, &json!({ "CertFile": "", "KeyFile": "" })),
            "Post \"https://127.0.0.1:7443/Plugin.Activate\": received fatal alert",
        ),
        (
            "keyless",
            https,
            tls(case, &json!({ "KeyFile": "/none" })),
            "could not load X509 key pair: no such file or directory",
        ),
        (
            "rootless",
            https,
            tls(case, &json!({ "CAFile": "/none" })),
            "could not read CA certificate \"/none\": no such file or directory",
        ),
        (
            "silent",
            "https://127.0.0.1:7444",
            tls(case, &json!({})),
            "Post \"https://127.0.0.1:7444/Plugin.Activate\": dial tcp 127.0.0.1:7444: connect: connection refused",
        ),
    ] {
        let spec = json!({ "Name": name, "Addr": address, "TLSConfig": config });
        specify(case, &format!("{name}.json"), &spec.to_string())?;
        let create = ["volume", "create", "-d", name, "v1"];
        case.fails(
            &create,
            1,
            &format!("error looking up volume plugin {name}: "),
        )?;
        case.fails(&create, 1, words)?;
    }
    ensure!(plugin.calls().is_empty(), "{:?}", plugin.calls());
    case.prints(&["volume", "ls", "-q"], "")
}
